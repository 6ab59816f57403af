"""What a metric with a threshold returns for each image."""

from __future__ import annotations

from collections.abc import Callable

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice
from dynamic_kd.metrics._statistics import Counts, Statistics

REDUCTIONS = ("curve", "max", "mean", "adaptive")


def check_reduce(reduce: str) -> None:
    """Raise unless ``reduce`` is one of `REDUCTIONS`."""
    check_choice("reduce", reduce, REDUCTIONS)


def reduced(
    statistics: Statistics, value: Callable[[Statistics, Counts], Array], reduce: str, *, strict: bool = False
) -> Array:
    """Evaluate ``value`` at the fixed thresholds, or at the adaptive one, and reduce it over thresholds."""
    if reduce == "adaptive":
        counts = statistics.adaptive_counts(strict=strict)
        columns = Counts(*(each[:, None] for each in counts))
        return value(statistics, columns)[:, 0]
    curve = value(statistics, statistics.threshold_counts(strict=strict))
    if reduce == "curve":
        return curve
    return (statistics.xp.max if reduce == "max" else statistics.xp.mean)(curve, axis=-1)
