"""Edges of binary maps and the grid cells they touch, for up to 64 maps at once: one in each bit of an integer."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

THRESHOLDS = 256
WORD = 64
# Rows whose temporaries stay in the processor's cache.
STRIP = 32


def edges(cut: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where a Sobel derivative of a binary map is not 0; outside the map is background."""
    return np.asarray(_edges_inside(np.pad(cut, 1)))


def touched(edge: Bits) -> Bits:
    """Whether anything is set in each 2 x 2 cell; cells are counted from the bottom right corner."""
    height, width = edge.shape
    rows = edge[::2].copy()  # the first one alone if they are odd in number
    rows[height % 2 :] |= edge[1::2]
    cells = rows[:, ::2].copy()
    cells[:, width % 2 :] |= rows[:, 1::2]
    return cells


def hits(levels: Levels, cells: list[npt.NDArray[np.bool_]]) -> Counts:
    """Count the cells that an edge of ``levels >= t`` touches, for t = 0 to 256, among those marked.

    ``cells[k]`` marks cells of 2 ** k pixels a side. The result has shape (len(cells), 257).
    """
    counts = np.zeros((len(cells), THRESHOLDS + 1), np.int64)
    # One more than the level: 0 is outside, where every cut has background.
    padded = np.pad(levels.astype(np.intp) + 1, 1)
    for word in range(int(levels.max()) // WORD + 1):
        edge = _edges_of_cuts(padded, _cuts()[:, word].copy())
        for scale, marked in enumerate(cells):
            edge = touched(edge) if scale else edge
            counts[scale, word * WORD : (word + 1) * WORD] = _count_bits(edge[marked])
    return counts


def _cuts() -> npt.NDArray[np.uint64]:
    """Whether a level reaches each threshold, as bits: shape (257, 4), the first row for what is outside."""
    reached = np.tri(THRESHOLDS + 1, THRESHOLDS, -1, dtype=bool)
    return np.packbits(reached, axis=1, bitorder="little").view("<u8")


def _edges_of_cuts(padded: npt.NDArray[np.intp], cuts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Edges of 64 cuts of a padded map."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    edge = np.empty((height, width), np.uint64)
    for top in range(0, height, STRIP):
        edge[top : top + STRIP] = _edges_inside(cuts[padded[top : top + STRIP + 2]])
    return edge


def _edges_inside(cut: Bits) -> Bits:
    """Edges of padded binary maps: the sums 1, 2, 1 of opposite sides of the 3 x 3 window differ."""
    rows = _sums(cut[:, :-2], cut[:, 1:-1], cut[:, 2:])
    columns = _sums(cut[:-2], cut[1:-1], cut[2:])
    differences = [bit[:-2] ^ bit[2:] for bit in rows] + [bit[:, :-2] ^ bit[:, 2:] for bit in columns]
    return reduce(or_, differences)


def _sums(before: Bits, middle: Bits, after: Bits) -> tuple[Bits, Bits, Bits]:
    """The three binary digits of before + 2 middle + after, for all bits at once."""
    carry = before & after
    return before ^ after, carry ^ middle, carry & middle


def _count_bits(words: npt.NDArray[np.uint64]) -> Counts:
    """How many of the words have each bit set, lowest bit first."""
    bits = np.unpackbits(words.astype("<u8")[:, None].view(np.uint8), axis=1, bitorder="little")
    return np.asarray(bits.sum(axis=0, dtype=np.int64))
