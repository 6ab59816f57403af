"""Why the fused kernels cannot compute a loss."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dynamic_kd import losses
from dynamic_kd._extras import installed

LARGEST_IMAGE = 2**31 - 2**15
# Of a student that the kernels interpolate, and of a teacher: pixels of an axis for one of theirs, and the product of
# both lengths.
MOST_RATIO, MOST_PRODUCT = 64, 2**29
HALVES_AND_SINGLES = (torch.float32, torch.float16, torch.bfloat16)


def fused_unavailable_reason(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    settings: losses.DynamicKDLoss | None = None,
    **options: Any,
) -> str | None:
    """Reason why the fused kernels cannot compute a loss.

    Parameters
    ----------
    student_logits, teacher_logits, target, valid
        As in a call of `dynamic_kd.losses.DynamicKDLoss`. Only types, dtypes, shapes and devices matter.
    settings
        The loss. Or pass its settings as keywords.
    **options
        Settings of `dynamic_kd.losses.DynamicKDLoss`.

    Returns
    -------
    str or None
        The reason, or None if the kernels can compute it.

    Examples
    --------
    >>> import torch
    >>> maps = torch.zeros(1, 1, 4, 4)
    >>> fused_unavailable_reason(maps, maps, maps, granularity="pixel")
    "granularity='pixel' is computed by plain operations"
    """
    settings = losses.DynamicKDLoss(**options) if settings is None else settings
    return (
        reason_of_settings(settings)
        or reason_of_tensors((student_logits, teacher_logits, target, valid))
        or _reason_of_device(student_logits.device.type)
        or _reason_of_logits(student_logits, teacher_logits, target)
    )


def reason_of_settings(settings: losses.DynamicKDLoss) -> str | None:
    """Return why the kernels do not support these settings."""
    if settings.granularity == "pixel":
        return "granularity='pixel' is computed by plain operations"
    if not settings.detach_weight:
        return "detach_weight=False needs a gradient through the weight, which plain operations have"
    if callable(settings.weighting):
        return "a function as weighting is called on arrays, between plain operations"
    return None


def reason_of_tensors(given: Iterable[Any]) -> str | None:
    """Return why the kernels cannot read the inputs, some of which may be None."""
    for each in given:
        if each is None:
            continue
        if not isinstance(each, Tensor) or each.layout != torch.strided or each.is_complex():
            return "it takes dense real torch tensors"
    if torch._C._are_functorch_transforms_active():
        return "function transforms (torch.func) need plain operations"
    return None


def _reason_of_device(kind: str) -> str | None:
    if kind == "cuda":
        return "it runs on NVIDIA GPUs, and this is an AMD one" if torch.version.hip else _reason_of_triton()
    interpreted = kind == "cpu" and os.environ.get("TRITON_INTERPRET") == "1"
    return None if interpreted else f"it runs on NVIDIA GPUs, and the tensors are on a device of type {kind}"


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _reason_of_triton() -> str | None:
    return _failure_of_triton()


@cache
def _failure_of_triton() -> str | None:
    """Return why Triton cannot launch kernels, for example without a C compiler; it builds its launcher to find out."""
    if not installed("triton"):
        return "Triton is not installed"
    from triton.runtime import driver

    try:
        driver.active.get_current_device()
    except Exception as error:  # array operations work whatever the reason
        return f"Triton does not work here: {error}"
    return None


def _reason_of_logits(student: Tensor, teacher: Tensor, target: Tensor) -> str | None:
    for name, logits in (("student_logits", student), ("teacher_logits", teacher)):
        if logits.dtype not in HALVES_AND_SINGLES:
            return f"it computes in float32, and {name} are {logits.dtype}"
    if any(maps.shape[-2:].numel() > LARGEST_IMAGE for maps in (student, teacher, target)):
        return f"images of more than {LARGEST_IMAGE} pixels do not fit its integers"
    return None


def interpolates_student(size: torch.Size, target_size: torch.Size) -> bool:
    """Whether the kernels interpolate a student of this size; otherwise PyTorch does it before them.

    The ratio has to be a whole number, and on the x axis a power of two. With others, threads cannot read neighbouring
    pixels at once, and kernels of this kind were slower than interpolation before the others.
    """
    (height, width), (target_height, target_width) = size, target_size
    ratio_y, ratio_x = target_height // height, target_width // width
    whole = ratio_y * height == target_height and ratio_x * width == target_width
    return whole and ratio_y <= MOST_RATIO and 2 <= ratio_x <= MOST_RATIO and ratio_x & (ratio_x - 1) == 0


def interpolates_teacher(size: torch.Size, target_size: torch.Size) -> bool:
    """Whether the kernels interpolate a teacher of this size, beside a student that they interpolate."""
    return all(low <= high and low * high < MOST_PRODUCT for low, high in zip(size, target_size, strict=True))
