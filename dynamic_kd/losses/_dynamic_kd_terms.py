"""Equation 5: the composition of the loss from its parts, image by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dynamic_kd._array import Array, Namespace, array_namespace, stop_gradient
from dynamic_kd.losses._cross_entropy import bernoulli_cross_entropy, map_cross_entropy
from dynamic_kd.losses._logits_from_probabilities import clipped_logit
from dynamic_kd.losses._sigmoid import sigmoid
from dynamic_kd.losses._soft_iou import disagreement, overlap
from dynamic_kd.losses._temperature_kl import bernoulli_kl
from dynamic_kd.losses._weighting import is_reliable, needs_teacher_cross_entropy, weight_of

if TYPE_CHECKING:
    from dynamic_kd.losses._arguments import Pixels
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss


class DynamicKDTerms(NamedTuple):
    """What the loss consists of, for logging. Each term is (B,); the first four are (B, H, W) at pixel granularity."""

    teacher_iou: Array
    """Soft IoU of the teacher, α (equation 1)."""
    student_error: Array
    """One minus the soft IoU of the student, β (equation 2)."""
    weight: Array
    """Weight of the teacher, θ."""
    reliable: Array
    """Whether α exceeds the noise threshold, or that share of 1 - β if noise elimination is relative."""
    kl: Array
    """Mean divergence from the teacher over the valid pixels, with T² if that is on."""
    ce: Array
    """Mean cross-entropy over the valid pixels."""
    loss: Array
    """Loss of each image (equation 5); 0 without valid pixels."""

    def log(self, prefix: str = "") -> dict[str, Array]:
        """Mean of each term, for a logger.

        Parameters
        ----------
        prefix : str, optional
            Put before each name.

        Returns
        -------
        dict of array, shape ()
            ``teacher_iou, student_error, weight, reliable, kl, ce, loss``, where ``reliable`` is a share from 0 to 1.
            They stay on their device, so that nothing waits for it until one is read.

        Examples
        --------
        >>> import numpy as np
        >>> from dynamic_kd import DynamicKDLoss
        >>> mask = np.ones((2, 1, 4, 4))
        >>> _, terms = DynamicKDLoss().with_terms(0 * mask, 9 * mask, mask)
        >>> float(terms.log("train/")["train/reliable"])
        1.0
        """
        xp = array_namespace(*self)
        return {f"{prefix}{name}": xp.mean(xp.astype(term, self.loss.dtype)) for name, term in self._asdict().items()}


def terms_of(pixels: Pixels, settings: DynamicKDLoss, xp: Namespace) -> DynamicKDTerms:
    """Compose the loss from canonical inputs."""
    student, teacher, target, valid = pixels
    teacher_is_map = settings.teacher == "probabilities"
    teacher_map = teacher if teacher_is_map else sigmoid(teacher, xp)
    teacher_logit = clipped_logit(teacher, settings.clip, xp) if teacher_is_map else teacher
    by_image = settings.granularity == "image"
    constant = stop_gradient if settings.detach_weight else _unchanged

    teacher_iou = overlap(teacher_map, target, valid, settings.granularity, xp)
    student_error = disagreement(constant(student), target, valid, settings.granularity, xp)
    kl = bernoulli_kl(student, teacher_logit, settings.temperature, settings.temperature_squared, xp)
    ce = bernoulli_cross_entropy(student, target, xp)
    teacher_ce: Array = None
    if needs_teacher_cross_entropy(settings):
        cross_entropy = map_cross_entropy if teacher_is_map else bernoulli_cross_entropy
        teacher_ce = cross_entropy(teacher, target, xp)
        teacher_ce = pixel_mean(teacher_ce, valid, xp) if by_image else teacher_ce

    reliable = is_reliable(settings, teacher_iou, student_error)
    weight = constant(weight_of(settings, teacher_iou, student_error, teacher_ce, reliable, xp))
    kl_mean, ce_mean = pixel_mean(kl, valid, xp), pixel_mean(ce, valid, xp)
    if by_image:
        loss = weight * kl_mean + (1 - weight) * ce_mean
    else:
        loss = pixel_mean(weight * kl + (1 - weight) * ce, valid, xp)
    return DynamicKDTerms(teacher_iou, student_error, weight, reliable, kl_mean, ce_mean, loss)


def pixel_mean(values: Array, valid: Array | None, xp: Namespace) -> Array:
    """Return the mean over each image's valid pixels, (B,); 0 for an image that has none."""
    if valid is None:
        return xp.mean(values, axis=(1, 2))
    zero = xp.zeros_like(values)
    count = xp.sum(xp.where(valid, xp.ones_like(values), zero), axis=(1, 2))
    return xp.sum(xp.where(valid, values, zero), axis=(1, 2)) / xp.maximum(count, xp.ones_like(count))


def _unchanged(array: Array) -> Array:
    return array
