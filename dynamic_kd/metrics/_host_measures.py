"""Metrics of an accumulator that look at pixels, image by image in the CPU's memory, instead of at statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._context_measure import context_value
from dynamic_kd.metrics._human_correction_effort import correction_effort
from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._multi_scale_iou import multi_scale_value
from dynamic_kd.metrics._objects import ObjectStatistics
from dynamic_kd.metrics._on_host import normalised, on_host
from dynamic_kd.metrics._rates import rate_values
from dynamic_kd.metrics._size_invariant import object_error

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HostMeasure:
    """One metric, from a normalised prediction and its mask.

    Attributes
    ----------
    numbers, curves, summarized
        As for `Measure`; at most one curve.
    values
        (x, mask) -> the curve, if there is one, and the numbers, one after another in a vector.
    needs
        Packages of the extra ``eval`` that it needs.
    """

    numbers: tuple[str, ...]
    values: Callable[[Floats, Mask], Floats]
    curves: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def summarized(self) -> str:
        """The curve whose maximum and mean over the data set replace the means of the first two numbers."""
        return "".join(self.curves)


def _single(name: str, value: Callable[[Floats, Mask], float], *needs: str) -> HostMeasure:
    return HostMeasure((name,), lambda x, mask: np.array([value(x, mask)], float), needs=needs)


def _cut(name: str, curve: str, value: Callable[..., Any]) -> HostMeasure:
    """Return a metric of maps cut at each threshold, and at the two single ones."""

    def values(x: Floats, mask: Mask) -> Floats:
        each = value(x, mask, reduce="curve")
        single = [value(x, mask, reduce=reduce) for reduce in ("adaptive", "binary")]
        return np.concatenate([each, [each.max(), each.mean(), *single]])

    return HostMeasure(tuple(f"{prefix}{name}" for prefix in ("max", "mean", "adp", "bin")), values, (curve,))


def _mean_over_objects(x: Floats, mask: Mask, *, reduce: str) -> Any:
    return rate_values(ObjectStatistics(x, mask), "f_measure", reduce).mean(axis=0)


def _correction_effort(x: Floats, mask: Mask) -> float:
    return correction_effort((x > 0.5).view(np.uint8), mask, relax=5, epsilon=2.0)


HOST_MEASURES: Mapping[str, HostMeasure] = {
    "MSIoU": _cut("MSIoU", "multi_scale_iou", multi_scale_value),
    "HCE": _single("HCE", _correction_effort, "cv2", "numba"),
    "SI-F": _cut("SI-F", "size_invariant_f_measure", _mean_over_objects),
    "SI-MAE": _single("SI-MAE", object_error),
    "CM": _single("CM", partial(context_value, beta_squared=1.0, alpha=6.0), "cv2"),
}


def host_values(names: tuple[str, ...], pairs: Pairs) -> tuple[Floats, Floats]:
    """Return the curves, one after another in shape (B, all curves' lengths), and the numbers, shape (B, N)."""
    curves, numbers = [], []
    for image, mask in zip(on_host(pairs.pred), on_host(pairs.mask), strict=True):
        x = normalised(image, pairs.normalize)
        of_curves, of_numbers = [np.zeros(0)], [np.zeros(0)]
        for measure in (HOST_MEASURES[name] for name in names):
            values = measure.values(x, mask)
            middle = len(values) - len(measure.numbers)
            of_curves.append(values[:middle])
            of_numbers.append(values[middle:])
        curves.append(np.concatenate(of_curves))
        numbers.append(np.concatenate(of_numbers))
    return np.stack(curves), np.stack(numbers)
