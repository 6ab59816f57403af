"""The forward kernel: one pass over the pixels, sums by tile, and the loss finished by the last program."""

import triton
import triton.language as tl

from dynamic_kd.losses import _weighting as weighting
from dynamic_kd.torch._fused import _kernels
from dynamic_kd.torch._fused._kernels._math import (
    LN_2,
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
def multiply(a, b):
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
            m = t
        at = place(index, width, target_strides[2], target_strides[3], TARGET_DENSE)
        g = signed(tl.load(target + at, inside, other=0))
        values = measures(s, t, m, g, inside, rate, TEACHER_MAPS, WEIGHTING, POWER, HIGH_TEMPERATURE, FAST)
        of_teacher += _folded(values[0], WIDE)
        teacher_hits += _folded(values[1], WIDE)
        student_errors += _folded(values[2], WIDE)
        student_hits += _folded(values[3], WIDE)
        of_target += _folded(g, WIDE)
        divergence += _folded(values[4], WIDE)
        product *= tl.reduce(tl.reshape(values[5], (BLOCK // WIDE, WIDE)), 1, multiply)
        if HIGH_TEMPERATURE:
            nearby += _folded(values[8], WIDE)
        entropy += _folded(values[6], WIDE)
        if WEIGHTING == "a2dele":
            teacher_entropy += _folded(values[7], WIDE)
        if HAS_VALID:
            counted += _folded(inside.to(tl.float32), WIDE)
    divergence = divergence * inverse_temperature + tl.log(product)
    if HIGH_TEMPERATURE:
        divergence += nearby
    finish(
        (
            of_teacher,
            teacher_hits,
            student_errors,
            student_hits,
            of_target,
            divergence,
            entropy,
            teacher_entropy,
            counted,
        ),
        partials,
        counters,
        terms,
        loss,
        image,
        images,
        tile,
        tiles,
        pixels,
        (kl_scale, p, threshold, noise_weight, fixed_weight),
        HAS_VALID,
        WEIGHTING,
        NOISE_ELIMINATION,
        REDUCTION,
        TILES,
        IMAGES,
    )


@triton.jit
def measures(
    s,
    t,
    m,
    g,
    inside,
    rate,
    TEACHER_MAPS: tl.constexpr,
    WEIGHTING: tl.constexpr,
    POWER: tl.constexpr,
    HIGH_TEMPERATURE: tl.constexpr,
    FAST: tl.constexpr,
):
    """What is summed over pixels: student and teacher as logits, the teacher's map, and the target, 0 outside.

    These are the teacher's map, its hits, the student's errors, its hits, two parts of the divergence (a summand to be
    divided by T, and a factor of a product whose logarithm is added), both cross-entropies, and at a high temperature
    the divergence of those pixels for which the two parts would cancel.
    """
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

    # |z| (G or 1 - G) + log(1 + e^-|z|): no two large terms that cancel.
    entropy = (tl.abs(s) * tl.where(s < 0, g, 1.0 - g) + log1p(s_tail)) * one
    teacher_entropy = entropy
    if WEIGHTING == "a2dele":
        if TEACHER_MAPS:
            teacher_entropy = map_entropy(m, g) * one
        else:
            teacher_entropy = (tl.abs(t) * tl.where(t < 0, g, 1.0 - g) + log1p(t_tail)) * one

    # q (b - a) + max(-b, 0) + log((1 + e^-|b|) / (1 + e^-a)), with a = |z_t| / T, b = z_s / T towards the teacher's
    # side, and q the teacher's soft doubt; the quotients of many pixels go into one logarithm.
    t_part = reciprocal(1.0 + t_soft, FAST)
    b = tl.where(t < 0, -s, s)
    divergence = t_soft * t_part * (b - tl.abs(t)) + tl.maximum(-b, 0.0)
    ratio = tl.where(inside, (1.0 + s_soft) * t_part, 1.0)
    nearby = divergence
    if HIGH_TEMPERATURE:
        step = (b - tl.abs(t)) * (rate * LN_2)
        near = tl.abs(step) < NEAR
        nearby = tl.where(near, near_divergence(t_soft, t_part, step), 0.0)
        divergence = tl.where(near, 0.0, divergence)
        ratio = tl.where(near, 1.0, ratio)
    errors = s_map * (1.0 - g) + s_rest * g
    return t_map, t_map * g, errors, s_map * g, divergence, ratio, entropy, teacher_entropy, nearby


@triton.jit
def finish(
    sums,
    partials,
    counters,
    terms,
    loss,
    image,
    images,
    tile,
    tiles,
    pixels,
    numbers,
    HAS_VALID: tl.constexpr,
    WEIGHTING: tl.constexpr,
    NOISE_ELIMINATION: tl.constexpr,
    REDUCTION: tl.constexpr,
    TILES: tl.constexpr,
    IMAGES: tl.constexpr,
):
    """Store a tile's sums; the last tile of an image finishes its terms, the last image the loss."""
    at = partials + (image * tiles + tile) * SUMS
    for kind in tl.static_range(SUMS):
        if (kind != 7 or WEIGHTING == "a2dele") and (kind != 8 or HAS_VALID):
            tl.store(at + kind, tl.sum(sums[kind]))
    tl.debug_barrier()
    if tl.atomic_add(counters + image, 1, sem="acq_rel") == tiles - 1:
        tl.store(counters + image, 0)  # ready for the next launch
        _finish_image(
            partials + image * tiles * SUMS,
            terms + image * TERMS,
            pixels,
            tiles,
            numbers,
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
    numbers,
    HAS_VALID: tl.constexpr,
    WEIGHTING: tl.constexpr,
    NOISE_ELIMINATION: tl.constexpr,
    TILES: tl.constexpr,
):
    """Equations 1 to 6 for one image, from its sums."""
    kl_scale, p, threshold, noise_weight, fixed_weight = numbers
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
