"""Last step: each image's sums become the numbers that the scores are computed from."""

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._triton._mean import level_mean, pairwise_mean, ties
from dynamic_kd.metrics._statistics._triton._moments import SUMS, first_value, split
from dynamic_kd.metrics._statistics._triton._values import (
    ADAPTIVE,
    BINARY,
    FLAGS,
    FOREGROUND,
    HIGH,
    HISTOGRAM,
    INTEGERS,
    LOW,
    ONE,
    QUADRANTS,
    RECORD,
    RECORD_ADAPTIVE,
    RECORD_BINARY,
    RECORD_CLASSES,
    RECORD_CONSTANT,
    RECORD_COUNTS,
    RECORD_FLAGS,
    RECORD_FOREGROUND,
    RECORD_MEAN,
    RECORD_QUADRANTS,
    bounds,
    level_range,
    value,
)


@triton.jit
def count_thresholds(
    integers, histogram, stride, records, LEVELS: tl.constexpr, NORMALIZE: tl.constexpr, STRICT: tl.constexpr
):
    """Hits and false alarms at each threshold from the joint histogram of class and level; grid (images,)."""
    image = tl.program_id(0).to(tl.int64)
    low, span = bounds(integers + image * INTEGERS, LEVELS, NORMALIZE)
    threshold = tl.arange(0, 256)
    first = tl.zeros((256,), tl.int32)  # levels that stay below the threshold, which are the first ones
    for bit in tl.static_range(8):
        beyond = first + (128 >> bit)
        first = tl.where(_reached(beyond - 1, low, span, LEVELS, STRICT) < threshold, beyond, first)
    first += (_reached(first, low, span, LEVELS, STRICT) < threshold).to(tl.int32)
    at = histogram + image * stride + threshold
    hits = tl.cumsum(tl.load(at + 256).to(tl.int32), reverse=True)
    alarms = tl.cumsum(tl.load(at).to(tl.int32), reverse=True)
    last = tl.minimum(first, 255)
    hits = tl.where(first < 256, tl.gather(hits, last, 0), 0)
    alarms = tl.where(first < 256, tl.gather(alarms, last, 0), 0)
    record = records + image * RECORD + RECORD_COUNTS + 512 * STRICT
    tl.store(record + threshold, hits.to(tl.float64))
    tl.store(record + 256 + threshold, alarms.to(tl.float64))


@triton.jit
def _reached(level, low, span, LEVELS: tl.constexpr, STRICT: tl.constexpr):
    """Return the last threshold that a level reaches (strict: exceeds)."""
    if LEVELS:
        scaled = value(level, low, span, True) * 255
        level = tl.ceil(scaled).to(tl.int32) if STRICT else tl.floor(scaled).to(tl.int32)
    return level - 1 if STRICT else level


@triton.jit
def _common(ints, record):
    """Write what does not depend on the kind of prediction."""
    tl.store(record + RECORD_FOREGROUND, tl.load(ints + FOREGROUND).to(tl.float64))
    tl.store(record + RECORD_FLAGS, tl.load(ints + FLAGS).to(tl.float64))


@triton.jit
def _quadrant_pixels(ints, height, width):
    """Pixels of the four quadrants."""
    top, left = split(ints)
    quadrant = tl.arange(0, 4)
    return tl.where(quadrant >= 2, height - top, top) * tl.where(quadrant % 2 == 1, width - left, left)


@triton.jit
def _store(record, REGIONS: tl.constexpr, count, mean_x, mean_g, squares_x, squares_g, products):
    """Write six moments of each region."""
    at = record + tl.arange(0, REGIONS)
    tl.store(at, count.to(tl.float64))
    tl.store(at + REGIONS, tl.where(count > 0, mean_x, 0.0))
    tl.store(at + 2 * REGIONS, tl.where(count > 0, mean_g, 0.0))
    tl.store(at + 3 * REGIONS, squares_x)
    tl.store(at + 4 * REGIONS, squares_g)
    tl.store(at + 5 * REGIONS, products)


@triton.jit
def _store_levels(record, REGIONS: tl.constexpr, count, v, vv, g, vg, low, span):
    """Write moments from integer sums.

    The numerators are exact while count ** 2 * 255 ** 2 < 2 ** 63, that is up to 11.9 million pixels.
    """
    divisor = tl.maximum(count, 1)
    mean_x = (v - count * low).to(tl.float64) / (divisor * span).to(tl.float64)
    mean_g = g.to(tl.float64) / divisor.to(tl.float64)
    squares_x = (count * vv - v * v).to(tl.float64) / (divisor * span * span).to(tl.float64)
    squares_g = (count * g - g * g).to(tl.float64) / divisor.to(tl.float64)
    products = (count * vg - v * g).to(tl.float64) / (divisor * span).to(tl.float64)
    _store(record, REGIONS, count, mean_x, mean_g, squares_x, squares_g, products)


@triton.jit
def record_levels(
    integers,
    means,
    records,
    height,
    width,
    MEANS: tl.constexpr,
    NORMALIZE: tl.constexpr,
):
    """Write the record of an 8-bit prediction, except thresholds and weighted errors; grid (images,)."""
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    record = records + image * RECORD
    pixels = height * width
    low, span = level_range(ints, NORMALIZE)
    mean = level_mean(ints, pixels, NORMALIZE)
    tl.store(record + RECORD_MEAN, mean)
    tl.store(record + RECORD_CONSTANT, (tl.load(ints + HIGH) + tl.load(ints + LOW) == 255).to(tl.float64))
    _common(ints, record)

    group = tl.arange(0, 2)
    level = tl.arange(0, 256)[None, :]
    counts = tl.load(ints + HISTOGRAM + 256 * group[:, None] + level)
    count = tl.sum(counts, axis=1)
    v = tl.sum(counts * level, axis=1)
    vv = tl.sum(counts * level * level, axis=1)
    _store_levels(record + RECORD_CLASSES, 2, count, v, vv, count * group, v * group, low, span)

    if ties(ints, pixels, NORMALIZE):
        mean = pairwise_mean(means, image, pixels, MEANS)
    threshold = tl.minimum(2 * mean, 1.0)
    low_value, span_value = bounds(ints, True, NORMALIZE)
    x = value(level, low_value, span_value, True)
    adaptive = record + RECORD_ADAPTIVE + 1 - group
    tl.store(adaptive, tl.sum(tl.where(x >= threshold, counts, 0), axis=1).to(tl.float64))
    tl.store(adaptive + 2, tl.sum(tl.where(x > threshold, counts, 0), axis=1).to(tl.float64))
    binary = record + RECORD_BINARY + 1 - group
    tl.store(binary, tl.sum(tl.where(x > 0.5, counts, 0), axis=1).to(tl.float64))

    at = ints + QUADRANTS + 4 * tl.arange(0, 4)
    count = _quadrant_pixels(ints, height, width)
    v, vv, g, vg = tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)
    _store_levels(record + RECORD_QUADRANTS, 4, count, v, vv, g, vg, low, span)


@triton.jit
def _store_values(record, REGIONS: tl.constexpr, count, pivot, d, dd, dg, g):
    """Write moments from sums of deviations from a pixel of the region."""
    divisor = tl.maximum(count, 1).to(tl.float64)
    share = g.to(tl.float64) / divisor
    squares_x = tl.maximum(dd - d * d / divisor, 0.0)
    squares_g = (count * g - g * g).to(tl.float64) / divisor
    _store(record, REGIONS, count, pivot + d / divisor, share, squares_x, squares_g, dg - d * share)


@triton.jit
def _total(partials, tiles, SUM: tl.constexpr, BLOCK: tl.constexpr):
    """Add one of the tiles' sums in a fixed order."""
    index = tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, tiles, BLOCK):
        total += tl.load(partials + (start + index) * SUMS + SUM, start + index < tiles, other=0.0)
    return tl.sum(total)


@triton.jit
def _vector(values, COUNT: tl.constexpr):
    """Return scalars as one vector of 2 or 4."""
    index = tl.arange(0, COUNT)
    result = tl.where(index == 0, values[0], values[1])
    if COUNT == 4:
        result = tl.where(index < 2, result, tl.where(index == 2, values[2], values[3]))
    return result


@triton.jit
def record_values(
    pred,
    integers,
    means,
    partials,
    records,
    height,
    width,
    tiles,
    MEANS: tl.constexpr,
    NORMALIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write the record of a floating prediction, except thresholds and weighted errors; grid (images,)."""
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    record = records + image * RECORD
    pixels = height * width
    partials += image * tiles * SUMS
    pred += image * pixels
    low, span = bounds(ints, False, NORMALIZE)
    tl.store(record + RECORD_MEAN, pairwise_mean(means, image, pixels, MEANS))
    tl.store(record + RECORD_CONSTANT, (tl.load(ints + HIGH) + tl.load(ints + LOW) == ONE).to(tl.float64))
    _common(ints, record)
    slot = tl.arange(0, 4)
    tl.store(record + RECORD_ADAPTIVE + slot, tl.load(ints + ADAPTIVE + slot).to(tl.float64))
    group = tl.arange(0, 2)
    tl.store(record + RECORD_BINARY + group, tl.load(ints + BINARY + group).to(tl.float64))

    salient = tl.load(ints + FOREGROUND)
    count = tl.where(group == 1, salient, pixels - salient)
    pivot = _vector((first_value(pred, ints, pixels, low, span, 0), first_value(pred, ints, pixels, low, span, 1)), 2)
    d = _vector((_total(partials, tiles, 12, BLOCK), _total(partials, tiles, 14, BLOCK)), 2)
    dd = _vector((_total(partials, tiles, 13, BLOCK), _total(partials, tiles, 15, BLOCK)), 2)
    _store_values(record + RECORD_CLASSES, 2, count, pivot, d, dd, d * group, count * group)

    top, left = split(ints)
    corner = tl.where(slot >= 2, top, 0) * width + tl.where(slot % 2 == 1, left, 0)
    pivot = value(tl.load(pred + tl.minimum(corner, pixels - 1)), low, span, False)
    d = _quadrants(partials, tiles, 0, BLOCK)
    dd = _quadrants(partials, tiles, 1, BLOCK)
    dg = _quadrants(partials, tiles, 2, BLOCK)
    g = tl.load(ints + QUADRANTS + 4 * slot + 2)
    _store_values(record + RECORD_QUADRANTS, 4, _quadrant_pixels(ints, height, width), pivot, d, dd, dg, g)


@triton.jit
def _quadrants(partials, tiles, SUM: tl.constexpr, BLOCK: tl.constexpr):
    return _vector(
        (
            _total(partials, tiles, SUM, BLOCK),
            _total(partials, tiles, 3 + SUM, BLOCK),
            _total(partials, tiles, 6 + SUM, BLOCK),
            _total(partials, tiles, 9 + SUM, BLOCK),
        ),
        4,
    )
