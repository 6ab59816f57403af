"""F-measure over thresholds (the paper's eq. 7), with precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Unpack

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Measure, peaks, threshold_scores
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Statistics
from dynamic_kd.metrics._threshold_measures import RATES, check_reduce, confusion, rate_values

BETA_SQUARED = 0.3


@array_support(gradient=False, traced=True, gpu="kernels")
def f_measure(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    beta_squared: float = BETA_SQUARED,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""F-measure of a saliency map cut at each of 256 thresholds.

    .. math:: F_\beta = \frac{(1 + \beta^2) P R}{\beta^2 P + R}, \qquad
        P = \frac{TP}{TP + FP}, \quad R = \frac{TP}{TP + FN}

    the paper's eq. 7. A pixel is predicted salient where its normalised value is at least the threshold k / 255,
    k = 0 to 255 ascending. F is 0 where no salient pixel is hit.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    reduce
        ``"curve"`` for all thresholds, ``"max"``, ``"min"`` or ``"mean"`` over each image's own curve, ``"adaptive"``
        for the single threshold min(2 · mean(pred), 1), ``"binary"`` for the pixels above one half.
    beta_squared
        Weight of precision against recall, at least 0; papers use 0.3.

    Returns
    -------
    array
        Values in [0, 1]: shape (B, 256) for the curve, else (B,); without the batch axis for a single image.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, and for settings out of range.

    Notes
    -----
    The maxF that papers print is the maximum of the *data set's mean curve*, which `SODMetrics` gives; the mean of
    each image's own maximum is larger.

    References
    ----------
    Achanta et al., Frequency-tuned Salient Region Detection, CVPR 2009.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 0.2], [0.8, 1.0]])
    >>> target = np.array([[False, False], [True, True]])
    >>> curve = f_measure(pred, target)
    >>> curve.shape, round(float(curve[0]), 4), float(curve[128])
    ((256,), 0.5652, 1.0)
    """
    check_reduce(reduce)
    check_number("beta_squared", beta_squared, low=0)

    def formula(statistics: Statistics) -> Array:
        return f_values(statistics, reduce, beta_squared=beta_squared)

    return scored(formula, pred, target, **settings)


def f_values(statistics: Statistics, reduce: str, *, beta_squared: float = BETA_SQUARED) -> Array:
    """F-measure from statistics."""
    return rate_values(statistics, partial(f_rate, beta_squared=beta_squared), reduce)


def f_rate(xp: Namespace, *counts: Any, beta_squared: float = BETA_SQUARED) -> Any:
    """F-measure of counts, as in `RATES`; 0 where nothing is hit."""
    precision, recall = RATES["precision"](xp, *counts), RATES["recall"](xp, *counts)
    return _combined(xp, precision, recall, beta_squared)


def _combined(xp: Namespace, precision: Any, recall: Any, beta_squared: float) -> Any:
    weighted = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / xp.where(weighted > 0, weighted, xp.ones_like(weighted))


def _curves(statistics: Statistics, strict: bool) -> Sequence[Array]:
    counts = confusion(statistics, statistics.threshold_counts())
    precision, recall = (RATES[rate](statistics.xp, *counts) for rate in ("precision", "recall"))
    return [precision, recall, _combined(statistics.xp, precision, recall, BETA_SQUARED)]


def _numbers(statistics: Statistics, curves: Sequence[Array], strict: bool) -> Sequence[Array]:
    return [*peaks(statistics.xp, curves[2]), f_values(statistics, "adaptive")]


MEASURE = Measure(
    threshold_scores("F", "F", r"F_\beta", "f_measure", single=("adp",)),
    _numbers,
    ("precision", "recall", "f_measure"),
    _curves,
    pooled=True,
)
