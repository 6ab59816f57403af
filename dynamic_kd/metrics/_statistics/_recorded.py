"""Statistics that lie ready in one record an image, on the device or on the host."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, Namespace, to_host
from dynamic_kd.metrics._statistics._interface import THRESHOLDS, Counts, Moments, Statistics, WeightedErrors

# Where an image's numbers lie in its record; the kernels write them there.
FOREGROUND, MEAN, CONSTANT, FLAGS, PEAK, ADAPTIVE, ERRORS, CLASSES, QUADRANTS, BINARY = 0, 1, 2, 3, 4, 5, 9, 12, 24, 48
COUNTS = 64
STRICT_COUNTS = COUNTS + 2 * THRESHOLDS
SIZE = STRICT_COUNTS + 2 * THRESHOLDS
# What curves and pooled counts are made of, all of it counts: a selection of a record's columns.
KEPT = (FOREGROUND, CONSTANT, ADAPTIVE, ADAPTIVE + 1, BINARY, BINARY + 1, *range(COUNTS, STRICT_COUNTS))
KEPT_STRICT = (*KEPT, *range(STRICT_COUNTS, SIZE))

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

    def __init__(self, xp: Namespace, records: Array, *, pixels: Any, backend: str) -> None:
        self.xp = xp
        self.pixels = pixels  # a number, or one for each image
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
        start = STRICT_COUNTS if strict else COUNTS
        middle, stop = start + THRESHOLDS, start + 2 * THRESHOLDS
        return Counts(self._records[:, start:middle], self._records[:, middle:stop])

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Counts at twice the mean."""
        start = ADAPTIVE + 2 * strict
        return Counts(self._records[:, start], self._records[:, start + 1])

    def binary_counts(self) -> Counts:
        """Counts above 0.5."""
        return Counts(self._records[:, BINARY], self._records[:, BINARY + 1])

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


def kept_columns(statistics: Statistics, *, strict: bool) -> npt.NDArray[np.uint32]:
    """Return the columns `KEPT` (strict: `KEPT_STRICT`) of the records of any statistics, and no more."""
    scalars = [statistics.foreground, statistics.constant, *statistics.adaptive_counts(), *statistics.binary_counts()]
    columns = [to_host(each)[:, None] for each in scalars]
    for cut in (False, True)[: 1 + strict]:
        columns += [to_host(each) for each in statistics.threshold_counts(strict=cut)]
    return np.concatenate(columns, axis=1, dtype=np.uint32, casting="unsafe")


def recorded(statistics: Statistics, *, strict: bool) -> npt.NDArray[np.float64]:
    """Return the records of any statistics, shape (B, SIZE); the strict counts are NaN unless asked for."""
    records = np.full((statistics.foreground.shape[0], SIZE), np.nan)
    records[:, [FLAGS, PEAK]] = 0
    for column, value in ((FOREGROUND, statistics.foreground), (MEAN, statistics.mean)):
        records[:, column] = to_host(value)
    records[:, CONSTANT] = to_host(statistics.constant)
    scalars = [(BINARY, statistics.binary_counts()), (ERRORS, statistics.weighted_errors())]
    scalars += [(ADAPTIVE + 2 * cut, statistics.adaptive_counts(strict=cut)) for cut in {False, strict}]
    for start, values in scalars:
        for column, value in enumerate(values, start):
            records[:, column] = to_host(value)
    for start, moments in ((CLASSES, statistics.class_moments()), (QUADRANTS, statistics.quadrant_moments())):
        table = np.concatenate([to_host(each) for each in moments], axis=1)
        records[:, start : start + table.shape[1]] = table
    for start, counts in {COUNTS: False, STRICT_COUNTS if strict else COUNTS: strict}.items():
        above = [to_host(each) for each in statistics.threshold_counts(strict=counts)]
        records[:, start : start + 2 * THRESHOLDS] = np.concatenate(above, axis=1)
    return records


class Evaluated(NamedTuple):
    """What formulas gave for a batch, on the host.

    Attributes
    ----------
    words
        Curves as an exact sum over the images, shape (2, all curves' lengths), int64.
    totals
        Counts summed over the images, int64.
    numbers
        Scores, shape (B, S), float64.
    foreground, flags, constant
        Salient target pixels, bits as in `FAULTS`, and whether the prediction is constant, each of shape (B,).
    kept
        The columns `KEPT` (strict: `KEPT_STRICT`) of the records, shape (B, K), uint32, if asked for.
    host_curves
        Curves from pixels, shape (B, all their lengths); their words and numbers come last above.
    """

    words: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.float64]
    foreground: npt.NDArray[np.float64]
    flags: npt.NDArray[np.float64]
    constant: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.uint32] | None = None
    host_curves: npt.NDArray[np.float64] | None = None


def packed(batch: Evaluated) -> npt.NDArray[np.int64]:
    """Return words, totals, and a row for each image of numbers, foreground, flags and constant, as 64-bit integers."""
    columns = [batch.numbers, *(each[:, None].astype(np.float64) for each in batch[3:6])]
    numbers = np.ascontiguousarray(np.concatenate(columns, axis=1))
    return np.concatenate([batch.words.ravel(), batch.totals, numbers.ravel().view(np.int64)])


def unpacked(
    content: npt.NDArray[np.int64], *, curves: int, totals: int, images: int, kept: npt.NDArray[np.uint32] | None
) -> Evaluated:
    """Return what was packed, of curves and totals of these lengths."""
    middle, end = 2 * curves, 2 * curves + totals
    table = content[end:].view(np.float64).reshape(images, -1)
    foreground, flags, constant = table[:, -3:].T
    words = content[:middle].reshape(2, -1)
    return Evaluated(words, content[middle:end], table[:, :-3], foreground, flags, constant > 0, kept)


def refuse_faults(flags: npt.NDArray[np.float64], names: Sequence[str]) -> None:
    """Raise if images, called by their names, hold values that their dtype does not allow."""
    if not flags.any():
        return
    for fault, message in FAULTS.items():
        found = [name for name, flag in zip(names, flags, strict=True) if int(flag) & fault]
        if found:
            raise ValueError(message.format(", ".join(found)))


class DeferredStatistics(RecordedStatistics, ABC):
    """Statistics that are still being computed, on a device of their own."""

    @abstractmethod
    def check(self) -> None:
        """Wait, and raise if values are not what their dtypes promise."""

    @abstractmethod
    def start(self, formula: Callable[..., Any], *, skip_empty: bool, keep: Sequence[int] = ()) -> list[Array]:
        """Start a formula; return what will be packed, and the columns to keep, if any, on the device.

        The formula returns curves, counts and numbers. With ``skip_empty``, images without foreground stay out of the
        sums of curves and counts. ``keep`` lists columns of the records to return as well. The next start may
        overwrite what is returned.
        """

    @abstractmethod
    def evaluate(
        self, formula: Callable[..., Any], *, skip_empty: bool, keep: Sequence[int] = ()
    ) -> Callable[[], Evaluated]:
        """Start a formula, and its results' way to the host; the function returned waits for them."""
