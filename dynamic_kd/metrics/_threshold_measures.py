"""Nine rates of a saliency map cut at a threshold, each declared once: formula, scores and documentation.

A formula takes ``(xp, tp, fp, fn, tn)``: true positives, false positives, false negatives and true negatives. They are
floating arrays of shapes that broadcast, of one image, of many, or summed over a data set. All are whole numbers, so a
denominator is 0 or at least 1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Measure, Range, Score, peaks, threshold_scores
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Counts, Statistics
from dynamic_kd.metrics._statistics._interface import CutStatistics, column

Rate = Callable[[Namespace, Any, Any, Any, Any], Any]
Function = TypeVar("Function", bound=Callable[..., Array])
Cuts = TypeVar("Cuts", bound=CutStatistics)

REDUCTIONS = ("curve", "max", "min", "mean", "adaptive", "binary")

RATES: dict[str, Rate] = {}
"""Formulas by the names of their functions."""
MEASURES: list[Measure] = []
"""What `SODMetrics` computes of them."""

_SECTIONS = """Parameters
----------
pred, target, normalize, quantize, check, salient, void
    As for `mean_absolute_error`.
reduce
    Where the map is cut. ``"curve"``: where it is at least the threshold k / 255, k = 0 to 255 ascending. ``"max"``,
    ``"min"`` or ``"mean"``: the same, reduced over each image's own curve. ``"adaptive"``: where it is at least
    min(2 · mean(pred), 1). ``"binary"``: where it is above one half.

Returns
-------
array
    Values in [{low:g}, {high:g}]: shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

Raises
------
ValueError, TypeError
    As for `mean_absolute_error`, and for an unknown ``reduce``.

{references}Examples
--------
>>> import numpy as np
>>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
>>> target = np.array([[False, True], [True, True]])
>>> round(float({name}(pred, target, reduce="binary")), 4)
{example}
"""


def check_reduce(reduce: str) -> None:
    """Raise unless ``reduce`` is one of `REDUCTIONS`."""
    check_choice("reduce", reduce, REDUCTIONS)


def reduced(statistics: Cuts, value: Callable[[Cuts, Counts], Array], reduce: str, *, strict: bool = False) -> Array:
    """Evaluate ``value`` at the fixed thresholds and reduce it over them, or at the adaptive one, or at one half."""
    if reduce in ("adaptive", "binary"):
        counts = statistics.binary_counts() if reduce == "binary" else statistics.adaptive_counts(strict=strict)
        columns = Counts(*(count[:, None] for count in counts))
        return value(statistics, columns)[:, 0]
    curve = value(statistics, statistics.threshold_counts(strict=strict))
    return curve if reduce == "curve" else getattr(statistics.xp, reduce)(curve, axis=-1)


def confusion(statistics: CutStatistics, counts: Counts) -> tuple[Array, Array, Array, Array]:
    """True positives, false positives, false negatives and true negatives of cuts, each of shape (B, cuts)."""
    tp, fp = counts
    salient = statistics.foreground[:, None]
    return tp, fp, salient - tp, column(statistics.pixels) - salient - fp


def rate_values(statistics: CutStatistics, rate: Rate, reduce: str) -> Array:
    """A rate from statistics."""

    def value(statistics: CutStatistics, counts: Counts) -> Array:
        return rate(statistics.xp, *confusion(statistics, counts))

    return reduced(statistics, value, reduce)


def _declare(
    rate: Rate,
    metric: str,
    symbol: str,
    *,
    example: float,
    higher_is_better: bool = True,
    bounds: Range = (0.0, 1.0),
) -> Callable[[Function], Function]:
    """Declare the rate that a function computes: list it, and complete the function's docstring."""

    def declared(function: Function) -> Function:
        name = function.__name__
        RATES[name] = rate
        suffix = metric[0].upper() + metric[1:]
        scores = threshold_scores(metric, suffix, symbol, name, higher_is_better=higher_is_better, bounds=bounds)
        MEASURES.append(_measure(rate, scores, name))
        text, heading, references = inspect.cleandoc(function.__doc__ or "").partition("References\n")
        low, high = bounds
        sections = _SECTIONS.format(
            name=name, low=low, high=high, example=example, references=f"{heading}{references}\n\n" if heading else ""
        )
        function.__doc__ = f"{text.rstrip()}\n\n{sections}"
        return array_support(gradient=False, traced=True, gpu="kernels")(function)

    return declared


def _measure(rate: Rate, scores: tuple[Score, ...], name: str) -> Measure:
    def numbers(statistics: Statistics, curves: Sequence[Array], strict: bool) -> Sequence[Array]:
        single = [rate_values(statistics, rate, reduce) for reduce in ("adaptive", "binary")]
        return [*peaks(statistics.xp, curves[0]), *single]

    return Measure(scores, numbers, (name,), lambda statistics, strict: [rate_values(statistics, rate, "curve")], True)


def _scored(rate: Rate, pred: Array, target: Array, reduce: str, settings: InputSettings) -> Array:
    check_reduce(reduce)
    return scored(lambda statistics: rate_values(statistics, rate, reduce), pred, target, **settings)


def _share(xp: Namespace, part: Array, whole: Array) -> Array:
    """Part of a whole number; 0 of nothing."""
    return part / xp.maximum(whole, xp.ones_like(whole))


def _precision(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, tp, tp + fp)


@_declare(_precision, "precision", "P", example=1.0)
def precision(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Share of the pixels predicted salient that are salient.

    .. math:: P = \frac{TP}{TP + FP}

    It is 0 where nothing is predicted.
    """
    return _scored(_precision, pred, target, reduce, settings)


def _recall(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, tp, tp + fn)


@_declare(_recall, "recall", "R", example=0.6667)
def recall(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Share of the salient pixels that are predicted salient (sensitivity, true positive rate).

    .. math:: R = \frac{TP}{TP + FN}

    It is 0 for an empty target.
    """
    return _scored(_recall, pred, target, reduce, settings)


def _specificity(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, tn, tn + fp)


@_declare(_specificity, "specificity", r"\mathrm{Spec}", example=1.0)
def specificity(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Share of the background that is not predicted salient (true negative rate).

    .. math:: \frac{TN}{TN + FP}

    It is 0 for a target without background.
    """
    return _scored(_specificity, pred, target, reduce, settings)


def _false_positive_rate(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, fp, fp + tn)


@_declare(_false_positive_rate, "FPR", r"\mathrm{FPR}", higher_is_better=False, example=0.0)
def false_positive_rate(
    pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]
) -> Array:
    r"""Share of the background that is predicted salient (fall-out).

    .. math:: \frac{FP}{FP + TN}

    Lower is better. It is 0 for a target without background.
    """
    return _scored(_false_positive_rate, pred, target, reduce, settings)


def _intersection_over_union(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, tp, tp + fp + fn)


@_declare(_intersection_over_union, "IoU", r"\mathrm{IoU}", example=0.6667)
def intersection_over_union(
    pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]
) -> Array:
    r"""Intersection over union of the cut map and its mask (Jaccard index).

    .. math:: \frac{TP}{TP + FP + FN}

    It is 0 where both are empty, as in PySODMetrics. The loss's `soft_iou` follows another rule.
    """
    return _scored(_intersection_over_union, pred, target, reduce, settings)


def _dice(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return _share(xp, 2 * tp, 2 * tp + fp + fn)


@_declare(_dice, "Dice", r"\mathrm{Dice}", example=0.8)
def dice(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Dice coefficient of the cut map and its mask: the F-measure with equal weights.

    .. math:: \frac{2 TP}{2 TP + FP + FN}

    It is 0 where both are empty.
    """
    return _scored(_dice, pred, target, reduce, settings)


def _balanced_error_rate(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return 1 - (_recall(xp, tp, fp, fn, tn) + _specificity(xp, tp, fp, fn, tn)) / 2


@_declare(_balanced_error_rate, "BER", r"\mathrm{BER}", higher_is_better=False, example=0.1667)
def balanced_error_rate(
    pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]
) -> Array:
    r"""Balanced error rate: the mean of the error rates on salient pixels and on background.

    .. math:: \mathrm{BER} = 1 - \frac{1}{2} \left( \frac{TP}{TP + FN} + \frac{TN}{TN + FP} \right)

    Lower is better: the best threshold's value is ``reduce="min"``. A class that the target lacks counts as missed
    entirely, as in PySODMetrics, so the value is at least one half for an empty or a full target. Some papers print it
    in percent.
    """
    return _scored(_balanced_error_rate, pred, target, reduce, settings)


def _overall_accuracy(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    return (tp + tn) / (tp + fp + fn + tn)


@_declare(_overall_accuracy, "OA", r"\mathrm{OA}", example=0.75)
def overall_accuracy(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Share of all pixels on which the cut map and its mask agree.

    .. math:: \frac{TP + TN}{TP + FP + TN + FN}
    """
    return _scored(_overall_accuracy, pred, target, reduce, settings)


def _kappa(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    # (accuracy - chance) / (1 - chance) over a common denominator: whole numbers, where nothing cancels.
    return _share(xp, 2 * (tp * tn - fp * fn), (tp + fp) * (fp + tn) + (tp + fn) * (tn + fn))


@_declare(_kappa, "kappa", r"\kappa", bounds=(-1.0, 1.0), example=0.5)
def kappa(pred: Array, target: Array, *, reduce: str = "curve", **settings: Unpack[InputSettings]) -> Array:
    r"""Cohen's kappa: agreement of the cut map and its mask beyond chance.

    .. math:: \kappa = \frac{p_o - p_e}{1 - p_e}, \qquad
        p_e = \frac{(TP + FP)(TP + FN) + (TN + FN)(TN + FP)}{(TP + FP + TN + FN)^2}

    with the overall accuracy :math:`p_o`. Agreement by chance gives 0, less agreement a negative value. It is 0 where
    map and mask are both empty, or both full. PySODMetrics 1.6.2 has TP in place of the last FP, which changes the
    value by 0.2 and more.

    References
    ----------
    Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20, 1960.
    """
    return _scored(_kappa, pred, target, reduce, settings)
