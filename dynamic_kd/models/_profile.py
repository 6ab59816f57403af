"""Cost of a network: parameters, size, floating point operations and speed."""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from dynamic_kd._checks import check_whole
from dynamic_kd.models._backbone import BACKBONES
from dynamic_kd.models._fpn import FPNStudent, RFBTeacher

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

NETWORKS: dict[str, Callable[[int], FPNStudent | RFBTeacher]] = {
    f"{role}-{backbone}": partial(build, backbone)
    for role, build in (("student", FPNStudent), ("teacher", RFBTeacher))
    for backbone in BACKBONES
}
"""Constructors of the networks by name, such as ``"student-vgg16"``; each takes the number of channels."""


@dataclass(frozen=True)
class Profile:
    """Cost of a network, from `profile`.

    Attributes
    ----------
    parameters : int
        Number of parameters.
    size, batch : int
        Height and width of the images, and images in a batch.
    flops : int
        Floating point operations of convolutions and matrix products for one image. A multiply-add counts as two.
    fps : float or None
        Images per second; None if not measured.
    device : str or None
        The device of the measurement.
    """

    parameters: int
    size: int
    batch: int
    flops: int
    fps: float | None = None
    device: str | None = None

    @property
    def mebibytes(self) -> float:
        """Size of the parameters as float32, in MiB: the "model size (MB)" of papers."""
        return self.parameters * 4 / 2**20

    @property
    def macs(self) -> int:
        """Multiply-adds, which some papers call FLOPs."""
        return self.flops // 2

    def as_dict(self) -> dict[str, Any]:
        """Return attributes and properties, for JSON."""
        return {**vars(self), "mebibytes": self.mebibytes, "macs": self.macs}


def profile(
    model: nn.Module,
    size: int = 256,
    *,
    batch: int = 1,
    in_channels: int | None = None,
    speed: bool = True,
    seconds: float = 1.0,
) -> Profile:
    """Count a network's parameters and operations, and measure its speed on its device.

    Speed is that of inference with torch's default settings (on recent NVIDIA GPUs, float32 convolutions multiply in
    TF32) on random images that are already on the device. It is the median of at least three synchronized runs after
    two warm-up runs.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W). It is not changed.
    size : int
        Height and width, in pixels.
    batch : int
        Images at a time.
    in_channels : int, optional
        Channels of the images. By default those of ``model.settings``.
    speed : bool
        Whether to measure speed. Without it, the model may be on the device ``"meta"``.
    seconds : float
        Least total time of the measured runs.

    Returns
    -------
    Profile
        Counts, and images per second.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of range, or speed is measured on the device ``"meta"``.

    Examples
    --------
    >>> from dynamic_kd.models import FPNStudent, profile
    >>> with torch.device("meta"):
    ...     student = FPNStudent("vgg16")
    >>> cost = profile(student, speed=False)
    >>> cost.parameters, round(cost.mebibytes, 1), round(cost.flops / 1e9, 1)
    (15180289, 57.9, 54.1)
    """
    check_whole("size", size, low=1)
    check_whole("batch", batch, low=1)
    shape = (batch, _channels(model) if in_channels is None else in_channels, size, size)
    parameters = list(model.parameters())
    was_training = model.training
    model.eval()
    try:
        flops = _flops(model, shape) // batch
        measured = {"fps": batch / _seconds_of_a_run(model, shape, seconds)} if speed else {}
    finally:
        model.train(was_training)
    count = sum(parameter.numel() for parameter in parameters)
    device = device_name(parameters[0].device) if speed else None
    return Profile(parameters=count, size=size, batch=batch, flops=flops, device=device, **measured)


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _channels(model: nn.Module) -> int:
    settings = getattr(model, "settings", {})
    if "in_channels" not in settings:
        raise ValueError(f"in_channels: pass it, as {type(model).__name__} has no settings that state it")
    return int(settings["in_channels"])


def _processor() -> str:
    path = Path("/proc/cpuinfo")  # Linux; elsewhere Python has the name
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Count on the device ``"meta"``, which computes nothing."""
    state = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(model, state, (torch.empty(shape, device="meta", dtype=next(iter(state.values())).dtype),))
    return int(counter.get_total_flops())


def _seconds_of_a_run(
    model: nn.Module, shape: tuple[int, ...], seconds: float, least: int = 3, warm_up: int = 2
) -> float:
    some = next(model.parameters())
    if some.is_meta:
        raise ValueError("model: expected weights on a device, where speed can be measured, got the device 'meta'")
    images = torch.rand(shape, device=some.device, dtype=some.dtype)
    times: list[float] = []
    with torch.inference_mode():
        while len(times) < warm_up + least or sum(times[warm_up:]) < seconds:
            start = time.perf_counter()
            model(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[warm_up:])
