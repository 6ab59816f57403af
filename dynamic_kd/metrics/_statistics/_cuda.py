"""Statistics of torch tensors on an NVIDIA GPU: batches at once, without waiting for the device.

Counts and 8-bit moments are integers, and floating sums are added in a fixed order, so that every run gives the same
bits. The kernels are Triton's; under its interpreter (``TRITON_INTERPRET=1``) they run on the CPU, for tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from dynamic_kd._array import Array
from dynamic_kd._launch import launch
from dynamic_kd.metrics._inputs import Pairs, check_values
from dynamic_kd.metrics._statistics._interface import Counts, Moments, WeightedErrors
from dynamic_kd.metrics._statistics._recorded import (
    COUNTS,
    ERRORS,
    FLAGS,
    SIZE,
    STRICT_COUNTS,
    DeferredStatistics,
    Evaluated,
    unpacked,
)
from dynamic_kd.metrics._statistics._replay import replayed
from dynamic_kd.metrics._statistics._triton import _distance, _mean, _moments, _record, _scan, _values, _weighted
from dynamic_kd.metrics._statistics._triton._formulas import Formula, formula_kernel

# Pixels, or rows and columns, of one program; warps where the kernel does not want Triton's four.
SCAN = {"BLOCK": 4096, "num_warps": 8}
LEAF_DEPTH = 6
MOMENTS = {"TALL": 32, "WIDE": 128}
ROWS = {"TALL": 128, "WIDE": 16}
INTERVAL = 32
COLUMNS = {"INTERVAL": INTERVAL, "ENDS": 8, "WIDE": 128, "num_warps": 1}
WEIGH = {"TALL": 8, "INTERVAL": INTERVAL, "num_warps": 1}
SMOOTH = {"TALL": 32, "WIDE": 128, "num_warps": 2}
SUM = {"BLOCK": 1024}


class CUDAStatistics(DeferredStatistics):
    """Statistics of a batch on the GPU; each kernel is launched when its numbers are first asked for."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._inputs = [each.contiguous().resolve_neg() for each in _tensors(pairs)]
        self._pred, target = self._inputs[:2]
        self._size, self._height, self._width = (int(length) for length in self._pred.shape)
        self._device = self._pred.device
        self.xp = xp
        self.pixels = self._height * self._width
        self.backend = "triton"
        self._cut = {"CUT": 0.5 if target.is_floating_point() else 0 if target.dtype == torch.bool else 128}
        self._target = target.view(torch.uint8) if target.dtype == torch.bool else target
        self._levels = {"LEVELS": self._pred.dtype == torch.uint8}
        self._normalize = {"NORMALIZE": pairs.normalize}
        self._images = (self._pred, self._target)
        self._shape = (self._height, self._width)
        self._done: set[str] = set()
        # All that arguments of kernels depend on: numbers follow from the shape, tensors made here are aligned.
        kinds = [(each.dtype, each.data_ptr() % 16 == 0) for each in self._inputs]
        self._like = (self._device, self._pred.shape, *kinds)

    @cached_property
    def _records(self) -> torch.Tensor:
        return self._empty(SIZE)

    def _run(self, kernel: Any, programs: int, *arguments: Any, **settings: Any) -> None:
        """Launch a kernel with a row of programs for each image, on the tensors' device."""
        with self._on_device:
            # Products and sums are rounded one by one, as NumPy does it.
            settings["enable_fp_fusion"] = False
            launch(kernel, (self._size, programs, 1), self._like, *arguments, **settings)

    @property
    def _on_device(self) -> AbstractContextManager[None]:
        elsewhere = self._device.type == "cuda" and self._device.index != torch.cuda.current_device()
        return torch.cuda.device(self._device) if elsewhere else nullcontext()

    def _empty(self, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty((self._size, *shape), dtype=dtype, device=self._device)

    def _tiles(self, TALL: int, WIDE: int, **_: int) -> int:  # noqa: N803  (the kernels' own names)
        return -(-self._height // TALL) * -(-self._width // WIDE)

    @cached_property
    def _integers(self) -> torch.Tensor:
        integers = self._scan(self._pred)
        for given in self._inputs[2:]:  # what the prediction was quantized from
            integers[:, _values.FLAGS.value] |= self._scan(given)[:, _values.FLAGS.value]
        return integers

    def _scan(self, pred: torch.Tensor) -> torch.Tensor:
        integers = torch.zeros((self._size, _values.INTEGERS.value), dtype=torch.int64, device=self._device)
        settings = {"LEVELS": pred.dtype == torch.uint8} | self._cut | SCAN
        self._run(_scan.scan, self._blocks, pred, self._target, integers, self._width, self.pixels, **settings)
        return integers

    @property
    def _blocks(self) -> int:
        return -(-self._height * self._width // SCAN["BLOCK"])

    @cached_property
    def _means(self) -> torch.Tensor:
        """Partial sums of the mean, shape (B, 2 ** n)."""
        depth = _mean_depth(self.pixels)
        leaf_depth = min(depth, LEAF_DEPTH)
        means = self._empty(1 << (depth - leaf_depth))
        settings = {"DEPTH": depth, "LEAF_DEPTH": leaf_depth} | self._levels | self._normalize
        self._run(_mean.pairwise, means.shape[1], self._pred, self._integers, means, self.pixels, **settings)
        return means

    def _once(self, step: Callable[[], None]) -> None:
        """Run a step that writes to the records, the first time it is asked for."""
        if step.__name__ not in self._done:
            self._done.add(step.__name__)
            step()

    def _moments_and_means(self) -> None:
        integers, means, tiles = self._integers, self._means, self._tiles(**MOMENTS)
        of_means = {"MEANS": means.shape[1].bit_length() - 1} | self._normalize
        of_record = of_means | {"DARK": self._dark}
        if self._levels["LEVELS"]:
            self._run(_moments.level_moments, tiles, *self._images, integers, *self._shape, **self._cut, **MOMENTS)
            self._run(_record.record_levels, 1, integers, means, self._records, *self._shape, **of_record)
        else:
            sums = self._empty(tiles, _moments.SUMS.value)
            given: tuple[Any, ...] = (*self._images, integers, sums, means, *self._shape)
            self._run(_moments.value_moments, tiles, *given, **of_means, **self._cut, **MOMENTS)
            given = (self._pred, integers, means, sums, self._records, *self._shape, tiles)
            self._run(_record.record_values, 1, *given, **of_record, **SUM)

    @property
    def _dark(self) -> int:
        """Largest value of a mask that reads as empty."""
        return {torch.int8: 127}.get(self._target.dtype, 128)

    def _count(self) -> None:
        self._count_thresholds(strict=False)

    def _count_strictly(self) -> None:
        self._count_thresholds(strict=True)

    def _count_thresholds(self, *, strict: bool) -> None:
        if self._levels["LEVELS"]:
            histogram = self._integers[:, _values.HISTOGRAM.value :]
        else:
            histogram = torch.zeros((self._size, 512), dtype=torch.int64, device=self._device)
            arguments: tuple[Any, ...] = (*self._images, self._integers, histogram, 512, self.pixels)
            settings = self._normalize | {"STRICT": strict} | self._cut | SCAN
            self._run(_scan.bin_values, self._blocks, *arguments, **settings)
        arguments = (self._integers, histogram, histogram.stride(0), self._records)
        self._run(_record.count_thresholds, 1, *arguments, **self._levels, **self._normalize, STRICT=strict)

    def _weigh(self) -> None:
        nearest = self._empty(*self._shape, dtype=torch.int16)
        blocks = -(-self._width // ROWS["WIDE"])
        self._run(_distance.nearest_rows, blocks, self._target, nearest, *self._shape, **self._cut, **ROWS)
        intervals = -(-self._width // INTERVAL)
        ends = self._empty(self._height, intervals + 1, dtype=torch.int16)
        self._run(_distance.nearest_columns, self._height, nearest, ends, *self._shape, intervals + 1, **COLUMNS)
        tiles, smoothed_tiles = intervals * -(-self._height // WEIGH["TALL"]), self._tiles(**SMOOTH)
        weights, smoothed, spread = self._empty(tiles, 2), self._empty(smoothed_tiles), torch.empty_like(self._pred)
        arguments: tuple[Any, ...] = (self._pred, nearest, ends, spread, weights, *self._shape, intervals + 1)
        self._run(_weighted.weigh, tiles, *arguments, **WEIGH)
        settings = self._levels | self._normalize
        arguments = (*self._images, spread, self._integers, smoothed, *self._shape)
        self._run(_weighted.smooth, smoothed_tiles, *arguments, **settings, **self._cut, **SMOOTH)
        arguments = (self._integers, weights, smoothed, self._records, tiles, smoothed_tiles)
        self._run(_weighted.sum_errors, 1, *arguments, **settings, **SUM)

    def evaluate(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> Callable[[], Evaluated]:
        """Start a formula as one kernel, and its results' way to the host; the function returned waits for them."""
        with self._on_device:
            host = [_on_its_way(each) for each in self.start(formula, skip_empty=skip_empty, keep=keep)]
            arrival = torch.cuda.current_stream().record_event() if self._device.type == "cuda" else None

        kernel = formula_kernel(formula)
        sizes = {"curves": kernel.curves, "totals": kernel.totals, "images": self._size}

        def evaluated() -> Evaluated:  # holds on to none of this batch's memory on the device
            if arrival is not None:
                arrival.synchronize()
            kept = host[1].numpy().view(np.uint32) if keep else None
            return unpacked(host[0].numpy(), kept=kept, **sizes)

        return evaluated

    def start(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int] = ()) -> list[torch.Tensor]:
        """Start a formula as one kernel, by a graph if small batches like this one came before."""

        def work(inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            unquantized = inputs[2] if len(inputs) == 3 else None
            pairs = replace(self._pairs, pred=inputs[0], target=inputs[1], unquantized=unquantized)
            measured = self if inputs is self._inputs else CUDAStatistics(pairs)
            return measured._results(formula, skip_empty=skip_empty, keep=keep)

        like = (self._like, self._normalize["NORMALIZE"], formula, skip_empty, len(keep))
        with self._on_device:
            return list(replayed(like, self._inputs, work))

    def _results(self, formula: Formula, *, skip_empty: bool, keep: Sequence[int]) -> list[torch.Tensor]:
        """Curves' words, counts and numbers, all in one tensor of 64 bits, and the columns to keep."""
        kernel = formula_kernel(formula)
        self._prepare(kernel.read.union(keep))
        middle, end = 2 * kernel.curves, 2 * kernel.curves + kernel.totals
        results = torch.zeros(end + self._size * kernel.numbers, dtype=torch.int64, device=self._device)
        words, totals, numbers = results[:middle], results[middle:], results[end:].view(torch.float64)
        self._run(kernel.kernel, 1, self._records, words, totals, numbers, self.pixels, SKIP=skip_empty)
        if not keep:
            return [results]
        return [results, self._records[:, _index(tuple(keep), self._device)].to(torch.int32)]

    def _prepare(self, read: AbstractSet[int]) -> None:
        """Run the steps that write where a formula reads, those first that keep the device busy for long."""
        _ = self._integers
        if ERRORS in read:
            self._once(self._weigh)
        self._once(self._moments_and_means)
        if COUNTS in read:
            self._once(self._count)
        if STRICT_COUNTS in read:
            self._once(self._count_strictly)

    def check(self) -> None:
        """Wait, and raise if values are not what their dtypes promise; unless nobody wants to know."""
        if not self._pairs.check:
            return
        self._once(self._moments_and_means)
        if bool((self._records[:, FLAGS] > 0).any()):
            check_values((self._pairs.unquantized if len(self._inputs) == 3 else self._pred), self._pairs.target)

    @property
    def foreground(self) -> Array:
        """Salient target pixels of each image."""
        self._once(self._moments_and_means)
        return super().foreground

    @property
    def mean(self) -> Array:
        """Mean normalised prediction."""
        self._once(self._moments_and_means)
        return super().mean

    @property
    def constant(self) -> Array:
        """Whether every pixel of the prediction has one value."""
        self._once(self._moments_and_means)
        return super().constant

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Counts at the fixed thresholds, from a joint histogram of class and level."""
        self._once(self._count_strictly if strict else self._count)
        return super().threshold_counts(strict=strict)

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Counts at twice the mean."""
        self._once(self._moments_and_means)
        return super().adaptive_counts(strict=strict)

    def binary_counts(self) -> Counts:
        """Counts above 0.5."""
        self._once(self._moments_and_means)
        return super().binary_counts()

    def class_moments(self) -> Moments:
        """Moments of x over background and foreground."""
        self._once(self._moments_and_means)
        return super().class_moments()

    def quadrant_moments(self) -> Moments:
        """Moments over the four quadrants around the centroid."""
        self._once(self._moments_and_means)
        return super().quadrant_moments()

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors, from exact Euclidean distances."""
        self._once(self._weigh)
        return super().weighted_errors()


def _tensors(pairs: Pairs) -> list[torch.Tensor]:
    """What is read of a batch."""
    return [each for each in (pairs.pred, pairs.target, pairs.unquantized) if each is not None]


def _on_its_way(values: torch.Tensor) -> torch.Tensor:
    """Return the host's copy of values, which arrive later."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
    return host.copy_(values, non_blocking=True)


@cache
def _index(columns: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Columns as an index on the device, sent there once: sending them waits for the device."""
    return torch.tensor(columns, device=device)


def _mean_depth(pixels: int) -> int:
    """How often NumPy's pairwise summation halves: the larger half, until at most 128 remain."""
    depth = 0
    while pixels > 128:
        half = pixels // 2
        pixels -= half - half % 8
        depth += 1
    return depth
