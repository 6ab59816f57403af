"""Skeletons of binary images, thinned along their borders only."""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

# When a pixel may go: in the first half of a round, in the second, in both.
FIRST, SECOND, BOTH = 1, 2, 3
SURROUNDED = 255
# Neighbourhoods where scikit-image leaves Zhang and Suen's rules; bits run clockwise from the top left neighbour.
EXCEPTIONS = {
    BOTH: (10, 40, 130, 160),
    FIRST: (3, 6, 11, 12, 14, 131, 134, 161, 194, 198),
    SECOND: (24, 26, 56, 96, 104, 108, 176, 192, 224),
    0: (48, 129),
}


def removable() -> npt.NDArray[np.uint8]:
    """When a pixel may be removed, for each of the 256 neighbourhoods."""
    table = np.zeros(256, np.uint8)
    for neighbours in range(256):
        ring = [bool(neighbours >> bit & 1) for bit in range(8)]
        _, above, _, right, _, below, _, left = ring
        if 2 <= sum(ring) <= 6 and sum(ring[bit] > ring[bit - 1] for bit in range(8)) == 1:
            first = not (right and below and (above or left))
            second = not (above and left and (right or below))
            table[neighbours] = FIRST * first + SECOND * second
    for phases, exceptions in EXCEPTIONS.items():
        table[list(exceptions)] = phases
    return table


REMOVABLE = removable()


def skeletonize(image: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Thin a binary image to lines one pixel wide, exactly as scikit-image's function of that name does.

    The algorithm is Zhang and Suen's (A fast parallel algorithm for thinning digital patterns, CACM 1984), with
    `EXCEPTIONS`. Only pixels beside the background are looked at: no other pixel can be removed.
    """
    padded = np.pad(image, 1).view(np.uint8)
    _thin(padded.ravel(), padded.shape[1], np.count_nonzero(image), REMOVABLE)
    return padded[1:-1, 1:-1].view(np.bool_)


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _thin(image: Any, width: int, size: int, table: Any) -> None:
    """Thin a padded, flat image in place; it has ``size`` pixels set."""
    border, listed, length = np.empty(size, np.int64), np.zeros(image.size, np.bool_), 0
    for pixel in range(width, image.size - width):
        if image[pixel] and _neighbours(image, pixel, width) != SURROUNDED:
            border[length], listed[pixel] = pixel, True
            length += 1
    removed, gone = np.empty(size, np.int64), 1
    while gone > 0:
        gone = 0
        for phase in range(2):
            count, kept = 0, 0
            for pixel in border[:length]:  # all judged by the same image
                if table[_neighbours(image, pixel, width)] >> phase & 1:
                    removed[count] = pixel
                    count += 1
                else:
                    border[kept] = pixel
                    kept += 1
            length = _remove(image, width, removed[:count], border, kept, listed)
            gone += count


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _neighbours(image: Any, pixel: int, width: int) -> int:
    """Neighbours that are set, as bits clockwise from the top left one."""
    above, below = pixel - width, pixel + width
    upper = image[above - 1] | image[above] << 1 | image[above + 1] << 2 | image[pixel + 1] << 3
    lower = image[below + 1] | image[below] << 1 | image[below - 1] << 2 | image[pixel - 1] << 3
    return int(upper | lower << 4)


@nb.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _remove(image: Any, width: int, removed: Any, border: Any, length: int, listed: Any) -> int:
    """Remove pixels, add those that they covered to the border, and return its length."""
    for pixel in removed:
        image[pixel] = 0
    for pixel in removed:
        for row in (pixel - width, pixel, pixel + width):
            for neighbour in range(row - 1, row + 2):
                if image[neighbour] and not listed[neighbour]:
                    border[length], listed[neighbour] = neighbour, True
                    length += 1
    return length
