"""Statistics read from records, one an image, on the device or on the host; and the records of any statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, Namespace, to_host
from dynamic_kd.metrics._inputs import LEVEL
from dynamic_kd.metrics._statistics._interface import THRESHOLDS, Counts, Moments, Statistics, WeightedErrors

# Columns of a record. The kernels write them.
FOREGROUND, MEAN, CONSTANT, FLAGS, PEAK, ADAPTIVE, ERRORS, CLASSES, QUADRANTS, BINARY = 0, 1, 2, 3, 4, 5, 9, 12, 24, 48
COUNTS = 64
STRICT_COUNTS = COUNTS + 2 * THRESHOLDS
SIZE = STRICT_COUNTS + 2 * THRESHOLDS
# The columns that curves and pooled counts are computed from; all are counts.
KEPT = (FOREGROUND, CONSTANT, ADAPTIVE, ADAPTIVE + 1, BINARY, BINARY + 1, *range(COUNTS, STRICT_COUNTS))
KEPT_STRICT = (*KEPT, *range(STRICT_COUNTS, SIZE))

# What each bit of an image's flags means.
FAULTS = {
    1: "pred: expected finite values in [0, 1], got NaN or infinity in {}",
    2: "pred: expected values in [0, 1], got others in {}; pass probabilities (apply the sigmoid to logits), "
    "and 0 to 255 maps as uint8",
    4: "target: expected finite values in [0, 1], got NaN or infinity in {}",
    8: "target: expected integers from 0 to 255 or floating values in [0, 1], got others in {}",
    16: "target: expected masks of two levels, 0 and a salient one, or of 0 and 255 with grey edges, got others in {}; "
    "name the levels that are salient (salient=), and those that are not labelled (void=)",
}


NEEDS_ALL = (
    "void: the {} looks at where pixels are, so none can be left out; leave out this metric, "
    "or name the levels that are salient with salient= alone, which makes void ones background"
)


class RecordedStatistics:
    """Statistics read from records, shape (B, SIZE), float64."""

    def __init__(self, xp: Namespace, records: Array, *, pixels: Any, backend: str) -> None:
        self.xp = xp
        self.pixels = pixels  # a number, or one for each image
        self.backend = backend
        self._records = records

    def _read(self, place: int | slice) -> Array:
        """Columns of the records: a number, or several, for each image."""
        return self._records[:, place]

    @property
    def foreground(self) -> Array:
        """Salient target pixels of each image."""
        return self._read(FOREGROUND)

    @property
    def mean(self) -> Array:
        """Mean normalised prediction."""
        return self._read(MEAN)

    @property
    def constant(self) -> Array:
        """Whether every pixel of the prediction has one value."""
        return self._read(CONSTANT) > 0

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Counts at the fixed thresholds."""
        start = STRICT_COUNTS if strict else COUNTS
        middle, stop = start + THRESHOLDS, start + 2 * THRESHOLDS
        return Counts(self._read(slice(start, middle)), self._read(slice(middle, stop)))

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Counts at twice the mean."""
        start = ADAPTIVE + 2 * strict
        return Counts(self._read(start), self._read(start + 1))

    def binary_counts(self) -> Counts:
        """Counts above 0.5."""
        return Counts(self._read(BINARY), self._read(BINARY + 1))

    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        return self._moments(CLASSES, 2)

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        return self._moments(QUADRANTS, 4)

    def _moments(self, start: int, regions: int) -> Moments:
        return Moments(
            *(self._read(slice(first, first + regions)) for first in range(start, start + 6 * regions, regions))
        )

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors."""
        return WeightedErrors(self._read(ERRORS), self._read(ERRORS + 1))


class PartialStatistics(RecordedStatistics):
    """Statistics of some of the pixels of each image, which have no neighbours."""

    def quadrant_moments(self) -> Moments:
        """Raise: the quadrants are those of whole images."""
        raise ValueError(NEEDS_ALL.format("S-measure"))

    def weighted_errors(self) -> WeightedErrors:
        """Raise: errors are weighted by distances, and smoothed."""
        raise ValueError(NEEDS_ALL.format("weighted F-measure"))


def recorded(statistics: Statistics, *, strict: bool, whole: bool = True) -> npt.NDArray[np.float64]:
    """Return the records of any statistics, shape (B, SIZE).

    Without ``strict`` the strict counts are NaN; without ``whole``, what needs the places of pixels is.
    """
    records = np.full((statistics.foreground.shape[0], SIZE), np.nan)
    records[:, [FLAGS, PEAK]] = 0
    for column, value in ((FOREGROUND, statistics.foreground), (MEAN, statistics.mean)):
        records[:, column] = to_host(value)
    records[:, CONSTANT] = to_host(statistics.constant)
    scalars: list[tuple[int, Any]] = [(BINARY, statistics.binary_counts())]
    scalars += [(ERRORS, statistics.weighted_errors())] if whole else []
    scalars += [(ADAPTIVE + 2 * cut, statistics.adaptive_counts(strict=cut)) for cut in {False, strict}]
    for start, values in scalars:
        for column, value in enumerate(values, start):
            records[:, column] = to_host(value)
    moments_of = [(CLASSES, statistics.class_moments())]
    moments_of += [(QUADRANTS, statistics.quadrant_moments())] if whole else []
    for start, moments in moments_of:
        table = np.concatenate([to_host(moment) for moment in moments], axis=1)
        records[:, start : start + table.shape[1]] = table
    for cut in {False, strict}:
        start = STRICT_COUNTS if cut else COUNTS
        above = [to_host(count) for count in statistics.threshold_counts(strict=cut)]
        records[:, start : start + 2 * THRESHOLDS] = np.concatenate(above, axis=1)
    return records


def refuse_faults(flags: npt.NDArray[np.float64], names: Sequence[str]) -> None:
    """Raise if images have values that their dtype does not allow; the error lists their names."""
    if not (flags % LEVEL).any():
        return
    for fault, message in FAULTS.items():
        found = [name for name, flag in zip(names, flags, strict=True) if int(flag) & fault]
        if found:
            raise ValueError(message.format(", ".join(found)))


class DeferredStatistics(RecordedStatistics, ABC):
    """Statistics that a GPU still computes."""

    @abstractmethod
    def check(self) -> None:
        """Wait for the flags of the values, and raise if a value is not what its dtype promises."""

    @abstractmethod
    def start(self, formula: Callable[..., Any], *, skip_empty: bool, keep: Sequence[int] = ()) -> list[Array]:
        """Start a formula; return what `packed` returns, on the device, and the columns to ``keep``, if any.

        With ``skip_empty`` the sums of curves and counts leave out images without foreground. The next start may
        overwrite the results.
        """

    @abstractmethod
    def evaluate(self, formula: Callable[..., Any], *, skip_empty: bool, keep: Sequence[int] = ()) -> Callable[[], Any]:
        """Start a formula and copy its results to the host; the function returned waits for the `Contribution`."""
