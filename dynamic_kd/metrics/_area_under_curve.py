"""Areas under the ROC and the precision-recall curve."""

from __future__ import annotations

from typing import Any, Unpack

from dynamic_kd._array import Array, Namespace
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Measure, Score
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Statistics
from dynamic_kd.metrics._threshold_measures import RATES, Rate, confusion


@array_support(gradient=False, traced=True, gpu="kernels")
def roc_auc(pred: Array, target: Array, **settings: Unpack[InputSettings]) -> Array:
    r"""Area under the receiver operating characteristic: recall against false positive rate.

    .. math:: \mathrm{AUC} = \sum_{k=0}^{255} \frac{R_k + R_{k+1}}{2} \, (F_k - F_{k+1})

    by the trapezoidal rule over the 256 thresholds of `recall` R and `false_positive_rate` F. The curve starts at
    (1, 1), because every pixel reaches the threshold 0. It ends at (0, 0), a threshold that no pixel reaches. The area
    is the probability that a salient pixel's value is above a background pixel's; ties count one half.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.

    Returns
    -------
    array
        Values in [0, 1], one half for a constant map: shape (B,), or () for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`.

    Notes
    -----
    For 8-bit maps the value equals scikit-learn's ``roc_auc_score``. Floating maps are cut at 256 thresholds, which
    ties nearby values. A target without salient pixels, or without background, has no such curve and scores 0.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.1, 0.4], [0.35, 0.8]])
    >>> target = np.array([[False, False], [True, True]])
    >>> float(roc_auc(pred, target))
    0.75
    """
    return scored(roc_auc_values, pred, target, **settings)


@array_support(gradient=False, traced=True, gpu="kernels")
def pr_auc(pred: Array, target: Array, **settings: Unpack[InputSettings]) -> Array:
    r"""Area under the precision-recall curve.

    .. math:: \mathrm{AUC} = \sum_{k=0}^{255} \frac{P_k + P_{k+1}}{2} \, (R_k - R_{k+1})

    by the trapezoidal rule over the 256 thresholds of `precision` P and `recall` R. The curve starts at recall 1 and
    the target's share of salient pixels. It ends at recall 0 and precision 1, which is also the precision of a
    threshold that no pixel reaches. This is scikit-learn's convention: the ``auc`` of its ``precision_recall_curve``.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.

    Returns
    -------
    array
        Values in [0, 1]: shape (B,), or () for a single image. An empty target scores 0.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`.

    Notes
    -----
    This is not the average precision, which sums steps instead of trapezoids. The last point favours maps whose highest
    level already covers much of the target.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.1, 0.4], [0.35, 0.8]])
    >>> target = np.array([[False, False], [True, True]])
    >>> round(float(pr_auc(pred, target)), 4)
    0.7917
    """
    return scored(pr_auc_values, pred, target, **settings)


def roc_auc_values(statistics: Statistics) -> Array:
    """Area under the ROC curve from statistics."""
    return _of_curves(roc_area, statistics)


def pr_auc_values(statistics: Statistics) -> Array:
    """Area under the precision-recall curve from statistics."""
    return _of_curves(pr_area, statistics)


def roc_area(xp: Namespace, *counts: Any) -> Any:
    """Area under the ROC curve of counts over thresholds on the last axis, as in `RATES`."""
    return _trapezoids(xp, RATES["false_positive_rate"](xp, *counts), RATES["recall"](xp, *counts), end=0)


def pr_area(xp: Namespace, tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    """Area under the precision-recall curve of counts over thresholds on the last axis, as in `RATES`."""
    precision = RATES["precision"](xp, tp, fp, fn, tn)
    precision = xp.where(tp + fp > 0, precision, xp.ones_like(precision))
    return _trapezoids(xp, RATES["recall"](xp, tp, fp, fn, tn), precision, end=1)


def _of_curves(area: Rate, statistics: Statistics) -> Array:
    return area(statistics.xp, *confusion(statistics, statistics.threshold_counts()))


def _trapezoids(xp: Namespace, x: Any, y: Any, *, end: float) -> Any:
    """Integrate y over x, which falls along the last axis, down to the point (0, end)."""
    doubled = xp.sum((x[..., :-1] - x[..., 1:]) * (y[..., :-1] + y[..., 1:]), axis=-1)
    return (doubled + x[..., -1] * (y[..., -1] + end)) / 2


MEASURE = Measure(
    (Score("AUC-ROC", r"\mathrm{AUC}_{ROC}", metric="AUC"), Score("AUC-PR", r"\mathrm{AUC}_{PR}", metric="AUC")),
    lambda statistics, curves, strict: [roc_auc_values(statistics), pr_auc_values(statistics)],
    pooled=True,
)
