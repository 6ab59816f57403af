"""The two kernel launches of a loss, worked out once for all inputs that are alike."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._launch import Launch, on_device
from dynamic_kd.torch._fused._kernels import SUMS, TERMS
from dynamic_kd.torch._fused._plans import cells_plan, full_plan, plane_of, power_of_two

if TYPE_CHECKING:
    from torch import Tensor

    from dynamic_kd.losses import DynamicKDLoss

LOG2_E = 1.4426950408889634
# Above it, small differences are summed by series: terms of the closed form would cancel.
HIGH_TEMPERATURE = 8.0
# Tiles of an image, or images, whose sums are added at a time.
ADDED = 64
# Counters of one stream, and sets of them for launches in CUDA graphs.
COUNTERS, GRAPH_SETS = 4096, 64


class Launches:
    """Both launches for inputs of given shapes, strides, dtypes, alignment and device.

    On a small batch the host takes longer than the device, so everything that depends on these alone is kept.
    """

    def __init__(
        self, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, settings: DynamicKDLoss
    ) -> None:
        images, self._device = student.shape[0], student.device
        planes = [plane_of(each) for each in (student, teacher, target, target if valid is None else valid)]
        strides = tuple(plane.strides for plane in planes)
        plan_of = full_plan if student.shape[-2:] == target.shape[-2:] else cells_plan
        plan = plan_of(student, teacher, target, planes, _multiprocessors(self._device))
        self._images = images
        self._loss_shape = (images,) if settings.reduction == "none" else ()
        self._sums = images * plan.tiles * SUMS
        self._boolean = target.dtype == torch.bool, valid is not None and valid.dtype == torch.bool
        kl_scale = settings.temperature**2 if settings.temperature_squared else 1.0
        rate, slope = LOG2_E / settings.temperature, kl_scale / settings.temperature
        weighting = settings.weighting
        named = isinstance(weighting, str)
        sizes = (images, *plan.numbers, settings.clip, rate)
        fixed_weight = 0.0 if named else weighting
        weights = (kl_scale, settings.p, settings.threshold, settings.noise_weight, fixed_weight)
        self._forward_numbers = (*strides, *sizes, 1 / settings.temperature, *weights)
        self._backward_strides, self._backward_numbers = strides, (*sizes, slope)
        self._common = plan.constants | {
            "STUDENT_CHANNELS": planes[0].channels,
            "TEACHER_CHANNELS": planes[1].channels,
            "HAS_VALID": valid is not None,
            "TEACHER_MAPS": settings.teacher == "probabilities",
            "POWER": _power(settings.temperature),
            "HIGH_TEMPERATURE": settings.temperature > HIGH_TEMPERATURE,
            "FAST": self._device.type == "cuda",
        }
        self._grid = (images * plan.tiles, 1, 1)
        self._forward = Launch(
            plan.forward,
            self._grid,
            **self._common,
            **plan.forward_constants,
            WEIGHTING=weighting if named else "fixed",
            NOISE_ELIMINATION=settings.noise_elimination or "none",
            REDUCTION=settings.reduction,
            TILES=min(power_of_two(plan.tiles), ADDED),
            IMAGES=min(power_of_two(images), ADDED),
        )
        self._backward_kernel = plan.backward
        self._backward: dict[int, Launch] = {}

    def forward(self, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the loss, shape () or (B,), and the packed terms, shape (B * TERMS + 1,), both float32."""
        loss = student.new_empty(self._loss_shape, dtype=torch.float32)
        terms = student.new_empty(self._images * TERMS + 1, dtype=torch.float32)
        partials = student.new_empty(self._sums, dtype=torch.float32)
        with on_device(self._device):
            stream = _stream_of(self._device)
            zeros = _counters(self._images, self._device, stream)
            maps = self._maps(student, teacher, target, valid)
            self._forward((*maps, partials, zeros, terms, loss, *self._forward_numbers), stream)
        return loss, terms

    def backward(
        self,
        gradient: Tensor,
        student: Tensor,
        teacher: Tensor,
        target: Tensor,
        valid: Tensor | None,
        terms: Tensor,
    ) -> Tensor:
        """Return the gradient by the student's logits, contiguous, in their dtype."""
        result = student.new_empty(student.shape)
        stride = gradient.stride(0) if gradient.ndim else 0
        if stride not in self._backward:
            self._backward[stride] = Launch(self._backward_kernel, self._grid, **self._common)
        maps = self._maps(student, teacher, target, valid)
        arguments = (*maps, terms, gradient, result, *self._backward_strides, stride, *self._backward_numbers)
        with on_device(self._device):
            self._backward[stride](arguments, _stream_of(self._device))
        return result

    def _maps(self, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, ...]:
        """Return the maps as the kernels take them: booleans as bytes, and the target in place of no ``valid``."""
        boolean_target, boolean_valid = self._boolean
        target = target.view(torch.uint8) if boolean_target else target
        if valid is None:
            return student, teacher, target, target
        return student, teacher, target, valid.view(torch.uint8) if boolean_valid else valid


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _power(temperature: float) -> int:
    """Return the temperature if a product of that many exponentials is cheaper than another exponential, else 0."""
    return int(temperature) if temperature.is_integer() and 1 <= temperature <= 8 else 0


# The last program of an image, and of the batch, is found by counters: zeros that every launch leaves zero again.
_of_streams: dict[tuple[torch.device, int | None], Tensor] = {}
_for_graphs: dict[torch.device, list[Tensor]] = {}
_captured: list[Tensor] = []


def _counters(images: int, device: torch.device, stream: int | None) -> Tensor:
    """Return a counter for each image and one for the batch: a set for each stream, and for each launch in a graph."""
    if device.type != "cuda" or images >= COUNTERS:
        return torch.zeros(images + 1, dtype=torch.int32, device=device)
    if torch.cuda.is_current_stream_capturing():
        spare = _for_graphs.get(device)
        if not spare:  # nothing ran before the capture, or all sets are taken: zeros become part of the graph
            return torch.zeros(images + 1, dtype=torch.int32, device=device)
        _captured.append(spare.pop())
        return _captured[-1]
    if device not in _for_graphs:
        _for_graphs[device] = list(torch.zeros(GRAPH_SETS, COUNTERS, dtype=torch.int32, device=device))
    key = (device, stream)
    if key not in _of_streams:
        _of_streams[key] = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
    return _of_streams[key]


def _stream_of(device: torch.device) -> int | None:
    """Return the current stream's handle, as launches take it, by Triton's way: torch's takes ten times as long."""
    return int(_driver().get_current_stream(device.index)) if device.type == "cuda" else None


@cache
def _driver() -> Any:
    from triton.runtime import driver

    return driver.active
