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
    NEEDS_ALL,
    DeferredStatistics,
    PartialStatistics,
    RecordedStatistics,
    recorded,
    refuse_faults,
)


def statistics(pairs: Pairs) -> Statistics:
    """Statistics of a batch on its own device: CUDA kernels, compiled loops in the CPU's memory, else generic."""
    if pairs.valid is not None:
        return _of_valid_pixels(pairs, pairs.valid)
    if pairs.on_kernels:
        from dynamic_kd.metrics._statistics._cuda import CUDAStatistics

        return CUDAStatistics(pairs)
    if isinstance(pairs.pred, np.ndarray):
        return CPUStatistics(pairs.pred, pairs.target, normalize=pairs.normalize, extremes=pairs.extremes)
    return GenericStatistics(pairs)


def _of_valid_pixels(pairs: Pairs, valid: Mask) -> PartialStatistics:
    """Statistics of the valid pixels of each image, in a row: nothing that is counted depends on where they are."""
    parts = [
        CPUStatistics(pred[there][None, None], target[there][None, None], normalize=pairs.normalize)
        for pred, target, there in zip(pairs.pred, pairs.target, valid, strict=True)
    ]
    records = np.concatenate([recorded(part, strict=True, whole=False) for part in parts])
    return PartialStatistics(np, records, pixels=valid.sum(axis=(1, 2)), backend=parts[0].backend)


_WARMING = Lock()


def warm_up() -> None:
    """Load or compile what the CPU statistics need, once; other threads wait for it."""
    with _WARMING:
        _warm_up_once()


@cache
def _warm_up_once() -> None:
    kernels().warm_up()


__all__ = [
    "NEEDS_ALL",
    "CPUStatistics",
    "Contribution",
    "Counts",
    "DeferredStatistics",
    "Floats",
    "Mask",
    "Moments",
    "ObjectStatistics",
    "PartialStatistics",
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
