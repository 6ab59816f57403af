"""An experiment as a TOML file: methods, a grid of settings, seeds, and how the methods are compared."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.experiments.paper import PAPER_TABLES

Settings = Mapping[str, Any]
Point = tuple[tuple[str, Any], ...]

PLANS = Path(__file__).parent / "plans"
DEFAULT_SCORES = ("maxF", "meanF", "wF", "Sm", "maxE", "MAE")
MEASURED = (*DEFAULT_SCORES, "adpF", "meanE", "adpE")
# Settings that no recipe has: the epoch at which a shared teacher teaches, and settings of the teacher's own run.
TEACHER_EPOCH, TEACHER_RUN = "teacher_epoch", "teacher_run."

_KEYS = (
    "recipe", "seeds", "settings", "methods", "grid", "choose", "scores", "axis", "paper_table", "resamples",
    "bootstrap_seed",
)  # fmt: skip
_NUMBERS = {"resamples": 1, "bootstrap_seed": 0}  # and their smallest values
_PATHS = ("data.root", "teacher.weights", "teacher.checkpoint", "student.weights")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One of the things to compare.

    Attributes
    ----------
    settings : dict
        Dotted settings of the recipe, such as ``{"loss.weighting": 0.5}``.
    fixed : bool
        A baseline, such as a fixed weight. The others are compared with the best of the baselines.
    paper : str, optional
        The column of the paper's table that this method corresponds to.
    """

    settings: Settings = field(default_factory=dict)
    fixed: bool = False
    paper: str | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Runs of one recipe with every method, at every point of a grid, with every seed.

    Attributes
    ----------
    name : str
        The file's name without its suffix.
    about : str
        The file's first comment: what the experiment asks.
    recipe : str
        The recipe of all runs: a file, or the name of a bundled one.
    seeds : tuple of int
        Seeds of the runs.
    settings : dict
        Dotted settings of every run.
    methods : dict
        From name to `Method`.
    grids : tuple of dict
        Each maps dotted settings to their values, and every combination of one grid is a point. ``teacher_epoch`` takes
        epochs of a teacher that the runs share; ``teacher_run.data.spoilt_share`` and the like are settings of the run
        that trains this teacher.
    choose : tuple of str
        Settings of the grid to tune. Each method at each other point takes the values that score best on the choosing
        images (``data.validation``), and is reported on the reporting images (``data.report``).
    by : str
        The score to choose by.
    scores : tuple of str
        Columns of the table.
    axis : str, optional
        The setting on the horizontal axis of the figure; by default the first one that is not tuned.
    paper_table : int, optional
        The paper's table that the methods' columns belong to.
    resamples, bootstrap_seed : int
        Of the bootstrap.
    overrides : tuple of str
        Those of ``settings`` that came from ``--set``, and replace what methods and grid say.
    """

    name: str
    about: str
    recipe: str
    seeds: tuple[int, ...]
    settings: Settings
    methods: Mapping[str, Method]
    grids: tuple[Mapping[str, tuple[Any, ...]], ...] = ({},)
    choose: tuple[str, ...] = ()
    by: str = "maxF"
    scores: tuple[str, ...] = DEFAULT_SCORES
    axis: str | None = None
    paper_table: int | None = None
    resamples: int = 20_000
    bootstrap_seed: int = 0
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("seeds", "methods", "grids", "scores"):
            values = list(getattr(self, name))
            if not values or any(values.count(value) > 1 for value in values):
                raise ValueError(f"{name}: expected at least one, and each once, got {values}")
        if not all(type(seed) is int and seed >= 0 for seed in self.seeds):
            raise ValueError(f"seeds: expected whole numbers of at least 0, got {list(self.seeds)}")
        for name, low in _NUMBERS.items():
            if type(getattr(self, name)) is not int or getattr(self, name) < low:
                raise ValueError(f"{name}: expected a whole number of at least {low}, got {getattr(self, name)!r}")
        for name, scores in (("choose.by", (self.by,)), ("scores", self.scores)):
            if unknown := [score for score in scores if score not in MEASURED]:
                raise ValueError(f"{name}: expected some of {', '.join(MEASURED)}, got {unknown[0]!r}")
        if self.paper_table not in (None, *PAPER_TABLES):
            raise ValueError(f"paper_table: expected 3, 4 or 5, got {self.paper_table!r}")
        for name, settings in (("choose", self.choose), ("axis", (self.axis,) if self.axis else ())):
            if unknown := [setting for setting in settings if setting not in self.axes]:
                axes = ", ".join(self.axes) or "none"
                raise ValueError(f"{name}: expected a setting of the grid ({axes}), got {unknown[0]!r}")
        places: dict[str, Iterable[str]] = {"settings": self.settings, "grid": self.axes}
        places |= {f'methods."{name}"': method.settings for name, method in self.methods.items()}
        for place, names in places.items():
            if "seed" in names:
                raise ValueError(f"{place}.seed: give the seeds of the runs as seeds = [...]")

    @property
    def axes(self) -> tuple[str, ...]:
        """Settings that vary over the grid."""
        return tuple(dict.fromkeys(setting for grid in self.grids for setting in grid))

    def points(self) -> list[Point]:
        """Return the points of all grids in order, each once."""
        combinations = (zip(grid, values, strict=True) for grid in self.grids for values in product(*grid.values()))
        return list(dict.fromkeys(tuple(each) for each in combinations))


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as dotted settings."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def short(setting: str, among: Iterable[str]) -> str:
    """Return the last word of a dotted setting, or the whole one if another setting ends in the same word."""
    last = setting.rpartition(".")[2]
    return last if sum(each.rpartition(".")[2] == last for each in among) == 1 else setting


def bundled_plans() -> dict[str, str]:
    """Return the experiments in ``plans``: from name to first comment."""
    return {file.stem: _about(file.read_text(encoding="utf-8")) for file in sorted(PLANS.glob("*.toml"))}


def read_experiment(experiment: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Read an experiment from a TOML file.

    Parameters
    ----------
    experiment : str or Path
        A file, or the name of one in ``plans``.
    overrides : iterable of str
        ``"seeds=[0, 1]"`` and the like replace what the file says of the experiment itself. Any other setting, such as
        ``"training.epochs=2"``, is one of every run and replaces what methods and grid say; ``"student.weights="``
        restores the recipe's default.

    Raises
    ------
    ValueError
        If there is no such experiment, if the file is not valid TOML, or if something in it is unknown or invalid.
    """
    path = Path(experiment)
    if not path.is_file():
        path = PLANS / f"{experiment}.toml"
        if not path.is_file():
            raise ValueError(f"{experiment}: no such file or plan; the plans are {', '.join(bundled_plans())}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected an experiment in TOML, got: {error}") from None
    forced: dict[str, Any] = {}
    for override in overrides:
        setting, value = _parsed(override)
        *tables, last = setting.split(".")
        if (tables or [last])[0] in _KEYS:
            reduce(lambda table, name: table.setdefault(name, {}), tables, content)[last] = value
        else:
            forced |= _whole(flat({setting: value}), Path.cwd())
    try:
        return _made(path, content, forced, _about(text))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def _parsed(override: str) -> tuple[str, Any]:
    """Return a setting and its value, written as ``section.name=VALUE``; None if nothing follows the ``=``."""
    setting, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not setting:
        raise ValueError(f"--set {override}: expected SETTING=VALUE, such as training.epochs=2")
    try:
        return setting, tomllib.loads(f"value = {text}")["value"] if text else None
    except tomllib.TOMLDecodeError:
        return setting, text


def _about(text: str) -> str:
    first = text.partition("\n")[0]
    return first.lstrip("# ") if first.startswith("#") else ""


def _made(path: Path, content: dict[str, Any], forced: dict[str, Any], about: str) -> Experiment:
    if unknown := [key for key in content if key not in _KEYS]:
        raise ValueError(f"{unknown[0]}: expected one of {', '.join(_KEYS)}")
    if missing := [key for key in ("recipe", "seeds", "methods") if key not in content]:
        raise ValueError(f"{missing[0]}: every experiment needs it")
    choose = _table("choose", content.get("choose", {}))
    if unknown := [key for key in choose if key not in ("over", "by")]:
        raise ValueError(f"choose.{unknown[0]}: expected over (settings of the grid) and by (a score)")
    grids = content.get("grid", {})
    given = {key: content[key] for key in ("paper_table", *_NUMBERS) if key in content}
    if content.get("axis") not in forced:
        given["axis"] = content.get("axis")
    return Experiment(
        name=path.stem,
        about=about,
        recipe=_recipe(path, content["recipe"]),
        seeds=_values("seeds", content["seeds"]),
        settings=_whole(flat(_table("settings", content.get("settings", {}))), path.parent) | forced,
        methods={
            name: _method(path, name, each, forced) for name, each in _table("methods", content["methods"]).items()
        },
        grids=tuple(_grid(path, grid, forced) for grid in (grids if isinstance(grids, list) else [grids])),
        choose=tuple(each for each in _values("choose.over", choose.get("over", [])) if each not in forced),
        by=choose.get("by", "maxF"),
        scores=_values("scores", content.get("scores", list(DEFAULT_SCORES))),
        overrides=tuple(forced),
        **given,
    )


def _recipe(path: Path, recipe: Any) -> str:
    """Return the path of a recipe that lies beside the experiment, or the recipe's name."""
    if not isinstance(recipe, str):
        raise ValueError(f"recipe: expected a name or a file, got {recipe!r}")
    beside = path.parent / recipe
    return str(beside.resolve()) if beside.is_file() else recipe


def _method(path: Path, name: str, content: Any, forced: Settings) -> Method:
    settings = dict(_table(f'methods."{name}"', content))
    fixed, paper = settings.pop("fixed", False), settings.pop("paper", None)
    if not isinstance(fixed, bool) or not isinstance(paper, str | None):
        raise ValueError(f'methods."{name}": expected fixed = true or false, and paper = "COLUMN"')
    own = {setting: value for setting, value in _whole(flat(settings), path.parent).items() if setting not in forced}
    return Method(settings=own, fixed=fixed, paper=paper)


def _grid(path: Path, content: Any, forced: Settings) -> dict[str, tuple[Any, ...]]:
    grid = {}
    for setting, value in flat(_table("grid", content)).items():
        values = _values(f"grid.{setting}", value)
        if not values or any(isinstance(each, list | dict) for each in values):
            raise ValueError(f"grid.{setting}: expected a list of numbers, words or flags, got {value!r}")
        if setting not in forced:
            grid[setting] = tuple(_whole({setting: each}, path.parent)[setting] for each in values)
    return grid


def _whole(settings: Settings, folder: Path) -> dict[str, Any]:
    """Return settings whose paths, relative to a folder, are absolute."""

    def whole(setting: str, value: Any) -> Any:
        setting = setting.removeprefix(TEACHER_RUN)
        is_path = setting in _PATHS or (setting == "teacher.maps" and re.search(r"[/\\]", str(value)))
        if not is_path or not isinstance(value, str) or value == "torchvision":
            return value
        return str((folder / Path(value).expanduser()).resolve())

    return {setting: whole(setting, value) for setting, value in settings.items()}


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a table, got {value!r}")
    return value


def _values(name: str, value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list, got {value!r}")
    return tuple(value)
