"""Equations 3 and 4: the dynamic weight."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, array_namespace
from dynamic_kd._checks import check_number
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_unit_pair


@array_support(gradient=True, traced=True, gpu="operations")
def dynamic_weight(teacher_iou: Array, student_error: Array, *, p: float = 0.7, xp: Namespace | None = None) -> Array:
    r"""Weight of the teacher, from its confidence and the student's error.

    It is large where the teacher is right and the student is wrong (equations 3 and 4):

    .. math:: \theta = \tanh(\alpha^{p} \beta^{1 - p})

    Parameters
    ----------
    teacher_iou : array, any shape
        Confidence α of the teacher in [0, 1], floating point.
    student_error : array, same shape
        One minus the student's soft IoU, β in [0, 1].
    p : float
        Exponent of α in [0, 1]. With 1 the student's error does not count, with 0 only the student's error does.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, same shape
        Weights θ in [0, tanh 1] = [0, 0.762].

    Raises
    ------
    TypeError
        If the arrays are not floating point or come from different libraries.
    ValueError
        If ``p`` lies outside [0, 1].

    Notes
    -----
    The exponent of β is that of equation 3; the β^(-1-p) printed in the paper's Algorithm 1 grows without bound as β
    goes to 0. At 0 the power has an infinite slope. Its derivative there is taken as 0, so no gradient becomes NaN.

    Examples
    --------
    >>> import numpy as np
    >>> dynamic_weight(np.array([0.9, 0.9, 0.1]), np.array([0.8, 0.1, 0.8])).round(3)
    array([0.701, 0.435, 0.184])
    """
    check_number("p", p, low=0, high=1)
    xp = array_namespace(teacher_iou, student_error) if xp is None else xp
    check_unit_pair(("teacher_iou", teacher_iou), ("student_error", student_error), xp)
    return tanh_of_powers(teacher_iou, student_error, p, xp)


def tanh_of_powers(teacher_iou: Array, student_error: Array, p: float, xp: Namespace) -> Array:
    """Return equations 3 and 4 for arrays that need no check."""
    return xp.tanh(_power(teacher_iou, p, xp) * _power(student_error, 1 - p, xp))


def _power(base: Array, exponent: float, xp: Namespace) -> Array:
    """Return base ** exponent with 0 ** 0 = 1 and a derivative of 0, not NaN or infinity, at 0."""
    if exponent == 0:
        return xp.ones_like(base)
    positive = base > 0
    # The inner `where` keeps value and slope finite in the branch that the outer one drops.
    root = xp.where(positive, base, xp.ones_like(base)) ** exponent
    return xp.where(positive, root, xp.zeros_like(base))
