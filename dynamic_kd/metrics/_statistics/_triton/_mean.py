"""The mean with NumPy's bits, for thresholds at twice the mean, where the last bit decides about pixels that tie."""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._values import HISTOGRAM, INTEGERS, bounds, level_range, tree, value


@triton.jit
def pairwise(
    pred,
    integers,
    partials,
    pixels,
    DEPTH: tl.constexpr,
    LEAF_DEPTH: tl.constexpr,
    LEVELS: tl.constexpr,
    NORMALIZE: tl.constexpr,
):
    """Sum values in the order of NumPy's pairwise summation; grid (images, 2 ** (DEPTH - LEAF_DEPTH)).

    That splits the pixels in two (at multiples of 8) until at most 128 remain, and adds these in eight columns.
    """
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    needed = True
    if LEVELS:
        needed = ties(ints, pixels, NORMALIZE)
    if needed:
        leaves: tl.constexpr = 1 << LEAF_DEPTH
        low, span = bounds(ints, LEVELS, NORMALIZE)
        leaf = tl.program_id(1) * leaves + tl.arange(0, leaves)
        start = tl.zeros((leaves,), tl.int32)
        size = start + pixels
        for depth in tl.static_range(DEPTH):
            right = ((leaf >> (DEPTH - 1 - depth)) & 1) == 1
            half = size // 2
            half -= half % 8
            splits = size > 128
            start += tl.where(splits & right, half, 0)
            size = tl.where(splits, tl.where(right, size - half, half), tl.where(right, 0, size))
        pred += image * pixels
        whole = size - size % 8
        column = tl.arange(0, 8)[None, :]
        sums = tl.zeros((leaves, 8), tl.float64)
        for step in range(0, 128, 8):
            inside = (step < whole)[:, None] & (column < 8)
            pixel = tl.load(pred + start[:, None] + step + column, inside, other=0)
            sums += tl.where(inside, value(pixel, low, span, LEVELS), 0.0)
        for _ in tl.static_range(3):
            sums = tl.sum(tl.reshape(sums, (leaves, sums.shape[1] // 2, 2)), axis=2)
        total = tl.reshape(sums, (leaves,))
        for step in range(7):
            inside = whole + step < size
            pixel = tl.load(pred + start + whole + step, inside, other=0)
            total += tl.where(inside, value(pixel, low, span, LEVELS), 0.0)
        tl.store(partials + image * tl.num_programs(1) + tl.program_id(1), tree(total, LEAF_DEPTH))


@triton.jit
def pairwise_mean(partials, image, pixels, DEPTH: tl.constexpr):
    """Mean from 2 ** DEPTH partial sums."""
    return tree(tl.load(partials + (image << DEPTH) + tl.arange(0, 1 << DEPTH)), DEPTH) / pixels


@triton.jit
def level_mean(ints, pixels, NORMALIZE: tl.constexpr):
    """Mean from the histogram of 8-bit levels."""
    level = tl.arange(0, 256)
    count = tl.load(ints + HISTOGRAM + level) + tl.load(ints + HISTOGRAM + 256 + level)
    low, span = level_range(ints, NORMALIZE)
    total = tl.sum(count * level) - low * pixels
    return total.to(tl.float64) / (span * pixels).to(tl.float64)


@triton.jit
def ties(ints, pixels, NORMALIZE: tl.constexpr):
    """Whether a level of the image equals the adaptive threshold up to rounding."""
    level = tl.arange(0, 256)
    count = tl.load(ints + HISTOGRAM + level) + tl.load(ints + HISTOGRAM + 256 + level)
    low, span = bounds(ints, True, NORMALIZE)
    threshold = tl.minimum(2 * level_mean(ints, pixels, NORMALIZE), 1.0)
    near = tl.abs(value(level, low, span, True) - threshold) < 1e-12
    return tl.max(((count > 0) & near).to(tl.int32)) > 0
