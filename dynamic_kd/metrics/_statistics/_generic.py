"""Statistics on any Array API library, on the arrays' device, without reading values back."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from dynamic_kd._array import Array, array_namespace, device_of, library, widest_float
from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._statistics._interface import (
    GAUSSIAN_SIZE,
    HALF_DISTANCE,
    THRESHOLDS,
    Counts,
    Moments,
    WeightedErrors,
    remembered,
)
from dynamic_kd.metrics._statistics._numpy import REACH, gaussian

# Elements of the largest temporary in the brute-force distance transform (64 MiB of int32).
_CHUNK = 1 << 24


class GenericStatistics:
    """Statistics of a batch, every operation from the Array API standard."""

    def __init__(self, pairs: Pairs) -> None:
        self.xp = xp = array_namespace(pairs.pred, pairs.target)
        self.backend = f"generic ({library(pairs.pred)})"
        self._target = pairs.target
        self._dtype = widest_float(xp, pairs.pred)
        self._device = device_of(pairs.pred)
        self._size, self._height, self._width = pairs.pred.shape
        self.pixels = self._height * self._width
        if pairs.pred.dtype == xp.uint8:
            x = self._from_levels(pairs.pred)
        else:
            x = xp.clip(xp.astype(pairs.pred, self._dtype), 0.0, 1.0)  # what rounding pushed beyond
        low, high = xp.min(x, axis=(1, 2), keepdims=True), xp.max(x, axis=(1, 2), keepdims=True)
        self.constant = xp.reshape(low == high, (-1,))
        if pairs.normalize:
            # One divisor for each pixel, though all are equal: compilers replace a common divisor by its reciprocal,
            # and the product rounds some levels to the other side of a threshold.
            span = xp.maximum(xp.where(high > low, high - low, xp.ones_like(low)), x - low)
            x = xp.where(high > low, (x - low) / span, x)
        self._x = x

    def _from_levels(self, levels: Array) -> Array:
        """Levels over 255, from a table: some compilers replace the division by a product, which rounds differently."""
        xp = self.xp
        table = xp.asarray([level / 255 for level in range(256)], dtype=self._dtype, device=self._device)
        return xp.reshape(xp.take(table, xp.reshape(xp.astype(levels, xp.int32), (-1,))), levels.shape)

    def _arange(self, stop: int) -> Array:
        return self.xp.arange(stop, dtype=self.xp.int32, device=self._device)

    def _sum(self, values: Array) -> Array:
        return self.xp.sum(self.xp.astype(values, self._dtype), axis=(-2, -1))

    @cached_property
    def foreground(self) -> Array:
        """Salient target pixels of each image."""
        return self._sum(self._target)

    @cached_property
    def mean(self) -> Array:
        """Mean normalised prediction."""
        return self.xp.mean(self._x, axis=(1, 2))

    @remembered
    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Sort each pixel's (image, class, level) key, then find where each key's run begins."""
        xp = self.xp
        level = xp.floor(self._x * 255)
        if strict:
            level = xp.ceil(self._x * 255) - 1  # the last threshold that x exceeds; -1 where x is 0
        keys = (xp.astype(level, xp.int32) + 1) + (THRESHOLDS + 1) * (
            xp.astype(self._target, xp.int32) + 2 * xp.reshape(self._arange(self._size), (-1, 1, 1))
        )
        ordered = xp.sort(xp.reshape(keys, (-1,)))
        edges = self._arange(2 * self._size * (THRESHOLDS + 1) + 1)
        below = xp.searchsorted(ordered, edges, side="left")  # pixels that come before each key
        ends = xp.reshape(below[THRESHOLDS + 1 :: THRESHOLDS + 1], (self._size, 2, 1))
        above = ends - xp.reshape(below[:-1], (self._size, 2, THRESHOLDS + 1))[:, :, 1:]
        above = xp.astype(above, self._dtype)
        return Counts(above[:, 1, :], above[:, 0, :])

    @remembered
    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Count pixels at or above twice the mean."""
        xp = self.xp
        threshold = xp.minimum(2 * self.mean, xp.ones_like(self.mean))[:, None, None]
        return self._counts(self._x > threshold if strict else self._x >= threshold)

    @remembered
    def binary_counts(self) -> Counts:
        """Count pixels above one half."""
        return self._counts(self._x > 0.5)

    def _counts(self, salient: Array) -> Counts:
        return Counts(self._sum(salient & self._target), self._sum(salient & ~self._target))

    @remembered
    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        return self._moments(self.xp.stack([~self._target, self._target], axis=1))

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        xp = self.xp
        top = self._before_centroid(axis=1)[:, :, None]
        left = self._before_centroid(axis=2)[:, None, :]
        return self._moments(xp.stack([top & left, top & ~left, ~top & left, ~top & ~left], axis=1))

    def _before_centroid(self, *, axis: int) -> Array:
        """Rows (columns) up to the 1-based mean foreground position, rounded half up; in integers, so exactly."""
        xp = self.xp
        integer = xp.int64 if self._dtype == xp.float64 else xp.int32
        profile = xp.sum(xp.astype(self._target, integer), axis=3 - axis)
        middle = profile.shape[1] // 2  # from where positions are counted, which keeps sums in 32 bits small
        position = xp.astype(self._arange(profile.shape[1]), integer) - middle
        count = xp.sum(profile, axis=1)
        count = xp.maximum(count, xp.ones_like(count))
        split = (2 * xp.sum(profile * position, axis=1) + 3 * count) // (2 * count)
        return position[None, :] < split[:, None]

    def _moments(self, regions: Array) -> Moments:
        """Moments of x and g over boolean regions of shape (B, R, H, W), about each region's minimum."""
        xp = self.xp
        inside = xp.astype(regions, self._dtype)
        count = xp.sum(inside, axis=(2, 3))
        divisor = xp.maximum(count, xp.ones_like(count))
        means, deviations = [], []
        for values in (self._x, xp.astype(self._target, self._dtype)):
            spread = values[:, None, :, :]
            high = xp.asarray(2.0, dtype=self._dtype, device=self._device)
            pivot = xp.min(xp.where(regions, spread, high), axis=(2, 3), keepdims=True)
            shifted = (spread - pivot) * inside  # exactly 0 in a constant region
            mean = xp.sum(shifted, axis=(2, 3)) / divisor
            deviations.append((shifted - mean[:, :, None, None]) * inside)
            means.append(xp.where(count > 0, mean + pivot[:, :, 0, 0], xp.zeros_like(mean)))
        x, g = deviations
        return Moments(
            count,
            means[0],
            means[1],
            xp.sum(x * x, axis=(2, 3)),
            xp.sum(g * g, axis=(2, 3)),
            xp.sum(x * g, axis=(2, 3)),
        )

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors, the nearest foreground pixel found by brute force along rows, then columns."""
        xp = self.xp
        g = self._target
        error = xp.where(g, 1 - self._x, self._x)
        squared, nearest = self._nearest_foreground()
        spread = xp.reshape(xp.take(xp.reshape(error, (-1,)), xp.reshape(nearest, (-1,))), error.shape)
        smooth = self._gaussian(spread)
        foreground = self._sum(xp.where(g, xp.minimum(error, smooth), xp.zeros_like(error)))
        distance = xp.sqrt(xp.astype(squared, self._dtype))
        importance = 2 - xp.exp(math.log(0.5) / HALF_DISTANCE * distance)
        return WeightedErrors(foreground, self._sum(xp.where(g, xp.zeros_like(error), error * importance)))

    def _nearest_foreground(self) -> tuple[Array, Array]:
        """Squared distance to the nearest foreground pixel and its flat index; ties by column, then row."""
        xp = self.xp
        # Farther than any pixel, and small enough that two of them and a distance still fit in int32.
        far = xp.full(self._target.shape, 1 << 29, dtype=xp.int32, device=self._device)
        vertical, row = self._closest(xp.where(self._target, xp.zeros_like(far), far), axis=1)
        squared, column = self._closest(vertical, axis=2)
        image = xp.reshape(self._arange(self._size), (-1, 1, 1))
        line = xp.reshape(self._arange(self._height), (1, -1, 1))
        flat = xp.reshape(image * self._height + line, (-1, 1)) * self._width + xp.reshape(column, (-1, self._width))
        row = xp.reshape(xp.take(xp.reshape(row, (-1,)), xp.reshape(flat, (-1,))), row.shape)
        return squared, (image * self._height + row) * self._width + column

    def _closest(self, cost: Array, *, axis: int) -> tuple[Array, Array]:
        """Minimum over j of (i - j)^2 + cost[j] along an axis, and the first j that attains it."""
        xp = self.xp
        moved = xp.moveaxis(cost, axis, -1)
        length = moved.shape[-1]
        lines = xp.reshape(moved, (-1, length))
        offset = self._arange(length)[:, None] - self._arange(length)[None, :]
        step = max(1, _CHUNK // length**2)
        best, where = [], []
        total = lines.shape[0]
        for start in range(0, total, step):
            table = lines[start : min(start + step, total), None, :] + offset * offset
            best.append(xp.min(table, axis=-1))
            where.append(xp.astype(xp.argmin(table, axis=-1), xp.int32))
        shape = moved.shape
        return (
            xp.moveaxis(xp.reshape(xp.concat(best), shape), -1, axis),
            xp.moveaxis(xp.reshape(xp.concat(where), shape), -1, axis),
        )

    def _gaussian(self, image: Array) -> Array:
        """7 x 7 Gaussian of standard deviation 5 with zeros outside, one axis at a time."""
        xp = self.xp
        weights = gaussian().tolist()
        for axis in (1, 2):
            edge: list[Any] = list(image.shape)
            edge[axis] = REACH
            zeros = xp.zeros(tuple(edge), dtype=self._dtype, device=self._device)
            padded = xp.moveaxis(xp.concat([zeros, image, zeros], axis=axis), axis, 0)
            length = image.shape[axis]
            total = weights[0] * padded[:length, ...]
            for shift in range(1, GAUSSIAN_SIZE):
                total = total + weights[shift] * padded[shift : shift + length, ...]
            image = xp.moveaxis(total, 0, axis)
        return image
