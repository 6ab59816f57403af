"""Weighted F-measure: errors weighted by their place."""

from __future__ import annotations

from typing import Unpack

from dynamic_kd._array import Array
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_value
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Statistics
from dynamic_kd.metrics._statistics._interface import EPSILON


@array_support(gradient=False, traced=True, gpu="kernels")
def weighted_f_measure(
    pred: Array,
    target: Array,
    *,
    beta_squared: float = 1.0,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Weighted F-measure of a saliency map, without thresholds.

    The error of a foreground pixel is the smaller of its own absolute error and the average over its 7 × 7 Gaussian
    neighbourhood (σ = 5, zeros outside the image), where a background pixel has the error of its nearest foreground
    pixel. The error of a background pixel is weighted by its distance d from the foreground, at most twice:

    .. math:: B = 2 - e^{\frac{\ln 0.5}{5} d}, \quad R^w = 1 - \overline{E^w_{fg}}, \quad
        P^w = \frac{TP^w}{TP^w + FP^w}, \quad
        F^w_\beta = \frac{(1 + \beta^2) P^w R^w}{\beta^2 P^w + R^w}

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    beta_squared
        Weight of precision against recall, at least 0; papers use 1.

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
    An empty target scores 0, where the original code gives NaN. Of several nearest foreground pixels, the one in the
    smallest column, then in the smallest row, is used, as in SciPy. MATLAB's choice changes scores by up to 2e-4, and a
    mirrored image may score differently by as much. Distances are exact. On devices other than the CPU and NVIDIA GPUs
    they are found by brute force, in H · W · (H + W) steps.

    References
    ----------
    Margolin, Zelnik-Manor and Tal, How to Evaluate Foreground Maps?, CVPR 2014.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((16, 16), bool)
    >>> target[4:12, 4:12] = True
    >>> round(float(weighted_f_measure(target.astype(float), target)), 6)
    1.0
    """
    check_number("beta_squared", beta_squared, low=0)

    def formula(statistics: Statistics) -> Array:
        return weighted_f_values(statistics, beta_squared=beta_squared)

    return scored(formula, pred, target, **settings)


def weighted_f_values(statistics: Statistics, *, beta_squared: float = 1.0) -> Array:
    """Weighted F-measure from statistics."""
    xp = statistics.xp
    salient = statistics.foreground
    foreground, background = statistics.weighted_errors()
    recall = 1 - foreground / xp.maximum(salient, xp.ones_like(salient))
    hits = salient - foreground
    precision = hits / (hits + background + EPSILON)
    # An empty target has no hits, hence precision and value 0.
    return (1 + beta_squared) * recall * precision / (recall + beta_squared * precision + EPSILON)


MEASURE = single_value(Score("wF", r"F_\beta^w", metric="wF"), weighted_f_values, structural=True)
