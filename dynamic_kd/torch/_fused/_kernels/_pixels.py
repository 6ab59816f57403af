"""How both kernels read their inputs, of any strides and dtype, as one value a pixel."""

import triton
import triton.language as tl


@triton.jit
def place(index, width, row_stride, column_stride, DENSE: tl.constexpr):
    """Offset of a pixel, by its position in the image."""
    offset = index
    if not DENSE:
        offset = (index // width).to(tl.int64) * row_stride + (index % width) * column_stride
    return offset


@triton.jit
def logits(base, at, inside, channel_stride, CHANNELS: tl.constexpr):
    """Salient logit minus the background's, in float32."""
    margin = tl.load(base + at, inside, other=0).to(tl.float32)
    if CHANNELS == 2:
        margin = tl.load(base + channel_stride + at, inside, other=0).to(tl.float32) - margin
    return margin


@triton.jit
def saliency(base, at, inside):
    """A saliency map's value, limited to [0, 1], in float32; one half, whose logit is 0, where nothing is read."""
    return limited(tl.load(base + at, inside, other=0.5).to(tl.float32))


@triton.jit
def limited(value):
    """Limit to [0, 1]; NaN stays NaN."""
    return tl.where(value < 0, 0.0, tl.where(value > 1.0, 1.0, value))


@triton.jit
def signed(target):
    """Target in float32; 64-bit integers are converted to 32 bits first."""
    if target.dtype.is_int() and target.dtype.primitive_bitwidth > 32:
        target = target.to(tl.int32)
    return target.to(tl.float32)
