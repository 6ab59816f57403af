"""A table that grows by rows, in blocks that are never copied again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

_LARGEST_BLOCK = 256


class Rows:
    """Rows of one width and dtype, appended at the end."""

    def __init__(self, width: int, dtype: npt.DTypeLike) -> None:
        self._blocks: list[npt.NDArray[Any]] = []
        self._empty = np.empty((0, width), dtype)
        self._length = 0
        self._free = 0  # rows of the last block

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows block by block; tables that grew by the same steps have the same blocks."""
        yield from self._blocks[:-1]
        for last in self._blocks[-1:]:
            yield last[: len(last) - self._free]

    def __getstate__(self) -> dict[str, Any]:
        blocks = [self.table()] if len(self) else []
        return {"_blocks": blocks, "_empty": self._empty, "_length": len(self), "_free": 0}

    def extend(self, rows: npt.NDArray[Any]) -> None:
        """Append rows."""
        while len(rows):
            if self._free == 0:
                self._free = max(len(rows), min(len(self), _LARGEST_BLOCK))
                self._blocks.append(np.empty((self._free, self._empty.shape[1]), self._empty.dtype))
            part = rows[: self._free]
            start = len(self._blocks[-1]) - self._free
            self._blocks[-1][start : start + len(part)] = part
            self._free -= len(part)
            self._length += len(part)
            rows = rows[len(part) :]

    def table(self) -> npt.NDArray[Any]:
        """Return all rows as one array."""
        return np.concatenate([self._empty, *self])
