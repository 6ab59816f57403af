"""Recipes as TOML files: found by name, extended, overridden, checked, and written into run folders."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training._imported import ImportedWeight
from dynamic_kd.training._recipe import Recipe, field_names
from dynamic_kd.training._recipe_paths import place_paths
from dynamic_kd.training._sections import Data, Student, Teacher, Training

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

SECTIONS = {"data": Data, "teacher": Teacher, "student": Student, "loss": DynamicKDLoss, "training": Training}


def bundled_recipes() -> dict[str, str]:
    """Return the recipes that come with the package: what the first comment of each says, by name."""
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
    pairs = overrides.items() if isinstance(overrides, Mapping) else map(parsed_override, overrides)
    settings = dict(pairs)
    for setting, value in settings.items():
        _replace(content, setting, value)
    # --data sets data.root too, so an error about it names the recipe.
    return _checked(recipe, content, {"--set": settings.keys() - {"data.root"}})


def recipe_with(
    recipe: str | Path, settings: Mapping[str, Any], places: Mapping[str, Collection[str]] = MappingProxyType({})
) -> Recipe:
    """Read a recipe, with dotted settings that replace those of the file, as values; None takes one away.

    Parameters
    ----------
    recipe : str or Path
        A file, or the name of a recipe that comes with the package.
    settings : dict
        The settings.
    places : dict
        The settings that each place says, the first that counts first: what is wrong with one is wrong there.

    Raises
    ------
    ValueError
        As `read_recipe`.
    """
    content = _content(_path_of(recipe), ())
    for setting, value in settings.items():
        _replace(content, setting, value)
    return _checked(recipe, content, places)


def _checked(recipe: str | Path, content: dict[str, Any], places: Mapping[str, Collection[str]]) -> Recipe:
    try:
        return _made(content)
    except (TypeError, ValueError) as error:
        place = next((place for place, said in places.items() if _is_about(error, said)), recipe)
        raise ValueError(f"{place}: {error}") from error


def _is_about(error: Exception, settings: Iterable[str]) -> bool:
    """Return whether an error, which begins with the setting that is wrong, is about one of these or a part of one."""
    return any(re.match(rf"{re.escape(setting)}\b", str(error)) for setting in settings)


def recipe_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML, from which `read_recipe` makes the same again.

    Raises
    ------
    ValueError
        If the loss is weighted by a function, which a file cannot hold.
    """
    require("tomli_w", extra="train")
    if callable(recipe.loss.weighting) and not isinstance(recipe.loss.weighting, ImportedWeight):
        raise ValueError(
            f"loss.weighting: expected a name or a number, that a file can hold, got {recipe.loss.weighting!r}; "
            'name it as "module:function" instead'
        )
    import tomli_w

    return tomli_w.dumps(recipe.as_dict())


def _path_of(recipe: str | Path) -> Path:
    path = Path(recipe)
    if path.is_file():
        return path
    if (path / "recipe.toml").is_file():
        return path / "recipe.toml"
    bundled = bundled_recipes()
    if str(recipe) in bundled:
        return Path(str(resources.files("dynamic_kd.training") / "recipes" / f"{recipe}.toml"))
    raise ValueError(
        f"{recipe}: no such recipe; name a TOML file, a run folder, or one of the recipes {', '.join(bundled)}"
    )


def _content(path: Path, extended_by: tuple[Path, ...]) -> dict[str, Any]:
    """Return the settings of a file on top of those that it extends; its paths become whole."""
    if path.resolve() in extended_by:
        raise ValueError(f"{path}: expected recipes that extend each other in a line, got a circle")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a recipe in TOML, got: {error}") from None
    place_paths(content, path.parent)
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


def changed(content: dict[str, Any], override: str) -> None:
    """Put a setting, written as ``section.name=VALUE``, into the content of a file."""
    _replace(content, *parsed_override(override))


def parsed_override(override: str) -> tuple[str, Any]:
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
    section, last = _place(content, setting, f"{setting}={value}")
    if value is None:
        section.pop(last, None)
    else:
        section[last] = value


def _place(content: dict[str, Any], setting: str, override: str) -> tuple[dict[str, Any], str]:
    """Return the section of a dotted setting, and its name there."""
    *sections, last = setting.split(".")
    for section in sections:
        content = content.setdefault(section, {})
        if not isinstance(content, dict):
            raise ValueError(f"{override}: expected a setting, got a part of {section}, which has none")
    return content, last


def _made(content: dict[str, Any]) -> Recipe:
    """Make the recipe, each part from its section."""
    content = dict(content)
    teacher = content.get("teacher")
    if isinstance(teacher, dict) and "training" in teacher:
        shared, own = content.get("training", {}), teacher["training"]
        _part("training", Training, shared)  # so that what is wrong with it has the name it was given by
        if isinstance(shared, dict) and isinstance(own, dict):
            inherited = {name: value for name, value in shared.items() if name != "keep_epochs"}
            own = _merged(inherited, own)
        content["teacher"] = teacher | {"training": _part("teacher.training", Training, own)}
    loss = content.get("loss")
    if isinstance(loss, dict):
        content["loss"] = loss = dict(loss)
        if ":" in str(loss.get("weighting")):
            loss["weighting"] = ImportedWeight(loss["weighting"])
        if loss.get("noise_elimination") == "none":  # TOML has no null
            loss["noise_elimination"] = None
    for name, kind in SECTIONS.items():
        if name in content:
            content[name] = _part(name, kind, content[name])
    return _part("", Recipe, content)  # type: ignore[no-any-return]


def check_known(names: Iterable[str], known: Sequence[str], where: str = "") -> None:
    """Raise unless all settings of a section are known; what is like one of those is taken for it."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {where}{close[0]}?" if close else f"there are {', '.join(known)}"
            raise ValueError(f"{where}{name}: expected a setting, got an unknown one; {hint}")


def _part(section: str, kind: type, values: Any) -> Any:
    where = f"{section}." if section else ""
    if not isinstance(values, dict):
        raise ValueError(f"{section}: expected a section [{section}], got {values!r}")
    check_known(values, field_names(kind), where)
    types = {field.name: field.type for field in fields(kind)}
    whole = {name for name, value in values.items() if types[name] in ("float", "float | None") and type(value) is int}
    try:
        # 5 and 5.0 are one setting, by which runs are known again
        return kind(**{name: float(value) if name in whole else value for name, value in values.items()})
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}{error}") from None
