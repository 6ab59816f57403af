"""From a public metric's arguments to its formula and back to the caller's library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamic_kd._array import Array, from_numpy
from dynamic_kd.metrics._inputs import as_pairs
from dynamic_kd.metrics._statistics import Statistics, statistics


def scored(formula: Callable[[Statistics], Array], pred: Array, target: Array, **settings: Any) -> Array:
    """Return a formula's values for each image, without the batch axis if there was none."""
    pairs = as_pairs(pred, target, **settings)
    measured = statistics(pairs)
    values = formula(measured)
    if pairs.single:
        values = values[0, ...]
    return values if measured.backend.startswith("generic") else from_numpy(values, like=pred)
