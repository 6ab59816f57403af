"""Statistics that lie ready in one record an image, on the device or on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, Namespace
from dynamic_kd.metrics._statistics._interface import THRESHOLDS, Counts, Moments, WeightedErrors

# Where an image's numbers lie in its record; the kernels write them there.
FOREGROUND, MEAN, CONSTANT, FLAGS, PEAK, ADAPTIVE, ERRORS, CLASSES, QUADRANTS, COUNTS = 0, 1, 2, 3, 4, 5, 9, 12, 24, 64
SIZE = COUNTS + 4 * THRESHOLDS

# What each bit of an image's flags means.
FAULTS = {
    1: "pred: expected finite values in [0, 1], got NaN or infinity in {}",
    2: "pred: expected values in [0, 1], got others in {}; pass probabilities, for logits the sigmoid of them, "
    "and 0 to 255 maps as uint8",
    4: "target: expected finite values in [0, 1], got NaN or infinity in {}",
    8: "target: expected integers from 0 to 255 or floating values in [0, 1], got others in {}",
    16: "target: expected 8-bit masks, where more than 128 is salient, got a largest value from 1 to 128 in {}, "
    "which would count as empty; pass target > 0",
}


class RecordedStatistics:
    """Statistics read from records, shape (B, SIZE), float64."""

    def __init__(self, xp: Namespace, records: Array, *, pixels: int, backend: str) -> None:
        self.xp = xp
        self.pixels = pixels
        self.backend = backend
        self._records = records

    @property
    def foreground(self) -> Array:
        """Salient target pixels of each image."""
        return self._records[:, FOREGROUND]

    @property
    def mean(self) -> Array:
        """Mean normalised prediction."""
        return self._records[:, MEAN]

    @property
    def constant(self) -> Array:
        """Whether every pixel of the prediction has one value."""
        return self._records[:, CONSTANT] > 0

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Counts at the fixed thresholds."""
        start = COUNTS + 2 * THRESHOLDS * strict
        middle, stop = start + THRESHOLDS, start + 2 * THRESHOLDS
        return Counts(self._records[:, start:middle], self._records[:, middle:stop])

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Counts at twice the mean."""
        start = ADAPTIVE + 2 * strict
        return Counts(self._records[:, start], self._records[:, start + 1])

    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        return self._moments(CLASSES, 2)

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        return self._moments(QUADRANTS, 4)

    def _moments(self, start: int, regions: int) -> Moments:
        return Moments(
            *(self._records[:, first : first + regions] for first in range(start, start + 6 * regions, regions))
        )

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors."""
        return WeightedErrors(self._records[:, ERRORS], self._records[:, ERRORS + 1])


class Evaluated(NamedTuple):
    """What formulas gave for a batch, on the host.

    Attributes
    ----------
    words
        Rows, such as curves, as an exact sum over the images, shape (2, all rows' lengths), int64.
    numbers
        Scores, shape (B, S), float64.
    foreground, flags, constant
        Salient target pixels, bits as in `FAULTS`, and whether the prediction is constant, each of shape (B,).
    """

    words: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    foreground: npt.NDArray[np.float64]
    flags: npt.NDArray[np.float64]
    constant: npt.NDArray[np.bool_]


def refuse_faults(flags: npt.NDArray[np.float64], names: Sequence[str]) -> None:
    """Raise if images, called by their names, hold values that their dtype does not allow."""
    for fault, message in FAULTS.items():
        found = [name for name, flag in zip(names, flags, strict=True) if int(flag) & fault]
        if found:
            raise ValueError(message.format(", ".join(found)))


@runtime_checkable
class DeferredStatistics(Protocol):
    """Statistics that are still being computed, on a device of their own."""

    pixels: int
    backend: str

    def check(self) -> None:
        """Wait, and raise if values are not what their dtypes promise."""

    def evaluate(self, formula: Callable[..., Any], *, skip_empty: bool) -> Callable[[], Evaluated]:
        """Start a formula, and its results' way to the host; the function returned waits for them.

        The formula returns rows and numbers. With ``skip_empty``, images without foreground stay out of the rows' sums.
        """
