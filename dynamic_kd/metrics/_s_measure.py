"""Structure measure: object-aware and region-aware similarity."""

from __future__ import annotations

from typing import Unpack

from dynamic_kd._array import Array
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_value
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Moments, Statistics
from dynamic_kd.metrics._statistics._interface import EPSILON


@array_support(gradient=False, traced=True, gpu="kernels")
def s_measure(
    pred: Array,
    target: Array,
    *,
    alpha: float = 0.5,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Structure measure of a saliency map.

    .. math:: S = \alpha S_{object} + (1 - \alpha) S_{region}

    ``S_object`` rewards a uniform, bright foreground over a dark background. ``S_region`` is the area-weighted
    structural similarity (SSIM) of the four quadrants around the target's centroid.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    alpha
        Share of the object-aware part, in [0, 1]; papers use 0.5.

    Returns
    -------
    array
        Values in [0, 1], shape (B,), or () for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, and for settings out of range.

    Notes
    -----
    The centroid is counted from 1 and rounded half up, as MATLAB's round does. A mirrored image is therefore split
    elsewhere and scores slightly differently. A quadrant without pixels has weight 0, where the original gives NaN. An
    empty target scores 1 - mean(pred), a full target mean(pred). Negative sums become 0.

    References
    ----------
    Fan, Cheng, Liu, Li and Borji, Structure-measure: A New Way to Evaluate Foreground Maps, ICCV 2017.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((8, 8), bool)
    >>> target[2:6, 2:6] = True
    >>> round(float(s_measure(target.astype(float), target)), 6)
    1.0
    """
    check_number("alpha", alpha, low=0, high=1)

    def formula(statistics: Statistics) -> Array:
        return s_values(statistics, alpha=alpha)

    return scored(formula, pred, target, **settings)


def s_values(statistics: Statistics, *, alpha: float = 0.5) -> Array:
    """S-measure from statistics."""
    xp = statistics.xp
    salient, mean = statistics.foreground, statistics.mean
    value = alpha * _object(statistics) + (1 - alpha) * _region(statistics)
    value = xp.maximum(value, xp.zeros_like(value))
    value = xp.where(salient == 0, 1 - mean, value)
    return xp.where(salient == statistics.pixels, mean, value)


def _object(statistics: Statistics) -> Array:
    """Object-aware part: each class's mean over its deviation (sample standard deviation; of one pixel, 0)."""
    xp = statistics.xp
    moments = statistics.class_moments()
    count = moments.count
    background, foreground = 1 - moments.mean_x[:, 0], moments.mean_x[:, 1]
    mean = xp.stack([background, foreground], axis=1)
    deviation = xp.sqrt(moments.squares_x / xp.maximum(count - 1, xp.ones_like(count)))
    similarity = 2 * mean / (mean * mean + 1 + deviation + EPSILON)
    return xp.sum(similarity * count, axis=1) / statistics.pixels


def _region(statistics: Statistics) -> Array:
    """Region-aware part: SSIM of the quadrants, weighed by their areas."""
    moments = statistics.quadrant_moments()
    return statistics.xp.sum(_ssim(statistics, moments) * moments.count, axis=1) / statistics.pixels


def _ssim(statistics: Statistics, moments: Moments) -> Array:
    """Structural similarity; 1 where the denominator, and with it the numerator, is exactly 0."""
    xp = statistics.xp
    x, g = moments.mean_x, moments.mean_g
    freedom = xp.maximum(moments.count - 1, xp.ones_like(x))
    numerator = 4 * x * g * moments.products / freedom
    denominator = (x * x + g * g) * (moments.squares_x + moments.squares_g) / freedom
    value = numerator / (denominator + EPSILON)
    return xp.where(denominator == 0, xp.ones_like(value), value)


MEASURE = single_value(Score("Sm", r"S_\alpha", metric="S"), s_values, structural=True)
