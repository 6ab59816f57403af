"""The first loss of equation 5: the divergence from the teacher at a temperature."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, accumulation_dtype, array_namespace, stop_gradient
from dynamic_kd._checks import check_flag, check_number
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_both_logits, margin
from dynamic_kd.losses._sigmoid import softplus

HIGH_TEMPERATURE = 8.0  # up to which the closed form loses no more than float32's last two digits


@array_support(gradient=True, traced=True, gpu="operations")
def temperature_kl(
    student_logits: Array,
    teacher_logits: Array,
    *,
    temperature: float = 5.0,
    temperature_squared: bool = True,
    xp: Namespace | None = None,
) -> Array:
    r"""Kullback-Leibler divergence of the student from the teacher, pixel by pixel, both softened by a temperature.

    With the Bernoulli distributions of t = σ(z_t / T) and s = σ(z_s / T), as in equation 5:

    .. math:: \mathrm{KL}(t \,\|\, s) = t \log\frac{t}{s} + (1 - t) \log\frac{1 - t}{1 - s},
        \qquad L_{KL} = T^2 \, \mathrm{KL}(t \,\|\, s)

    Parameters
    ----------
    student_logits, teacher_logits : array, shape (B, 1, H, W), (B, H, W) or (B, 2, H, W)
        Logits z, floating point; of two channels the second is the salient one, and z is its margin over the first.
    temperature : float
        T > 0; a larger one gives softer distributions.
    temperature_squared : bool
        Whether to multiply by T², which keeps the gradient's scale independent of T to first order.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, shape (B, H, W)
        The divergence in nats (times T² if that is on); float32 for half inputs, else the inputs' dtype.

    Raises
    ------
    TypeError
        If the logits are not floating point or come from different libraries.
    ValueError
        If shapes or devices differ, or the temperature is not positive.

    Notes
    -----
    A Bernoulli of σ(z / T) is exactly the softmax over [0, z] at T, so one and two channels share one definition; a
    softmax over a single channel would give a divergence of 0 everywhere. The teacher is a constant. The gradient by
    the student's logit is (s - t) / T, times T² if that is on. Where student and teacher agree, rounding may give a
    value slightly below 0. NaN logits propagate.

    References
    ----------
    Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network*, 2015.

    Examples
    --------
    >>> import numpy as np
    >>> student, teacher = np.zeros((1, 1, 2)), np.array([[[0.0, 5.0]]])
    >>> temperature_kl(student, teacher, temperature_squared=False).round(4)
    array([[[0.    , 0.1109]]])
    """
    check_number("temperature", temperature, low=0, exclusive_low=True)
    check_flag("temperature_squared", temperature_squared)
    xp = array_namespace(student_logits, teacher_logits) if xp is None else xp
    check_both_logits(student_logits, teacher_logits, xp)
    dtype = accumulation_dtype(xp, student_logits, teacher_logits)
    student, teacher = (margin(logits, None, dtype, xp) for logits in (student_logits, teacher_logits))
    return bernoulli_kl(student, stop_gradient(teacher), temperature, temperature_squared, xp)


def bernoulli_kl(student: Array, teacher: Array, temperature: float, temperature_squared: bool, xp: Namespace) -> Array:
    """Return the divergence for margins (B, H, W), in the form whose terms stay small when both are saturated.

    With a = z_t / T ≥ 0 and b = z_s / T it is σ(-a) (b - a) + softplus(-b) - softplus(-a). For a negative a, both signs
    are flipped first, which leaves it unchanged. At a high temperature these terms cancel, and a series replaces them.
    """
    size = xp.abs(teacher)
    towards = xp.where(teacher < 0, -student, student)
    a, b = size / temperature, towards / temperature
    tail = xp.exp(-a)
    divergence = tail / (1 + tail) * (b - a) + softplus(-b, xp) - xp.log1p(tail)
    if temperature > HIGH_TEMPERATURE:
        step = (towards - size) / temperature
        near = xp.abs(step) < 4 * float(xp.finfo(step.dtype).eps) ** (1 / 9)  # where both forms are as accurate
        divergence = xp.where(near, _near_divergence(tail, xp.where(near, step, xp.zeros_like(step))), divergence)
    return temperature**2 * divergence if temperature_squared else divergence


def _near_divergence(tail: Array, step: Array) -> Array:
    """Return the divergence for a small step b - a, from tail = exp(-a).

    It is the remainder of softplus(b) after its tangent at a: the sum of κ_n stepⁿ / n! from n = 2 on, with the
    cumulants κ of a Bernoulli variable. Each has the factor σ(a) (1 - σ(a)).
    """
    variance, skew = tail / (1 + tail) ** 2, (tail - 1) / (1 + tail)
    total = (1 - variance * (126 - variance * (1680 - 5040 * variance))) * step / 40320
    total = (total + skew * (1 - variance * (60 - 360 * variance)) / 5040) * step
    total = (total + (1 - variance * (30 - 120 * variance)) / 720) * step
    total = (total + skew * (1 - 12 * variance) / 120) * step
    total = (total + (1 - 6 * variance) / 24) * step
    total = (total + skew / 6) * step
    return variance * step * step * (total + 0.5)
