"""Second pass: sums over the quadrants around the centroid and, for floating predictions, over the classes."""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._mean import pairwise_mean
from dynamic_kd.metrics._statistics._triton._values import (
    ADAPTIVE,
    BINARY,
    COLUMNS,
    FIRST,
    FOREGROUND,
    INTEGERS,
    QUADRANTS,
    ROWS,
    bounds,
    salient,
    value,
)

SUMS = tl.constexpr(16)  # of floating values: three for each quadrant, two for each class


@triton.jit
def split(ints):
    """Rows and columns up to the 1-based centroid, each rounded half up."""
    count = tl.maximum(tl.load(ints + FOREGROUND), 1)
    top = (2 * tl.load(ints + ROWS) + 3 * count) // (2 * count)
    left = (2 * tl.load(ints + COLUMNS) + 3 * count) // (2 * count)
    return top.to(tl.int32), left.to(tl.int32)


@triton.jit
def _tile(height, width, TALL: tl.constexpr, WIDE: tl.constexpr):
    """Rows and columns of this program's tile, and which of its pixels exist."""
    across = tl.cdiv(width, WIDE)
    row = (tl.program_id(1) // across * TALL + tl.arange(0, TALL))[:, None]
    column = (tl.program_id(1) % across * WIDE + tl.arange(0, WIDE))[None, :]
    return row, column, (row < height) & (column < width)


@triton.jit
def level_moments(pred, target, integers, height, width, CUT: tl.constexpr, TALL: tl.constexpr, WIDE: tl.constexpr):
    """Add a tile of 8-bit levels to the quadrants' integer sums; grid (images, tiles)."""
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    top, left = split(ints)
    row, column, inside = _tile(height, width, TALL, WIDE)
    offset = image * height * width
    at = row * width + column
    level = tl.load(pred + offset + at, inside, other=0).to(tl.int32)
    g = (salient(tl.load(target + offset + at, inside, other=0), CUT) & inside).to(tl.int32)
    for quadrant in tl.static_range(4):
        here = ((row >= top) == (quadrant >= 2)) & ((column >= left) == (quadrant % 2 == 1))
        v = tl.where(here, level, 0)
        of_g = tl.where(here, g, 0)
        slot = ints + QUADRANTS + 4 * quadrant
        tl.atomic_add(slot, tl.sum(v).to(tl.int64), sem="relaxed")
        tl.atomic_add(slot + 1, tl.sum(v * v).to(tl.int64), sem="relaxed")
        tl.atomic_add(slot + 2, tl.sum(of_g).to(tl.int64), sem="relaxed")
        tl.atomic_add(slot + 3, tl.sum(v * of_g).to(tl.int64), sem="relaxed")


@triton.jit
def value_moments(
    pred,
    target,
    integers,
    partials,
    means,
    height,
    width,
    MEANS: tl.constexpr,
    NORMALIZE: tl.constexpr,
    CUT: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Sums of floating values over a tile, about a pixel of each region's own, and adaptive counts.

    Constant regions give exactly 0. Each program writes its own sums, so their order is fixed; grid (images, tiles).
    """
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    low, span = bounds(ints, False, NORMALIZE)
    top, left = split(ints)
    row, column, inside = _tile(height, width, TALL, WIDE)
    pixels = height * width
    pred += image * pixels
    at = row * width + column
    x = value(tl.load(pred + at, inside, other=0), low, span, False)
    g = salient(tl.load(target + image * pixels + at, inside, other=0), CUT) & inside
    sums = partials + (image * tl.num_programs(1) + tl.program_id(1)) * SUMS
    for quadrant in tl.static_range(4):
        here = inside & ((row >= top) == (quadrant >= 2)) & ((column >= left) == (quadrant % 2 == 1))
        corner = tl.where(quadrant >= 2, top, 0) * width + tl.where(quadrant % 2 == 1, left, 0)
        pivot = value(tl.load(pred + tl.minimum(corner, pixels - 1)), low, span, False)
        deviation = tl.where(here, x - pivot, 0.0)
        tl.store(sums + 3 * quadrant, tl.sum(deviation))
        tl.store(sums + 3 * quadrant + 1, tl.sum(deviation * deviation))
        tl.store(sums + 3 * quadrant + 2, tl.sum(tl.where(g, deviation, 0.0)))
        tl.atomic_add(ints + QUADRANTS + 4 * quadrant + 2, tl.sum((here & g).to(tl.int64)), sem="relaxed")
    for group in tl.static_range(2):
        pivot = value(_first(pred, ints, pixels, group), low, span, False)
        deviation = tl.where(inside & (g == (group == 1)), x - pivot, 0.0)
        tl.store(sums + 12 + 2 * group, tl.sum(deviation))
        tl.store(sums + 12 + 2 * group + 1, tl.sum(deviation * deviation))
    threshold = tl.minimum(2 * pairwise_mean(means, image, pixels, MEANS), 1.0)
    for strict in tl.static_range(2):
        kept = inside & ((x > threshold) if strict == 1 else (x >= threshold))
        tl.atomic_add(ints + ADAPTIVE + 2 * strict, tl.sum((kept & g).to(tl.int64)), sem="relaxed")
        tl.atomic_add(ints + ADAPTIVE + 2 * strict + 1, tl.sum((kept & (g == 0)).to(tl.int64)), sem="relaxed")
    kept = inside & (x > 0.5)
    tl.atomic_add(ints + BINARY, tl.sum((kept & g).to(tl.int64)), sem="relaxed")
    tl.atomic_add(ints + BINARY + 1, tl.sum((kept & (g == 0)).to(tl.int64)), sem="relaxed")


@triton.jit
def _first(pred, ints, pixels, GROUP: tl.constexpr):
    """First pixel of a class, or any pixel if there is none."""
    return tl.load(pred + tl.minimum(pixels - tl.load(ints + FIRST + GROUP), pixels - 1))


@triton.jit
def first_value(pred, ints, pixels, low, span, GROUP: tl.constexpr):
    """Normalised value from which a class's deviations are taken."""
    return value(_first(pred, ints, pixels, GROUP), low, span, False)
