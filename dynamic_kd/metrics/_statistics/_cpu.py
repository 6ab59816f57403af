"""Statistics of arrays in the CPU's memory, image by image in float64; compiled if numba is installed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._statistics._interface import (
    THRESHOLDS,
    Counts,
    Floats,
    Mask,
    Moments,
    WeightedErrors,
    remembered,
)
from dynamic_kd.metrics._statistics._numpy import thresholds_reached

Integers = npt.NDArray[np.int64]


@cache
def kernels() -> Any:
    """Return the compiled kernels, or their NumPy twins where numba is missing; imported on first use."""
    try:
        from dynamic_kd.metrics._statistics import _numba as module
    except ImportError:
        from dynamic_kd.metrics._statistics import _numpy as module  # type: ignore[no-redef]
    return module


class CPUStatistics:
    """Statistics of a batch held by NumPy (or torch on the CPU)."""

    xp: Any = np

    def __init__(
        self,
        pred: npt.NDArray[Any],
        target: Mask,
        *,
        normalize: bool,
        extremes: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    ) -> None:
        self.pixels = pred.shape[1] * pred.shape[2]
        self._target = frozen(target)
        low, high = extremes or (pred.min(axis=(1, 2)), pred.max(axis=(1, 2)))
        self._has_levels = pred.dtype == np.uint8
        # Pixels are 8-bit levels with a table of their normalised values, or normalised values already.
        self._table = np.tile(np.arange(THRESHOLDS) / 255, (len(pred), 1))
        if self._has_levels:
            self._pixels = frozen(pred)
            if normalize:
                self._table = _stretch(self._table, low / 255, high / 255)
        else:
            wide, low, high = (np.ascontiguousarray(values, np.float64) for values in (pred, low, high))
            if (low < 0).any() or (high > 1).any():  # by rounding
                wide, low, high = (values.clip(0, 1) for values in (wide, low, high))
            self._pixels = frozen(_stretch(wide, low, high) if normalize else wide)
        self.constant = low == high

    @property
    def _kernels(self) -> Any:
        return kernels()

    @cached_property
    def backend(self) -> str:
        """``"numba"`` or ``"numpy"``."""
        return str(kernels().NAME)

    def images(self) -> list[tuple[Floats, Mask]]:
        """Return each normalised prediction with its mask."""
        if not self._has_levels:
            return list(zip(self._pixels, self._target, strict=True))
        pairs = zip(self._table, self._pixels, self._target, strict=True)
        return [(table[levels], mask) for table, levels, mask in pairs]

    def _each(self, kernel: Callable[..., Any], *arrays: Any) -> npt.NDArray[Any]:
        """Apply a kernel image by image and stack what it returns."""
        return np.stack([kernel(*image) for image in zip(*arrays, strict=True)])

    @cached_property
    def _level_counts(self) -> Integers:
        """Joint histogram of class and 8-bit level, shape (B, 2, 256)."""
        return self._each(self._kernels.level_counts, self._pixels, self._target)

    @cached_property
    def _foreground(self) -> Integers:
        if self._has_levels:
            return cast(Integers, self._level_counts[:, 1].sum(axis=-1))
        return cast(Integers, np.count_nonzero(self._target, axis=(1, 2)))

    @cached_property
    def foreground(self) -> Floats:
        """Salient target pixels of each image."""
        return self._foreground.astype(float)

    @cached_property
    def mean(self) -> Floats:
        """Mean normalised prediction."""
        if self._has_levels:
            return cast(Floats, (self._level_counts.sum(axis=1) * self._table).sum(axis=-1) / self.pixels)
        return cast(Floats, self._pixels.mean(axis=(1, 2)))

    @remembered
    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Reverse cumulative sums of the joint histogram of class and threshold."""
        if self._has_levels:
            bins = thresholds_reached(self._table, strict)
            counts = np.stack([_regroup(*pair) for pair in zip(self._level_counts, bins, strict=True)])
        else:
            counts = np.stack(
                [self._kernels.bin_counts(*pair, strict) for pair in zip(self._pixels, self._target, strict=True)]
            )
        return reached(counts)

    @remembered
    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Count pixels at or above twice the mean."""
        threshold = np.minimum(2 * self.mean, 1)
        if self._has_levels:
            threshold = np.minimum(2 * self._mean_where_it_decides(threshold[:, None]), 1)
        return self._counts_above(threshold, strict=strict)

    @remembered
    def binary_counts(self) -> Counts:
        """Count pixels above one half."""
        return self._counts_above(np.full(len(self._target), 0.5), strict=True)

    def _counts_above(self, threshold: Floats, *, strict: bool) -> Counts:
        """Count pixels at or above (strict: above) a threshold for each image."""
        values = self._table if self._has_levels else self._pixels
        threshold = threshold.reshape(-1, *[1] * (values.ndim - 1))
        salient = values > threshold if strict else values >= threshold
        if self._has_levels:
            alarms, hits = (self._level_counts * salient[:, None]).sum(axis=-1).T
        else:
            hits = np.count_nonzero(salient & self._target, axis=(1, 2))
            alarms = np.count_nonzero(salient, axis=(1, 2)) - hits
        return Counts(hits.astype(float), alarms.astype(float))

    def _mean_where_it_decides(self, threshold: Floats) -> Floats:
        """Mean, computed by NumPy's pairwise sum where a level ties with twice the mean.

        There the last bit decides the side, and PySODMetrics uses that sum.
        """
        mean = self.mean.copy()
        present = self._level_counts.sum(axis=1) > 0
        ties = (present & (np.abs(self._table - threshold) < 1e-12)).any(axis=-1)
        for image in np.flatnonzero(ties):
            mean[image] = self._table[image][self._pixels[image]].mean()
        return mean

    @remembered
    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        if not self._has_levels:
            values = self._each(self._kernels.class_moments, self._pixels, self._table, self._target)
        else:
            values = np.stack([_level_moments(*pair) for pair in zip(self._level_counts, self._table, strict=True)])
        return Moments(*np.moveaxis(values, -1, 0))

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        values = self._each(self._kernels.quadrant_moments, self._pixels, self._table, self._target)
        return Moments(*np.moveaxis(values, -1, 0))

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors; zeros for an empty target, which has no distances."""
        errors = np.zeros((len(self._target), 2))
        for image in np.flatnonzero(self._foreground):
            errors[image] = self._kernels.weighted_errors(self._pixels[image], self._table[image], self._target[image])
        return WeightedErrors(errors[:, 0], errors[:, 1])


def reached(counts: Integers) -> Counts:
    """Pixels that reach each threshold, from histograms of how many each pixel reaches, shape (B, 2, 257)."""
    above = np.cumsum(counts[:, :, :0:-1], axis=-1)[:, :, ::-1].astype(float)
    return Counts(above[:, 1], above[:, 0])


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a contiguous, read-only view. numba would compile its loops again for writable arrays."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _stretch(values: Floats, low: Floats, high: Floats) -> Floats:
    """Min-max normalisation of each image, in the original's order of operations; constant maps stay."""
    shape = (-1,) + (1,) * (values.ndim - 1)
    span = np.where(high > low, high - low, 1).reshape(shape)
    low = np.where(high > low, low, 0).reshape(shape)
    return cast(Floats, (values - low) / span)


def _regroup(level_counts: Integers, bins: Integers) -> Integers:
    """Counts by 8-bit level as counts by threshold bin."""
    bins = np.clip(bins, 0, THRESHOLDS)  # levels outside the image's own range, which no pixel has
    return np.stack([np.bincount(bins, weights, THRESHOLDS + 1) for weights in level_counts]).astype(np.int64)


def _level_moments(level_counts: Integers, table: Floats) -> Floats:
    """Moments of x by class from the joint histogram, shape (2, 6)."""
    count = level_counts.sum(axis=-1)
    divisor = np.maximum(count, 1)[:, None]
    pivot = np.array([[table[counts > 0].min(initial=2)] for counts in level_counts])
    deviation = table - pivot
    mean = (level_counts * deviation).sum(axis=-1, keepdims=True) / divisor
    squares = (level_counts * (deviation - mean) ** 2).sum(axis=-1)
    zeros = np.zeros(2)
    mean = np.where(count > 0, (mean + pivot)[:, 0], 0)
    return np.stack([count, mean, np.array([0.0, 1.0]), squares, zeros, zeros], axis=-1)
