"""What a public function does with the arrays of each library: declared beside it, tested, tabulated in the docs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Gpu = Literal["kernels", "operations", "copied"]


@dataclass(frozen=True, kw_only=True)
class ArraySupport:
    """What holds of a function beyond giving its value on every Array API library, which holds of all.

    Parameters
    ----------
    gradient
        Whether torch's autograd and ``jax.grad`` give its gradient; otherwise its value is a constant.
    traced
        Whether ``jax.jit`` and ``jax.vmap`` take it; otherwise traced arrays are an error.
    gpu
        Where values on a GPU are computed: by the library's own ``"kernels"`` for torch on an NVIDIA GPU (by operations
        elsewhere), by the array library's ``"operations"`` on its device, or ``"copied"`` to the CPU's memory.
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
