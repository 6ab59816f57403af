"""Size-invariant measures: every object of an image counts alike, however small."""

from __future__ import annotations

from functools import partial
from typing import Any, Unpack

import numpy as np

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice, check_number
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, pixel_curve, single_pixel_value, threshold_scores
from dynamic_kd.metrics._f_measure import BETA_SQUARED, f_rate
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored_from_pixels
from dynamic_kd.metrics._statistics import Floats, Mask, ObjectStatistics, object_boxes
from dynamic_kd.metrics._threshold_measures import RATES, Rate, check_reduce, rate_values

OBJECT_RATES = {**RATES, "f_measure": f_rate}


@array_support(gradient=False, traced=False, gpu="copied")
def size_invariant_f_measure(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    beta_squared: float = BETA_SQUARED,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""F-measure of each object by itself, averaged over the image's objects.

    .. math:: \mathrm{SI\text{-}F} = \frac{1}{K} \sum_{k=1}^{K} F_\beta(S \odot B_k, G \odot B_k)

    B_k is the box around the mask's k-th object. Outside the box, map and mask are taken as 0.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    reduce
        ``"curve"`` for the thresholds k / 255, k = 0 to 255 ascending. ``"max"``, ``"min"`` or ``"mean"`` over the
        image's own curve, which is averaged over objects first. ``"adaptive"`` for one threshold for each box: twice
        the sum of the map inside the box, divided by the pixels of the whole image, at most 1. ``"binary"`` for the
        pixels above one half.
    beta_squared
        Weight of precision against recall, above 0; papers use 0.3.

    Returns
    -------
    array
        Values in [0, 1]: shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, for settings out of range, and for traced arrays.

    Notes
    -----
    Objects are 4-connected regions of at least 50 pixels; if none is that large, the largest ones. Boxes may overlap,
    and other objects inside a box count as salient. An image without objects is scored whole. These are PySODMetrics'
    rules, but it holds about 60 objects at most and raises for a full target. It also averages over the objects of an
    image before the images; with ``sample_based=False`` it averages curves over the objects of all images at once.
    Arrays on other devices are copied to the CPU.

    References
    ----------
    Li et al., Size-invariance Matters: Rethinking Metrics and Losses for Imbalanced Multi-object Salient Object
    Detection, ICML 2024.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((40, 40), dtype=bool)
    >>> target[2:30, 2:30] = target[32:40, 32:40] = True
    >>> pred = target * 1.0
    >>> pred[32:, 32:] = 0.0  # the small object is missed
    >>> float(size_invariant_f_measure(pred, target, reduce="binary"))
    0.5
    """
    check_number("beta_squared", beta_squared, low=0, exclusive_low=True)
    return _mean_over_objects(partial(f_rate, beta_squared=beta_squared), pred, target, reduce, **settings)


@array_support(gradient=False, traced=False, gpu="copied")
def size_invariant_rate(
    pred: Array,
    target: Array,
    rate: str,
    *,
    reduce: str = "curve",
    **settings: Unpack[InputSettings],
) -> Array:
    """Any rate over thresholds of each object by itself, averaged over the image's objects.

    As `size_invariant_f_measure`, with another rate in place of F. Pixels outside an object's box count as background
    that is predicted correctly, which makes `specificity` and `overall_accuracy` large.

    Parameters
    ----------
    pred, target, reduce, normalize, quantize, check, salient, void
        As for `size_invariant_f_measure`.
    rate
        ``"precision"``, ``"recall"``, ``"specificity"``, ``"false_positive_rate"``, ``"intersection_over_union"``,
        ``"dice"``, ``"balanced_error_rate"``, ``"overall_accuracy"``, ``"kappa"`` or ``"f_measure"``.

    Returns
    -------
    array
        Shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `size_invariant_f_measure`.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((40, 40), dtype=bool)
    >>> target[2:30, 2:30] = target[32:40, 32:40] = True
    >>> float(size_invariant_rate(target * 1.0, target, "dice", reduce="max"))
    1.0
    """
    check_choice("rate", rate, OBJECT_RATES)
    return _mean_over_objects(OBJECT_RATES[rate], pred, target, reduce, **settings)


@array_support(gradient=False, traced=False, gpu="copied")
def size_invariant_mean_absolute_error(pred: Array, target: Array, **settings: Unpack[InputSettings]) -> Array:
    r"""Mean absolute error of each object's box and of what lies outside of all, averaged.

    .. math:: \mathrm{SI\text{-}MAE} = \frac{1}{K + \alpha} \left( \alpha M(B_0) + \sum_{k=1}^{K} M(B_k) \right),
        \qquad \alpha = \frac{\lvert B_0 \rvert}{N - \lvert B_0 \rvert}

    M(B) is the mean error in B: the box B_k around the k-th object, or the pixels B_0 in no box. N counts all pixels.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.

    Returns
    -------
    array
        Errors in [0, 1], lower is better: shape (B,), or () for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, and for traced arrays.

    Notes
    -----
    `size_invariant_f_measure` describes objects and boxes. An image without objects has the plain mean absolute error.
    Where boxes cover the whole image, only the boxes count; PySODMetrics gives NaN there.

    References
    ----------
    Li et al., Size-invariance Matters: Rethinking Metrics and Losses for Imbalanced Multi-object Salient Object
    Detection, ICML 2024.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((10, 10), dtype=bool)
    >>> target[:, :5] = True  # the box is one half of the image, and so is the rest
    >>> float(size_invariant_mean_absolute_error(np.zeros((10, 10)), target))
    0.5
    """
    return scored_from_pixels(object_error, pred, target, **settings)


def object_error(x: Floats, target: Mask) -> float:
    """Size-invariant mean absolute error of one normalised prediction."""
    errors = np.abs(x - target)
    boxes = object_boxes(target)
    if not boxes:
        return float(errors.mean())
    covered = np.zeros(target.shape, bool)
    for box in boxes:
        covered[box] = True
    inside = np.count_nonzero(covered)
    outside = errors.size - inside
    total = errors[~covered].sum() / inside + sum(errors[box].mean() for box in boxes)
    return float(total / (len(boxes) + outside / inside))


def _mean_over_objects(rate: Rate, pred: Array, target: Array, reduce: str, **settings: Unpack[InputSettings]) -> Array:
    check_reduce(reduce)
    return scored_from_pixels(partial(object_rate, rate=rate, reduce=reduce), pred, target, **settings)


def object_rate(x: Floats, target: Mask, *, rate: Rate, reduce: str) -> Any:
    """Mean of a rate over one normalised prediction's objects; a curve is reduced after that."""
    single = reduce in ("adaptive", "binary")
    values = rate_values(ObjectStatistics(x, target), rate, reduce if single else "curve").mean(axis=0)
    return values if single or reduce == "curve" else getattr(np, reduce)(values)


MEASURES = (
    pixel_curve(
        threshold_scores("SI-F", "SI-F", r"\mathrm{SI{-}F}_\beta", "size_invariant_f_measure"),
        partial(object_rate, rate=f_rate),
    ),
    single_pixel_value(Score("SI-MAE", r"\mathrm{SI{-}MAE}", metric="SI-MAE", higher_is_better=False), object_error),
)
