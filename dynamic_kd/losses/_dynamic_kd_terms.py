"""Equation 5: the composition of the loss from its parts, image by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dynamic_kd._array import Array, Namespace, stop_gradient
from dynamic_kd.losses._cross_entropy import bernoulli_cross_entropy
from dynamic_kd.losses._inputs import check_unit_range
from dynamic_kd.losses._mix import blend, matching_factor, pixel_mean
from dynamic_kd.losses._soft_iou import disagreement, overlap
from dynamic_kd.losses._stable import sigmoid
from dynamic_kd.losses._temperature_kl import bernoulli_kl
from dynamic_kd.losses._weighting import threshold_of, weight_function

if TYPE_CHECKING:
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss
    from dynamic_kd.losses._inputs import Pixels


class DynamicKDTerms(NamedTuple):
    """What the loss consists of, for logging; each (B,), the first four (B, H, W) at pixel granularity."""

    teacher_iou: Array
    """Confidence of the teacher, α (equation 1)."""
    student_error: Array
    """What the student still lacks, β (equation 2)."""
    weight: Array
    """Weight of the teacher, θ."""
    reliable: Array
    """Whether α exceeds the noise threshold or, if noise is relative, that share of 1 - β; whatever the weighting."""
    kl: Array
    """Mean divergence from the teacher over the valid pixels, with T² if that is on."""
    ce: Array
    """Mean cross-entropy over the valid pixels."""
    loss: Array
    """Loss of each image (equation 5, or another mix); 0 without valid pixels."""


def terms_of(pixels: Pixels, settings: DynamicKDLoss, xp: Namespace) -> DynamicKDTerms:
    """Compose the loss from canonical inputs."""
    student, teacher, target, valid = pixels
    by_image = settings.granularity == "image"
    constant = stop_gradient if settings.detach_weight else _unchanged

    teacher_iou = overlap(sigmoid(teacher, xp), target, valid, settings.granularity, xp)
    student_error = disagreement(constant(student), target, valid, settings.granularity, xp)
    kl = bernoulli_kl(student, teacher, settings.temperature, settings.temperature_squared, xp)
    ce = bernoulli_cross_entropy(student, target, xp)
    teacher_ce = bernoulli_cross_entropy(teacher, target, xp)

    strategy = weight_function(settings, xp)
    weight = strategy(teacher_iou, student_error, pixel_mean(teacher_ce, valid, xp) if by_image else teacher_ce)
    if getattr(weight, "shape", None) != teacher_iou.shape:
        raise ValueError(
            f"weighting: expected the function to return an array of shape {tuple(teacher_iou.shape)}, as its "
            f"arguments, got {getattr(weight, 'shape', type(weight).__name__)}; return one weight for each"
        )
    weight = constant(weight)
    if callable(settings.weighting):
        check_unit_range("weighting's values", weight, xp, allow_nan=True)

    kl_mean, ce_mean = pixel_mean(kl, valid, xp), pixel_mean(ce, valid, xp)
    pull, pull_mean = kl, kl_mean
    if settings.mix == "matched":
        factor = matching_factor(pixels, settings.temperature, settings.temperature_squared, xp)
        pull, pull_mean = factor[:, None, None] * kl, factor * kl_mean
    if by_image:
        loss = blend(settings.mix, weight, pull_mean, ce_mean)
    else:
        loss = pixel_mean(blend(settings.mix, weight, pull, ce), valid, xp)
    reliable = teacher_iou > threshold_of(settings, student_error)
    return DynamicKDTerms(teacher_iou, student_error, weight, reliable, kl_mean, ce_mean, loss)


def _unchanged(array: Array) -> Array:
    return array
