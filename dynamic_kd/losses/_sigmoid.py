"""Sigmoid and softplus with exact values and derivatives at zero and in saturation, in every library."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace


def sigmoid(z: Array, xp: Namespace) -> Array:
    """Return 1 / (1 + exp(-z)) by the hyperbolic tangent, which neither overflows nor has a kink at 0."""
    return 0.5 + 0.5 * xp.tanh(0.5 * z)


def softplus(z: Array, xp: Namespace) -> Array:
    """Return log(1 + exp(z)) with full relative accuracy, also of the derivative, for z far below 0.

    At 0 `maximum` and `minimum` split the derivative between their arguments, which gives 1/2. Libraries disagree on
    the derivative of `abs` at 0, which is where a zero-initialised head has all its logits.
    """
    return xp.maximum(z, xp.zeros_like(z)) + xp.log1p(xp.exp(xp.minimum(z, -z)))
