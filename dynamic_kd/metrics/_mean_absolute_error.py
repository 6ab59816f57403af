"""Mean absolute error (the paper's eq. 8)."""

from __future__ import annotations

from typing import Any

from dynamic_kd._array import Array
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_value
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored
from dynamic_kd.metrics._statistics import Statistics


@array_support(gradient=False, traced=True, gpu="kernels")
def mean_absolute_error(
    pred: Array,
    target: Array,
    *,
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
    salient: Any = None,
    void: Any = None,
) -> Array:
    r"""Mean absolute error between a saliency map and its mask.

    .. math:: M = \frac{1}{W H} \sum_{x, y} \lvert S(x, y) - G(x, y) \rvert

    the paper's eq. 8, after min-max normalisation as in the original code.

    Parameters
    ----------
    pred
        Saliency maps, shape (H, W), (B, H, W) or (B, 1, H, W); uint8, or floating values in [0, 1].
    target
        Masks of the same shape: bool; floats in [0, 1], where more than 0.5 is salient; or integers with 0 and one
        other level, which is salient, or with 0 and 255 and grey edges, cut above 128.
    normalize
        Stretch each prediction to [0, 1] first, as the original code does. A constant map stays as it is.
    quantize
        Round floating predictions to 8 bits first. Scores then equal those of the maps saved as images.
    check
        ``"auto"`` raises for bad values. ``"off"`` skips the check, which saves reading device arrays back. The values
        of traced arrays are never checked.
    salient
        The salient levels of integer targets: ``1``, ``[1, 15]``, ``range(129, 256)`` or ``"1,15"``.
    void
        Levels of integer targets that are not labelled, such as 255. Their pixels are left out, also from the
        normalisation. Arrays on other devices are copied to the CPU then.

    Returns
    -------
    array
        Errors in [0, 1], lower is better: shape (B,), or () for a single (H, W) image, in the inputs' library;
        float64 where the library and device have it.

    Raises
    ------
    ValueError
        For shapes or devices that differ, other shapes than those above, empty arrays, colour images, values that are
        not finite or out of range, and targets whose levels have several meanings, such as 0, 1 and 255: the message
        lists the levels and what to pass for each meaning.
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
    settings: InputSettings = {
        "normalize": normalize,
        "quantize": quantize,
        "check": check,
        "salient": salient,
        "void": void,
    }
    return scored(mean_absolute_error_values, pred, target, **settings)


def mean_absolute_error_values(statistics: Statistics) -> Array:
    """Mean absolute error from statistics."""
    moments = statistics.class_moments()
    background, foreground = moments.mean_x[:, 0], 1 - moments.mean_x[:, 1]
    errors = moments.count[:, 0] * background + moments.count[:, 1] * foreground
    return errors / statistics.pixels


MEASURE = single_value(Score("MAE", r"\mathrm{MAE}", metric="MAE", higher_is_better=False), mean_absolute_error_values)
