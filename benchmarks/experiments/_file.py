"""Experiments as TOML files: found by name, changed on the command line, checked."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.experiments._experiment import TEACHER_EPOCH, TEACHER_RUN, Experiment, Method, flat
from dynamic_kd.training._recipe import Recipe, field_names
from dynamic_kd.training._recipe_file import changed, check_known
from dynamic_kd.training._recipe_paths import place_paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEYS = (
    "recipe", "seeds", "settings", "methods", "grid", "choose", "scores", "axis", "paper_table", "resamples",
    "bootstrap_seed",
)  # fmt: skip
PLANS = Path(__file__).parent / "plans"
_OF_METHODS = ("fixed", "paper")
_METHOD_KEYS = (*_OF_METHODS, *field_names(Recipe), TEACHER_EPOCH, TEACHER_RUN.rstrip("."))


def bundled_experiments() -> dict[str, str]:
    """Return the experiments that come with the package: what the first comment of each says, by name."""
    return {file.stem: _about(file.read_text(encoding="utf-8")) for file in sorted(PLANS.glob("*.toml"))}


def read_experiment(experiment: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a TOML file.

    Parameters
    ----------
    experiment : str or Path
        A file, or the name of an experiment that comes with the package (see `bundled_experiments`).
    overrides : iterable of str
        ``"seeds=[0, 1]"`` and the like replace what the file says of the experiment itself; any other setting, such
        as ``"training.epochs=2"``, is of every run, over what methods and grid say; ``"student.weights="`` takes one
        away.

    Raises
    ------
    ValueError
        If there is no such experiment, if it is no TOML, or if something in it is unknown or wrong.

    Examples
    --------
    >>> experiment = read_experiment("smoke", ["seeds=[3]"])
    >>> experiment.seeds, [method.name for method in experiment.methods]
    ((3,), ['cross-entropy', 's = 0.5', 'dynamic'])
    """
    path = _path_of(experiment)
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected an experiment in TOML, got: {error}") from None
    forced: dict[str, Any] = {}
    unset: dict[str, Any] = {}
    for override in overrides:
        setting, equals, value = override.partition("=")
        if setting.strip().split(".")[0] in _KEYS:
            changed(content, override)
        elif equals and not value.strip():
            unset[setting.strip()] = None
        else:
            changed(forced, override)
    try:
        return replace(_made(path, content, flat(forced) | unset, _about(text)), file=str(experiment))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{experiment}: {error}") from error


def _about(text: str) -> str:
    first = text.partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def _path_of(experiment: str | Path) -> Path:
    path, bundled = Path(experiment), bundled_experiments()
    if path.is_file():
        return path
    if str(experiment) in bundled:
        return PLANS / f"{experiment}.toml"
    listed = ", ".join(bundled)
    raise ValueError(f"{experiment}: expected a TOML file or one of the experiments {listed}, got neither")


def _made(path: Path, content: dict[str, Any], forced: dict[str, Any], about: str) -> Experiment:
    for key in content:
        if key not in _KEYS:
            raise ValueError(f"{key}: expected some of {', '.join(_KEYS)}, got an unknown one")
    for key in ("recipe", "seeds", "methods"):
        if key not in content:
            raise ValueError(f"{key}: expected it in every experiment, got none")
    choose = _table("choose", content.get("choose", {}))
    for key in choose:
        if key not in ("over", "by"):
            raise ValueError(f"choose.{key}: expected over (settings of the grid) and by (a score), got another")
    grids = content.get("grid", {})
    if not isinstance(grids, list):
        grids = [grids]
    given: dict[str, Any] = {
        key: content[key] for key in ("axis", "paper_table", "resamples", "bootstrap_seed") if key in content
    }
    if given.get("axis") in forced:
        del given["axis"]
    given |= {"scores": _values("scores", content["scores"])} if "scores" in content else {}
    given |= {"by": choose["by"]} if "by" in choose else {}
    without = dict.fromkeys(forced)
    return Experiment(
        name=path.stem,
        about=about,
        recipe=_recipe(path, content["recipe"]),
        seeds=_values("seeds", content["seeds"]),
        settings=_placed(path, flat(_table("settings", content.get("settings", {})))) | forced,
        methods=tuple(_method(path, *each, without) for each in _table("methods", content["methods"]).items()),
        grids=tuple(_grid(path, grid, without) for grid in grids),
        choose=tuple(each for each in _values("choose.over", choose.get("over", [])) if each not in without),
        forced=tuple(forced),
        **given,
    )


def _recipe(path: Path, recipe: Any) -> str:
    """Return a recipe that lies beside the experiment with its whole path, or its name."""
    if not isinstance(recipe, str):
        raise ValueError(f"recipe: expected a name or a file, got {recipe!r}")
    beside = path.parent / recipe
    return str(beside.resolve()) if beside.is_file() else recipe


def _method(path: Path, name: str, content: Any, without: Mapping[str, None]) -> Method:
    content = dict(_table(f"methods.{name}", content))
    try:
        check_known([key.partition(".")[0] for key in content], _METHOD_KEYS)
    except ValueError as error:
        raise ValueError(f'methods."{name}": {error}') from None
    about = {key: content.pop(key) for key in _OF_METHODS if key in content}
    settings = {setting: value for setting, value in _placed(path, flat(content)).items() if setting not in without}
    return Method(name=name, settings=settings, **about)


def _grid(path: Path, content: Any, without: Mapping[str, None]) -> dict[str, tuple[Any, ...]]:
    axes = {name: _values(f"grid.{name}", each) for name, each in flat(_table("grid", content)).items()}
    return {
        name: tuple(_placed(path, {name: value})[name] for value in values)
        for name, values in axes.items()
        if name not in without
    }


def _placed(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with whole paths: those of an experiment's file are relative to it."""
    placed = {}
    for setting, value in settings.items():
        section, _, last = setting.removeprefix(TEACHER_RUN).rpartition(".")
        content = {section: {last: value}}
        place_paths(content, path.parent)
        placed[setting] = content[section][last]
    return placed


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a section [{name}], got {value!r}")
    return value


def _values(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list, got {value!r}")
    return tuple(value)
