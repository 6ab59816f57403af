"""What a metric with a threshold returns for each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice
from dynamic_kd.metrics._statistics import Counts
from dynamic_kd.metrics._statistics._interface import CutStatistics

REDUCTIONS = ("curve", "max", "min", "mean", "adaptive", "binary")

Cuts = TypeVar("Cuts", bound=CutStatistics)


def check_reduce(reduce: str) -> None:
    """Raise unless ``reduce`` is one of `REDUCTIONS`."""
    check_choice("reduce", reduce, REDUCTIONS)


def reduced(statistics: Cuts, value: Callable[[Cuts, Counts], Array], reduce: str, *, strict: bool = False) -> Array:
    """Evaluate ``value`` at the fixed thresholds and reduce it over them, or at the adaptive one, or at one half."""
    if reduce in ("adaptive", "binary"):
        counts = statistics.binary_counts() if reduce == "binary" else statistics.adaptive_counts(strict=strict)
        columns = Counts(*(each[:, None] for each in counts))
        return value(statistics, columns)[:, 0]
    curve = value(statistics, statistics.threshold_counts(strict=strict))
    return curve if reduce == "curve" else getattr(statistics.xp, reduce)(curve, axis=-1)
