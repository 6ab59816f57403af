"""The CPU kernels without numba: NumPy and SciPy, with OpenCV's distance transform if it is installed."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._extras import installed
from dynamic_kd.metrics._statistics._interface import GAUSSIAN_SIGMA, GAUSSIAN_SIZE, HALF_DISTANCE, Floats, Mask

NAME = "numpy"
REACH = GAUSSIAN_SIZE // 2
# A foreground pixel's window reaches background pixels at most this far (squared) from the foreground.
BAND = 2 * REACH**2
# Importance of a pixel's error by squared distance: nothing on the foreground, from FLAT on exactly 2 in float64.
FLAT = math.ceil((54 * HALF_DISTANCE) ** 2)
IMPORTANCE = 2 - np.exp(math.log(0.5) / HALF_DISTANCE * np.sqrt(np.arange(FLAT + 1.0)))
IMPORTANCE[0] = 0


def level_counts(levels: npt.NDArray[np.uint8], target: Mask) -> npt.NDArray[np.int64]:
    """Joint histogram of class and 8-bit level, shape (2, 256)."""
    keys = levels + np.multiply(target, 256, dtype=np.uint16)
    return np.bincount(keys.ravel(), minlength=512).reshape(2, 256)


def thresholds_reached(x: Floats, strict: bool) -> npt.NDArray[np.int64]:
    """How many of the thresholds k / 255 each value reaches (strict: exceeds), 0 to 256."""
    return (np.ceil(x * 255) if strict else np.floor(x * 255) + 1).astype(np.int64)


def bin_counts(x: Floats, target: Mask, strict: bool) -> npt.NDArray[np.int64]:
    """Joint histogram of class and thresholds k / 255 reached (strict: exceeded), shape (2, 257)."""
    return np.bincount((thresholds_reached(x, strict) + 257 * target).ravel(), minlength=514).reshape(2, 257)


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
    row, column = (
        (2 * int((profile * np.arange(len(profile))).sum()) + 3 * count) // (2 * count) for profile in profiles
    )
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
        deviations.append(shifted - mean)
    dx, dg = deviations
    # Not @: BLAS would start more threads inside each worker.
    return np.array([x.size, *means, (dx * dx).sum(), (dg * dg).sum(), (dx * dg).sum()])


def weighted_errors(pixels: npt.NDArray[Any], table: Floats, target: Mask) -> tuple[float, float]:
    """Sum the weighted F-measure's errors over foreground and background; the target has foreground."""
    x = _values(pixels, table)
    squared = _squared_distance(target)
    background = (x * IMPORTANCE[np.minimum(squared, FLAT)]).sum()
    box = _bounding_box(target)
    x, target = x[box], target[box]
    smooth = _spread_error(x, target, squared[box])
    for axis in (0, 1):
        smooth = correlate1d(smooth, gaussian(), axis)
    return float(np.minimum(1 - x[target], smooth[target]).sum()), float(background)


def _bounding_box(target: Mask) -> tuple[slice, slice]:
    """Return the foreground's rows and columns, widened by the Gaussian's reach: every foreground pixel's window."""
    ends = [np.flatnonzero(target.any(axis=axis))[[0, -1]] for axis in (1, 0)]
    rows, columns = (slice(max(first - REACH, 0), last + REACH + 1) for first, last in ends)
    return rows, columns


def _spread_error(x: Floats, target: Mask, squared: npt.NDArray[np.int32]) -> Floats:
    """Error of the foreground, and in the band around it that of the nearest foreground pixel; 0 farther away."""
    margin = math.isqrt(BAND)
    padded = np.pad(target, margin).ravel()
    width = target.shape[1] + 2 * margin
    spread = np.pad(np.where(target, 1 - x, 0.0), margin).ravel()
    rows, columns = np.nonzero((squared > 0) & (squared <= BAND))
    distance, band = squared[rows, columns], (rows + margin) * width + columns + margin
    for length in np.unique(distance):
        pending = band[distance == length]
        for column, row in _offsets(int(length)):
            source = pending + row * width + column
            found = padded[source]
            spread[pending[found]] = spread[source[found]]
            pending = pending[~found]
    return spread.reshape(-1, width)[margin:-margin, margin:-margin]


def _offsets(squared: int) -> list[tuple[int, int]]:
    """Column and row steps of one squared length, in the order that breaks ties: by column, then row."""
    steps = range(-math.isqrt(squared), math.isqrt(squared) + 1)
    return [(column, row) for column in steps for row in steps if column**2 + row**2 == squared]


@cache
def gaussian() -> Floats:
    """One axis of the 7 x 7 Gaussian, which is the outer product of two."""
    weights = np.exp(-(np.arange(-REACH, REACH + 1.0) ** 2) / (2 * GAUSSIAN_SIGMA**2))
    return np.asarray(weights / weights.sum())


def correlate1d(image: Floats, weights: Floats, axis: int) -> Floats:
    """Weighted sums along an axis, with zeros outside."""
    from scipy import ndimage

    return np.asarray(ndimage.correlate1d(image, weights, axis, mode="constant"))


def _squared_distance(target: Mask) -> npt.NDArray[np.int32]:
    """Exact squared Euclidean distance to the nearest foreground pixel."""
    height, width = target.shape
    # OpenCV's float32 distances square back to the exact integers while these stay below 2 ** 22.
    if not installed("cv2") or height**2 + width**2 >= 1 << 22:
        from scipy.ndimage import distance_transform_edt

        distance = distance_transform_edt(~target)
    else:
        import cv2

        distance = cv2.distanceTransform((~target).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.rint(np.square(distance, dtype=np.float64)), np.int32)


def warm_up() -> None:
    """Do nothing: there is nothing to compile."""
