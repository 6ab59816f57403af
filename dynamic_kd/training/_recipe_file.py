"""Recipes as TOML: found by name, extended, overridden, checked, and written into run folders."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd._files import printable
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training._imported import ImportedWeight
from dynamic_kd.training._recipe import NONE_IN_FILES, Recipe, flat_settings
from dynamic_kd.training._recipe_paths import resolve_paths
from dynamic_kd.training._sections import Data, Student, Teacher, Training

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

RECIPE = "recipe.toml"  # in a run folder
_SECTIONS = {"data": Data, "teacher": Teacher, "student": Student, "loss": DynamicKDLoss, "training": Training}


def bundled_recipes() -> dict[str, str]:
    """Return the recipes of the package: a description of each, by name."""
    folder = resources.files("dynamic_kd.training") / "recipes"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name)
    return {file.name[:-5]: file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for file in files}


def read_recipe(recipe: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Read a recipe from a TOML file, from the package, or from a run folder.

    Parameters
    ----------
    recipe : str or Path
        A TOML file, the name of a bundled recipe (see `bundled_recipes`), or a run folder, which holds the recipe of
        its run.
    overrides : iterable of str, or mapping
        Settings that replace those of the file: strings such as ``"training.epochs=2"``, or a mapping such as
        ``{"training.epochs": 2}``. The text after ``=`` is parsed as TOML, or taken as plain text if it is not TOML.
        An empty text, or None in a mapping, restores the default.

    Raises
    ------
    ValueError
        If there is no such recipe, if the file is not valid TOML, or if a setting is unknown or invalid. The message
        names the file and the setting.

    Examples
    --------
    >>> recipe = read_recipe("cpu", ["seed=3", "loss.weighting=0.5"])
    >>> recipe.seed, recipe.loss.weighting
    (3, 0.5)
    >>> read_recipe("cpu", {"seed": 3, "loss.weighting": 0.5}) == recipe
    True
    """
    content = _content(_path_of(recipe), ())
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(_parsed, overrides)
    settings = dict(pairs)
    for setting, value in settings.items():
        _replace(content, setting, value)
    # --data sets data.root too, so an error about it names the recipe.
    return _checked(recipe, content, settings.keys() - {"data.root"})


def _checked(recipe: str | Path, content: dict[str, Any], overridden: Collection[str]) -> Recipe:
    """Make the recipe; an error begins with --set if it is about an overridden setting, or else with the recipe."""
    try:
        return _made(content)
    except (TypeError, ValueError) as error:
        set_here = any(re.match(rf"{re.escape(setting)}\b", str(error)) for setting in overridden)
        raise ValueError(f"{'--set' if set_here else recipe}: {error}") from error


def recipe_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML that `read_recipe` reads back.

    Raises
    ------
    ValueError
        If the weighting is a function without an import path, or if a path is not UTF-8.
    """
    require("tomli_w", extra="train")
    if callable(recipe.loss.weighting) and not isinstance(recipe.loss.weighting, ImportedWeight):
        raise ValueError(
            f"loss.weighting: a file cannot hold the function {recipe.loss.weighting!r}; name it as "
            '"module:function" instead'
        )
    settings = recipe.as_dict()
    for name, value in flat_settings(settings).items():
        if not _is_utf8(str(value)):
            raise ValueError(
                f"{name}: a file cannot hold {printable(str(value))}, which is not UTF-8; rename the folder"
            )
    import tomli_w

    return tomli_w.dumps(settings)


def _is_utf8(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode()


def _path_of(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if (path / RECIPE).is_file():
        return path / RECIPE
    bundled = bundled_recipes()
    if str(recipe) in bundled:
        return Path(str(resources.files("dynamic_kd.training") / "recipes" / f"{recipe}.toml"))
    raise ValueError(
        f"{recipe}: no such recipe; name a TOML file, a run folder, or one of the recipes {', '.join(bundled)}"
    )


def _content(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """Return the settings of a file on top of those that it extends, with absolute paths."""
    if path.resolve() in extended_by:
        raise ValueError(f"{path}: extends itself, through other recipes or directly; remove one `extends`")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    resolve_paths(content, path.parent)
    base = content.pop("extends", None)
    if base is None:
        return content
    beside = path.parent / f"{base}"
    return _merged(_content(beside if beside.is_file() else _path_of(base), (*extended_by, path.resolve())), content)


def _merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in top.items():
        below = both.get(key)
        both[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return both


def _parsed(override: str) -> tuple[str, Any]:
    """Return a setting and its value, written as ``section.name=VALUE``; None if nothing follows the ``=``."""
    setting, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not setting:
        raise ValueError(f"{override}: expected SETTING=VALUE, such as training.epochs=2")
    if not text:
        return setting, None
    try:
        return setting, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return setting, text


def _replace(content: dict[str, Any], setting: str, value: Any) -> None:
    """Put a dotted setting into the content of a file; None removes it."""
    *sections, last = setting.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ValueError(f"{setting}={value}: {section} is not a section; check the setting's name")
    if value is None:
        content.pop(last, None)
    else:
        content[last] = value


def _made(content: dict[str, Any]) -> Recipe:
    """Make the recipe, each part from its section; [teacher.training] inherits what it does not set."""
    content = dict(content)
    teacher = content.get("teacher")
    if isinstance(teacher, dict) and "training" in teacher:
        shared, own = content.get("training", {}), teacher["training"]
        _part("training", Training, shared)  # reports errors under this name
        if isinstance(shared, dict) and isinstance(own, dict):
            inherited = {name: value for name, value in shared.items() if name != "keep_epochs"}
            own = _merged(inherited, own)
        content["teacher"] = teacher | {"training": _part("teacher.training", Training, own)}
    loss = content.get("loss")
    if isinstance(loss, dict):
        content["loss"] = loss = dict(loss)
        if ":" in str(loss.get("weighting")):
            loss["weighting"] = ImportedWeight(loss["weighting"])
    for name, kind in _SECTIONS.items():
        if name in content:
            content[name] = _part(name, kind, content[name])
    return _part("", Recipe, content)  # type: ignore[no-any-return]


def _part(section: str, kind: type, values: Any) -> Any:
    where = f"{section}." if section else ""
    if not isinstance(values, dict):
        raise ValueError(f"{section}: must be a section [{section}], got {values!r}")
    types = {field.name: field.type for field in fields(kind)}
    for name in values:
        if name not in types:
            close = difflib.get_close_matches(name, types, 1)
            hint = f"did you mean {where}{close[0]}?" if close else f"the settings are {', '.join(types)}"
            raise ValueError(f"{where}{name}: unknown setting; {hint}")
    values = {name: None if name in NONE_IN_FILES and value == "none" else value for name, value in values.items()}
    whole = {name for name, value in values.items() if types[name] in ("float", "float | None") and type(value) is int}
    try:
        # 5 and 5.0 are the same setting, and a resumed run compares settings.
        return kind(**{name: float(value) if name in whole else value for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from None
