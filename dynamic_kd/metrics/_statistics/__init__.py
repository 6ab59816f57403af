"""What the scores are computed from, one implementation for each kind of hardware behind `statistics`."""

from __future__ import annotations

from dynamic_kd._array import as_numpy
from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._statistics._cpu import CPUStatistics, kernels
from dynamic_kd.metrics._statistics._generic import GenericStatistics
from dynamic_kd.metrics._statistics._interface import Counts, Moments, Statistics, WeightedErrors
from dynamic_kd.metrics._statistics._recorded import (
    DeferredStatistics,
    Evaluated,
    RecordedStatistics,
    kept_columns,
    packed,
    recorded,
    refuse_faults,
    unpacked,
)


def statistics(pairs: Pairs) -> Statistics:
    """Statistics of a batch on its own device: CUDA kernels, compiled loops in the CPU's memory, else generic."""
    if pairs.on_kernels:
        from dynamic_kd.metrics._statistics._cuda import CUDAStatistics

        return CUDAStatistics(pairs)
    pred, target = as_numpy(pairs.pred), as_numpy(pairs.target)
    if pred is None or target is None:
        return GenericStatistics(pairs)
    return CPUStatistics(pred, target, normalize=pairs.normalize)


def warm_up() -> None:
    """Load and compile what the CPU statistics need, before threads ask for it at the same time."""
    kernels().warm_up()


__all__ = [
    "Counts",
    "DeferredStatistics",
    "Evaluated",
    "Moments",
    "RecordedStatistics",
    "Statistics",
    "WeightedErrors",
    "kept_columns",
    "packed",
    "recorded",
    "refuse_faults",
    "statistics",
    "unpacked",
    "warm_up",
]
