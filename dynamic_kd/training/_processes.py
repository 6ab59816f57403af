"""Processes and devices of a run: Accelerate, repeatable arithmetic, errors of one process, signals and GPU memory."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from accelerate import Accelerator


def accelerator_of(precision: str = "fp32", *, cpu: bool = False) -> Accelerator:
    """Return the accelerator that moves models and losses between devices and processes.

    Raises
    ------
    ValueError
        If the device does not support the precision.
    """
    require("accelerate", extra="train")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin

    # Otherwise the precision and device of an earlier run would stay. Connected processes stay connected.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    cpu = cpu or not torch.cuda.is_available()
    if precision == "fp16" and cpu:
        raise ValueError('precision: "fp16" requires a GPU; choose "fp32" or "bf16"')
    return Accelerator(
        mixed_precision="no" if precision == "fp32" else precision,
        cpu=cpu,
        # Only the recipe's accumulation counts; a launcher's own setting would divide every loss.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
    )


@contextmanager
def repeatable(deterministic: bool) -> Iterator[None]:
    """Restrict torch to algorithms that give the same bits in every run, if ``deterministic``."""
    fills: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        fills.fill_uninitialized_memory,
    )
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = False  # it searches for a minute, and may choose differently in each run
    fills.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        fills.fill_uninitialized_memory = before[2]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's random numbers inside, and restore their state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class OtherProcessError(ValueError):
    """An error of another process."""


@contextmanager
def fail_together(accelerator: Accelerator) -> Iterator[None]:
    """End all processes if one fails; without this, the others would wait for it forever.

    The first process that fails raises its own error, and the others raise `OtherProcessError`. The block must not wait
    for other processes. It ends when all processes have reached its end.
    """
    if accelerator.num_processes == 1:
        yield
        return
    from accelerate.utils import gather_object

    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    messages = gather_object([None if own is None else _message(own)])
    first = next((process for process, text in enumerate(messages) if text is not None), None)
    if first is None:
        return
    if own is not None and first == accelerator.process_index:
        raise own
    raise OtherProcessError(f"process {first}: {messages[first]}")


def _message(error: Exception) -> str:
    named = isinstance(error, OSError) and error.filename is not None
    return f"{error.filename}: {error.strerror}" if named else str(error)  # type: ignore[attr-defined]


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, unless the program handles that signal itself."""
    if not _receives_signals() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM: a second signal, as launchers send it, would lose what the first one saves."""
    known = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None]
    if not _receives_signals():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _receives_signals() -> bool:
    """Whether this is the thread that Python hands signals to."""
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def gpu_memory_errors(advice: str) -> Iterator[None]:
    """Raise MemoryError with advice where the GPU's memory is too small, for torch or for a library that it calls."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "STATUS_ALLOC_FAILED" in text:
            raise MemoryError(f"the GPU's memory is too small; {advice}") from error
        raise
