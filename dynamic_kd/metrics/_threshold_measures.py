"""Rates of a saliency map cut at a threshold; their formulas are in `_rates`."""

from __future__ import annotations

from typing import Any

from dynamic_kd._array import Array
from dynamic_kd._support import array_support
from dynamic_kd.metrics._functional import scored
from dynamic_kd.metrics._rates import rate_values
from dynamic_kd.metrics._reduce import check_reduce


@array_support(gradient=False, traced=True, gpu="kernels")
def precision(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Share of the pixels predicted salient that are.

    .. math:: P = \frac{TP}{TP + FP}

    It is 0 where nothing is predicted.

    Parameters
    ----------
    pred, target, normalize, quantize, check
        As for `mean_absolute_error`.
    reduce
        Where the map is cut: ``"curve"`` where it is at least the threshold k / 255, k = 0 to 255 ascending;
        ``"max"``, ``"min"`` or ``"mean"`` over each image's own curve; ``"adaptive"`` where it is at least
        min(2 · mean(pred), 1); ``"binary"`` where it is above one half.

    Returns
    -------
    array
        Values in [0, 1]: shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, and for an unknown ``reduce``.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [False, True]])
    >>> float(precision(pred, target, reduce="binary")), float(precision(pred, target)[0])
    (0.5, 0.5)
    """
    return _rate("precision", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def recall(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Share of the salient pixels that are predicted salient (sensitivity, true positive rate).

    .. math:: R = \frac{TP}{TP + FN}

    It is 0 for an empty target.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(recall(pred, target, reduce="binary")), 4)
    0.6667
    """
    return _rate("recall", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def specificity(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Share of the background that is not predicted salient (true negative rate).

    .. math:: \frac{TN}{TN + FP}

    It is 0 for a target without background.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(specificity(pred, target, reduce="binary")), 4)
    1.0
    """
    return _rate("specificity", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def false_positive_rate(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Share of the background that is predicted salient (fall-out).

    .. math:: \frac{FP}{FP + TN}

    Lower is better. It is 0 for a target without background.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(false_positive_rate(pred, target, reduce="binary")), 4)
    0.0
    """
    return _rate("false_positive_rate", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def intersection_over_union(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Intersection over union of the cut map and its mask (Jaccard index).

    .. math:: \frac{TP}{TP + FP + FN}

    It is 0 where both are empty, as in PySODMetrics; the paper's IoU of the loss (`soft_iou`) has a rule of its own.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(intersection_over_union(pred, target, reduce="binary")), 4)
    0.6667
    """
    return _rate("intersection_over_union", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def dice(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Dice coefficient of the cut map and its mask: the F-measure with equal weights.

    .. math:: \frac{2 TP}{2 TP + FP + FN}

    It is 0 where both are empty.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(dice(pred, target, reduce="binary")), 4)
    0.8
    """
    return _rate("dice", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def balanced_error_rate(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Balanced error rate: the mean of the error rates on salient pixels and on background.

    .. math:: \mathrm{BER} = 1 - \frac{1}{2} \left( \frac{TP}{TP + FN} + \frac{TN}{TN + FP} \right)

    Lower is better: the best threshold's value is ``reduce="min"``. A class that the target lacks counts as wholly
    missed, as in PySODMetrics, so with an empty or a full target the value is at least one half. Some papers print it
    in percent.

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(balanced_error_rate(pred, target, reduce="binary")), 4)
    0.1667
    """
    return _rate("balanced_error_rate", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def overall_accuracy(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Share of all pixels on which the cut map and its mask agree.

    .. math:: \frac{TP + TN}{TP + FP + TN + FN}

    Parameters, values returned and errors are those of `precision`.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(overall_accuracy(pred, target, reduce="binary")), 4)
    0.75
    """
    return _rate("overall_accuracy", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


@array_support(gradient=False, traced=True, gpu="kernels")
def kappa(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
) -> Array:
    r"""Cohen's kappa: agreement of the cut map and its mask beyond chance.

    .. math:: \kappa = \frac{p_o - p_e}{1 - p_e}, \qquad
        p_e = \frac{(TP + FP)(TP + FN) + (TN + FN)(TN + FP)}{(TP + FP + TN + FN)^2}

    with the overall accuracy :math:`p_o`. Values are in [-1, 1]: 0 for agreement by chance, below it for less. It is 0
    where map and mask are both empty, or both full. PySODMetrics 1.6.2 has TP in place of the last FP, which is another
    number (by 0.2 and more).

    Parameters, values returned and errors are those of `precision`.

    References
    ----------
    Cohen, A Coefficient of Agreement for Nominal Scales, Educational and Psychological Measurement 20, 1960.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, True], [True, True]])
    >>> round(float(kappa(pred, target, reduce="binary")), 4)
    0.5
    """
    return _rate("kappa", pred, target, reduce, normalize=normalize, quantize=quantize, check=check)


def _rate(name: str, pred: Array, target: Array, reduce: str, **settings: Any) -> Array:
    check_reduce(reduce)
    return scored(lambda statistics: rate_values(statistics, name, reduce), pred, target, **settings)
