"""What a batch adds to the numbers of a data set, and its way from a GPU to the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, to_host
from dynamic_kd.metrics._statistics._interface import Floats, Statistics
from dynamic_kd.metrics._statistics._recorded import KEPT

_UNIT = 2.0**30

Formula = Callable[[Any], tuple[Sequence[Array], Sequence[Array], Sequence[Array]]]
"""Statistics -> curves, each of shape (B, 256); counts to sum, (B,) or (B, 256); numbers, each of shape (B,)."""


class Contribution(NamedTuple):
    """What a batch adds, on the host.

    Attributes
    ----------
    words
        Curves as an exact sum over the images (see `exact_words`), shape (2, all curves' lengths), int64.
    totals
        Counts summed over the images, int64.
    numbers
        Scores, shape (B, S), float64.
    foreground, flags, constant
        Salient target pixels, bits as in `FAULTS`, and whether the prediction is constant, each of shape (B,).
    kept
        Columns of the records that can take images out of the sums again, shape (B, K), uint32, if asked for.
    pixel_curves
        Curves from pixels, shape (B, all their lengths). Their words and numbers come last above.
    """

    words: npt.NDArray[np.int64]
    totals: npt.NDArray[np.int64]
    numbers: Floats
    foreground: Floats
    flags: Floats
    constant: npt.NDArray[np.bool_]
    kept: npt.NDArray[np.uint32] | None = None
    pixel_curves: Floats | None = None

    def rows(self, images: npt.NDArray[np.bool_]) -> Contribution:
        """Return what belongs to some of the images, with the sums as they are."""
        by_image = ("numbers", "foreground", "flags", "constant", "kept", "pixel_curves")
        parts = {name: values[images] for name in by_image if (values := getattr(self, name)) is not None}
        return self._replace(**parts)

    def with_pixels(self, curves: Floats, numbers: Floats, *, skip_empty: bool) -> Contribution:
        """Add curves, shape (B, all their lengths), and numbers, shape (B, N), from pixels."""
        rows = self.foreground > 0 if skip_empty else slice(None)
        return self._replace(
            words=np.concatenate([self.words, exact_words(curves[rows])], axis=1),
            numbers=np.concatenate([self.numbers, numbers], axis=1),
            pixel_curves=curves,
        )


def contribution(measured: Statistics, formula: Formula, *, skip_empty: bool, keep: Sequence[int]) -> Contribution:
    """Evaluate a formula on the host. With ``skip_empty`` the sums leave out images without foreground."""
    foreground = to_host(measured.foreground)
    curves, totals, numbers = ([to_host(value) for value in values] for values in formula(measured))
    rows = foreground > 0 if skip_empty else slice(None)
    none = np.zeros((len(foreground), 0))
    return Contribution(
        words=exact_words(np.concatenate([none, *curves], axis=1)[rows]),
        totals=summed([counts[rows] for counts in totals]),
        numbers=np.concatenate([none, *(column[:, None] for column in numbers)], axis=1),
        foreground=foreground,
        flags=np.zeros(len(foreground)),
        constant=to_host(measured.constant),
        kept=_kept_columns(measured, strict=len(keep) > len(KEPT)) if keep else None,
    )


def _kept_columns(measured: Statistics, *, strict: bool) -> npt.NDArray[np.uint32]:
    """Return the columns `KEPT` (strict: `KEPT_STRICT`) of the records of any statistics, and compute no more."""
    scalars = [measured.foreground, measured.constant, *measured.adaptive_counts(), *measured.binary_counts()]
    columns = [to_host(scalar)[:, None] for scalar in scalars]
    for cut in (False, True)[: 1 + strict]:
        columns += [to_host(counts) for counts in measured.threshold_counts(strict=cut)]
    return np.concatenate(columns, axis=1, dtype=np.uint32, casting="unsafe")


def summed(totals: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Sum counts, of shape (B,) or (B, N), over the images, one after another in a vector."""
    sums = [np.asarray(counts, np.int64).sum(axis=0).reshape(-1) for counts in totals]
    return np.concatenate([np.zeros(0, np.int64), *sums])


def exact_words(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Sum the rows of ``values``, in [0, 4), as integers, shape (2, size): units of 2^-30, then of 2^-60.

    Integers add exactly, so any order, sharding or merging of up to 2^29 rows gives the same bits.
    """
    scaled = values.astype(np.float64) * _UNIT
    high = np.floor(scaled)
    low = np.rint((scaled - high) * _UNIT)
    return np.asarray(np.stack([high, low]).sum(axis=1).astype(np.int64))


def exact_total(words: npt.NDArray[np.int64]) -> Floats:
    """Return an exact sum, shape (size,), rounded once to float64."""
    high, low = words
    return np.asarray((high + low / _UNIT) / _UNIT)


def packed(batch: Contribution) -> npt.NDArray[np.int64]:
    """Return words, totals, and a row for each image of numbers, foreground, flags and constant, as 64-bit integers."""
    columns = [batch.numbers, *(column[:, None].astype(np.float64) for column in batch[3:6])]
    numbers = np.ascontiguousarray(np.concatenate(columns, axis=1))
    return np.concatenate([batch.words.ravel(), batch.totals, numbers.ravel().view(np.int64)])


def unpacked(
    content: npt.NDArray[np.int64], *, curves: int, totals: int, images: int, kept: npt.NDArray[np.uint32] | None
) -> Contribution:
    """Return what was packed, of curves and totals of these lengths."""
    middle, end = 2 * curves, 2 * curves + totals
    table = content[end:].view(np.float64).reshape(images, -1)
    foreground, flags, constant = table[:, -3:].T
    words = content[:middle].reshape(2, -1)
    return Contribution(words, content[middle:end], table[:, :-3], foreground, flags, constant > 0, kept)
