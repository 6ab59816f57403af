"""Context measures: agreement within the context of the object's shape and camouflage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, array_namespace, to_host
from dynamic_kd._checks import check_number
from dynamic_kd._extras import require
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_pixel_value
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored_from_pixels
from dynamic_kd.metrics._pixels._camouflage import camouflage_degree
from dynamic_kd.metrics._statistics import Floats, Mask
from dynamic_kd.metrics._statistics._interface import EPSILON


@array_support(gradient=False, traced=False, gpu="copied")
def context_measure(
    pred: Array,
    target: Array,
    *,
    beta_squared: float = 1.0,
    alpha: float = 6.0,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Context measure of a saliency map, without thresholds.

    .. math:: C = \frac{(1 + \beta^2) F R}{\beta^2 F + R}, \qquad
        F = \frac{\sum S \, (K \star G)}{\sum S}, \qquad
        R = \frac{\sum (G + D) \, \frac{e}{e - 1} G \left( 1 - e^{-K \star S} \right)}{\sum (G + D)}

    F is how relevant the map's pixels are in the mask's context, R how completely the map covers the mask's pixels in
    its own context. D is 0 here. K is a normalised Gaussian with the covariance of the mask's foreground pixels, scaled
    to the trace α² and cut at three standard deviations.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    beta_squared
        Weight of relevance F against completeness R, above 0.
    alpha
        Standard deviation of the context in pixels, above 0.

    Returns
    -------
    array
        Values in [0, 1]: shape (B,), or () for a single image. An empty target or an empty map scores 0.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, for settings out of range, and for traced arrays.
    ModuleNotFoundError
        Without OpenCV, which is in the extra ``eval``.

    Notes
    -----
    A perfect map scores less than 1, because context is blurred. Images are mirrored at their borders. Values equal
    those of PySODMetrics' ``ContextMeasure`` to about 1e-8, since it filters in float32. It fails for foreground along
    an oblique line, whose covariance is singular; here the Gaussian shrinks to that line. Arrays on other devices are
    copied to the CPU.

    References
    ----------
    Wang, Ji, Shao, Cheng and Fan, Context-measure: Contextualizing Metric for Camouflage, arXiv:2512.07076, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((40, 40), dtype=bool)
    >>> target[10:30, 10:30] = True
    >>> round(float(context_measure(target * 1.0, target)), 3)
    0.733
    """
    formula = _formula(beta_squared, alpha)
    return scored_from_pixels(formula, pred, target, **settings)


@array_support(gradient=False, traced=False, gpu="copied")
def camouflage_context_measure(
    pred: Array,
    target: Array,
    image: Array,
    *,
    beta_squared: float = 1.2,
    alpha: float = 6.0,
    gamma: float = 8.0,
    spatial_weight: float = 20.0,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Context measure that gives well camouflaged pixels more weight.

    `context_measure` with the camouflage degree D of each foreground pixel,

    .. math:: D = \frac{e^{\gamma s} - 1}{e^\gamma - 1}, \qquad s = 1 - \min(\Delta E_{00} / 100, 1)

    where ΔE is the CIEDE2000 difference between the image and a copy whose object is painted with its surroundings.
    Each 7 x 7 patch of the object is replaced by the nearest patch of a band of 10 pixels around it, in colour (8-bit
    L*a*b*) and, by ``spatial_weight``, in place. Overlapping patches are averaged.

    Parameters
    ----------
    pred, target, beta_squared, alpha, normalize, quantize, check, salient, void
        As for `context_measure`.
    image
        The photographs, RGB, uint8, shape (H, W, 3) or (B, H, W, 3).
    gamma
        How steeply the degree falls with the difference, above 0.
    spatial_weight
        Weight λ of places, in standard deviations, against colours, in levels; at least 0.

    Returns
    -------
    array
        Values in [0, 1]: shape (B,), or () for a single image. An empty target or an empty map scores 0.

    Raises
    ------
    ValueError, TypeError, ModuleNotFoundError
        As for `context_measure`, and for images of another shape or dtype.

    Notes
    -----
    Values equal those of PySODMetrics' ``CamouflageContextMeasure`` to about 1e-6. Of several nearest patches the first
    in row order is used; PySODMetrics may use another, of a different colour. An object that is too small for a patch,
    or whose surroundings are, has D = 0 everywhere.

    References
    ----------
    Wang, Ji, Shao, Cheng and Fan, Context-measure: Contextualizing Metric for Camouflage, arXiv:2512.07076, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((40, 40), dtype=bool)
    >>> target[10:30, 10:30] = True
    >>> grey = np.full((40, 40, 3), 128, dtype=np.uint8)
    >>> round(float(camouflage_context_measure(target * 1.0, target, grey)), 3)
    0.752
    """
    check_number("gamma", gamma, low=0, exclusive_low=True)
    check_number("spatial_weight", spatial_weight, low=0)
    formula = _formula(beta_squared, alpha)
    array_namespace(pred, target, image)
    photographs = _photographs(image, tuple(pred.shape))

    def value(x: Floats, target: Mask) -> float:
        degree = camouflage_degree(next(photographs), target, gamma=gamma, spatial_weight=spatial_weight)
        return formula(x, target, degree=degree)

    return scored_from_pixels(value, pred, target, **settings)


def context_value(x: Floats, target: Mask, *, beta_squared: float, alpha: float, degree: Any = 0.0) -> float:
    """Context measure of one normalised prediction, for a camouflage degree on the foreground."""
    if not target.any():
        return 0.0
    kernel = context_kernel(target, alpha)
    box = _reached(target, kernel)
    x_box, target_box = x[box], target[box]
    relevance = (x_box * _filtered(target_box.astype(float), kernel)).sum() / (x.sum() + EPSILON)
    covered = math.e / (math.e - 1) * -np.expm1(-_filtered(x_box, kernel)[target_box])
    weight = 1.0 + np.broadcast_to(degree, target.shape)[target]
    completeness = (covered * weight).sum() / weight.sum()
    divisor = beta_squared * relevance + completeness + EPSILON
    return min(1.0, float((1 + beta_squared) * relevance * completeness / divisor))  # filters round


def context_kernel(target: Mask, alpha: float) -> Floats:
    """Gaussian with the covariance of a mask's foreground, scaled to the trace alpha squared."""
    points = np.argwhere(target)
    if len(points) == 1:
        covariance, reach = np.diag([0.25, 0.25]), [1, 1]
    else:
        covariance = np.cov(points, rowvar=False)
        covariance *= alpha**2 / covariance.trace()
        reach = [round(3 * math.sqrt(variance)) for variance in covariance.diagonal()]
    variances, axes = np.linalg.eigh(covariance)
    # Foreground on a line has no spread across it: a variance of 0, or of rounding noise.
    variances = np.maximum(variances, alpha**2 * EPSILON)
    steps = np.stack(np.meshgrid(*(np.arange(-length, length + 1) for length in reach), indexing="ij"), axis=-1)
    along = np.einsum("rci,ik->rck", steps, axes)
    kernel = np.exp(-(along**2 / variances).sum(axis=-1) / 2)
    return np.asarray(kernel / kernel.sum())


def _formula(beta_squared: float, alpha: float) -> partial[float]:
    require("cv2", extra="eval")
    check_number("beta_squared", beta_squared, low=0, exclusive_low=True)
    check_number("alpha", alpha, low=0, exclusive_low=True)
    return partial(context_value, beta_squared=beta_squared, alpha=alpha)


def _reached(target: Mask, kernel: Floats) -> tuple[slice, ...]:
    """Rows and columns that the filter reads for, or writes from, foreground pixels."""
    box = []
    for axis, size in enumerate(kernel.shape):
        lines = np.flatnonzero(target.any(axis=1 - axis))
        box.append(slice(max(lines[0] - size + 1, 0), lines[-1] + size))
    return tuple(box)


def _filtered(image: Floats, kernel: Floats) -> Floats:
    """Weighted sums over each pixel's neighbourhood, the image mirrored at its borders."""
    import cv2

    # Large kernels go through Fourier transforms, which leave noise below 0.
    return np.asarray(np.maximum(cv2.filter2D(np.ascontiguousarray(image), cv2.CV_64F, kernel), 0))


def _photographs(image: Array, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield each image of a batch; they are checked when the first one is needed."""
    expected = (*(shape if len(shape) < 4 else (shape[0], *shape[2:])), 3)
    if tuple(image.shape) != expected:
        raise ValueError(
            f"image: expected RGB of shape {expected}, as pred is {shape}, got {tuple(image.shape)}; "
            f"move channels last, and resize it to the target's size"
        )
    photographs = to_host(image)
    if photographs.dtype != np.uint8:
        raise TypeError(f"image: expected uint8 (0 to 255), got {photographs.dtype}; scale and round it")
    yield from np.ascontiguousarray(photographs).reshape(-1, *expected[-3:])


MEASURE = single_pixel_value(
    Score("CM", r"C_\beta", metric="CM"), partial(context_value, beta_squared=1.0, alpha=6.0), "cv2"
)
