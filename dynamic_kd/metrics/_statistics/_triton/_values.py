"""What the kernels share: the layout of an image's numbers, and how pixels become values."""

import triton
import triton.language as tl

# An image's integers, int64, to which programs add in any order. LOW and FIRST hold distances from an upper end,
# because every slot starts at zero.
FOREGROUND = tl.constexpr(0)
ROWS = tl.constexpr(1)  # sums of the foreground's row and column numbers
COLUMNS = tl.constexpr(2)
HIGH = tl.constexpr(3)  # levels, or the bits of float64 values, which order like integers from 0 on
LOW = tl.constexpr(4)
FLAGS = tl.constexpr(5)
FIRST = tl.constexpr(7)  # first background pixel, then first foreground pixel
ADAPTIVE = tl.constexpr(9)  # hits, false alarms; the same, strict (floating predictions only)
QUADRANTS = tl.constexpr(13)  # for each of four: sums of v, v v, g, v g
BINARY = tl.constexpr(29)  # hits, false alarms above 0.5 (floating predictions only)
HISTOGRAM = tl.constexpr(32)  # joint histogram of class and level
INTEGERS = tl.constexpr(32 + 512)

# An image's record, float64: what the scores are computed from.
RECORD_FOREGROUND = tl.constexpr(0)
RECORD_MEAN = tl.constexpr(1)
RECORD_CONSTANT = tl.constexpr(2)
RECORD_FLAGS = tl.constexpr(3)
RECORD_ADAPTIVE = tl.constexpr(5)
RECORD_ERRORS = tl.constexpr(9)
RECORD_CLASSES = tl.constexpr(12)  # six moments of two classes
RECORD_QUADRANTS = tl.constexpr(24)  # six moments of four quadrants
RECORD_BINARY = tl.constexpr(48)
RECORD_COUNTS = tl.constexpr(64)  # hits and false alarms at 256 thresholds; the same, strict
RECORD = tl.constexpr(64 + 4 * 256)

PRED_NOT_FINITE = tl.constexpr(1)
PRED_OUT_OF_RANGE = tl.constexpr(2)
TARGET_NOT_FINITE = tl.constexpr(4)
TARGET_OUT_OF_RANGE = tl.constexpr(8)
TARGET_LEVELS = tl.constexpr(16)

ONE = tl.constexpr(0x3FF0000000000000)  # the bits of 1.0
INFINITY = tl.constexpr(float("inf"))


@triton.jit
def salient(mask, CUT: tl.constexpr):
    """Whether mask pixels are foreground: above 0.5 if floating, 0 if bool."""
    return mask.to(tl.float64) > CUT if CUT == 0.5 else mask > CUT


@triton.jit
def level_range(ints, NORMALIZE: tl.constexpr):
    """Lowest level and width of the range that becomes [0, 1]."""
    high = tl.load(ints + HIGH)
    low = 255 - tl.load(ints + LOW)
    stretched = (high > low) & NORMALIZE
    return tl.where(stretched, low, 0), tl.where(stretched, high - low, 255)


@triton.jit
def bounds(ints, LEVELS: tl.constexpr, NORMALIZE: tl.constexpr):
    """Subtrahend and divisor of the normalisation, in float64."""
    high = tl.load(ints + HIGH)
    low = tl.load(ints + LOW)
    if LEVELS:
        high = high.to(tl.float64) / 255
        low = (255 - low).to(tl.float64) / 255
    else:
        high = high.to(tl.float64, bitcast=True)
        low = (-low + ONE).to(tl.float64, bitcast=True)
    stretched = (high > low) & NORMALIZE
    return tl.where(stretched, low, 0.0), tl.where(stretched, high - low, 1.0)


@triton.jit
def clipped(x):
    """Value in float64 without what rounding pushed beyond [0, 1]."""
    return tl.minimum(tl.maximum(x.to(tl.float64), 0.0), 1.0)


@triton.jit
def value(pixel, low, span, LEVELS: tl.constexpr):
    """Normalised value, in the original's order of operations."""
    x = pixel.to(tl.float64) / 255 if LEVELS else clipped(pixel)
    return (x - low) / span


@triton.jit
def tree(values, DEPTH: tl.constexpr):
    """Sum 2 ** DEPTH values pairwise, neighbours first."""
    for _ in tl.static_range(DEPTH):
        values = tl.sum(tl.reshape(values, (values.shape[0] // 2, 2)), axis=1)
    return tl.sum(values)
