"""A sum whose bits do not depend on order or grouping."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_UNIT = 2.0**30


def exact_words(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Sum the rows of ``values``, shape (B, size), as the words of an `ExactSum`, shape (2, size)."""
    scaled = values.astype(np.float64) * _UNIT
    high = np.floor(scaled)
    low = np.rint((scaled - high) * _UNIT)
    return np.asarray(np.stack([high, low]).sum(axis=1).astype(np.int64))


class ExactSum:
    """Sum of vectors with entries in [0, 4), kept as integers: high words in units of 2^-30, low words of 2^-60.

    Integers add exactly, so that any order, sharding or merging of up to 2^29 vectors gives the same bits.
    """

    def __init__(self, size: int) -> None:
        self.words = np.zeros((2, size), np.int64)

    def add(self, values: npt.NDArray[Any]) -> None:
        """Add the rows of ``values``, shape (B, size)."""
        self.words += exact_words(values)

    def merge(self, other: ExactSum) -> None:
        """Add another sum."""
        self.words += other.words

    def total(self) -> Floats:
        """Return the sum, shape (size,), rounded once to float64."""
        high, low = self.words
        return np.asarray((high + low / _UNIT) / _UNIT)
