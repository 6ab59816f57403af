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

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        """Yield the rows block by block."""
        left = self._length
        for block in self._blocks:
            yield block[:left]
            left -= min(left, len(block))

    def __getstate__(self) -> dict[str, Any]:
        return {"_blocks": [self.table()] if len(self) else [], "_empty": self._empty, "_length": len(self)}

    def extend(self, rows: npt.NDArray[Any]) -> None:
        """Append rows."""
        room = sum(len(block) for block in self._blocks[-1:]) - self._filled
        if len(rows) > room:
            if room:
                self.extend(rows[:room])
                rows = rows[room:]
            size = max(len(rows), min(len(self), _LARGEST_BLOCK))
            self._blocks.append(np.empty((size, self._empty.shape[1]), self._empty.dtype))
        if len(rows):
            start = self._filled
            self._blocks[-1][start : start + len(rows)] = rows
            self._length += len(rows)

    @property
    def _filled(self) -> int:
        """Rows in the last block."""
        return self._length - sum(len(block) for block in self._blocks[:-1])

    def table(self) -> npt.NDArray[Any]:
        """Return all rows as one array."""
        return np.concatenate([self._empty, *self])
