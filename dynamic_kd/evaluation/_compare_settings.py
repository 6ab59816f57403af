"""Settings of a comparison, from a file or from the command line, checked in one place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dynamic_kd._checks import check_choice, check_flag, check_whole
from dynamic_kd.metrics._sod_metrics import EMPTY_TARGET

MOST_RESAMPLES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is scored, how, and what is made of it.

    Attributes
    ----------
    normalize, strict, empty_target
        As for `SODMetrics`.
    metrics
        Names of the metrics to compute, as for `SODMetrics`; None for its default.
    scores
        Scores in the printed tables, in the ranks and in the tests; None for the nine that papers print.
    allow_missing
        Leave out maps, masks and whole data sets that are missing, and count them, instead of refusing.
    strict_size
        Refuse a map whose size is not its mask's, instead of resizing it.
    resamples
        Bootstrap resamples for intervals and tests, 0 for none.
    seed
        Seed of the bootstrap.
    reference
        Method that all others are tested against, where it has maps; None for all pairs.
    grid
        Images of the visual comparison: their stems, or ``"worst:8"``; None for no grid.
    paper
        Show the numbers of the paper's Table 1 beside.

    Raises
    ------
    ValueError, TypeError
        A setting out of range.

    Examples
    --------
    >>> settings = CompareSettings(scores=["maxF", "MAE"], grid="worst:8")
    >>> settings.scores, settings.resamples
    (('maxF', 'MAE'), 2000)
    """

    normalize: bool = True
    strict: bool = False
    empty_target: str = "count"
    metrics: Sequence[str] | None = None
    scores: Sequence[str] | None = None
    allow_missing: bool = False
    strict_size: bool = False
    resamples: int = 2000
    seed: int = 0
    reference: str | None = None
    grid: str | Sequence[str] | None = None
    paper: bool = False

    def __post_init__(self) -> None:
        for name in ("normalize", "strict", "allow_missing", "strict_size", "paper"):
            check_flag(name, getattr(self, name))
        check_choice("empty_target", self.empty_target, EMPTY_TARGET)
        check_whole("resamples", self.resamples, low=0, high=MOST_RESAMPLES)
        check_whole("seed", self.seed, low=0, high=2**63 - 1)
        for name in ("metrics", "scores"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _names(name, getattr(self, name)))
        if self.reference is not None and not isinstance(self.reference, str):
            raise TypeError(f"reference: expected the name of a method, got {self.reference!r}")
        if self.grid is not None:
            grid_request(self.grid)


def grid_request(grid: str | Sequence[str]) -> int | tuple[str, ...]:
    """Return how many of the worst images a grid shows, or the stems of the images chosen for it."""
    if not isinstance(grid, str):
        return _names("grid", grid)
    worst = re.fullmatch(r"worst:([1-9][0-9]{0,3})", grid)
    if worst:
        return int(worst[1])
    if grid.startswith("worst"):
        raise ValueError(f"grid: expected worst:N with N from 1 to 9999, got {grid!r}; write for example worst:8")
    return _names("grid", grid.split(","))


def _names(name: str, value: Any) -> tuple[str, ...]:
    """Return a list of names without blanks, each once."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{name}: expected a list of names, got {value!r} ({type(value).__name__})")
    names = tuple(dict.fromkeys(item.strip() for item in value))
    if not names or "" in names:
        raise ValueError(f"{name}: expected at least one name and none empty, got {list(value)!r}")
    return names
