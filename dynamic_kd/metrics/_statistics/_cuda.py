"""Statistics of torch tensors on an NVIDIA GPU: whole batches, without synchronizing with the device.

Counts and 8-bit moments are integers, and floating sums are added in a fixed order, so every run gives the same bits.
The kernels are Triton's. Under its interpreter (``TRITON_INTERPRET=1``) they run on the CPU, for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import array_api_compat.torch as xp
import numpy as np
import torch

from dynamic_kd._array import Array, unit_tolerance
from dynamic_kd._launch import on_device
from dynamic_kd.metrics._inputs import LEVEL, Pairs, check_target_levels, check_values
from dynamic_kd.metrics._statistics._contribution import Contribution, unpacked
from dynamic_kd.metrics._statistics._cuda_steps import Steps
from dynamic_kd.metrics._statistics._recorded import (
    CLASSES,
    COUNTS,
    ERRORS,
    FLAGS,
    STRICT_COUNTS,
    DeferredStatistics,
)
from dynamic_kd.metrics._statistics._replay import replayed
from dynamic_kd.metrics._statistics._triton._formulas import Formula, formula_kernel


class CUDAStatistics(DeferredStatistics):
    """Statistics of a batch on the GPU. Reading a column of the records launches the kernels that write it, once."""

    def __init__(self, pairs: Pairs) -> None:
        given = [array for array in (pairs.pred, pairs.target, pairs.unquantized) if array is not None]
        self._steps = Steps(given, normalize=pairs.normalize)
        self._pairs = pairs
        self._done: set[str] = set()
        self.xp = xp
        self.pixels = self._steps.pixels
        self.backend = "triton"

    def _read(self, place: int | slice) -> Array:
        self._write(place.start if isinstance(place, slice) else place)
        return self._steps.records[:, place]

    def _write(self, column: int) -> None:
        """Launch the kernels that write a column of the records, the first time it is asked for."""
        if column >= COUNTS:
            step = self._steps.count_strictly if column >= STRICT_COUNTS else self._steps.count
        else:
            step = self._steps.weigh if ERRORS <= column < CLASSES else self._steps.moments_and_means
        if step.__name__ not in self._done:
            self._done.add(step.__name__)
            step()

    def check(self) -> None:
        """Wait for the flags of the values, and raise if a value is not what its dtype promises."""
        if not self._pairs.check:
            return
        flags = self._read(FLAGS).cpu().numpy()
        if (flags % LEVEL).any() or len(set(flags[flags > 0])) > 1:
            unquantized = self._pairs.unquantized
            given = self._pairs.pred if unquantized is None else unquantized
            tolerance = unit_tolerance(xp, given.dtype) if given.is_floating_point() else 0.0
            check_values(given, self._pairs.target, tolerance)
            check_target_levels(self._pairs.target)

    def evaluate(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> Callable[[], Contribution]:
        """Start a formula and copy its results to the host; the function returned waits for the `Contribution`."""
        with on_device(self._steps.device):
            host = [_arriving(result) for result in self.start(formula, skip_empty=skip_empty, keep=keep)]
            arrival = torch.cuda.current_stream().record_event() if self._steps.device.type == "cuda" else None

        kernel = formula_kernel(formula)
        sizes = {"curves": kernel.curves, "totals": kernel.totals, "images": self._steps.size}

        def arrived() -> Contribution:  # keeps none of this batch's memory on the device alive
            if arrival is not None:
                arrival.synchronize()
            kept = host[1].numpy().view(np.uint32) if keep else None
            return unpacked(host[0].numpy(), kept=kept, **sizes)

        return arrived

    def start(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> list[torch.Tensor]:
        """Start a formula as one kernel; small batches of a recurring size replay a CUDA graph."""

        def work(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            unquantized = inputs[2] if len(inputs) == 3 else None
            pairs = replace(self._pairs, pred=inputs[0], target=inputs[1], unquantized=unquantized)
            measured = self if inputs is self._steps.inputs else CUDAStatistics(pairs)
            return measured._results(formula, skip_empty=skip_empty, keep=keep)

        like = (self._steps.like, self._pairs.normalize, formula, skip_empty, len(keep))
        with on_device(self._steps.device):
            return list(replayed(like, self._steps.inputs, work))

    def _results(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int]) -> list[torch.Tensor]:
        """Curves' words, counts and numbers, all in one tensor of 64 bits, and the columns to keep."""
        kernel, steps = formula_kernel(formula), self._steps
        _ = steps.integers
        for column in (ERRORS, FLAGS, COUNTS, STRICT_COUNTS):  # first what keeps the device busy for long
            if column in kernel.read or column in keep:
                self._write(column)
        middle, end = 2 * kernel.curves, 2 * kernel.curves + kernel.totals
        results = torch.zeros(end + steps.size * kernel.numbers, dtype=torch.int64, device=steps.device)
        words, totals, numbers = results[:middle], results[middle:], results[end:].view(torch.float64)
        steps.run(kernel.kernel, 1, steps.records, words, totals, numbers, self.pixels, SKIP=skip_empty)
        if not keep:
            return [results]
        return [results, steps.records[:, _index(tuple(keep), steps.device)].to(torch.int32)]


def _arriving(values: torch.Tensor) -> torch.Tensor:
    """Return the host's copy of values, which arrive later."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    return host.copy_(values, non_blocking=True)


@cache
def _index(columns: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Columns as an index on the device. It is sent there once: sending waits for the device."""
    return torch.tensor(columns, device=device)
