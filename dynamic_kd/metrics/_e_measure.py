"""Enhanced-alignment measure over thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from dynamic_kd._array import Array
from dynamic_kd._checks import check_flag
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Measure, peaks, threshold_scores
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Counts, Statistics
from dynamic_kd.metrics._statistics._interface import EPSILON, column
from dynamic_kd.metrics._threshold_measures import check_reduce, reduced


@array_support(gradient=False, traced=True, gpu="kernels")
def e_measure(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    strict: bool = False,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Enhanced-alignment measure of a saliency map cut at each of 256 thresholds.

    With φ_P, φ_G the cut map and the mask minus their means,

    .. math:: E = \frac{1}{N - 1} \sum \frac{(1 + \xi)^2}{4}, \qquad
        \xi = \frac{2 \varphi_P \varphi_G}{\varphi_P^2 + \varphi_G^2}

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    reduce
        ``"curve"`` for the thresholds k / 255, k = 0 to 255 ascending, ``"max"``, ``"min"`` or ``"mean"`` over each
        image's own curve, ``"adaptive"`` for the single threshold min(2 · mean(pred), 1), ``"binary"`` for the pixels
        above one half.
    strict
        Cut with ``>``, as the original MATLAB code does, instead of ``>=``, as PySODMetrics does. For maps that reach
        both 0 and 255 only the adaptive value changes, by about 0.02 on average.

    Returns
    -------
    array
        Values in [0, N / (N - 1)]: shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, and for settings out of range.

    Notes
    -----
    The original divides by N - 1, so a perfect map of N pixels scores N / (N - 1), slightly above 1. An image of one
    pixel divides by 1. For an empty target E is the share of pixels below the threshold, for a full target the share
    that reaches it.

    References
    ----------
    Fan, Gong, Cao, Ren, Cheng and Borji, Enhanced-alignment Measure for Binary Foreground Map Evaluation, IJCAI 2018.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((8, 8), bool)
    >>> target[2:6, 2:6] = True
    >>> round(float(e_measure(target.astype(float), target, reduce="adaptive")), 6)  # 64 / 63
    1.015873
    """
    check_reduce(reduce)
    check_flag("strict", strict)

    def formula(statistics: Statistics) -> Array:
        return e_values(statistics, reduce, strict=strict)

    return scored(formula, pred, target, **settings)


def e_values(statistics: Statistics, reduce: str, *, strict: bool) -> Array:
    """E-measure from statistics."""
    return reduced(statistics, _alignment, reduce, strict=strict)


def _alignment(statistics: Statistics, counts: Counts) -> Array:
    """Sum the enhanced alignment over the four combinations of cut and mask."""
    xp = statistics.xp
    pixels = column(statistics.pixels)
    salient = statistics.foreground[:, None]
    hits, alarms = counts
    kept = hits + alarms
    cut = pixels - kept
    misses = salient - hits
    p, g = kept / pixels, salient / pixels
    total = (
        hits * _enhanced(1 - p, 1 - g)
        + alarms * _enhanced(1 - p, -g)
        + misses * _enhanced(-p, 1 - g)
        + (cut - misses) * _enhanced(-p, -g)
    )
    total = xp.where(salient == 0, cut, total)
    total = xp.where(salient == pixels, kept, total)
    return total / (pixels - 1 + (pixels == 1))


def _enhanced(p: Array, g: Array) -> Array:
    """Enhanced alignment (1 + ξ)² / 4 of a pixel with deviations p and g."""
    return (2 * p * g / (p * p + g * g + EPSILON) + 1) ** 2 / 4


def _curves(statistics: Statistics, strict: bool) -> Sequence[Array]:
    return [e_values(statistics, "curve", strict=strict)]


def _numbers(statistics: Statistics, curves: Sequence[Array], strict: bool) -> Sequence[Array]:
    return [*peaks(statistics.xp, curves[0]), e_values(statistics, "adaptive", strict=strict)]


MEASURE = Measure(
    threshold_scores("E", "E", r"E_\phi", "e_measure", single=("adp",)), _numbers, ("e_measure",), _curves
)
