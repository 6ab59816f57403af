"""Exact Euclidean distances, one axis at a time.

Along a row, the column c nearest to pixel x minimises (x - c)^2 + f(c), where f is the squared distance within the
column. The smallest such c never decreases with x. All columns are therefore searched only at the ends of intervals of
pixels. Between the ends, the search goes from one end's c to the other's. Its cost is bounded for every mask.
"""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._values import salient

FAR = tl.constexpr(1 << 30)  # above every squared distance; sides are at most 2 ** 14
HUGE = tl.constexpr((1 << 31) - 1)


@triton.jit
def _larger(a, b):
    return tl.maximum(a, b)


@triton.jit
def _smaller(a, b):
    return tl.minimum(a, b)


@triton.jit
def nearest_rows(target, nearest, height, width, CUT: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr):
    """Row of the nearest foreground pixel in each pixel's column, the upper of two; -1 if none.

    Down and up again in blocks of rows; grid (images, blocks of columns).
    """
    image = tl.program_id(0).to(tl.int64)
    column = (tl.program_id(1) * WIDE + tl.arange(0, WIDE))[None, :]
    target += image * height * width
    nearest += image * height * width
    upper = tl.full((WIDE,), -1, tl.int32)
    for first in range(0, height, TALL):
        row = (first + tl.arange(0, TALL))[:, None]
        inside = (row < height) & (column < width)
        g = salient(tl.load(target + row * width + column, inside, other=0), CUT) & inside
        above = tl.associative_scan(tl.where(g, row, -1), 0, _larger)
        above = tl.maximum(above, upper[None, :])
        tl.store(nearest + row * width + column, above.to(tl.int16), inside)
        upper = tl.max(above, axis=0)
    tl.debug_barrier()  # other threads of this program wrote what is read below
    blocks = tl.cdiv(height, TALL)
    lower = tl.full((WIDE,), FAR, tl.int32)
    for block in range(blocks):
        row = ((blocks - 1 - block) * TALL + tl.arange(0, TALL))[:, None]
        inside = (row < height) & (column < width)
        g = salient(tl.load(target + row * width + column, inside, other=0), CUT) & inside
        below = tl.associative_scan(tl.where(g, row, FAR), 0, _smaller, reverse=True)
        below = tl.minimum(below, lower[None, :])
        above = tl.load(nearest + row * width + column, inside, other=-1).to(tl.int32)
        closer = (below < FAR) & ((above < 0) | (below - row < row - above))
        tl.store(nearest + row * width + column, tl.where(closer, below, above).to(tl.int16), inside)
        lower = tl.min(below, axis=0)


@triton.jit
def parabola(source, row, column):
    """Return f(c) + c^2. Minus 2 x c, it compares the columns for a pixel x."""
    vertical = source.to(tl.int32) - row
    return tl.where(source < 0, FAR, vertical * vertical) + column * column


@triton.jit
def nearest_columns(
    nearest,
    ends,
    height,
    width,
    count,
    INTERVAL: tl.constexpr,
    ENDS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Column of the nearest foreground pixel at the ends of a row's intervals; grid (images, rows)."""
    image = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1)
    line = nearest + (image * height + row) * width
    begin = 0
    for first in range(0, count, ENDS):
        end = first + tl.arange(0, ENDS)
        x = tl.minimum(end * INTERVAL, width - 1)
        best = tl.full((ENDS, WIDE), HUGE, tl.int32)
        where = tl.zeros((ENDS, WIDE), tl.int32)
        for start in range(begin, width, WIDE):
            column = start + tl.arange(0, WIDE)
            inside = column < width
            height_here = parabola(tl.load(line + column, inside, other=-1), row, column)
            cost = height_here[None, :] - 2 * x[:, None] * column[None, :]
            better = (cost < best) & inside[None, :]
            best = tl.where(better, cost, best)
            where = tl.where(better, column[None, :], where)
        least = tl.min(best, axis=1)
        column = tl.min(tl.where(best == least[:, None], where, width), axis=1)
        begin = tl.max(column) // WIDE * WIDE  # later ends are not nearer to a column before
        tl.store(ends + (image * height + row) * count + end, column.to(tl.int16), end < count)


@triton.jit
def nearest_in_interval(line, row, x, low, high):
    """Squared distance to the nearest foreground pixel, and its column, for pixels (X, 1) of rows (1, R).

    `line` points at the rows' nearest rows; `low` and `high`, of shape (R,), bound the columns. Rows are the last axis:
    a thread has several pixels of one row, and reads each of its columns once.
    """
    best = tl.full((x.shape[0], row.shape[1]), HUGE, tl.int32)
    where = tl.zeros((x.shape[0], row.shape[1]), tl.int32)
    for step in range(tl.max(high - low) + 1):
        column = tl.minimum(low + step, high)[None, :]
        cost = parabola(tl.load(line + column), row, column) - 2 * column * x
        better = cost < best
        best = tl.where(better, cost, best)
        where = tl.where(better, column, where)
    return best + x * x, where
