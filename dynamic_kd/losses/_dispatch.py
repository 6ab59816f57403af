"""Where the fused op takes over: torch tensors on an NVIDIA GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamic_kd._array import Array, is_torch

if TYPE_CHECKING:
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss


def fused_loss(
    settings: DynamicKDLoss, student_logits: Array, teacher_logits: Array, target: Array, valid: Array | None
) -> Array | None:
    """Return the loss by the fused op, or None where the plain operations are to compute it.

    Raises
    ------
    ValueError
        ``impl="fused"`` where the op is not available, with the reason.
    """
    wanted = settings.impl == "fused"
    if is_torch(student_logits) and (wanted or student_logits.is_cuda):
        from dynamic_kd.torch._fused import fused_unavailable_reason, loss_and_terms

        reason = fused_unavailable_reason(student_logits, teacher_logits, target, valid, settings=settings)
        if reason is None:
            return loss_and_terms(student_logits, teacher_logits, target, valid, settings)[0]
    else:
        reason = "it takes torch tensors"
    if wanted:
        raise ValueError(f"impl: expected inputs and settings for the fused op, got none: {reason}; use impl='auto'")
    return None
