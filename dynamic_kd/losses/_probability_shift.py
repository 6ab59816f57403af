"""Correction of a teacher's wrong pixels by the ground truth."""

from __future__ import annotations

from dynamic_kd._array import Array, Namespace, array_namespace
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_floating, check_maps, check_plane, plane


@array_support(gradient=True, traced=True, gpu="operations")
def probability_shift(teacher_logits: Array, target: Array, *, xp: Namespace | None = None) -> Array:
    r"""Teacher's logits, with the probabilities of both classes swapped wherever the teacher is wrong.

    The teacher decides how confident it is, and the ground truth decides of which class. For one-channel logits z this
    sets the sign:

    .. math:: z' = \begin{cases} |z| & g > \tfrac12 \\ -|z| & \text{otherwise} \end{cases}

    Noise elimination (equation 6) drops a whole map, while this corrects its wrong pixels. Pass the result to the loss
    in place of the teacher's logits.

    Parameters
    ----------
    teacher_logits : array, shape (B, 1, H, W), (B, H, W) or (B, 2, H, W)
        Logits, floating point; of two channels the second is the salient one.
    target : array, shape (B, 1, H, W) or (B, H, W)
        Ground truth in [0, 1]: booleans, integers 0 and 1, or soft values, of which those above one half are salient.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, shape of ``teacher_logits``
        The logits, in the same dtype.

    Raises
    ------
    TypeError
        If the logits are not floating point or the arrays come from different libraries.
    ValueError
        If shapes or devices differ.

    References
    ----------
    Wen, Lai, Qian, *Preparing Lessons: Improve Knowledge Distillation with Better Supervision*, 2019, for classifiers.

    Examples
    --------
    >>> import numpy as np
    >>> probability_shift(np.array([[[4.0, -1.0, 2.0]]]), np.array([[[1, 1, 0]]]))
    array([[[ 4.,  1., -2.]]])
    """
    xp = array_namespace(teacher_logits, target) if xp is None else xp
    check_floating("teacher_logits", teacher_logits, xp)
    check_plane("teacher_logits", teacher_logits, channels=(1, 2))
    check_maps("teacher_logits", teacher_logits, target=target, valid=None)
    salient = plane(target, teacher_logits.dtype, xp) > 0.5
    if teacher_logits.ndim == 4:
        salient = salient[:, None, :, :]
    if teacher_logits.ndim == 3 or teacher_logits.shape[1] == 1:
        confidence = xp.abs(teacher_logits)
        return xp.where(salient, confidence, -confidence)
    wrong = (teacher_logits[:, 1:, :, :] > teacher_logits[:, :1, :, :]) != salient
    return xp.where(wrong, xp.flip(teacher_logits, axis=1), teacher_logits)
