"""First pass: the foreground's size and centre, the prediction's range, 8-bit histograms, and flags of bad values."""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._values import (
    COLUMNS,
    FIRST,
    FLAGS,
    FOREGROUND,
    HIGH,
    HISTOGRAM,
    INFINITY,
    INTEGERS,
    LOW,
    ONE,
    PRED_NOT_FINITE,
    PRED_OUT_OF_RANGE,
    ROWS,
    TARGET_NOT_FINITE,
    TARGET_OUT_OF_RANGE,
    bounds,
    clipped,
    salient,
    value,
)


@triton.jit
def scan(
    pred,
    target,
    integers,
    width,
    pixels,
    LEVELS: tl.constexpr,
    TOLERANCE: tl.constexpr,
    CUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add a block of pixels to its image's integers; grid (images, blocks)."""
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    position = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = position < pixels
    mask = tl.load(target + image * pixels + position, inside, other=0)
    pixel = tl.load(pred + image * pixels + position, inside, other=0)
    g = salient(mask, CUT) & inside
    first = pixels - position
    row = position // width
    _add(ints + FOREGROUND, g.to(tl.int32))
    _add(ints + ROWS, tl.where(g, row, 0))
    _add(ints + COLUMNS, tl.where(g, position - row * width, 0))
    _raise(ints + FIRST, tl.where(inside & (g == 0), first, 0))
    _raise(ints + FIRST + 1, tl.where(g, first, 0))
    if LEVELS:
        level = pixel.to(tl.int32)
        _raise(ints + HIGH, tl.where(inside, level, 0))
        _raise(ints + LOW, tl.where(inside, 255 - level, 0))
        _count(ints + HISTOGRAM, level + 256 * g.to(tl.int32), inside)
    else:
        x = pixel.to(tl.float64)
        bits = (clipped(x) + 0.0).to(tl.int64, bitcast=True)  # no negative zero, whose bits are no bound
        _raise(ints + HIGH, tl.where(inside, bits, 0))
        _raise(ints + LOW, tl.where(inside, -bits + ONE, 0))
        _flag(ints, x, TOLERANCE, PRED_NOT_FINITE, PRED_OUT_OF_RANGE)
    if CUT == 0.5:
        _flag(ints, mask.to(tl.float64), 0.0, TARGET_NOT_FINITE, TARGET_OUT_OF_RANGE)


@triton.jit
def bin_values(
    pred,
    target,
    integers,
    histogram,
    stride,
    pixels,
    NORMALIZE: tl.constexpr,
    STRICT: tl.constexpr,
    CUT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add floating values to the joint histogram of class and threshold; grid (images, blocks)."""
    image = tl.program_id(0).to(tl.int64)
    low, span = bounds(integers + image * INTEGERS, False, NORMALIZE)
    position = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = position < pixels
    g = salient(tl.load(target + image * pixels + position, inside, other=0), CUT)
    scaled = value(tl.load(pred + image * pixels + position, inside, other=0), low, span, False) * 255
    level = tl.ceil(scaled) if STRICT else tl.floor(scaled)
    level = tl.minimum(tl.maximum(level, 0.0), 255.0).to(tl.int32)  # bad values must not write out of bounds
    _count(histogram + image * stride, level + 256 * g.to(tl.int32), inside)


@triton.jit
def _count(histogram, key, inside):
    """Add a block's keys to the histogram of 512 bins."""
    bins = tl.arange(0, 512)
    counts = tl.histogram(tl.where(inside, key, 0), 512)
    counts -= tl.where(bins == 0, tl.sum((inside == 0).to(tl.int32)), 0)
    tl.atomic_add(histogram + bins, counts.to(tl.int64), counts > 0, sem="relaxed")


@triton.jit
def _add(slot, values):
    tl.atomic_add(slot, tl.sum(values).to(tl.int64), sem="relaxed")


@triton.jit
def _raise(slot, values):
    tl.atomic_max(slot, tl.max(values).to(tl.int64), sem="relaxed")


@triton.jit
def _flag(ints, x, TOLERANCE: tl.constexpr, NOT_FINITE: tl.constexpr, OUT_OF_RANGE: tl.constexpr):
    finite = tl.abs(x) < INFINITY
    _set(ints, finite == 0, NOT_FINITE)
    _set(ints, finite & ((x < -TOLERANCE) | (x > 1 + TOLERANCE)), OUT_OF_RANGE)


@triton.jit
def _set(ints, wrong, FLAG: tl.constexpr):
    found = tl.max(wrong.to(tl.int32))
    tl.atomic_or(ints + FLAGS, found.to(tl.int64) * FLAG, found > 0, sem="relaxed")
