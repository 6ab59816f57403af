"""Launches of Triton kernels, without its inspection of arguments where earlier ones were alike."""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

# Kernel, likeness of its arguments and settings -> (the compiled kernel, names of its constants, in order).
_compiled: dict[Hashable, tuple[Any, tuple[str, ...]]] = {}
_MOST = 4096
_HERE = nullcontext()


def on_device(device: torch.device) -> AbstractContextManager[None]:
    """Make a device the current one, where kernels are launched; the CPU, under the interpreter, needs nothing."""
    elsewhere = device.type == "cuda" and device.index != torch.cuda.current_device()
    return torch.cuda.device(device) if elsewhere else _HERE


class Launch:
    """A kernel with its grid and settings, to be launched many times.

    The caller ensures that all launches agree in everything else that Triton specialises a kernel for: the current
    device, dtypes and alignment of tensors, and whole numbers.
    """

    def __init__(self, kernel: Any, grid: tuple[int, int, int], **settings: Any) -> None:
        self._kernel, self._grid, self._settings = kernel, grid, settings
        self._again: tuple[Any, tuple[Any, ...]] | None = None

    def __call__(self, arguments: tuple[Any, ...], stream: int | None) -> None:
        """Launch on a stream that is the current one; None where there are none, under the interpreter."""
        if self._again is not None:
            run, constants = self._again
            run(*arguments, *constants, stream=stream)
            return
        compiled = self._kernel[self._grid](*arguments, **self._settings)
        if compiled is not None:  # the interpreter compiles nothing
            names = self._kernel.arg_names[len(arguments) :]
            self._again = compiled[self._grid], tuple(self._settings[name] for name in names)


def launch(kernel: Any, grid: tuple[int, int, int], like: Hashable, *arguments: Any, **settings: Any) -> None:
    """Launch a kernel on the current device.

    ``like`` stands for everything except the settings that Triton specialises a kernel for: the device, dtypes and
    alignment of tensors, and numbers. Looking it up takes a few microseconds; Triton's inspection takes tens.
    """
    key = (id(kernel), like, *settings.values())
    known = _compiled.get(key)
    if known is not None:
        run, constants = known
        run[grid](*arguments, *[settings[name] for name in constants])
        return
    compiled = kernel[grid](*arguments, **settings)
    if compiled is not None:  # the interpreter compiles nothing
        if len(_compiled) >= _MOST:
            _compiled.clear()
        _compiled[key] = compiled, tuple(kernel.arg_names[len(arguments) :])
