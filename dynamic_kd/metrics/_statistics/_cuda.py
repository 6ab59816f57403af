"""Statistics of torch tensors on an NVIDIA GPU: batches at once, without waiting for the device.

Counts and 8-bit moments are integers, and floating sums are added in a fixed order, so that every run gives the same
bits. The kernels are Triton's; under its interpreter (``TRITON_INTERPRET=1``) they run on the CPU, for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cache, cached_property

import array_api_compat.torch as xp
import numpy as np
import torch

from dynamic_kd._array import Array
from dynamic_kd.metrics._inputs import Pairs, check_values
from dynamic_kd.metrics._statistics._contribution import Contribution, unpacked
from dynamic_kd.metrics._statistics._cuda_steps import Steps
from dynamic_kd.metrics._statistics._interface import Counts, Moments, WeightedErrors
from dynamic_kd.metrics._statistics._recorded import (
    COUNTS,
    ERRORS,
    FLAGS,
    STRICT_COUNTS,
    DeferredStatistics,
)
from dynamic_kd.metrics._statistics._replay import replayed
from dynamic_kd.metrics._statistics._triton._formulas import Formula, formula_kernel


class CUDAStatistics(DeferredStatistics):
    """Statistics of a batch on the GPU; each kernel is launched when its numbers are first asked for."""

    def __init__(self, pairs: Pairs) -> None:
        given = [each for each in (pairs.pred, pairs.target, pairs.unquantized) if each is not None]
        self._steps = Steps(given, normalize=pairs.normalize)
        self._pairs = pairs
        self._done: set[str] = set()
        self.xp = xp
        self.pixels = self._steps.pixels
        self.backend = "triton"

    @cached_property
    def _records(self) -> torch.Tensor:
        return self._steps.records

    def _once(self, step: Callable[[], None]) -> None:
        """Run a step that writes to the records, the first time it is asked for."""
        if step.__name__ not in self._done:
            self._done.add(step.__name__)
            step()

    def evaluate(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> Callable[[], Contribution]:
        """Start a formula as one kernel, and its results' way to the host; the function returned waits for them."""
        with self._steps.on_device:
            host = [_on_its_way(each) for each in self.start(formula, skip_empty=skip_empty, keep=keep)]
            arrival = torch.cuda.current_stream().record_event() if self._steps.device.type == "cuda" else None

        kernel = formula_kernel(formula)
        sizes = {"curves": kernel.curves, "totals": kernel.totals, "images": self._steps.size}

        def arrived() -> Contribution:  # holds on to none of this batch's memory on the device
            if arrival is not None:
                arrival.synchronize()
            kept = host[1].numpy().view(np.uint32) if keep else None
            return unpacked(host[0].numpy(), kept=kept, **sizes)

        return arrived

    def start(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> list[torch.Tensor]:
        """Start a formula as one kernel, by a graph if small batches like this one came before."""

        def work(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            unquantized = inputs[2] if len(inputs) == 3 else None
            pairs = replace(self._pairs, pred=inputs[0], target=inputs[1], unquantized=unquantized)
            measured = self if inputs is self._steps.inputs else CUDAStatistics(pairs)
            return measured._results(formula, skip_empty=skip_empty, keep=keep)

        like = (self._steps.like, self._pairs.normalize, formula, skip_empty, len(keep))
        with self._steps.on_device:
            return list(replayed(like, self._steps.inputs, work))

    def _results(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int]) -> list[torch.Tensor]:
        """Curves' words, counts and numbers, all in one tensor of 64 bits, and the columns to keep."""
        kernel = formula_kernel(formula)
        self._prepare(kernel.read.union(keep))
        middle, end = 2 * kernel.curves, 2 * kernel.curves + kernel.totals
        results = torch.zeros(end + self._steps.size * kernel.numbers, dtype=torch.int64, device=self._steps.device)
        words, totals, numbers = results[:middle], results[middle:], results[end:].view(torch.float64)
        self._steps.run(kernel.kernel, 1, self._records, words, totals, numbers, self.pixels, SKIP=skip_empty)
        if not keep:
            return [results]
        return [results, self._records[:, _index(tuple(keep), self._steps.device)].to(torch.int32)]

    def _prepare(self, read: AbstractSet[int]) -> None:
        """Run the steps that write where a formula reads, those first that keep the device busy for long."""
        _ = self._steps.integers
        if ERRORS in read:
            self._once(self._steps.weigh)
        self._once(self._steps.moments_and_means)
        if COUNTS in read:
            self._once(self._steps.count)
        if STRICT_COUNTS in read:
            self._once(self._steps.count_strictly)

    def check(self) -> None:
        """Wait, and raise if values are not what their dtypes promise; unless nobody wants to know."""
        if not self._pairs.check:
            return
        self._once(self._steps.moments_and_means)
        if bool((self._records[:, FLAGS] > 0).any()):
            unquantized = self._pairs.unquantized
            check_values(self._pairs.pred if unquantized is None else unquantized, self._pairs.target)

    @property
    def foreground(self) -> Array:
        """Salient target pixels of each image."""
        self._once(self._steps.moments_and_means)
        return super().foreground

    @property
    def mean(self) -> Array:
        """Mean normalised prediction."""
        self._once(self._steps.moments_and_means)
        return super().mean

    @property
    def constant(self) -> Array:
        """Whether every pixel of the prediction has one value."""
        self._once(self._steps.moments_and_means)
        return super().constant

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Counts at the fixed thresholds, from a joint histogram of class and level."""
        self._once(self._steps.count_strictly if strict else self._steps.count)
        return super().threshold_counts(strict=strict)

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Counts at twice the mean."""
        self._once(self._steps.moments_and_means)
        return super().adaptive_counts(strict=strict)

    def binary_counts(self) -> Counts:
        """Counts above 0.5."""
        self._once(self._steps.moments_and_means)
        return super().binary_counts()

    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        self._once(self._steps.moments_and_means)
        return super().class_moments()

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        self._once(self._steps.moments_and_means)
        return super().quadrant_moments()

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors, from exact Euclidean distances."""
        self._once(self._steps.weigh)
        return super().weighted_errors()


def _on_its_way(values: torch.Tensor) -> torch.Tensor:
    """Return the host's copy of values, which arrive later."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    return host.copy_(values, non_blocking=True)


@cache
def _index(columns: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Columns as an index on the device, sent there once: sending them waits for the device."""
    return torch.tensor(columns, device=device)
