"""What an experiment compares: methods on a grid of settings and seeds, and by what the results are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.experiments._paper import PAPER_TABLES
from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd.training._recipe import BEST
from dynamic_kd.training._section_checks import check_name, check_text

Settings = Mapping[str, Any]
Point = tuple[tuple[str, Any], ...]

SCORES = ("maxF", "meanF", "wF", "Sm", "maxE", "MAE")
# Settings that are no recipe's: how far the shared teacher had come, and what is different in the run that trains it.
TEACHER_EPOCH, TEACHER_RUN = "teacher_epoch", "teacher_run."


@dataclass(frozen=True, kw_only=True)
class Method:
    """One of the things that are compared.

    Attributes
    ----------
    name : str
        As tables print it.
    settings : dict
        Dotted settings of the recipe, such as ``{"loss.weighting": 0.5}``.
    fixed : bool
        One of those that the others are measured against: of several, such as the fixed weights, the best.
    paper : str, optional
        The column of the paper's table that this is.
    """

    name: str
    settings: Settings = field(default_factory=dict)
    fixed: bool = False
    paper: str | None = None

    def __post_init__(self) -> None:
        check_flag(f"methods.{self.name}.fixed", self.fixed)
        check_text(f"methods.{self.name}.paper", self.paper, optional=True)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Runs of one recipe under every method, at every point of a grid, with every seed.

    Attributes
    ----------
    name : str
        Names the experiment.
    about : str
        A sentence on what it asks.
    recipe : str
        The recipe of all runs: a file, or the name of one that comes with the package.
    seeds : tuple of int
        Of the runs.
    settings : dict
        Dotted settings of every run.
    methods : tuple of Method
        What is compared.
    grids : tuple of dict
        Each from dotted settings to the values that they take: every combination of one grid is a point. The setting
        ``teacher_epoch`` takes epochs of the teacher that the runs share, and ``teacher_run.data.spoilt_share`` and
        the like are settings of the run that trains it alone.
    choose : tuple of str
        Settings of the grid that are tuned: of each method at each other point, the values that are best on the
        choosing images (``Data.validation``) go into the table, scored on the reporting images (``Data.report``).
    by : str
        The score that decides the choice, and the order of the figures.
    scores : tuple of str
        Columns of the table.
    axis : str, optional
        The setting that the figure has on its horizontal axis; by default the first that is not tuned.
    paper_table : int, optional
        The paper's table that methods' columns (``Method.paper``) are of.
    resamples : int
        Of the bootstrap.
    bootstrap_seed : int
        Of the bootstrap.
    file : str
        What it was read from, which errors name; by default its name.
    forced : tuple of str
        Those of ``settings`` that the command line has put over the file's.
    """

    name: str
    about: str = ""
    recipe: str
    seeds: tuple[int, ...]
    settings: Settings = field(default_factory=dict)
    methods: tuple[Method, ...]
    grids: tuple[Mapping[str, tuple[Any, ...]], ...] = ({},)
    choose: tuple[str, ...] = ()
    by: str = "maxF"
    scores: tuple[str, ...] = SCORES
    axis: str | None = None
    paper_table: int | None = None
    resamples: int = 20_000
    bootstrap_seed: int = 0
    file: str = ""
    forced: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        for seed in self.seeds:
            check_whole("seeds", seed, low=0)
        check_whole("resamples", self.resamples, low=1)
        check_whole("bootstrap_seed", self.bootstrap_seed, low=0)
        check_choice("choose.by", self.by, BEST)
        for score in self.scores:
            check_choice("scores", score, BEST)
        if self.paper_table is not None and self.paper_table not in PAPER_TABLES:
            raise ValueError(
                f"paper_table: expected one of {', '.join(map(str, PAPER_TABLES))}, got {self.paper_table!r}"
            )
        self._check_filled()
        self._check_axes()
        self._check_seeds()

    def _check_filled(self) -> None:
        for name in ("seeds", "methods", "grids", "scores"):
            values = getattr(self, name)
            known = [value.name if isinstance(value, Method) else value for value in values]
            if not values or any(known.count(value) > 1 for value in known):
                raise ValueError(f"{name}: expected at least one, and each once, got {known}")

    def _check_axes(self) -> None:
        for grid in self.grids:
            for setting, values in grid.items():
                if not values:
                    raise ValueError(f"grid.{setting}: expected values, got none; leave the setting out")
                for value in values:
                    if isinstance(value, (list, dict)):
                        raise ValueError(
                            f"grid.{setting}: expected numbers, words or flags, got {value!r}; make methods of them"
                        )
        for name, settings in (("choose", self.choose), ("axis", (self.axis,) if self.axis else ())):
            for setting in settings:
                if setting not in self.axes:
                    listed = ", ".join(self.axes) or "none"
                    raise ValueError(f"{name}: expected a setting of the grid ({listed}), got {setting}")

    def _check_seeds(self) -> None:
        """Raise where a seed is said as a setting, which seeds would replace."""
        said = {"settings": self.settings, "grid": self.axes}
        said |= {f'methods."{method.name}"': method.settings for method in self.methods}
        for place, settings in said.items():
            if "seed" in settings:
                raise ValueError(
                    f"{place}.seed: expected the runs' seeds as seeds = [...], got a setting; leave it out"
                )

    @property
    def axes(self) -> tuple[str, ...]:
        """Settings that vary over the grid."""
        return tuple(dict.fromkeys(setting for grid in self.grids for setting in grid))

    def points(self) -> list[Point]:
        """Return the points of all grids, each once, in their order."""
        combinations = (zip(grid, values, strict=True) for grid in self.grids for values in product(*grid.values()))
        return list(dict.fromkeys(tuple(each) for each in combinations))

    def group(self, point: Point) -> Point:
        """Return what is left of a point without the settings that are tuned."""
        return tuple((setting, value) for setting, value in point if setting not in self.choose)

    def tuned(self, point: Point) -> Point:
        """Return the part of a point that is tuned."""
        return tuple((setting, value) for setting, value in point if setting in self.choose)


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as dotted settings."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def short(setting: str, among: tuple[str, ...]) -> str:
    """Return the last word of a dotted setting, or the whole where another ends in the same."""
    last = setting.rpartition(".")[2]
    return last if sum(each.rpartition(".")[2] == last for each in among) == 1 else setting


def described(point: Point, among: tuple[str, ...]) -> str:
    """Return a point in words: ``learning_rate=0.01, spoil_share=0.3``."""
    return ", ".join(f"{short(setting, among)}={value}" for setting, value in point)
