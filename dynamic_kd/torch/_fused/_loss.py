"""The fused loss for torch: eager, compiled, and with its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import torch
from torch import Tensor

from dynamic_kd import losses
from dynamic_kd.losses import DynamicKDTerms
from dynamic_kd.losses._inputs import check_batch
from dynamic_kd.torch._fused._available import fused_unavailable_reason, reason_of_settings, reason_of_tensors
from dynamic_kd.torch._fused._remembered import Batch, known_plan, likeness, new_plan
from dynamic_kd.torch._fused._settings import TERMS, Settings

if TYPE_CHECKING:
    from dynamic_kd.torch._fused._plan import Plan


def fused_dynamic_kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    settings: losses.DynamicKDLoss | None = None,
    return_terms: bool = False,
    **options: Any,
) -> Any:
    """Dynamic distillation loss of torch tensors on an NVIDIA GPU, by one kernel forward and one backward.

    Each kernel reads every input once; the weights are finished on the device, so that nobody waits for it, and sums
    are added in a fixed order, so that every run gives the same bits. It works under ``torch.compile(fullgraph=True)``,
    in CUDA graphs, under automatic mixed precision and in distributed training.

    Parameters
    ----------
    student_logits, teacher_logits
        Logits in float32, float16 or bfloat16, shape (B, 1, H, W), (B, H, W) or (B, 2, H, W), of any strides. They are
        widened to float32 as they are read.
    target, valid
        As in a call of `dynamic_kd.losses.DynamicKDLoss`, bool, integer or floating, read as they are.
    settings
        The loss; or give its settings as keywords.
    return_terms
        Whether to return the terms as well, for logging; they cost nothing and carry no gradient.
    **options
        Settings of `dynamic_kd.losses.DynamicKDLoss`.

    Returns
    -------
    Tensor, or (Tensor, DynamicKDTerms)
        The loss, float32, shape () or, with reduction "none", (B,).

    Raises
    ------
    TypeError, ValueError
        As `dynamic_kd.losses.DynamicKDLoss`; ValueError, too, where `fused_unavailable_reason` has a reason.

    Notes
    -----
    Values of target and ``valid`` are not checked. Second derivatives raise.
    """
    settings = losses.DynamicKDLoss(**options) if settings is None else settings
    result = loss_and_terms(student_logits, teacher_logits, target, valid, settings)
    if isinstance(result, str):
        raise ValueError(f"the fused loss is not available: {result}; use dynamic_kd.DynamicKDLoss")
    loss, terms = result
    return (loss, _terms(terms, student_logits.shape[0])) if return_terms else loss


def loss_and_terms(
    student_logits: Tensor, teacher_logits: Tensor, target: Tensor, valid: Tensor | None, settings: losses.DynamicKDLoss
) -> tuple[Tensor, Tensor] | str:
    """Return the loss, and what terms are made of; or the reason why the fused op cannot be had."""
    given = (student_logits, teacher_logits, target, valid)
    if torch.compiler.is_compiling():
        reason = _refusal(given, settings)
        return _compiled_loss(*given, *_flat(settings)) if reason is None else reason
    plan = _plan(given, settings)
    if isinstance(plan, str):
        return plan
    loss, terms = _FusedLoss.apply(*given, plan)  # type: ignore[no-untyped-call]
    return loss, terms


def _plan(given: Batch, settings: losses.DynamicKDLoss) -> Plan | str:
    """Return the plan, or a reason against it; what alike inputs passed before is not asked again."""
    unfit = reason_of_settings(settings) or reason_of_tensors(given)
    if unfit is not None:
        return unfit
    flat, like = _flat(settings), likeness(given)
    plan = known_plan(flat, like)
    if plan is None:
        reason = _refusal(given, settings)
        if reason is not None:
            return reason
        plan = new_plan(flat, like, given)
    return plan


def _refusal(given: Batch, settings: losses.DynamicKDLoss) -> str | None:
    """Return why the fused op cannot be had; raise where no loss can."""
    reason = fused_unavailable_reason(*given, settings=settings)
    if reason is None:
        check_batch(*given, xp)
    return reason


def _flat(settings: losses.DynamicKDLoss) -> Settings:
    weighting = settings.weighting
    named = isinstance(weighting, str) and weighting != "none"
    return Settings(
        float(settings.p),
        float(settings.temperature),
        float(settings.threshold),
        float(settings.noise_weight),
        str(weighting) if named else "fixed",
        0.0 if isinstance(weighting, str) else float(weighting),  # type: ignore[arg-type]
        settings.noise_elimination is not None and weighting != "none",
        settings.noise_elimination == "relative",
        settings.temperature_squared,
        settings.reduction,
    )


def _terms(kept: Tensor, images: int) -> DynamicKDTerms:
    """Return the terms from what the forward kernel keeps."""
    teacher_iou, student_error, weight, reliable, kl, ce, loss = kept[:-1].view(images, TERMS)[:, :7].unbind(1)
    return DynamicKDTerms(teacher_iou, student_error, weight, reliable > 0, kl, ce, loss)


class _FusedLoss(torch.autograd.Function):
    """The two kernels for autograd."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, plan: Plan
    ) -> tuple[Tensor, Tensor]:
        loss, terms = plan.forward(student, teacher, target, valid)
        ctx.save_for_backward(student, teacher, target, valid, terms)
        ctx.plan = plan
        ctx.mark_non_differentiable(terms)
        ctx.set_materialize_grads(False)  # or the terms' would be filled with zeros, by one more kernel
        return loss, terms

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, None, None, None, None]:
        if torch.is_grad_enabled():  # create_graph=True: what comes out must know that it cannot be differentiated
            return _FusedGradient.apply(ctx.plan, gradient, *ctx.saved_tensors), None, None, None, None  # type: ignore[no-untyped-call]
        return ctx.plan.backward(gradient, *ctx.saved_tensors), None, None, None, None


class _FusedGradient(torch.autograd.Function):
    """The backward kernel as something that has no derivative."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, gradient: Tensor, *given: Any) -> Tensor:
        return plan.backward(gradient, *given)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError("the fused loss cannot be differentiated twice; use impl='eager'")


def _any_plan(given: Batch, settings: Settings) -> Plan:
    """Return the plan of inputs that were checked when a program was compiled for them."""
    like = likeness(given)
    return known_plan(settings, like) or new_plan(settings, like, given)


@torch.library.custom_op("dynamic_kd::fused_loss", mutates_args=())
def _compiled_loss(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    valid: Tensor | None,
    p: float,
    temperature: float,
    noise_threshold: float,
    noise_weight: float,
    weighting: str,
    fixed: float,
    eliminates: bool,
    relative: bool,
    temperature_squared: bool,
    reduction: str,
) -> tuple[Tensor, Tensor]:
    """Return the loss and what the backward kernel and the terms are made of, for torch.compile."""
    noise = noise_threshold, noise_weight, weighting, fixed, eliminates, relative
    settings = Settings(p, temperature, *noise, temperature_squared, reduction)
    return _any_plan((student, teacher, target, valid), settings).forward(student, teacher, target, valid)


@_compiled_loss.register_fake
def _(student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, *settings: Any) -> tuple[Tensor, Tensor]:
    images = student.shape[0]
    loss = student.new_empty((images,) if Settings(*settings).reduction == "none" else (), dtype=torch.float32)
    return loss, student.new_empty(images * TERMS + 1, dtype=torch.float32)


@torch.library.custom_op("dynamic_kd::fused_loss_backward", mutates_args=())
def _compiled_backward(
    gradient: Tensor,
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    valid: Tensor | None,
    terms: Tensor,
    temperature: float,
    temperature_squared: bool,
) -> Tensor:
    """Return the gradient by the student's logits, for torch.compile."""
    settings = Settings(0, temperature, 0, 0, "fixed", 0, False, False, temperature_squared, "mean")
    given = (student, teacher, target, valid)
    return _any_plan(given, settings).backward(gradient, *given, terms)


@_compiled_backward.register_fake
def _(gradient: Tensor, student: Tensor, *_: Any) -> Tensor:
    return torch.empty(student.shape, dtype=student.dtype, device=student.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    settings = Settings(*inputs[4:])
    ctx.save_for_backward(*inputs[:4], output[1])
    ctx.temperature, ctx.temperature_squared = settings.temperature, settings.temperature_squared
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    slopes = _compiled_backward(gradient, *ctx.saved_tensors, ctx.temperature, ctx.temperature_squared)
    return slopes, *(None,) * 13


_compiled_loss.register_autograd(_gradient, setup_context=_keep)
