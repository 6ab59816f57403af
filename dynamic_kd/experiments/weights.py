"""Weights of the teacher that experiments try, as ``loss.weighting = "dynamic_kd.experiments.weights:NAME"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamic_kd._array import array_namespace
from dynamic_kd.losses import dynamic_weight

if TYPE_CHECKING:
    from dynamic_kd._array import Array

__all__ = ["normalized"]


def normalized(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
    """Return the dynamic weight, scaled to a mean of one half over the batch; at most 1.

    What differs from a fixed weight of one half is then which images listen to the teacher, not how much all do.

    Parameters
    ----------
    teacher_iou, student_error, teacher_cross_entropy : array
        α, β and the teacher's cross-entropy of each image, shape (B,), floating; the last is not looked at.

    Returns
    -------
    array
        θ of each image, shape (B,), in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> normalized(np.array([0.9, 0.3]), np.array([0.8, 0.8]), np.array([0.1, 0.9])).round(2)
    array([0.65, 0.35])
    """
    weight = dynamic_weight(teacher_iou, student_error)
    xp = array_namespace(weight)
    mean = xp.mean(weight)
    return xp.clip(weight * (0.5 / xp.where(mean > 0, mean, xp.ones_like(mean))), max=1)
