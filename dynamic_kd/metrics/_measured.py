"""A checked batch and what the metrics read of it: statistics, or the normalised images themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import (
    Array,
    array_namespace,
    device_of,
    from_numpy,
    is_traced,
    to_host,
    widest_float,
)
from dynamic_kd._mask import Meaning
from dynamic_kd.metrics._inputs import InputSettings, Pairs, as_pairs, check_levels
from dynamic_kd.metrics._statistics import (
    NEEDS_ALL,
    CPUStatistics,
    DeferredStatistics,
    Floats,
    Mask,
    ObjectStatistics,
    Statistics,
    statistics,
)


class Measured:
    """A checked batch whose statistics and normalised images are computed once, on first use."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self._statistics: Statistics | None = None

    @classmethod
    def of(cls, pred: Array, target: Array, **settings: Unpack[InputSettings]) -> Measured:
        """Check predictions and targets; arguments as for `mean_absolute_error`. NumPy arrays must not change later."""
        return cls(as_pairs(pred, target, **settings))

    @property
    def statistics(self) -> Statistics:
        """What formulas are computed from; on a GPU the kernels are launched when a number is first asked for."""
        if self._statistics is None:  # torch.compile does not trace cached_property
            self._statistics = statistics(self.pairs)
        return self._statistics

    @cached_property
    def images(self) -> list[tuple[Floats, Mask]]:
        """Each normalised prediction with its mask, in the CPU's memory."""
        if self.pairs.valid is not None:
            raise ValueError(NEEDS_ALL.format("metric"))
        if isinstance(self.statistics, CPUStatistics):
            return self.statistics.images()
        pred, mask = on_host(self.pairs.pred), on_host(self.pairs.mask)
        return CPUStatistics(pred, mask, normalize=self.pairs.normalize).images()

    @property
    def objects(self) -> list[ObjectStatistics]:
        """Statistics of each image's objects."""
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
    measured = pred if isinstance(pred, Measured) else Measured.of(pred, target, **settings)
    check_levels(measured.pairs.levels, Meaning())
    statistics = measured.statistics
    values = formula(statistics)
    if measured.pairs.single:
        values = values[0, ...]
    if isinstance(statistics, DeferredStatistics):
        statistics.check()
    like = measured.pairs.pred if measured is pred else pred
    if measured.pairs.valid is not None and not isinstance(like, np.ndarray):
        xp = array_namespace(like)
        return xp.asarray(values, dtype=widest_float(xp, like), device=device_of(like))
    return from_numpy(values, like=like) if isinstance(values, np.ndarray) else values


def scored_from_pixels(
    value: Callable[[Floats, Mask], Any], pred: Array, target: Array, **settings: Unpack[InputSettings]
) -> Array:
    """Return ``value(x, mask)`` for each image, without the batch axis if there was none; arrays are copied to the CPU.

    x is the normalised prediction, float64. Results are in the library and on the device of ``pred``.
    """
    xp = array_namespace(pred, target)
    measured = Measured.of(on_host(pred), on_host(target), **settings)
    check_levels(measured.pairs.levels, Meaning())
    values = np.stack([value(x, mask) for x, mask in measured.images]).astype(float)
    if measured.pairs.single:
        values = values[0, ...]
    if isinstance(pred, np.ndarray):
        return from_numpy(values, like=pred)
    return xp.asarray(values, dtype=widest_float(xp, pred), device=device_of(pred))


def on_host(array: Array) -> npt.NDArray[Any]:
    """Return any array's values as NumPy's; traced arrays, which have none, are an error."""
    if is_traced(array):
        raise TypeError(
            "pred and target: expected arrays with values, got traced ones; this measure follows contours and edges on "
            "the host, so call it outside jax.jit, jax.vmap and torch.compile"
        )
    return to_host(array)
