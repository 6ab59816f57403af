"""The forward kernel: one pass over the pixels, sums by tile, and the loss finished by the last program."""

import triton
import triton.language as tl

from dynamic_kd.losses import _weighting as weighting
from dynamic_kd.torch._fused import _kernels
from dynamic_kd.torch._fused._kernels._math import (
    NEAR,
    clipped_logit,
    decays,
    log1p,
    map_entropy,
    near_divergence,
    reciprocal,
    root,
    tanh,
)
from dynamic_kd.torch._fused._kernels._pixels import logits, place, saliency, signed

SUMS = tl.constexpr(_kernels.SUMS)
TERMS = tl.constexpr(_kernels.TERMS)
A2DELE_RATE = tl.constexpr(-weighting.A2DELE_RATE)


@triton.jit
def _multiply(a, b):
    return a * b


@triton.jit
def _folded(values, WIDE: tl.constexpr):
    """Sum neighbours that one thread holds."""
    return tl.sum(tl.reshape(values, (values.shape[0] // WIDE, WIDE)), axis=1)


@triton.jit
def forward(
    student,
    teacher,
    target,
    valid,
    partials,
    counters,
    terms,
    loss,
    student_strides,
    teacher_strides,
    target_strides,
    valid_strides,
    images,
    width,
    pixels,
    tiles,
    clip,
    rate,
    inverse_temperature,
    kl_scale,
    p,
    threshold,
    noise_weight,
    fixed_weight,
    STUDENT_CHANNELS: tl.constexpr,
    TEACHER_CHANNELS: tl.constexpr,
    STUDENT_DENSE: tl.constexpr,
    TEACHER_DENSE: tl.constexpr,
    TARGET_DENSE: tl.constexpr,
    VALID_DENSE: tl.constexpr,
    HAS_VALID: tl.constexpr,
    TEACHER_MAPS: tl.constexpr,
    WEIGHTING: tl.constexpr,
    NOISE_ELIMINATION: tl.constexpr,
    REDUCTION: tl.constexpr,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    BLOCK: tl.constexpr,
    STEPS: tl.constexpr,
    WIDE: tl.constexpr,
    TILES: tl.constexpr,
    IMAGES: tl.constexpr,
    FAST: tl.constexpr,
):
    """Sum a tile's pixels. The last tile of an image computes its weight and loss, the last image reduces the losses.

    Grid (images * tiles,).
    """
    image = (tl.program_id(0) // tiles).to(tl.int64)
    tile = tl.program_id(0) % tiles
    student += image * student_strides[0]
    teacher += image * teacher_strides[0]
    target += image * target_strides[0]
    if HAS_VALID:
        valid += image * valid_strides[0]
    folded = tl.zeros((BLOCK // WIDE,), tl.float32)
    of_teacher, teacher_hits, student_errors, student_hits, of_target = folded, folded, folded, folded, folded
    divergence, nearby, entropy, teacher_entropy, counted = folded, folded, folded, folded, folded
    product = folded + 1.0
    for step in range(STEPS):
        index = (tile * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
        inside = index < pixels
        if HAS_VALID:
            at = place(index, width, valid_strides[2], valid_strides[3], VALID_DENSE)
            inside = inside & (tl.load(valid + at, inside, other=0) != 0)
        at = place(index, width, student_strides[2], student_strides[3], STUDENT_DENSE)
        s = logits(student, at, inside, student_strides[1], STUDENT_CHANNELS)
        at = place(index, width, teacher_strides[2], teacher_strides[3], TEACHER_DENSE)
        if TEACHER_MAPS:
            m = saliency(teacher, at, inside)
            t = clipped_logit(m, clip, FAST)
        else:
            t = logits(teacher, at, inside, teacher_strides[1], TEACHER_CHANNELS)
        at = place(index, width, target_strides[2], target_strides[3], TARGET_DENSE)
        g = signed(tl.load(target + at, inside, other=0))
        one = inside.to(tl.float32)

        s_soft, s_tail = decays(tl.abs(s), rate, POWER, FAST)
        t_soft, t_tail = decays(tl.abs(t), rate, POWER, FAST)
        s_share = reciprocal(1.0 + s_tail, FAST) * one
        t_share = reciprocal(1.0 + t_tail, FAST) * one
        s_rest = s_tail * s_share
        s_map = tl.where(s < 0, s_rest, s_share)
        s_rest = tl.where(s < 0, s_share, s_rest)  # one minus the map, exact where the map is near one
        t_map = tl.where(t < 0, t_tail * t_share, t_share)
        if TEACHER_MAPS:
            t_map = m * one
        student_errors += _folded(s_map * (1.0 - g) + s_rest * g, WIDE)
        of_teacher += _folded(t_map, WIDE)
        student_hits += _folded(s_map * g, WIDE)
        teacher_hits += _folded(t_map * g, WIDE)
        of_target += _folded(g, WIDE)

        # |z| (G or 1 - G) + log(1 + e^-|z|): no two large terms that cancel.
        wrong = tl.where(s < 0, g, 1.0 - g)
        entropy += _folded((tl.abs(s) * wrong + log1p(s_tail)) * one, WIDE)
        if WEIGHTING == "a2dele":
            if TEACHER_MAPS:
                teacher_entropy += _folded(map_entropy(m, g) * one, WIDE)
            else:
                wrong = tl.where(t < 0, g, 1.0 - g)
                teacher_entropy += _folded((tl.abs(t) * wrong + log1p(t_tail)) * one, WIDE)

        # q (b - a) + max(-b, 0) + log((1 + e^-|b|) / (1 + e^-a)), with a = |z_t| / T, b = z_s / T towards the teacher's
        # side, and q the teacher's soft doubt; the quotients of all steps go into one logarithm.
        t_part = reciprocal(1.0 + t_soft, FAST)
        b = tl.where(t < 0, -s, s)
        linear = t_soft * t_part * (b - tl.abs(t)) + tl.maximum(-b, 0.0)
        ratio = tl.where(inside, (1.0 + s_soft) * t_part, 1.0)
        if HIGH_TEMPERATURE:
            step = (b - tl.abs(t)) * inverse_temperature
            near = tl.abs(step) < NEAR
            linear = tl.where(near, 0.0, linear)
            ratio = tl.where(near, 1.0, ratio)
            nearby += _folded(tl.where(near, near_divergence(t_soft, t_part, step), 0.0), WIDE)
        divergence += _folded(linear, WIDE)
        product *= tl.reduce(tl.reshape(ratio, (BLOCK // WIDE, WIDE)), 1, _multiply)
        if HAS_VALID:
            counted += _folded(one, WIDE)
    divergence = divergence * inverse_temperature + tl.log(product)
    if HIGH_TEMPERATURE:
        divergence += nearby
    at = partials + (image * tiles + tile) * SUMS
    tl.store(at, tl.sum(of_teacher))
    tl.store(at + 1, tl.sum(teacher_hits))
    tl.store(at + 2, tl.sum(student_errors))
    tl.store(at + 3, tl.sum(student_hits))
    tl.store(at + 4, tl.sum(of_target))
    tl.store(at + 5, tl.sum(divergence))
    tl.store(at + 6, tl.sum(entropy))
    if WEIGHTING == "a2dele":
        tl.store(at + 7, tl.sum(teacher_entropy))
    if HAS_VALID:
        tl.store(at + 8, tl.sum(counted))
    tl.debug_barrier()
    if tl.atomic_add(counters + image, 1, sem="acq_rel") == tiles - 1:
        tl.store(counters + image, 0)  # ready for the next launch
        _finish_image(
            partials + image * tiles * SUMS,
            terms + image * TERMS,
            pixels,
            tiles,
            kl_scale,
            p,
            threshold,
            noise_weight,
            fixed_weight,
            HAS_VALID,
            WEIGHTING,
            NOISE_ELIMINATION,
            TILES,
        )
        tl.debug_barrier()
        if tl.atomic_add(counters + images, 1, sem="acq_rel") == images - 1:
            tl.store(counters + images, 0)
            _finish_batch(terms, loss, images, REDUCTION, IMAGES)


@triton.jit
def _totals(partials, tiles, TILES: tl.constexpr):
    """Sums over an image's tiles, all kinds in one vector, in a fixed order, in float64."""
    kind = tl.arange(0, 16)[None, :]
    totals = tl.zeros((TILES, 16), tl.float64)
    for start in range(0, tiles, TILES):
        tile = start + tl.arange(0, TILES)[:, None]
        there = (tile < tiles) & (kind < SUMS)
        totals += tl.load(partials + tile * SUMS + kind, there, other=0, cache_modifier=".cg").to(tl.float64)
    return tl.sum(totals, axis=0)


@triton.jit
def _pick(totals, KIND: tl.constexpr):
    """One of the sums."""
    return tl.sum(tl.where(tl.arange(0, 16) == KIND, totals, 0.0))


@triton.jit
def _overlap(hits, predicted, salient):
    """Equation 1; 0 for an empty target."""
    union = predicted + salient - hits
    return hits / tl.where(union > 0, union, 1.0)


@triton.jit
def _finish_image(
    partials,
    terms,
    pixels,
    tiles,
    kl_scale,
    p,
    threshold,
    noise_weight,
    fixed_weight,
    HAS_VALID: tl.constexpr,
    WEIGHTING: tl.constexpr,
    NOISE_ELIMINATION: tl.constexpr,
    TILES: tl.constexpr,
):
    """Equations 1 to 6 for one image, from its sums."""
    zero = tl.sum(tl.zeros((16,), tl.float64))  # which widens what it is added to
    totals = _totals(partials, tiles, TILES)
    salient = _pick(totals, 4)
    teacher_iou = _overlap(_pick(totals, 1), _pick(totals, 0), salient)
    errors, union = _pick(totals, 2), _pick(totals, 2) + _pick(totals, 3)
    student_error = tl.where(union > 0, errors / tl.where(union > 0, union, 1.0), 1.0)
    count = zero + pixels
    if HAS_VALID:
        count = _pick(totals, 8)
    share = 1.0 / tl.maximum(count, 1.0)
    kl = _pick(totals, 5) * kl_scale * share
    ce = _pick(totals, 6) * share
    reliable = teacher_iou.to(tl.float32) > threshold
    if NOISE_ELIMINATION == "relative":
        reliable = teacher_iou > threshold * (1.0 - student_error)
    weight = zero
    if WEIGHTING == "dynamic":
        exponent = zero + p
        weight = tanh(root(teacher_iou, exponent) * root(student_error, 1.0 - exponent))
    elif WEIGHTING == "a2dele":
        weight = tl.exp(_pick(totals, 7) * share * A2DELE_RATE)
    elif WEIGHTING == "fixed":
        weight = zero + fixed_weight
    if WEIGHTING != "none" and NOISE_ELIMINATION != "none":
        weight = tl.where(reliable, weight, zero + noise_weight)
    tl.store(terms, teacher_iou.to(tl.float32))
    tl.store(terms + 1, student_error.to(tl.float32))
    tl.store(terms + 2, weight.to(tl.float32))
    tl.store(terms + 3, reliable.to(tl.float32))
    tl.store(terms + 4, kl.to(tl.float32))
    tl.store(terms + 5, ce.to(tl.float32))
    tl.store(terms + 6, (weight * kl + (1.0 - weight) * ce).to(tl.float32))
    tl.store(terms + 7, share.to(tl.float32))
    tl.store(terms + 8, (count > 0).to(tl.float32))


@triton.jit
def _finish_batch(terms, loss, images, REDUCTION: tl.constexpr, IMAGES: tl.constexpr):
    """Reduce the images' losses, in a fixed order."""
    total = tl.zeros((IMAGES,), tl.float64)
    some = tl.zeros((IMAGES,), tl.float64)
    for start in range(0, images, IMAGES):
        image = start + tl.arange(0, IMAGES)
        at = terms + image.to(tl.int64) * TERMS
        each = tl.load(at + 6, image < images, other=0, cache_modifier=".cg")
        if REDUCTION == "none":
            tl.store(loss + image, each, image < images)
        total += each.to(tl.float64)
        some += tl.load(at + 8, image < images, other=0, cache_modifier=".cg").to(tl.float64)
    share = tl.sum(some) * 0.0 + 1.0
    if REDUCTION == "mean":
        share = 1.0 / tl.maximum(tl.sum(some), 1.0)
    if REDUCTION != "none":
        tl.store(loss, (tl.sum(total) * share).to(tl.float32))
    tl.store(terms + images * TERMS, share.to(tl.float32))
