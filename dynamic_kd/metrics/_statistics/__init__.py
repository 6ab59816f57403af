"""What the scores are computed from, one implementation for each kind of hardware behind `statistics`."""

from __future__ import annotations

from functools import cache
from threading import Lock

import numpy as np

from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._statistics._contribution import (
    Contribution,
    contribution,
    exact_total,
    exact_words,
    packed,
    summed,
    unpacked,
)
from dynamic_kd.metrics._statistics._cpu import CPUStatistics, kernels
from dynamic_kd.metrics._statistics._generic import GenericStatistics
from dynamic_kd.metrics._statistics._interface import Counts, Floats, Mask, Moments, Statistics, WeightedErrors
from dynamic_kd.metrics._statistics._objects import ObjectStatistics, object_boxes
from dynamic_kd.metrics._statistics._recorded import (
    DeferredStatistics,
    RecordedStatistics,
    recorded,
    refuse_faults,
)


def statistics(pairs: Pairs) -> Statistics:
    """Statistics of a batch on its own device: CUDA kernels, compiled loops in the CPU's memory, else generic."""
    if pairs.on_kernels:
        from dynamic_kd.metrics._statistics._cuda import CUDAStatistics

        return CUDAStatistics(pairs)
    if isinstance(pairs.pred, np.ndarray):
        return CPUStatistics(pairs.pred, pairs.target, normalize=pairs.normalize, extremes=pairs.extremes)
    return GenericStatistics(pairs)


_WARMING = Lock()


def warm_up() -> None:
    """Load or compile what the CPU statistics need, once; other threads wait for it."""
    with _WARMING:
        _warm_up_once()


@cache
def _warm_up_once() -> None:
    kernels().warm_up()


__all__ = [
    "CPUStatistics",
    "Contribution",
    "Counts",
    "DeferredStatistics",
    "Floats",
    "Mask",
    "Moments",
    "ObjectStatistics",
    "RecordedStatistics",
    "Statistics",
    "WeightedErrors",
    "contribution",
    "exact_total",
    "exact_words",
    "object_boxes",
    "packed",
    "recorded",
    "refuse_faults",
    "statistics",
    "summed",
    "unpacked",
    "warm_up",
]
