"""Equation 6: the noise elimination."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, array_namespace
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_unit_pair


@array_support(gradient=True, traced=True, gpu="operations")
def eliminate_noise(
    weight: Array,
    teacher_iou: Array,
    *,
    threshold: float | Array = 0.5,
    noise_weight: float = 0.01,
    xp: Namespace | None = None,
) -> Array:
    r"""Replace the weight of unreliable teachers by a small constant.

    On a sample whose depth map misleads the teacher, α is low, and the teacher is all but ignored (equation 6):

    .. math:: \theta = \begin{cases} \theta & \alpha > \text{threshold} \\ \varepsilon & \text{otherwise} \end{cases}

    Parameters
    ----------
    weight : array, any shape
        Weights θ, floating point.
    teacher_iou : array, same shape
        Confidence α of the teacher in [0, 1].
    threshold : float or array, same shape
        In [0, 1]; a teacher exactly at the threshold is unreliable. An array has a threshold for each weight, such as
        a share of the student's own soft IoU.
    noise_weight : float
        Weight ε in [0, 1] of an unreliable teacher.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, same shape
        The weights, with ε where α is at most the threshold.

    Raises
    ------
    TypeError
        If the arrays come from different libraries.
    ValueError
        If a setting lies outside [0, 1], or the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> eliminate_noise(np.array([0.6, 0.4, 0.3]), np.array([0.9, 0.5, 0.2]))
    array([0.6 , 0.01, 0.01])
    >>> student_iou = np.array([0.8, 0.3, 0.8])
    >>> eliminate_noise(np.array([0.6, 0.4, 0.3]), np.array([0.9, 0.5, 0.2]), threshold=0.75 * student_iou)
    array([0.6 , 0.4 , 0.01])
    """
    check_number("noise_weight", noise_weight, low=0, high=1)
    xp = array_namespace(weight, teacher_iou) if xp is None else xp
    check_unit_pair(("weight", weight), ("teacher_iou", teacher_iou), xp)
    if hasattr(threshold, "shape"):
        check_unit_pair(("threshold", threshold), ("teacher_iou", teacher_iou), xp)
    else:
        check_number("threshold", threshold, low=0, high=1)
    return weight_if_reliable(weight, teacher_iou > threshold, noise_weight, xp)


def weight_if_reliable(weight: Array, reliable: Array, noise_weight: float, xp: Namespace) -> Array:
    """Return equation 6 for arrays that need no check."""
    return xp.where(reliable, weight, xp.full_like(weight, noise_weight))
