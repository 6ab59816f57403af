"""Integer masks: which levels an image has, whether they have one meaning, and its salient pixels.

The rules are those of `dynamic_kd._mask.interpreted` for eight bits.
"""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._values import TARGET_LEVELS, TARGET_OUT_OF_RANGE

# What is known of an image's levels, int64, to which programs add in any order; every slot starts at zero.
HIGH = tl.constexpr(0)
LEAST = tl.constexpr(1)  # FAR minus the smallest level above 0
NEGATIVE = tl.constexpr(2)
PRESENT = tl.constexpr(3)  # four words: a bit for each level from 0 to 255
ALONE = tl.constexpr(7)  # levels between 0 and 255 that are not within reach of both; the same, but for noise
FLAT = tl.constexpr(9)  # those among equals; the same, but for noise
FACTS = tl.constexpr(11)

FAR = tl.constexpr(1 << 40)
LEVEL = tl.constexpr(256)
NOISE, MANY, MORE, SOME = tl.constexpr(16), tl.constexpr(16), tl.constexpr(5), tl.constexpr(2)


@triton.jit
def look(target, facts, height, width, BLOCK: tl.constexpr):
    """Add a block of pixels to its image's facts; grid (images, blocks)."""
    image = tl.program_id(0).to(tl.int64)
    facts += image * FACTS
    target += image * height * width
    position = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = position < height * width
    level = tl.load(target + position, inside, other=0).to(tl.int64)
    _raise(facts + HIGH, level)
    _raise(facts + LEAST, tl.where(level > 0, FAR - level, 0))
    _raise(facts + NEGATIVE, (level < 0).to(tl.int64))
    between = (level > 0) & (level < 255)
    if tl.max(between.to(tl.int32)) > 0:
        bit = tl.full((BLOCK,), 1, tl.int64) << (level & 63)
        tl.atomic_or(facts + PRESENT + (level >> 6), bit, between, sem="relaxed")
        row, column = position // width, position % width
        _look_around(target, facts, level, row, column, height, width, between, 0)
        noisy = (level > NOISE) & (level < 255 - NOISE)
        _look_around(target, facts, level, row, column, height, width, noisy, 1)


@triton.jit
def _look_around(target, facts, level, row, column, height, width, between, NOISY: tl.constexpr):
    """Count levels between 0 and 255 that are no edge: far from either, or among equals."""
    low = level == FAR
    high = level == FAR
    flat = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    for down in tl.static_range(-2, 3):
        for right in tl.static_range(-2, 3):
            y, x = row + down, column + right
            there = between & (y >= 0) & (y < height) & (x >= 0) & (x < width)
            other = tl.load(target + y * width + x, there, other=0).to(tl.int64)
            low |= there & (other <= NOISE * NOISY)
            high |= there & (other >= 255 - NOISE * NOISY)
            if down * down + right * right <= 2:
                flat &= other == level
    _raise(facts + ALONE + NOISY, (between & ((low & high) == 0)).to(tl.int64))
    tl.atomic_add(facts + FLAT + NOISY, tl.sum((between & flat).to(tl.int64)), sem="relaxed")


@triton.jit
def binarise(target, facts, salient, flags, pixels, BLOCK: tl.constexpr):
    """Write the salient pixels of a block, and once an image its flags; grid (images, blocks)."""
    image = tl.program_id(0).to(tl.int64)
    facts += image * FACTS
    position = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = position < pixels
    high = tl.load(facts + HIGH)
    level = tl.load(target + image * pixels + position, inside, other=0).to(tl.int64)
    tl.store(salient + image * pixels + position, (level > tl.where(high > 128, 128, 0)).to(tl.uint8), inside)
    if tl.program_id(1) == 0:
        negative = tl.load(facts + NEGATIVE) > 0
        binary = (high == 0) | (FAR - tl.load(facts + LEAST) == high)
        edges = _edges(facts, high)
        wrong = tl.where(negative, TARGET_OUT_OF_RANGE, tl.where(binary | edges, 0, TARGET_LEVELS))
        found = tl.where(edges & (binary == 0), 255, high)
        tl.store(flags + image, wrong + LEVEL * tl.where(wrong > 0, 0, found))


@triton.jit
def _edges(facts, high):
    """Whether levels between 0 and 255 are edges."""
    levels = tl.arange(0, 256)
    there = (tl.load(facts + PRESENT + (levels >> 6)) >> (levels & 63)) & 1
    near_top = (high >= 255 - NOISE) & (high <= 255)
    noisy = (tl.sum(there) > MANY) & near_top
    clear = tl.sum(tl.where((levels > NOISE) & (levels < 255 - NOISE), there, 0))
    greys = tl.where(noisy, clear, tl.sum(there))
    alone = tl.load(facts + ALONE + noisy.to(tl.int32)) > 0
    flat = tl.load(facts + FLAT + noisy.to(tl.int32)) > SOME
    by_levels = (greys > MORE) & (flat == 0)
    by_place = (greys > 2) & (alone == 0)
    return near_top & ((greys == 0) | by_levels | by_place)


@triton.jit
def _raise(slot, values):
    tl.atomic_max(slot, tl.max(values), sem="relaxed")
