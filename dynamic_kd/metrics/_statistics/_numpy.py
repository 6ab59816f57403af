"""The CPU kernels without a compiler: NumPy and SciPy, with OpenCV's distance transform where it is installed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._statistics._interface import GAUSSIAN_SIGMA, GAUSSIAN_SIZE, HALF_DISTANCE

NAME = "numpy"
REACH = GAUSSIAN_SIZE // 2

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def level_counts(levels: npt.NDArray[np.uint8], target: Mask) -> npt.NDArray[np.int64]:
    """Joint histogram of class and 8-bit level, shape (2, 256)."""
    keys = levels + np.multiply(target, 256, dtype=np.uint16)
    return np.bincount(keys.ravel(), minlength=512).reshape(2, 256)


def _values(pixels: npt.NDArray[Any], table: Floats) -> Floats:
    """Normalised values: table entries of 8-bit levels, or the pixels themselves if they are floating already."""
    return table[pixels] if pixels.dtype == np.uint8 else pixels


def class_moments(pixels: npt.NDArray[Any], table: Floats, target: Mask) -> Floats:
    """Moments of x over background and foreground, shape (2, 6)."""
    x = _values(pixels, table)
    return np.stack([_moments(x[~target], target[~target]), _moments(x[target], target[target])])


def quadrant_moments(pixels: npt.NDArray[Any], table: Floats, target: Mask) -> Floats:
    """Moments of x and target over the quadrants around the centroid, shape (4, 6)."""
    x = _values(pixels, table)
    row, column = split(target)
    quadrants = [np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]]
    return np.stack([_moments(x[quadrant], target[quadrant]) for quadrant in quadrants])


def split(target: Mask) -> tuple[int, int]:
    """Rows and columns up to the 1-based centroid, each rounded half up."""
    count = max(int(np.count_nonzero(target)), 1)
    profiles = target.sum(axis=1), target.sum(axis=0)
    row, column = ((2 * int(profile @ np.arange(len(profile))) + 3 * count) // (2 * count) for profile in profiles)
    return row, column


def _moments(x: npt.NDArray[Any], g: npt.NDArray[Any]) -> Floats:
    """Count, means and centred sums; deviations from the first pixel keep constant regions at exactly 0."""
    if x.size == 0:
        return np.zeros(6)
    g = g.astype(float)
    means, deviations = [], []
    for values in (x, g):
        shifted = values - values.flat[0]
        mean = shifted.mean()
        means.append(values.flat[0] + mean)
        deviations.append((shifted - mean).ravel())
    dx, dg = deviations
    return np.array([x.size, *means, dx @ dx, dg @ dg, dx @ dg])


def weighted_errors(pixels: npt.NDArray[Any], table: Floats, target: Mask) -> tuple[float, float]:
    """Sum the weighted F-measure's errors over foreground and background; the target has foreground."""
    x = _values(pixels, table)
    error = np.where(target, 1 - x, x)
    background = ~target
    importance = 2 - np.exp(np.log(0.5) / HALF_DISTANCE * _distance(target)[background])
    box = _bounding_box(target)
    inside = target[box]
    smooth = _smooth_error(error[box], inside)
    foreground = np.minimum(error[box][inside], smooth[inside]).sum()
    return float(foreground), float(error[background] @ importance)


def _bounding_box(target: Mask) -> tuple[slice, slice]:
    """Return the foreground's rows and columns, widened by the Gaussian's reach."""
    ends = [np.flatnonzero(target.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    rows, columns = (slice(max(first - REACH, 0), last + REACH + 1) for first, last in ends)
    return rows, columns


def _smooth_error(error: Floats, target: Mask) -> Floats:
    """Gaussian of the error, each background pixel taking that of its nearest foreground pixel.

    SciPy breaks ties by column, then row, and the box cuts off nothing: the window of a foreground pixel stays in it
    or meets the image's border, and the nearest foreground pixel is in it anyway.
    """
    from scipy.ndimage import correlate1d, distance_transform_edt

    rows, columns = distance_transform_edt(~target, return_distances=False, return_indices=True)
    spread = error[rows, columns]
    for axis in (0, 1):
        spread = correlate1d(spread, gaussian(), axis=axis, mode="constant")
    return np.asarray(spread)


@cache
def gaussian() -> Floats:
    """One axis of the 7 x 7 Gaussian, which is the outer product of two."""
    weights = np.exp(-(np.arange(-REACH, REACH + 1.0) ** 2) / (2 * GAUSSIAN_SIGMA**2))
    return np.asarray(weights / weights.sum())


def _distance(target: Mask) -> Floats:
    """Exact Euclidean distance to the nearest foreground pixel."""
    height, width = target.shape
    # OpenCV's float32 distances square back to the exact integers while these stay below 2 ** 22.
    if find_spec("cv2") is None or height**2 + width**2 >= 1 << 22:
        from scipy.ndimage import distance_transform_edt

        return np.asarray(distance_transform_edt(~target))
    import cv2

    rough = cv2.distanceTransform((~target).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.sqrt(np.rint(np.square(rough, dtype=np.float64))))


def warm_up() -> None:
    """Do nothing: there is nothing to compile."""
