"""Statistics of each object of a target by itself: how the size-invariant measures see an image."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._statistics._cpu import frozen, kernels, reached
from dynamic_kd.metrics._statistics._interface import Counts, Floats, Mask

Box = tuple[slice, slice]

# Smaller objects count only in images that have no larger one.
SMALLEST_AREA = 50


def object_boxes(target: Mask) -> list[Box]:
    """Boxes around a mask's objects in the order of their first pixels; they may overlap.

    Objects are 4-connected and at least `SMALLEST_AREA` pixels large; where none is, the largest ones.
    """
    from scipy import ndimage

    labels, found = ndimage.label(target)
    if found == 0:
        return []
    areas = np.bincount(labels.ravel())[1:]
    boxes = ndimage.find_objects(labels)
    return [boxes[index] for index in np.flatnonzero(areas >= min(SMALLEST_AREA, areas.max()))]


class ObjectStatistics:
    """Statistics of one image's T objects, each as an image in which everything outside its box is background.

    An image without objects counts as one object.
    """

    xp: Any = np

    def __init__(self, x: Floats, target: Mask) -> None:
        self.pixels = target.size
        self._x = x
        boxes = object_boxes(target) or [(slice(None), slice(None))]
        self._crops = [(frozen(x[box]), frozen(target[box])) for box in boxes]
        self._boxes = boxes

    @cached_property
    def foreground(self) -> Floats:
        """Salient pixels in each box, shape (T,)."""
        return np.array([np.count_nonzero(target) for _, target in self._crops], float)

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Pixels that reach each threshold, shape (T, 256)."""
        counts = np.stack([kernels().bin_counts(*crop, strict) for crop in self._crops])
        if not strict:
            counts[:, 0, 1] += self._outside  # zeros there, which reach the lowest threshold
        return reached(counts)

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Pixels at or above (strict: above) twice the mean of the image with one object, shape (T,)."""
        return self._cut(
            [self._adaptive_threshold(*part) for part in zip(self._boxes, self._crops, strict=True)], strict
        )

    def binary_counts(self) -> Counts:
        """Pixels above one half, shape (T,)."""
        return self._cut([0.5] * len(self._crops), strict=True)

    @cached_property
    def _outside(self) -> npt.NDArray[np.int64]:
        return np.array([self.pixels - x.size for x, _ in self._crops])

    def _adaptive_threshold(self, box: Box, crop: tuple[Floats, Mask]) -> float:
        threshold = min(2 * crop[0].sum() / self.pixels, 1)
        if (np.abs(crop[0] - threshold) < 1e-12).any():
            # The last bit decides. PySODMetrics sums over the image with zeros outside the box.
            whole = np.zeros_like(self._x)
            whole[box] = crop[0]
            threshold = min(2 * whole.mean(), 1)
        return float(threshold)

    def _cut(self, thresholds: list[float], strict: bool) -> Counts:
        counts = []
        for (x, target), outside, threshold in zip(self._crops, self._outside, thresholds, strict=True):
            salient = x > threshold if strict else x >= threshold
            hits = np.count_nonzero(salient & target)
            beyond = 0 if strict or threshold > 0 else outside
            counts.append((hits, np.count_nonzero(salient) - hits + beyond))
        return Counts(*np.array(counts, float).T)
