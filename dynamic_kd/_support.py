"""What public functions of arrays support, declared beside each function; tests and a table in the docs read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Gpu = Literal["kernels", "operations", "copied"]


@dataclass(frozen=True, kw_only=True)
class ArraySupport:
    """What a function supports beyond computing its value on every Array API library, which all functions do.

    Parameters
    ----------
    gradient
        Whether torch's autograd and ``jax.grad`` give a gradient. Otherwise the value is a constant.
    traced
        Whether it works under ``jax.jit`` and ``jax.vmap``. Otherwise traced arrays are an error.
    gpu
        How values on a GPU are computed: by this package's ``"kernels"`` for torch tensors on an NVIDIA GPU (by array
        operations otherwise), by array ``"operations"`` on the device, or ``"copied"`` to the CPU's memory.
    """

    gradient: bool
    traced: bool
    gpu: Gpu


def array_support(*, gradient: bool, traced: bool, gpu: Gpu) -> Callable[[Function], Function]:
    """Declare a function's support, as its attribute ``__array_support__``."""
    support = ArraySupport(gradient=gradient, traced=traced, gpu=gpu)

    def declare(function: Function) -> Function:
        function.__array_support__ = support  # type: ignore[attr-defined]
        return function

    return declare
