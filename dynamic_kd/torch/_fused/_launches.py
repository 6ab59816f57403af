"""The two kernel launches of a loss, worked out once for all inputs that are alike."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dynamic_kd._launch import Launch, on_device
from dynamic_kd.torch._fused._kernels import SUMS, TERMS
from dynamic_kd.torch._fused._kernels._backward import backward
from dynamic_kd.torch._fused._kernels._forward import forward

if TYPE_CHECKING:
    from torch import Tensor

    from dynamic_kd.losses import DynamicKDLoss

LOG2_E = 1.4426950408889634
# Above it, small differences are summed by series: terms of the closed form would cancel.
HIGH_TEMPERATURE = 8.0
# Warps of a program. In each step a thread loads 16 bytes of the student's logits.
WARPS = 4
BYTES = 16
# A program takes as many steps as leave each multiprocessor this many programs. A thread multiplies quotients, each in
# (1/2, 2], of all steps: more than 127 could leave float32's range.
PROGRAMS, MOST_QUOTIENTS = 16, 64
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
        height, width = student.shape[-2:]
        images, pixels, self._device = student.shape[0], height * width, student.device
        maps = (student, teacher, target, target if valid is None else valid)
        planes = [_plane(each, height, width) for each in maps]
        strides = tuple(plane.strides for plane in planes)
        wide = BYTES // student.element_size()
        block = 32 * WARPS * wide
        steps, tiles = _steps_and_tiles(images, -(-pixels // block), MOST_QUOTIENTS // wide, self._device)
        self._images = images
        self._loss_shape = (images,) if settings.reduction == "none" else ()
        self._sums = images * tiles * SUMS
        self._boolean = target.dtype == torch.bool, valid is not None and valid.dtype == torch.bool
        kl_scale = settings.temperature**2 if settings.temperature_squared else 1.0
        rate, slope = LOG2_E / settings.temperature, kl_scale / settings.temperature
        weighting = settings.weighting
        named = isinstance(weighting, str)
        sizes = (images, width, pixels, tiles, settings.clip, rate)
        fixed_weight = 0.0 if named else weighting
        weights = (kl_scale, settings.p, settings.threshold, settings.noise_weight, fixed_weight)
        self._forward_numbers = (*strides, *sizes, 1 / settings.temperature, *weights)
        self._backward_strides, self._backward_numbers = strides, (*sizes, slope)
        self._common = _constants(planes, valid is not None) | {
            "TEACHER_MAPS": settings.teacher == "probabilities",
            "POWER": _power(settings.temperature),
            "HIGH_TEMPERATURE": settings.temperature > HIGH_TEMPERATURE,
            "BLOCK": block,
            "STEPS": steps,
            "FAST": self._device.type == "cuda",
            "num_warps": WARPS,
        }
        self._grid = (images * tiles, 1, 1)
        self._forward = Launch(
            forward,
            self._grid,
            **self._common,
            WEIGHTING=weighting if named else "fixed",
            NOISE_ELIMINATION=settings.noise_elimination or "none",
            REDUCTION=settings.reduction,
            WIDE=wide,
            TILES=min(_power_of_two(tiles), ADDED),
            IMAGES=min(_power_of_two(images), ADDED),
        )
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
            self._backward[stride] = Launch(backward, self._grid, **self._common)
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


def _constants(planes: list[_Plane], has_valid: bool) -> dict[str, Any]:
    student, teacher, target, valid = planes
    return {
        "STUDENT_CHANNELS": student.channels,
        "TEACHER_CHANNELS": teacher.channels,
        "STUDENT_DENSE": student.dense,
        "TEACHER_DENSE": teacher.dense,
        "TARGET_DENSE": target.dense,
        "VALID_DENSE": valid.dense,
        "HAS_VALID": has_valid,
    }


def _steps_and_tiles(images: int, blocks: int, most: int, device: torch.device) -> tuple[int, int]:
    """Return the steps that a program takes, and how many programs make up an image of this many blocks."""
    wanted = -(-blocks * images // (_multiprocessors(device) * PROGRAMS))
    steps = min(_power_of_two(wanted), most)
    return steps, -(-blocks // steps)


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


def _power(temperature: float) -> int:
    """Return the temperature if a product of that many exponentials is cheaper than another exponential, else 0."""
    return int(temperature) if temperature.is_integer() and 1 <= temperature <= 8 else 0


def _power_of_two(number: int) -> int:
    """Round up."""
    return 1 << max(number - 1, 0).bit_length()


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
