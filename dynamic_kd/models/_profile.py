"""What a network costs: parameters, size, floating point operations and speed."""

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
from dynamic_kd.models._backbone import PLANS
from dynamic_kd.models._fpn import FPNStudent, RFBTeacher

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

# The networks there are by name; `partial` leaves the number of channels open.
BUILT_IN: dict[str, Callable[[int], FPNStudent | RFBTeacher]] = {
    f"{role}-{backbone}": partial(build, backbone)
    for role, build in (("student", FPNStudent), ("teacher", RFBTeacher))
    for backbone in PLANS
}


@dataclass(frozen=True)
class Profile:
    """What a network costs.

    Attributes
    ----------
    parameters : int
        How many numbers it has learnt.
    size, batch : int
        Height and width of the images, and how many there are in a batch.
    flops : int
        Floating point operations of the convolutions and matrix products for one image; a multiply-add counts as two.
    fps : float or None
        Images per second; None where it was not measured.
    device : str or None
        On what it was measured.
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
    """Count a network's parameters and operations, and measure its speed where it is.

    Speed is that of float32 inference as torch does it by default (on recent NVIDIA GPUs, convolutions multiply in
    TF32), random images already in place: the median of at least three runs after two that do not count, with a wait
    for the device after each.

    Parameters
    ----------
    model : nn.Module
        Takes images (B, C, H, W); afterwards it is as before.
    size : int
        Height and width, in pixels.
    batch : int
        Images at a time.
    in_channels : int, optional
        Channels of the images; by default what ``model.settings`` says.
    speed : bool
        Whether to measure speed, without which a model on the device ``"meta"`` will do.
    seconds : float
        Time for the runs.

    Returns
    -------
    Profile
        Counts, and images per second.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range, or speed is to be measured on the device ``"meta"``.

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


def chosen_device(name: str) -> torch.device:
    """Return the device of that name; ``"auto"`` is the GPU if there is one, else the processor."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch has no CUDA
        first = str(error).partition("\n")[0]
        raise ValueError(f"device: expected auto, cpu, cuda or another of torch's, got {name!r} ({first})") from error
    return device


def device_name(device: torch.device) -> str:
    """Return the words for a device: the GPU's name, or the processor's with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}"


def _channels(model: nn.Module) -> int:
    settings = getattr(model, "settings", {})
    if "in_channels" not in settings:
        raise ValueError(f"in_channels: expected the channels of the images, which {type(model).__name__} does not say")
    return int(settings["in_channels"])


def _processor() -> str:
    path = Path("/proc/cpuinfo")  # elsewhere than on Linux, Python knows the name
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Count on tensors without memory, so that it takes no time at any size."""
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
