"""What a run depends on besides its recipe: processes, devices, and torch's choice of algorithms."""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._extras import require
from dynamic_kd._files import write_whole
from dynamic_kd._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator

    from dynamic_kd.training._checkpoint import Place

PACKAGES = ("accelerate", "numpy", "safetensors", "torch")


def accelerator_of(precision: str = "fp32", *, cpu: bool = False) -> Accelerator:
    """Return what moves models and losses between devices and processes.

    Raises
    ------
    ValueError
        If the precision cannot be had on the device.
    """
    require("accelerate", extra="train")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin

    # Or an earlier run's precision would stay, and its device; processes keep what connects them.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    cpu = cpu or not torch.cuda.is_available()
    if precision == "fp16" and cpu:
        raise ValueError('precision: expected "fp32" or "bf16" without a GPU, got "fp16"')
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=cpu,
        # The recipe's rounds alone count; without this, a launcher's setting would divide every loss.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )


@contextmanager
def repeatable(wanted: bool) -> Iterator[None]:
    """Have torch take algorithms that give the same bits on every run, if that is wanted."""
    fills: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        fills.fill_uninitialized_memory,
    )
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = False  # it would search for a minute, and what it finds may differ
    fills.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        fills.fill_uninitialized_memory = before[2]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have torch draw a network's weights from a seed, and go on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def record_session(path: Path, accelerator: Accelerator, place: Place) -> None:
    """Add to a run's file of sessions one that begins at a place."""
    before = read_sessions(path) if path.exists() else []
    _write_sessions(path, [*before, _session(accelerator, place)])


def record_divergence(path: Path, stage: int, epoch: int) -> None:
    """Add to the last session in which epoch of which stage its loss was no longer finite."""
    *before, last = read_sessions(path)
    _write_sessions(path, [*before, last | {"diverged": {"stage": stage, "epoch": epoch}}])


def read_sessions(path: Path) -> list[dict[str, Any]]:
    """Return a run's sessions, the first one first."""
    sessions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["sessions"]
    return sessions


def _write_sessions(path: Path, sessions: list[dict[str, Any]]) -> None:
    write_whole(path, (json.dumps({"sessions": sessions}, indent=1) + "\n").encode())


def _session(accelerator: Accelerator, place: Place) -> dict[str, Any]:
    """Return start, command, device and versions."""
    device = accelerator.device
    return {
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
        "after": {"stage": place.stage, "epoch": place.epoch},
        "command": sys.argv,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or device.type,
        "processes": accelerator.num_processes,
        "platform": platform.platform(),
        "versions": {"dynamic-kd": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
    }
