"""The CPU kernels, compiled by numba: a few passes over the image without temporaries. They release the GIL."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba as nb
import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._statistics._interface import GAUSSIAN_SIZE, Floats, Mask
from dynamic_kd.metrics._statistics._numpy import BAND, FLAT, IMPORTANCE, REACH, gaussian

NAME = "numba"

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_exact: Callable[[Kernel], Kernel] = nb.njit(cache=True, nogil=True)
# Sums may be reordered, which lets them vectorise; nothing else about IEEE arithmetic is given up.
_summing: Callable[[Kernel], Kernel] = nb.njit(cache=True, nogil=True, fastmath={"reassoc"})


@_exact
def level_counts(levels: Any, target: Any) -> Any:
    """Joint histogram of class and 8-bit level, shape (2, 256)."""
    # Four histograms side by side: increments of one bin in a row would wait for each other.
    counts = np.zeros((4, 2, 256), np.int64)
    height, width = levels.shape
    for row in range(height):
        for column in range(width):
            counts[column & 3, nb.intp(target[row, column]), levels[row, column]] += 1
    return counts[0] + counts[1] + counts[2] + counts[3]


@_exact
def bin_counts(x: Any, target: Any, strict: bool) -> Any:
    """Joint histogram of class and thresholds k / 255 reached (strict: exceeded), shape (2, 257)."""
    counts = np.zeros((2, 257), np.int64)
    height, width = x.shape
    for row in range(height):
        for column in range(width):
            scaled = x[row, column] * 255
            reached = math.ceil(scaled) if strict else math.floor(scaled) + 1
            counts[nb.intp(target[row, column]), nb.intp(reached)] += 1
    return counts


def _value(table: Any, pixel: Any) -> Any:
    """Normalised value of a pixel: its level's table entry, or the pixel itself if it is floating already."""
    return table[pixel] if isinstance(pixel, np.integer) else pixel  # where NUMBA_DISABLE_JIT leaves kernels to Python


_implements_value: Callable[[Kernel], Kernel] = nb.extending.overload(_value, inline="always")


@_implements_value
def _value_by_type(table: Any, pixel: Any) -> Any:
    def of_level(table: Any, pixel: Any) -> Any:
        return table[pixel]

    def of_float(table: Any, pixel: Any) -> Any:
        return pixel

    return of_level if isinstance(pixel, nb.types.Integer) else of_float


@_summing
def class_moments(pixels: Any, table: Any, target: Any) -> Any:
    """Moments of x over background and foreground, shape (2, 6)."""
    pivots = np.zeros(2)
    found = np.zeros(2, np.bool_)
    sums = np.zeros((2, 3))
    height, width = pixels.shape
    for row in range(height):
        for column in range(width):
            group = nb.intp(target[row, column])
            if not found[group]:
                pivots[group], found[group] = _value(table, pixels[row, column]), True
            shifted = _value(table, pixels[row, column]) - pivots[group]
            sums[group, 0] += 1
            sums[group, 1] += shifted
            sums[group, 2] += shifted * shifted
    moments = np.zeros((2, 6))
    for group in range(2):
        count, total, squares = sums[group]
        if count > 0:
            moments[group, 0], moments[group, 1] = count, pivots[group] + total / count
            moments[group, 2], moments[group, 3] = group, max(squares - total * total / count, 0.0)
    return moments


@_summing
def quadrant_moments(pixels: Any, table: Any, target: Any) -> Any:
    """Moments of x and target over the quadrants around the centroid, shape (4, 6)."""
    height, width = target.shape
    row, column = _split(target)
    moments = np.zeros((4, 6))
    _region(pixels, table, target, 0, row, 0, column, moments[0])
    _region(pixels, table, target, 0, row, column, width, moments[1])
    _region(pixels, table, target, row, height, 0, column, moments[2])
    _region(pixels, table, target, row, height, column, width, moments[3])
    return moments


@_exact
def _split(target: Any) -> Any:
    """Rows and columns up to the 1-based centroid, each rounded half up."""
    height, width = target.shape
    profile = np.zeros(width, np.int64)
    count, rows, columns = 0, 0, 0
    for row in range(height):
        line = 0
        for column in range(width):
            line += target[row, column]
            profile[column] += target[row, column]
        count += line
        rows += row * line
    for column in range(width):
        columns += column * profile[column]
    count = max(count, 1)
    return (2 * rows + 3 * count) // (2 * count), (2 * columns + 3 * count) // (2 * count)


@_summing
def _region(pixels: Any, table: Any, target: Any, top: int, bottom: int, left: int, right: int, moments: Any) -> None:
    """Write the moments of one rectangle; deviations from its first pixel keep constants at exactly 0."""
    count = (bottom - top) * (right - left)
    if count == 0:
        return
    pivot_x, pivot_g = _value(table, pixels[top, left]), target[top, left]
    sum_x, sum_g, squares, products = 0.0, 0.0, 0.0, 0.0
    for row in range(top, bottom):
        for column in range(left, right):
            shifted_x = _value(table, pixels[row, column]) - pivot_x
            shifted_g = 1.0 if target[row, column] != pivot_g else 0.0  # its sign is put back below
            sum_x += shifted_x
            sum_g += shifted_g
            squares += shifted_x * shifted_x
            products += shifted_x * shifted_g
    sign = -1.0 if pivot_g else 1.0
    moments[0] = count
    moments[1] = pivot_x + sum_x / count
    moments[2] = pivot_g + sign * sum_g / count
    moments[3] = max(squares - sum_x * sum_x / count, 0.0)
    moments[4] = sum_g - sum_g * sum_g / count
    moments[5] = sign * (products - sum_x * sum_g / count)


def weighted_errors(pixels: npt.NDArray[Any], table: Floats, target: Mask) -> tuple[float, float]:
    """Sum the weighted F-measure's errors over foreground and background; the target has foreground."""
    foreground, background = _weighted_errors(pixels, table, target, IMPORTANCE, gaussian())
    return foreground, background


@_exact
def _weighted_errors(pixels: Any, table: Any, target: Any, importance: Any, weights: Any) -> Any:
    """Go down the rows once; only the Gaussian's window of rows is kept of the spread errors."""
    nearest, columns, top, bottom = _nearest_rows(target)
    height, width = target.shape
    left, right = columns[0], columns[-1] + 1
    hull = np.empty(len(columns), np.int64)
    starts = np.empty(len(columns) + 1, np.int64)
    window = np.zeros((GAUSSIAN_SIZE, right - left))
    foreground, background = 0.0, 0.0
    for row in range(height + REACH):
        window[row % GAUSSIAN_SIZE] = 0.0
        if row < height:
            pieces = _lower_envelope(row, nearest, columns, width, hull, starts)
            spread = np.zeros(width + 2 * REACH)  # with the Gaussian's zero padding left and right
            background += _row_errors(pixels, table, importance, row, nearest, hull[:pieces], starts, spread)
            if top - REACH <= row < bottom + REACH:
                _smooth_along(spread[left : right + 2 * REACH], weights, window[row % GAUSSIAN_SIZE])
        if top <= row - REACH < bottom:
            center = row - REACH
            foreground += _smooth_across(pixels[center], table, target[center], window, row, weights, left)
    return foreground, background


@_exact
def _nearest_rows(target: Any) -> Any:
    """Row of the nearest foreground pixel in each pixel's column (the upper of two), and where there is foreground."""
    height, width = target.shape
    nearest = np.empty((height, width), np.int32)
    upper = np.full(width, -1, np.int32)
    top, bottom = height, 0
    for row in range(height):
        for column in range(width):
            if target[row, column]:
                upper[column] = row
                top, bottom = min(top, row), row + 1
            nearest[row, column] = upper[column]
    lower = np.full(width, -1, np.int32)
    for row in range(height - 1, -1, -1):
        for column in range(width):
            if target[row, column]:
                lower[column] = row
            above, below = nearest[row, column], lower[column]
            if below >= 0 and (above < 0 or below - row < row - above):
                nearest[row, column] = below
    return nearest, np.flatnonzero(upper >= 0), top, bottom


@_exact
def _lower_envelope(row: int, nearest: Any, columns: Any, width: int, hull: Any, starts: Any) -> int:
    """Which foreground column is nearest along a row: pieces of the parabolas' lower envelope (Meijster et al., 2000).

    Piece k runs from ``starts[k]`` to ``starts[k + 1]`` and belongs to column ``hull[k]``; ties go to the smaller one.
    """
    top = -1
    for column in columns:
        height = nearest[row, column] - row
        cost = column * column + height * height
        start = 0
        while top >= 0:
            other = hull[top]
            height = nearest[row, other] - row
            # The last position where the other column is at least as near; both are below 2 ** 52, so floor is exact.
            limit = (cost - other * other - height * height) / (2.0 * (column - other))
            start = nb.intp(math.floor(limit)) + 1
            if start > starts[top]:
                break
            top -= 1
            start = 0
        if start < width:
            top += 1
            hull[top], starts[top] = column, start
    starts[top + 1] = width
    return top + 1


@_exact
def _row_errors(
    pixels: Any, table: Any, importance: Any, row: int, nearest: Any, hull: Any, starts: Any, spread: Any
) -> float:
    """Sum a row's background errors, and spread the nearest foreground pixel's error over the band."""
    total = 0.0
    for piece, column in enumerate(hull):
        source = nearest[row, column]
        vertical = (source - row) * (source - row)
        error = 1 - _value(table, pixels[source, column])
        for position in range(starts[piece], starts[piece + 1]):
            squared = vertical + (position - column) * (position - column)
            if squared <= BAND:
                spread[position + REACH] = error
            total += _value(table, pixels[row, position]) * importance[min(squared, FLAT)]
    return total


@_exact
def _smooth_along(line: Any, weights: Any, smooth: Any) -> None:
    """Write the Gaussian sums along a padded row."""
    outer, middle, inner, center = weights[0], weights[1], weights[2], weights[3]
    for c in range(len(smooth)):
        smooth[c] = (
            outer * (line[c] + line[c + 6])
            + middle * (line[c + 1] + line[c + 5])
            + inner * (line[c + 2] + line[c + 4])
            + center * line[c + 3]
        )


@_exact
def _smooth_across(pixels: Any, table: Any, target: Any, window: Any, last: int, weights: Any, left: int) -> float:
    """Sum a row's foreground errors, each the smaller of itself and its Gaussian neighbourhood.

    ``window`` holds the seven rows up to ``last``, each in the slot of its number modulo seven.
    """
    above3, above2, above1 = window[(last - 6) % 7], window[(last - 5) % 7], window[(last - 4) % 7]
    below3, below2, below1 = window[last % 7], window[(last - 1) % 7], window[(last - 2) % 7]
    row = window[(last - 3) % 7]
    outer, middle, inner, center = weights[0], weights[1], weights[2], weights[3]
    total = 0.0
    for c in range(len(row)):
        if target[left + c]:
            smooth = (
                outer * (above3[c] + below3[c])
                + middle * (above2[c] + below2[c])
                + inner * (above1[c] + below1[c])
                + center * row[c]
            )
            total += min(1 - _value(table, pixels[left + c]), smooth)
    return total


def warm_up() -> None:
    """Compile every kernel, or load it from numba's cache."""
    x, target = np.linspace(0, 1, 64).reshape(8, 8), np.eye(8, dtype=bool)
    levels, table = (x * 255).astype(np.uint8), np.arange(256) / 255
    for array in (x, levels, target):  # as `CPUStatistics` passes them
        array.flags.writeable = False
    level_counts(levels, target)
    bin_counts(x, target, False)
    class_moments(x, table, target)
    for pixels in (x, levels):
        quadrant_moments(pixels, table, target)
        weighted_errors(pixels, table, target)
