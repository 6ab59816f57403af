"""From a public metric's arguments to its formula and back to the caller's library."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

import numpy as np

from dynamic_kd._array import Array, from_numpy
from dynamic_kd.metrics._inputs import as_pairs
from dynamic_kd.metrics._statistics import DeferredStatistics, Statistics, statistics


class InputSettings(TypedDict, total=False):
    """How predictions and targets are read: ``normalize``, ``quantize`` and ``check`` of `mean_absolute_error`."""

    normalize: bool
    quantize: bool
    check: str


def scored(
    formula: Callable[[Statistics], Array], pred: Array, target: Array, **settings: Unpack[InputSettings]
) -> Array:
    """Return a formula's values for each image, without the batch axis if there was none.

    On a GPU everything is queued before the values' flags are waited for, unless ``check="off"``.
    """
    pairs = as_pairs(pred, target, **settings)
    measured = statistics(pairs)
    values = formula(measured)
    if pairs.single:
        values = values[0, ...]
    if isinstance(measured, DeferredStatistics):
        measured.check()
    return from_numpy(values, like=pred) if isinstance(values, np.ndarray) else values
