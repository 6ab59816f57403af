"""Statistics of torch tensors on an NVIDIA GPU: batches at once, without waiting for the device.

Counts and 8-bit moments are integers, and floating sums are added in a fixed order, so that every run gives the same
bits. The kernels are Triton's; under its interpreter (``TRITON_INTERPRET=1``) they run on the CPU, for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from dynamic_kd._array import Array
from dynamic_kd.metrics._inputs import Pairs, check_values
from dynamic_kd.metrics._statistics._interface import THRESHOLDS, Counts, Moments, WeightedErrors
from dynamic_kd.metrics._statistics._recorded import COUNTS, ERRORS, FLAGS, SIZE, Evaluated, RecordedStatistics
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


class CUDAStatistics(RecordedStatistics):
    """Statistics of a batch on the GPU; each kernel is launched when its numbers are first asked for."""

    def __init__(self, pairs: Pairs) -> None:
        self._pred = pairs.pred.contiguous().resolve_neg()
        self._size, self._height, self._width = (int(length) for length in self._pred.shape)
        self._device = self._pred.device
        records = torch.empty((self._size, SIZE), dtype=torch.float64, device=self._device)
        super().__init__(xp, records, pixels=self._height * self._width, backend="triton")
        target = pairs.target.contiguous().resolve_neg()
        self._cut = {"CUT": 0.5 if target.is_floating_point() else 0 if target.dtype == torch.bool else 128}
        self._target = target.view(torch.uint8) if target.dtype == torch.bool else target
        self._levels = {"LEVELS": self._pred.dtype == torch.uint8}
        self._normalize = {"NORMALIZE": pairs.normalize}
        self._images = (self._pred, self._target)
        self._unchecked, self._given = pairs.unchecked, pairs.target
        self._shape = (self._height, self._width)
        self._done: set[str] = set()

    def _run(self, kernel: Any, programs: int, *arguments: Any, **settings: Any) -> None:
        """Launch a kernel with a row of programs for each image, on the tensors' device."""
        with self._on_device:
            # Products and sums are rounded one by one, as NumPy does it.
            kernel[(self._size, programs)](*arguments, enable_fp_fusion=False, **settings)

    @property
    def _on_device(self) -> AbstractContextManager[None]:
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()

    def _empty(self, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty((self._size, *shape), dtype=dtype, device=self._device)

    def _tiles(self, TALL: int, WIDE: int, **_: int) -> int:  # noqa: N803  (the kernels' own names)
        return -(-self._height // TALL) * -(-self._width // WIDE)

    @cached_property
    def _integers(self) -> torch.Tensor:
        integers = self._scan(self._pred)
        if self._unchecked is not None and self._unchecked.dtype != self._pred.dtype:  # it was quantized since
            integers[:, _values.FLAGS.value] |= self._scan(self._unchecked.contiguous().resolve_neg())[
                :, _values.FLAGS.value
            ]
        return integers

    def _scan(self, pred: torch.Tensor) -> torch.Tensor:
        integers = torch.zeros((self._size, _values.INTEGERS.value), dtype=torch.int64, device=self._device)
        settings = {"LEVELS": pred.dtype == torch.uint8} | self._cut | SCAN
        self._run(_scan.scan, self._blocks, pred, self._target, integers, self._width, self.pixels, **settings)
        return integers

    @property
    def _blocks(self) -> int:
        return -(-self.pixels // SCAN["BLOCK"])

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
        settings = self._cut | ROWS
        blocks = -(-self._width // ROWS["WIDE"])
        self._run(_distance.nearest_rows, blocks, self._target, nearest, *self._shape, **settings)
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

    def evaluate(self, formula: Formula, *, skip_empty: bool) -> Callable[[], Evaluated]:
        """Start a formula as one kernel, and its results' way to the host; the function returned waits for them."""
        kernel = formula_kernel(formula)
        self._prepare(kernel.read)
        words = 2 * kernel.rows
        results = torch.zeros(words + self._size * kernel.numbers, dtype=torch.int64, device=self._device)
        numbers = results[words:].view(torch.float64)
        self._run(kernel.kernel, 1, self._records, results, numbers, self.pixels, SKIP=skip_empty)
        on_gpu = self._device.type == "cuda"
        host = torch.empty(results.shape, dtype=torch.int64, pin_memory=on_gpu)
        with self._on_device:
            host.copy_(results, non_blocking=True)
            arrival = torch.cuda.current_stream().record_event() if on_gpu else None

        def wait() -> Evaluated:
            if arrival is not None:
                arrival.synchronize()
            values = host.numpy()
            table = values[words:].view(np.float64).reshape(self._size, -1)
            foreground, flags, constant = table[:, -3:].T
            return Evaluated(values[:words].reshape(2, -1), table[:, :-3], foreground, flags, constant > 0)

        return wait

    def _prepare(self, read: AbstractSet[int]) -> None:
        """Run the steps that write where a formula reads."""
        self._once(self._moments_and_means)
        if ERRORS in read:
            self._once(self._weigh)
        if COUNTS in read:
            self._once(self._count)
        if COUNTS + 2 * THRESHOLDS in read:
            self._once(self._count_strictly)

    def check(self) -> None:
        """Wait, and raise if values are not what their dtypes promise; unless nobody wants to know."""
        if self._unchecked is None:
            return
        self._once(self._moments_and_means)
        if bool((self._records[:, FLAGS] > 0).any()):
            check_values(self._unchecked, self._given)

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


def _mean_depth(pixels: int) -> int:
    """How often NumPy's pairwise summation halves: the larger half, until at most 128 remain."""
    depth = 0
    while pixels > 128:
        half = pixels // 2
        pixels -= half - half % 8
        depth += 1
    return depth
