"""The weighted F-measure's errors: by distance over the background, smoothed over the foreground."""

import math

import triton
import triton.language as tl

from dynamic_kd.metrics._statistics._interface import HALF_DISTANCE
from dynamic_kd.metrics._statistics._numpy import BAND, REACH, gaussian
from dynamic_kd.metrics._statistics._triton._distance import nearest_in_interval
from dynamic_kd.metrics._statistics._triton._values import (
    FOREGROUND,
    INTEGERS,
    RECORD,
    RECORD_ERRORS,
    bounds,
    clipped,
    salient,
)

DECAY = tl.constexpr(math.log(0.5) / HALF_DISTANCE)
REACHED = tl.constexpr(BAND)
MARGIN = tl.constexpr(REACH)
OUTER, MIDDLE, INNER, CENTER = (tl.constexpr(float(weight)) for weight in gaussian()[:4])


@triton.jit
def weigh(
    pred,
    nearest,
    ends,
    spread,
    partials,
    height,
    width,
    count,
    LEVELS: tl.constexpr,
    TALL: tl.constexpr,
    INTERVAL: tl.constexpr,
):
    """Sum a tile's importance, alone and times the prediction, and write the band's nearest foreground pixels.

    Grid (images, tiles), a tile being one interval of several rows.
    """
    image = tl.program_id(0).to(tl.int64)
    interval = tl.program_id(1) % (count - 1)
    row = tl.program_id(1) // (count - 1) * TALL + tl.arange(0, TALL)
    x = (interval * INTERVAL + tl.arange(0, INTERVAL))[:, None]
    line = tl.minimum(row, height - 1)
    low = tl.load(ends + (image * height + line) * count + interval).to(tl.int32)
    high = tl.load(ends + (image * height + line) * count + interval + 1).to(tl.int32)
    line = line[None, :]
    nearest += image * height * width
    pred += image * height * width
    squared, column = nearest_in_interval(nearest + line * width, line, x, low, high)
    inside = (row[None, :] < height) & (x < width)
    banded = inside & (squared <= REACHED)
    source = tl.load(nearest + line * width + column, banded, other=0).to(tl.int32)
    pixel = tl.load(pred + source * width + column, banded, other=0)
    tl.store(spread + image * height * width + line * width + x, pixel, banded)
    importance = 2 - tl.exp(tl.sqrt(squared.to(tl.float64)) * DECAY)
    importance = tl.where(inside & (squared > 0), importance, 0.0)
    here = tl.load(pred + line * width + x, inside, other=0).to(tl.float64)
    if not LEVELS:
        here = clipped(here)
    at = partials + 2 * (image * tl.num_programs(1) + tl.program_id(1))
    tl.store(at, tl.sum(importance))
    tl.store(at + 1, tl.sum(importance * here))


@triton.jit
def _gaussian(outer, middle, inner, center):
    """Weighted sum of seven in a row, given as sums of pairs at equal distance from the centre."""
    return outer * OUTER + middle * MIDDLE + inner * INNER + center * CENTER


@triton.jit
def _pixel(spread, row, column, height, width, LEVELS: tl.constexpr):
    """Pixel in float64, zero outside the image."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = tl.load(spread + row * width + column, inside, other=0).to(tl.float64)
    return pixel if LEVELS else clipped(pixel)


@triton.jit
def _across(spread, row, column, height, width, LEVELS: tl.constexpr):
    """Gaussian sums along a row."""
    outer = _pixel(spread, row, column - 3, height, width, LEVELS) + _pixel(
        spread, row, column + 3, height, width, LEVELS
    )
    middle = _pixel(spread, row, column - 2, height, width, LEVELS) + _pixel(
        spread, row, column + 2, height, width, LEVELS
    )
    inner = _pixel(spread, row, column - 1, height, width, LEVELS) + _pixel(
        spread, row, column + 1, height, width, LEVELS
    )
    return _gaussian(outer, middle, inner, _pixel(spread, row, column, height, width, LEVELS))


@triton.jit
def _inside(position, length):
    """One inside the image, zero outside."""
    return ((position >= 0) & (position < length)).to(tl.float64)


@triton.jit
def _mass(position, length):
    """Sum of the Gaussian's weights that fall inside the image."""
    outer = _inside(position - 3, length) + _inside(position + 3, length)
    middle = _inside(position - 2, length) + _inside(position + 2, length)
    inner = _inside(position - 1, length) + _inside(position + 1, length)
    return _gaussian(outer, middle, inner, _inside(position, length))


@triton.jit
def smooth(
    pred,
    target,
    spread,
    integers,
    partials,
    height,
    width,
    LEVELS: tl.constexpr,
    NORMALIZE: tl.constexpr,
    CUT: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Sum a tile's foreground errors, each the smaller of itself and its Gaussian neighbourhood; grid (images, tiles).

    Goes down the rows with the sums along the last seven of them.
    """
    image = tl.program_id(0).to(tl.int64)
    across = tl.cdiv(width, WIDE)
    top = tl.program_id(1) // across * TALL
    column = tl.program_id(1) % across * WIDE + tl.arange(0, WIDE)
    offset = image * height * width
    pred += offset
    target += offset
    spread += offset
    tile = (top + tl.arange(0, TALL))[:, None]
    masks = tl.load(target + tile * width + column[None, :], (tile < height) & (column < width)[None, :], other=0)
    total = tl.zeros((WIDE,), tl.float64)
    if tl.max(salient(masks, CUT).to(tl.int32)) > 0:
        low, span = bounds(integers + image * INTEGERS, LEVELS, NORMALIZE)
        best = 1 + low / span  # an error is this minus the pixel times the slope
        slope = 1 / (255 * span) if LEVELS else 1 / span
        mass = _mass(column, width)
        above3 = tl.zeros((WIDE,), tl.float64)
        above2 = tl.zeros((WIDE,), tl.float64)
        above1 = tl.zeros((WIDE,), tl.float64)
        center = tl.zeros((WIDE,), tl.float64)
        below1 = tl.zeros((WIDE,), tl.float64)
        below2 = tl.zeros((WIDE,), tl.float64)
        for step in range(tl.minimum(TALL, height - top) + 2 * MARGIN):
            row = tl.zeros((WIDE,), tl.int32) + top + step - MARGIN
            below3 = _across(spread, row, column, height, width, LEVELS)
            at = (row - MARGIN) * width + column
            inside = (row - MARGIN >= top) & (column < width)
            g = salient(tl.load(target + at, inside, other=0), CUT)
            here = tl.load(pred + at, inside, other=0).to(tl.float64)
            error = best - slope * (here if LEVELS else clipped(here))
            sums = _gaussian(above3 + below3, above2 + below2, above1 + below1, center)
            around = best * (mass * _mass(row - MARGIN, height)) - slope * sums
            total += tl.where(g, tl.minimum(error, around), 0.0)
            above3 = above2
            above2 = above1
            above1 = center
            center = below1
            below1 = below2
            below2 = below3
    tl.store(partials + image * tl.num_programs(1) + tl.program_id(1), tl.sum(total))


@triton.jit
def sum_errors(
    integers,
    weights,
    foregrounds,
    records,
    tiles,
    foreground_tiles,
    LEVELS: tl.constexpr,
    NORMALIZE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add the tiles' sums in a fixed order; zeros for an empty target, which has no distances; grid (images,)."""
    image = tl.program_id(0).to(tl.int64)
    ints = integers + image * INTEGERS
    low, span = bounds(ints, LEVELS, NORMALIZE)
    index = tl.arange(0, BLOCK)
    importance = tl.zeros((BLOCK,), tl.float64)
    weighted = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, tiles, BLOCK):
        at = weights + 2 * (image * tiles + start + index)
        importance += tl.load(at, start + index < tiles, other=0.0)
        weighted += tl.load(at + 1, start + index < tiles, other=0.0)
    foreground = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, foreground_tiles, BLOCK):
        at = foregrounds + image * foreground_tiles + start + index
        foreground += tl.load(at, start + index < foreground_tiles, other=0.0)
    scale = 255.0 if LEVELS else 1.0
    background = (tl.sum(weighted) / scale - low * tl.sum(importance)) / span
    some = tl.load(ints + FOREGROUND) > 0
    errors = records + image * RECORD + RECORD_ERRORS
    tl.store(errors, tl.where(some, tl.sum(foreground), 0.0))
    tl.store(errors + 1, tl.where(some, background, 0.0))
