"""Mean absolute error (the paper's eq. 8)."""

from __future__ import annotations

from dynamic_kd._array import Array
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_value
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Statistics


@array_support(gradient=False, traced=True, gpu="kernels")
def mean_absolute_error(
    pred: Array, target: Array, *, normalize: bool = True, quantize: bool = False, check: str = "auto"
) -> Array:
    r"""Mean absolute error between a saliency map and its mask.

    .. math:: M = \frac{1}{W H} \sum_{x, y} \lvert S(x, y) - G(x, y) \rvert

    the paper's eq. 8, after min-max normalisation as in the original code.

    Parameters
    ----------
    pred
        Saliency maps, shape (H, W), (B, H, W) or (B, 1, H, W); uint8, or floating values in [0, 1].
    target
        Masks of the same shape: bool, integers 0 to 255 (more than 128 is salient) or floats (more than 0.5 is).
    normalize
        Stretch each prediction to [0, 1] first, as the original code does. A constant map stays as it is.
    quantize
        Round floating predictions to 8 bits first. Scores then equal those of the maps saved as images.
    check
        ``"auto"`` raises for bad values. ``"off"`` skips the check, which saves reading device arrays back. The values
        of traced arrays are never checked.

    Returns
    -------
    array
        Errors in [0, 1], lower is better: shape (B,), or () for a single (H, W) image, in the inputs' library;
        float64 where the library and device have it.

    Raises
    ------
    ValueError
        For shapes or devices that differ, other shapes than those above, empty arrays, colour images, values that are
        not finite or out of range, and masks that would read as empty (largest integer value between 1 and 128).
    TypeError
        For dtypes other than those above, and arrays of different libraries.

    Examples
    --------
    >>> import numpy as np
    >>> pred = np.array([[0.0, 1.0], [0.5, 1.0]])
    >>> target = np.array([[False, True], [False, True]])
    >>> float(mean_absolute_error(pred, target))
    0.125
    """
    return scored(mean_absolute_error_values, pred, target, normalize=normalize, quantize=quantize, check=check)


def mean_absolute_error_values(statistics: Statistics) -> Array:
    """Mean absolute error from statistics."""
    moments = statistics.class_moments()
    background, foreground = moments.mean_x[:, 0], 1 - moments.mean_x[:, 1]
    errors = moments.count[:, 0] * background + moments.count[:, 1] * foreground
    return errors / statistics.pixels


MEASURE = single_value(Score("MAE", r"\mathrm{MAE}", metric="MAE", higher_is_better=False), mean_absolute_error_values)
