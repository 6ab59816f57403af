"""The backward kernel: the gradient by the student's logits, in one pass."""

import triton
import triton.language as tl

from dynamic_kd.torch._fused._kernels._forward import TERMS
from dynamic_kd.torch._fused._kernels._math import LN_2, NEAR, clipped_logit, decays, near_difference, reciprocal
from dynamic_kd.torch._fused._kernels._pixels import logits, place, saliency, signed


@triton.jit
def backward(
    student,
    teacher,
    target,
    valid,
    terms,
    gradients,
    result,
    student_strides,
    teacher_strides,
    target_strides,
    valid_strides,
    gradients_stride,
    images,
    width,
    pixels,
    tiles,
    clip,
    rate,
    kl_slope,
    STUDENT_CHANNELS: tl.constexpr,
    TEACHER_CHANNELS: tl.constexpr,
    STUDENT_DENSE: tl.constexpr,
    TEACHER_DENSE: tl.constexpr,
    TARGET_DENSE: tl.constexpr,
    VALID_DENSE: tl.constexpr,
    HAS_VALID: tl.constexpr,
    TEACHER_MAPS: tl.constexpr,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    FAST: tl.constexpr,
):
    """Write theta (s_T - t_T) T + (1 - theta) (s - G), each times the incoming gradient.

    Grid (images * tiles,).
    """
    image = (tl.program_id(0) // tiles).to(tl.int64)
    soft_scale, hard_scale = scales(terms, gradients + image * gradients_stride, image, images, kl_slope)
    student += image * student_strides[0]
    teacher += image * teacher_strides[0]
    target += image * target_strides[0]
    result += image * pixels * STUDENT_CHANNELS
    if HAS_VALID:
        valid += image * valid_strides[0]
    for step in range(STEPS):
        index = (tl.program_id(0) % tiles * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        exists = index < pixels
        inside = exists
        if HAS_VALID:
            at = place(index, width, valid_strides[2], valid_strides[3], VALID_DENSE)
            inside = inside & (tl.load(valid + at, inside, other=0) != 0)
        at = place(index, width, student_strides[2], student_strides[3], STUDENT_DENSE)
        s = logits(student, at, inside, student_strides[1], STUDENT_CHANNELS)
        at = place(index, width, teacher_strides[2], teacher_strides[3], TEACHER_DENSE)
        if TEACHER_MAPS:
            t = clipped_logit(saliency(teacher, at, inside), clip, FAST)
        else:
            t = logits(teacher, at, inside, teacher_strides[1], TEACHER_CHANNELS)
        at = place(index, width, target_strides[2], target_strides[3], TARGET_DENSE)
        g = signed(tl.load(target + at, inside, other=0))
        slope = slopes(s, t, g, soft_scale, hard_scale, rate, POWER, HIGH_TEMPERATURE, FAST)
        if HAS_VALID:
            slope = tl.where(inside, slope, 0.0)
        if STUDENT_CHANNELS == 1:
            tl.store(result + index, slope.to(result.dtype.element_ty), exists)
        else:
            tl.store(result + index, (-slope).to(result.dtype.element_ty), exists)
            tl.store(result + pixels + index, slope.to(result.dtype.element_ty), exists)


@triton.jit
def scales(terms, gradient, image, images, kl_slope):
    """What a pixel's slopes of divergence and cross-entropy are multiplied by."""
    row = terms + image * TERMS
    weight = tl.load(row + 2)
    scale = tl.load(gradient).to(tl.float32) * tl.load(terms + images * TERMS) * tl.load(row + 7)
    return scale * weight * kl_slope, scale * (1.0 - weight)


@triton.jit
def slopes(
    s,
    t,
    g,
    soft_scale,
    hard_scale,
    rate,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    FAST: tl.constexpr,
):
    """Derivative by the student's logit of each pixel."""
    s_soft, s_tail = decays(tl.abs(s), rate, POWER, FAST)
    t_soft = decays(tl.abs(t), rate, 1, FAST)[0]
    s_share = reciprocal(1.0 + s_tail, FAST)
    s_part = reciprocal(1.0 + s_soft, FAST)
    t_part = reciprocal(1.0 + t_soft, FAST)
    s_map = tl.where(s < 0, s_tail * s_share, s_share)
    s_soft_map = tl.where(s < 0, s_soft * s_part, s_part)
    t_soft_map = tl.where(t < 0, t_soft * t_part, t_part)
    difference = s_soft_map - t_soft_map
    if HIGH_TEMPERATURE:
        step = (tl.where(t < 0, -s, s) - tl.abs(t)) * (rate * LN_2)
        nearby = near_difference(t_soft, t_part, step)
        difference = tl.where(tl.abs(step) < NEAR, tl.where(t < 0, -nearby, nearby), difference)
    return soft_scale * difference + hard_scale * (s_map - g)
