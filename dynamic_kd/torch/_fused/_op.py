"""The fused loss as a differentiable operation, eager and compiled."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import array_api_compat.torch as xp
import torch
import torch.nn.functional as F
from torch import Tensor

from dynamic_kd.losses import DynamicKDLoss, DynamicKDTerms
from dynamic_kd.torch._fused._available import (
    fused_unavailable_reason,
    interpolates_student,
    interpolates_teacher,
    reason_of_settings,
    reason_of_tensors,
)
from dynamic_kd.torch._fused._kernels import TERMS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from dynamic_kd.torch._fused._launches import Launches

    Inputs = tuple[Tensor, Tensor, Tensor, Tensor | None]

MOST_LAUNCHES = 4096

_launches: dict[Hashable, Launches] = {}


def loss_and_packed_terms(
    inputs: Inputs, settings: DynamicKDLoss, text: str, check: Callable[..., None]
) -> tuple[Tensor, Tensor] | str:
    """Return the loss and its packed terms, or the reason why the kernels cannot compute it.

    Each kernel reads every input once. The weights are finished on the device, so the call does not synchronize with
    it, and sums are added in a fixed order, so every run gives the same bits. Second derivatives raise.

    Parameters
    ----------
    inputs
        Both logits, target and ``valid``.
    settings, text
        The loss, and its settings as JSON.
    check
        Raises if no implementation can compute the loss. Inputs that are like earlier ones are not checked again.
    """
    if torch.compiler.is_compiling():
        reason = _refusal(inputs, settings, check)
        return _compiled_loss(*_for_kernels(inputs), text) if reason is None else reason
    reason = reason_of_settings(settings) or reason_of_tensors(inputs)
    if reason is not None:
        return reason
    launches = _launches.get(_key(inputs, text))
    if launches is None:
        reason = _refusal(inputs, settings, check)
        if reason is not None:
            return reason
        inputs = _for_kernels(inputs)
        launches = _launches_for(inputs, text)
    loss, terms = _FusedLoss.apply(*inputs, launches)  # type: ignore[no-untyped-call]
    return loss, terms


def unpacked_terms(packed: Tensor, images: int) -> DynamicKDTerms:
    """Return the terms from what the forward kernel writes."""
    teacher_iou, student_error, weight, reliable, kl, ce, loss = packed[:-1].view(images, TERMS)[:, :7].unbind(1)
    return DynamicKDTerms(teacher_iou, student_error, weight, reliable > 0, kl, ce, loss)


def _refusal(inputs: Inputs, settings: DynamicKDLoss, check: Callable[..., None]) -> str | None:
    """Return why the kernels cannot compute the loss; raise where no implementation can."""
    reason = fused_unavailable_reason(*inputs, settings=settings)
    if reason is None:
        check(*inputs, settings, xp)
    return reason


def _for_kernels(inputs: Inputs) -> Inputs:
    """Return the inputs with those logits interpolated that the kernels do not interpolate themselves."""
    student, teacher, target, valid = inputs
    size = target.shape[-2:]
    student_inside = interpolates_student(student.shape[-2:], size)
    if not (student_inside and interpolates_teacher(teacher.shape[-2:], size)):
        teacher = _interpolated(teacher, size)
    return student if student_inside else _interpolated(student, size), teacher, target, valid


def _interpolated(maps: Tensor, size: torch.Size) -> Tensor:
    """Return logits or maps at another size, in float32."""
    if maps.shape[-2:] == size:
        return maps
    planes = maps.float() if maps.ndim == 4 else maps.float()[:, None]
    shrinks = maps.shape[-2] > size[0] or maps.shape[-1] > size[1]
    result = F.interpolate(planes, size=size, mode="bilinear", align_corners=False, antialias=shrinks)
    return result if maps.ndim == 4 else result[:, 0]


@cache
def _settings_of(text: str) -> DynamicKDLoss:
    return DynamicKDLoss(**json.loads(text))


def _key(inputs: Inputs, text: str) -> Hashable:
    """Return all that launches depend on, and all that inputs may be refused for."""
    return text, *[
        each
        if each is None
        else (each.shape, each.stride(), each.dtype, each.device, each.data_ptr() % 16, each.requires_grad)
        for each in inputs
    ]


def _launches_for(inputs: Inputs, text: str) -> Launches:
    """Return launches for inputs that were checked."""
    key = _key(inputs, text)
    if key not in _launches:
        from dynamic_kd.torch._fused._launches import Launches  # which needs Triton

        if len(_launches) >= MOST_LAUNCHES:
            _launches.clear()
        _launches[key] = Launches(*inputs, _settings_of(text))
    return _launches[key]


class _FusedLoss(torch.autograd.Function):
    """The two kernels for autograd."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, launches: Launches
    ) -> tuple[Tensor, Tensor]:
        loss, terms = launches.forward(student, teacher, target, valid)
        ctx.save_for_backward(student, teacher, target, valid, terms)
        ctx.launches = launches
        ctx.mark_non_differentiable(terms)
        ctx.set_materialize_grads(False)  # or one more kernel would fill the terms' gradients with zeros
        return loss, terms

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: None) -> tuple[Tensor, None, None, None, None]:
        if torch.is_grad_enabled():  # create_graph=True: the result must know that it cannot be differentiated
            slopes = _FusedGradient.apply(ctx.launches, gradient, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        else:
            slopes = ctx.launches.backward(gradient, *ctx.saved_tensors)
        return slopes, None, None, None, None


class _FusedGradient(torch.autograd.Function):
    """The backward kernel as an operation without a derivative."""

    @staticmethod
    def forward(ctx: Any, launches: Launches, gradient: Tensor, *saved: Any) -> Tensor:
        return launches.backward(gradient, *saved)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:
        raise RuntimeError("the fused loss cannot be differentiated twice; use impl='eager'")


# What torch.compile sees. Inputs were checked when the program was compiled for them.


@torch.library.custom_op("dynamic_kd::fused_loss", mutates_args=())
def _compiled_loss(
    student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, settings: str
) -> tuple[Tensor, Tensor]:
    """Return the loss and its packed terms."""
    return _launches_for((student, teacher, target, valid), settings).forward(student, teacher, target, valid)


@_compiled_loss.register_fake
def _(student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, settings: str) -> tuple[Tensor, Tensor]:
    images = student.shape[0]
    loss = student.new_empty((images,) if _settings_of(settings).reduction == "none" else (), dtype=torch.float32)
    return loss, student.new_empty(images * TERMS + 1, dtype=torch.float32)


@torch.library.custom_op("dynamic_kd::fused_loss_backward", mutates_args=())
def _compiled_backward(
    gradient: Tensor,
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    valid: Tensor | None,
    terms: Tensor,
    settings: str,
) -> Tensor:
    """Return the gradient by the student's logits."""
    inputs = (student, teacher, target, valid)
    return _launches_for(inputs, settings).backward(gradient, *inputs, terms)


@_compiled_backward.register_fake
def _(gradient: Tensor, student: Tensor, *_: Any) -> Tensor:
    return torch.empty(student.shape, dtype=student.dtype, device=student.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.settings = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    return _compiled_backward(gradient, *ctx.saved_tensors, ctx.settings), None, None, None, None


_compiled_loss.register_autograd(_gradient, setup_context=_keep)
