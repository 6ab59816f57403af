"""From a public metric's arguments to its formula and back to the caller's library."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypedDict, Unpack

import numpy as np

from dynamic_kd._array import Array, from_numpy
from dynamic_kd.metrics._inputs import as_pairs
from dynamic_kd.metrics._objects import ObjectStatistics
from dynamic_kd.metrics._on_host import Floats, Mask, normalised
from dynamic_kd.metrics._statistics import DeferredStatistics, Statistics, statistics


class InputSettings(TypedDict, total=False):
    """How predictions and targets are read: ``normalize``, ``quantize`` and ``check`` of `mean_absolute_error`."""

    normalize: bool
    quantize: bool
    check: str


class Measured:
    """Predictions and targets whose statistics several metrics read, computed on first use.

    Parameters
    ----------
    pred, target, settings
        As for `mean_absolute_error`. The arrays must not change afterwards.
    """

    def __init__(self, pred: Array, target: Array, **settings: Unpack[InputSettings]) -> None:
        self.pairs = as_pairs(pred, target, **settings)
        self._statistics: Statistics | None = None

    @property
    def statistics(self) -> Statistics:
        """What the formulas are computed from."""
        if self._statistics is None:  # torch.compile does not trace cached_property
            self._statistics = statistics(self.pairs)
        return self._statistics

    @cached_property
    def images(self) -> list[tuple[Floats, Mask]]:
        """Each normalised prediction with its mask, for NumPy arrays."""
        pairs = zip(self.pairs.pred, self.pairs.target, strict=True)
        return [(normalised(pred, self.pairs.normalize), mask) for pred, mask in pairs]

    @property
    def objects(self) -> list[ObjectStatistics]:
        """Statistics of each image's objects, for NumPy arrays."""
        return [ObjectStatistics(x, mask) for x, mask in self.images]

    def value(self, metric: Callable[..., Array], **settings: Any) -> Array:
        """Value of a public metric that is computed from statistics, with its own ``settings`` such as ``reduce``."""
        return metric(self, self, **settings)  # which `scored` recognizes


def scored(
    formula: Callable[[Statistics], Array], pred: Array, target: Array, **settings: Unpack[InputSettings]
) -> Array:
    """Return a formula's values for each image, without the batch axis if there was none.

    On a GPU the work is queued before the call waits for the flags of the values, unless ``check="off"``.
    """
    measured = pred if isinstance(pred, Measured) else Measured(pred, target, **settings)
    statistics = measured.statistics
    values = formula(statistics)
    if measured.pairs.single:
        values = values[0, ...]
    if isinstance(statistics, DeferredStatistics):
        statistics.check()
    return from_numpy(values, like=measured.pairs.pred) if isinstance(values, np.ndarray) else values
