"""Rates of a cut map, each a formula over its counts, and what is reduced from them over thresholds.

A formula takes ``(xp, hits, alarms, foreground, pixels)``: pixels predicted salient that are, and that are not, pixels
that are salient, and all pixels. They are floating arrays of shapes that broadcast (pixels may be a Python number), of
one image, of many, or summed over a data set. Each counts whole pixels, so that a denominator is 0 or at least 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamic_kd._array import Array, Namespace
from dynamic_kd.metrics._reduce import reduced
from dynamic_kd.metrics._statistics import Counts
from dynamic_kd.metrics._statistics._interface import CutStatistics, column

BETA_SQUARED = 0.3

Rate = Callable[[Namespace, Any, Any, Any, Any], Any]


def share(xp: Namespace, part: Array, whole: Array) -> Array:
    """Part of a whole number; 0 of nothing."""
    return part / xp.maximum(whole, xp.ones_like(whole))


def _precision(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return share(xp, hits, hits + alarms)


def _recall(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return share(xp, hits, foreground)


def _specificity(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    background = pixels - foreground
    return share(xp, background - alarms, background)


def _false_positive_rate(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return share(xp, alarms, pixels - foreground)


def _intersection_over_union(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return share(xp, hits, foreground + alarms)


def _dice(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return share(xp, 2 * hits, foreground + hits + alarms)


def _balanced_error_rate(xp: Namespace, *counts: Any) -> Any:
    return 1 - (_recall(xp, *counts) + _specificity(xp, *counts)) / 2


def _overall_accuracy(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    return (hits + (pixels - foreground - alarms)) / pixels


def _kappa(xp: Namespace, hits: Any, alarms: Any, foreground: Any, pixels: Any) -> Any:
    # (accuracy - chance) / (1 - chance) over a common denominator: whole numbers, where nothing cancels.
    background, predicted = pixels - foreground, hits + alarms
    agreement = hits * (background - alarms) - alarms * (foreground - hits)
    return share(xp, 2 * agreement, predicted * background + foreground * (pixels - predicted))


def f_rate(xp: Namespace, *counts: Any, beta_squared: float = BETA_SQUARED) -> Any:
    """F-measure; 0 where nothing is hit."""
    precision, recall = _precision(xp, *counts), _recall(xp, *counts)
    weighted = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / xp.where(weighted > 0, weighted, xp.ones_like(weighted))


RATES: dict[str, Rate] = {
    "precision": _precision,
    "recall": _recall,
    "specificity": _specificity,
    "false_positive_rate": _false_positive_rate,
    "intersection_over_union": _intersection_over_union,
    "dice": _dice,
    "balanced_error_rate": _balanced_error_rate,
    "overall_accuracy": _overall_accuracy,
    "kappa": _kappa,
    "f_measure": f_rate,
}


def rate_values(statistics: CutStatistics, rate: str | Rate, reduce: str) -> Array:
    """One of `RATES`, or a formula like them, from statistics."""
    formula = RATES[rate] if isinstance(rate, str) else rate

    def value(statistics: CutStatistics, counts: Counts) -> Array:
        return formula(statistics.xp, *counts, statistics.foreground[:, None], column(statistics.pixels))

    return reduced(statistics, value, reduce)
