"""Launching the two kernels: their layouts, their settings, and the counters that find the last to finish."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dynamic_kd._launch import launch
from dynamic_kd.torch._fused._kernels._backward import backward
from dynamic_kd.torch._fused._kernels._forward import forward
from dynamic_kd.torch._fused._settings import SUMS, TERMS, Settings

LOG2_E = 1.4426950408889634
# Warps of a program. In each step a thread loads 16 bytes of the student's logits.
WARPS = 4
BYTES = 16
# A program takes as many steps as leave each multiprocessor this many programs. A thread multiplies quotients, each in
# (1/2, 2], of all steps: more than 127 could leave float32's range.
PROGRAMS, MOST_QUOTIENTS = 16, 64
# Tiles of an image, or images, whose sums are added at a time.
ADDED = 64
COUNTERS = 4096
WORKSPACES = 64


class _Plane(NamedTuple):
    """A batch of maps as the kernels read it."""

    strides: tuple[int, int, int, int]
    channels: int
    dense: bool


def _plane(maps: Tensor, height: int, width: int) -> _Plane:
    strides = maps.stride() if maps.ndim == 4 else (maps.stride(0), 0, *maps.stride()[1:])
    dense = (strides[3] == 1 or width == 1) and (strides[2] == width or height == 1)
    batch, channel, row, column = strides
    return _Plane((batch, channel, row, column), 1 if maps.ndim == 3 else maps.shape[1], dense)


def run_forward(
    student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None, settings: Settings
) -> tuple[Tensor, Tensor]:
    """Return the loss, shape () or (B,), and the terms, shape (B * TERMS + 1,), both float32."""
    batch = _Batch(student, teacher, target, valid)
    images, tiles, steps = batch.images, batch.tiles, batch.steps
    loss = student.new_empty((images,) if settings.reduction == "none" else (), dtype=torch.float32)
    terms = student.new_empty(images * TERMS + 1, dtype=torch.float32)
    partials = student.new_empty(images * tiles * SUMS, dtype=torch.float32)
    arguments = (*batch.tensors, partials, _counters(images, student.device), terms, loss, *batch.strides)
    sizes = (images, batch.width, batch.pixels, tiles, LOG2_E / settings.temperature, 1 / settings.temperature)
    weights = (settings.kl_scale, settings.p, settings.noise_threshold, settings.noise_weight, settings.fixed)
    batch.launch(
        forward,
        (*arguments, *sizes, *weights),
        WEIGHTING=settings.weighting,
        REDUCTION=settings.reduction,
        POWER=settings.power,
        BLOCK=batch.block,
        STEPS=steps,
        WIDE=batch.wide,
        TILES=min(_power_of_two(tiles), ADDED),
        IMAGES=min(_power_of_two(images), ADDED),
    )
    return loss, terms


def run_backward(
    gradient: Tensor,
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    valid: Tensor | None,
    terms: Tensor,
    settings: Settings,
) -> Tensor:
    """Return the gradient by the student's logits, contiguous, in their dtype."""
    batch = _Batch(student, teacher, target, valid)
    result = torch.empty(student.shape, dtype=student.dtype, device=student.device)
    stride = gradient.stride(0) if gradient.ndim else 0
    arguments = (*batch.tensors, terms, gradient, result, *batch.strides, stride)
    slope = settings.kl_scale / settings.temperature
    sizes = (batch.images, batch.width, batch.pixels, batch.tiles, LOG2_E / settings.temperature, slope)
    batch.launch(
        backward, (*arguments, *sizes), like=stride, POWER=settings.power, BLOCK=batch.block, STEPS=batch.steps
    )
    return result


class _Batch:
    """The inputs of a launch."""

    def __init__(self, student: Tensor, teacher: Tensor, target: Tensor, valid: Tensor | None) -> None:
        height, self.width = student.shape[-2:]
        self.images, self.pixels = student.shape[0], height * self.width
        target = target.view(torch.uint8) if target.dtype == torch.bool else target
        valid = valid.view(torch.uint8) if valid is not None and valid.dtype == torch.bool else valid
        self.device = student.device
        self.tensors = (student, teacher, target, target if valid is None else valid)
        planes = [_plane(each, height, self.width) for each in self.tensors]
        self.strides = tuple(plane.strides for plane in planes)
        self._kinds = {
            "STUDENT_CHANNELS": planes[0].channels,
            "TEACHER_CHANNELS": planes[1].channels,
            "STUDENT_DENSE": planes[0].dense,
            "TEACHER_DENSE": planes[1].dense,
            "TARGET_DENSE": planes[2].dense,
            "VALID_DENSE": planes[3].dense,
            "HAS_VALID": valid is not None,
        }
        self.wide = BYTES // student.element_size()
        self.block = 32 * WARPS * self.wide
        blocks = -(-self.pixels // self.block)
        wanted = -(-blocks * self.images // (_multiprocessors(self.device) * PROGRAMS))
        self.steps = min(_power_of_two(wanted), MOST_QUOTIENTS // self.wide)
        self.tiles = -(-blocks // self.steps)

    def launch(self, kernel: Any, arguments: tuple[Any, ...], *, like: object = None, **settings: Any) -> None:
        """Launch a kernel over all tiles of all images, on the tensors' device."""
        like = (
            like,
            self.device,
            self.strides,
            *((each.dtype, each.shape, each.data_ptr() % 16) for each in self.tensors),
        )
        on_gpu = self.device.type == "cuda"
        grid = (self.images * self.tiles, 1, 1)
        elsewhere = on_gpu and self.device.index != torch.cuda.current_device()
        with torch.cuda.device(self.device) if elsewhere else nullcontext():
            launch(kernel, grid, like, *arguments, **self._kinds, **settings, FAST=on_gpu, num_warps=WARPS)


def _power_of_two(number: int) -> int:
    """Round up."""
    return 1 << max(number - 1, 0).bit_length()


@cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


_ready: dict[tuple[torch.device, int], Tensor] = {}
_spare: dict[torch.device, list[Tensor]] = {}
_captured: list[Tensor] = []


def _counters(images: int, device: torch.device) -> Tensor:
    """Return zeros that every launch leaves zero again: a set for each stream, and for each launch in a graph."""
    if device.type != "cuda" or images >= COUNTERS:
        return torch.zeros(images + 1, dtype=torch.int32, device=device)
    if torch.cuda.is_current_stream_capturing():
        spare = _spare.get(device)
        if not spare:  # nothing ran before the capture, or very much was captured: zeros become part of the graph
            return torch.zeros(images + 1, dtype=torch.int32, device=device)
        _captured.append(spare.pop())
        return _captured[-1]
    if device not in _spare:
        _spare[device] = list(torch.zeros(WORKSPACES, COUNTERS, dtype=torch.int32, device=device))
    key = (device, torch.cuda.current_stream(device).cuda_stream)
    if key not in _ready:
        _ready[key] = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
    return _ready[key]
