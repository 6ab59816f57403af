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
        from dynamic_kd.torch._fused import loss_and_terms

        result = loss_and_terms(student_logits, teacher_logits, target, valid, settings)
        if not isinstance(result, str):
            return result[0]
        reason = result
    else:
        reason = "it takes torch tensors"
    if wanted:
        raise ValueError(f"impl: expected inputs and settings for the fused op, got none: {reason}; use impl='auto'")
    return None
