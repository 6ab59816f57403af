"""How divergence and cross-entropy make one loss: equation 5, and the mixtures that it is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dynamic_kd._array import Array, Namespace, stop_gradient
from dynamic_kd.losses._stable import sigmoid

if TYPE_CHECKING:
    from dynamic_kd.losses._inputs import Pixels

Mix = Literal["convex", "additive", "matched"]

MIXES = ("convex", "additive", "matched")
TINY = 1e-5  # nearer to its teacher a student differs by rounding, which is not to be enlarged


def blend(mix: Mix, weight: Array, kl: Array, ce: Array) -> Array:
    """Return equation 5, θ L_KL + (1 - θ) L_CE, or θ L_KL + L_CE where the mix is additive."""
    return weight * kl + (ce if mix == "additive" else (1 - weight) * ce)


def matching_factor(pixels: Pixels, temperature: float, temperature_squared: bool, xp: Namespace) -> Array:
    """Return what makes the divergence pull at an image's logits as strongly as the cross-entropy, (B,); a constant.

    It is the quotient of both gradients' mean magnitudes: |σ(z) - g| over |σ(z/T) - σ(t/T)|, which has a factor T with
    T² in the divergence, and 1/T without.
    """
    student, teacher, target, valid = pixels
    student = stop_gradient(student)
    factor = temperature if temperature_squared else 1 / temperature
    error = pixel_mean(xp.abs(sigmoid(student, xp) - target), valid, xp)
    apart = xp.abs(sigmoid(student / temperature, xp) - sigmoid(teacher / temperature, xp))
    apart = pixel_mean(apart, valid, xp)
    return error / (factor * xp.maximum(apart, xp.full_like(apart, TINY)))


def pixel_mean(values: Array, valid: Array | None, xp: Namespace) -> Array:
    """Return the mean over each image's valid pixels, (B,); 0 for an image that has none."""
    if valid is None:
        return xp.mean(values, axis=(1, 2))
    zero = xp.zeros_like(values)
    count = xp.sum(xp.where(valid, xp.ones_like(values), zero), axis=(1, 2))
    return xp.sum(xp.where(valid, values, zero), axis=(1, 2)) / xp.maximum(count, xp.ones_like(count))
