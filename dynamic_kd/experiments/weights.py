"""Weights of the teacher that experiments try, as ``loss.weighting = "dynamic_kd.experiments.weights:NAME"``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamic_kd._array import array_namespace
from dynamic_kd.losses import dynamic_weight, eliminate_noise

if TYPE_CHECKING:
    from dynamic_kd._array import Array

__all__ = ["gradual", "normalized", "relative"]


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


def relative(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
    """Return one half where the teacher is not much worse than the student himself, and next to nothing elsewhere.

    A teacher's IoU that is low on an image on which the student's is low as well says that the image is hard; only
    under three quarters of the student's does it say that the map is wrong. ``loss.weighting = 0.5`` with
    ``loss.noise_elimination = "relative"`` is the same, and what is to be used; ``ecssd-final`` was begun before it.

    Parameters
    ----------
    teacher_iou, student_error, teacher_cross_entropy : array
        As of `normalized`.

    Returns
    -------
    array
        θ of each image, shape (B,): 0.5, or 0.01 where α is not above 0.75 (1 - β).

    Examples
    --------
    >>> import numpy as np
    >>> relative(np.array([0.4, 0.4]), np.array([0.5, 0.1]), np.array([0.9, 0.9]))
    array([0.5 , 0.01])
    """
    xp = array_namespace(teacher_iou)
    return eliminate_noise(xp.full_like(teacher_iou, 0.5), teacher_iou, threshold=0.75 * (1 - student_error))


def gradual(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
    """Return a weight that rises with the teacher's IoU, from 0 at 0.2 to one half at 0.6, instead of by a threshold.

    Parameters
    ----------
    teacher_iou, student_error, teacher_cross_entropy : array
        As of `normalized`; only the first is looked at.

    Returns
    -------
    array
        θ of each image, shape (B,), in [0, 0.5].

    Examples
    --------
    >>> import numpy as np
    >>> gradual(np.array([0.1, 0.4, 0.9]), np.zeros(3), np.zeros(3))
    array([0.  , 0.25, 0.5 ])
    """
    xp = array_namespace(teacher_iou)
    return 0.5 * xp.clip((teacher_iou - 0.2) / 0.4, min=0, max=1)
