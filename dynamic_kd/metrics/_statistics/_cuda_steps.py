"""The launches of the kernels for a batch of torch tensors, step by step, without synchronizing with the device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from dynamic_kd._array import unit_tolerance
from dynamic_kd._launch import launch, on_device
from dynamic_kd.metrics._statistics._recorded import SIZE
from dynamic_kd.metrics._statistics._triton import (
    _distance,
    _levels,
    _mean,
    _moments,
    _record,
    _scan,
    _values,
    _weighted,
)

# Pixels, or rows and columns, of one program; warps where Triton's default of four is not best.
SCAN = {"BLOCK": 4096, "num_warps": 8}
LEAF_DEPTH = 6
MOMENTS = {"TALL": 32, "WIDE": 128}
ROWS = {"TALL": 128, "WIDE": 16}
INTERVAL = 32
COLUMNS = {"INTERVAL": INTERVAL, "ENDS": 8, "WIDE": 128, "num_warps": 1}
WEIGH = {"TALL": 8, "INTERVAL": INTERVAL, "num_warps": 1}
SMOOTH = {"TALL": 32, "WIDE": 128, "num_warps": 2}
SUM = {"BLOCK": 1024}


class Steps:
    """Steps of the work on a batch. Each launches kernels that write some columns of the images' records.

    Parameters
    ----------
    inputs
        Predictions, targets and, where predictions were quantized, what they were quantized from, shape (B, H, W).
    normalize
        Stretch each prediction to [0, 1] first.
    """

    def __init__(self, inputs: Sequence[torch.Tensor], *, normalize: bool) -> None:
        self.inputs = [tensor.contiguous().resolve_neg() for tensor in inputs]
        self._pred, target = self.inputs[:2]
        self.size, self._height, self._width = (int(length) for length in self._pred.shape)
        self.pixels = self._height * self._width
        self.device = self._pred.device
        self._cut = {"CUT": 0.5 if target.is_floating_point() else 0}
        self._levels = {"LEVELS": self._pred.dtype == torch.uint8}
        self._normalize = {"NORMALIZE": normalize}
        self._shape = (self._height, self._width)
        # What the kernels' arguments depend on: numbers follow from the shape, and tensors made here are aligned.
        kinds = [(tensor.dtype, tensor.data_ptr() % 16 == 0) for tensor in self.inputs]
        self.like = (self.device, self._pred.shape, *kinds)
        self._target, self._flags = self._read_target(target)
        self._images = (self._pred, self._target)

    def _read_target(self, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the target as bytes or floats, and of integers the flags of each image."""
        if target.dtype == torch.bool or target.is_floating_point():
            return target.view(torch.uint8) if target.dtype == torch.bool else target, None
        facts = torch.zeros((self.size, _levels.FACTS.value), dtype=torch.int64, device=self.device)
        salient = self._empty(*self._shape, dtype=torch.uint8)
        flags = self._empty(dtype=torch.int64)
        self.run(_levels.look, self._blocks, target, facts, *self._shape, **SCAN)
        self.run(_levels.binarise, self._blocks, target, facts, salient, flags, self.pixels, **SCAN)
        return salient, flags

    @cached_property
    def records(self) -> torch.Tensor:
        """Where steps write, shape (B, SIZE)."""
        return self._empty(SIZE)

    def run(self, kernel: Any, programs: int, *arguments: Any, **settings: Any) -> None:
        """Launch a kernel with a row of programs for each image, on the tensors' device."""
        with on_device(self.device):
            # Products and sums are rounded one by one, as in NumPy.
            settings["enable_fp_fusion"] = False
            launch(kernel, (self.size, programs, 1), self.like, *arguments, **settings)

    def _empty(self, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
        return torch.empty((self.size, *shape), dtype=dtype, device=self.device)

    def _tiles(self, TALL: int, WIDE: int, **_: int) -> int:  # noqa: N803  (the kernels' own names)
        return -(-self._height // TALL) * -(-self._width // WIDE)

    @cached_property
    def integers(self) -> torch.Tensor:
        """Results of one pass over all pixels, shape (B, INTEGERS): extremes, flags, sums, and histograms of levels."""
        integers = self._scan(self._pred)
        for given in self.inputs[2:]:  # what the prediction was quantized from
            integers[:, _values.FLAGS.value] |= self._scan(given)[:, _values.FLAGS.value]
        if self._flags is not None:
            integers[:, _values.FLAGS.value] |= self._flags
        return integers

    def _scan(self, pred: torch.Tensor) -> torch.Tensor:
        integers = torch.zeros((self.size, _values.INTEGERS.value), dtype=torch.int64, device=self.device)
        tolerance = unit_tolerance(torch, pred.dtype) if pred.is_floating_point() else 0.0
        settings = {"LEVELS": pred.dtype == torch.uint8, "TOLERANCE": tolerance} | self._cut | SCAN
        self.run(_scan.scan, self._blocks, pred, self._target, integers, self._width, self.pixels, **settings)
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
        self.run(_mean.pairwise, means.shape[1], self._pred, self.integers, means, self.pixels, **settings)
        return means

    def moments_and_means(self) -> None:
        """Write all but thresholds and weighted errors."""
        integers, means, tiles = self.integers, self._means, self._tiles(**MOMENTS)
        of_means = {"MEANS": means.shape[1].bit_length() - 1} | self._normalize
        if self._levels["LEVELS"]:
            self.run(_moments.level_moments, tiles, *self._images, integers, *self._shape, **self._cut, **MOMENTS)
            self.run(_record.record_levels, 1, integers, means, self.records, *self._shape, **of_means)
        else:
            sums = self._empty(tiles, _moments.SUMS.value)
            given: tuple[Any, ...] = (*self._images, integers, sums, means, *self._shape)
            self.run(_moments.value_moments, tiles, *given, **of_means, **self._cut, **MOMENTS)
            given = (self._pred, integers, means, sums, self.records, *self._shape, tiles)
            self.run(_record.record_values, 1, *given, **of_means, **SUM)

    def count(self) -> None:
        """Write the counts at the fixed thresholds."""
        self._count_thresholds(strict=False)

    def count_strictly(self) -> None:
        """Write the counts above the fixed thresholds."""
        self._count_thresholds(strict=True)

    def _count_thresholds(self, *, strict: bool) -> None:
        if self._levels["LEVELS"]:
            histogram = self.integers[:, _values.HISTOGRAM.value :]
        else:
            histogram = torch.zeros((self.size, 512), dtype=torch.int64, device=self.device)
            arguments: tuple[Any, ...] = (*self._images, self.integers, histogram, 512, self.pixels)
            settings = self._normalize | {"STRICT": strict} | self._cut | SCAN
            self.run(_scan.bin_values, self._blocks, *arguments, **settings)
        arguments = (self.integers, histogram, histogram.stride(0), self.records)
        self.run(_record.count_thresholds, 1, *arguments, **self._levels, **self._normalize, STRICT=strict)

    def weigh(self) -> None:
        """Write the weighted errors, from exact Euclidean distances."""
        nearest = self._empty(*self._shape, dtype=torch.int16)
        blocks = -(-self._width // ROWS["WIDE"])
        self.run(_distance.nearest_rows, blocks, self._target, nearest, *self._shape, **self._cut, **ROWS)
        intervals = -(-self._width // INTERVAL)
        ends = self._empty(self._height, intervals + 1, dtype=torch.int16)
        self.run(_distance.nearest_columns, self._height, nearest, ends, *self._shape, intervals + 1, **COLUMNS)
        tiles, smoothed_tiles = intervals * -(-self._height // WEIGH["TALL"]), self._tiles(**SMOOTH)
        weights, smoothed, spread = self._empty(tiles, 2), self._empty(smoothed_tiles), torch.empty_like(self._pred)
        arguments: tuple[Any, ...] = (self._pred, nearest, ends, spread, weights, *self._shape, intervals + 1)
        self.run(_weighted.weigh, tiles, *arguments, **self._levels, **WEIGH)
        settings = self._levels | self._normalize
        arguments = (*self._images, spread, self.integers, smoothed, *self._shape)
        self.run(_weighted.smooth, smoothed_tiles, *arguments, **settings, **self._cut, **SMOOTH)
        arguments = (self.integers, weights, smoothed, self.records, tiles, smoothed_tiles)
        self.run(_weighted.sum_errors, 1, *arguments, **settings, **SUM)


def _mean_depth(pixels: int) -> int:
    """How often NumPy's pairwise summation halves: the larger half, until at most 128 remain."""
    depth = 0
    while pixels > 128:
        half = pixels // 2
        pixels -= half - half % 8
        depth += 1
    return depth
