"""What the classes share: `step`, its checks, the last pair of each thread, and means over the pairs."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import unit_tolerance
from dynamic_kd._checks import check_flag, digits

# Private: a public metric normalizes the map and computes its statistics in each call. Objects stepped side by side
# share both.
from dynamic_kd.metrics._measured import Measured

NDArray = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and its mask: copies of the arguments of `step`, and what is computed from them."""

    pred: NDArray
    gt: NDArray
    normalize: bool
    measured: Measured

    def value(self, metric: Any, **settings: Any) -> Any:
        """Value of a metric that is computed from the shared statistics."""
        return self.measured.value(metric, **settings)

    def value_of_pixels(self, metric: Any, *images: NDArray, **settings: Any) -> Any:
        """Value of a metric that is computed from the pixels themselves."""
        return metric(*self.measured.images[0], *images, normalize=False, check="off", **settings)

    def equals(self, pred: NDArray, gt: NDArray, normalize: bool) -> bool:
        """Whether the arguments of a `step` have the same values and dtypes."""
        return self.normalize == normalize and all(
            mine.dtype == other.dtype and mine.shape == other.shape and (mine == other).all()
            for mine, other in ((self.pred, pred), (self.gt, gt))
        )


class Measure(ABC):
    """A score that takes one pair at a time."""

    def step(self, pred: NDArray, gt: NDArray, normalize: bool = True) -> None:
        """Score one prediction against its mask, and keep the result.

        Parameters
        ----------
        pred
            Map of shape (H, W), 0 to 255: uint8, other integers, or floating values (bool is 0 and 255). With
            ``normalize=False``: float32 or float64 in [0, 1].
        gt
            Mask of the same shape: bool, or 0 to 255, where more than 128 is salient. With ``normalize=False``: bool.
        normalize
            Stretch the prediction to [0, 1] by its minimum and maximum, and cut the mask.

        Raises
        ------
        ValueError
            For shapes that are not (H, W) or differ, values that are out of range or not finite, and masks whose
            largest value is from 1 to 128, which PySODMetrics counts as empty without a warning.
        TypeError
            For anything but NumPy arrays of the dtypes above.
        """
        self._keep(pair_of(pred, gt, normalize))

    @abstractmethod
    def _keep(self, pair: Pair) -> None:
        """Score a pair."""

    @abstractmethod
    def get_results(self) -> dict[str, Any]:
        """Return the results over all pairs."""


class SingleScore(Measure):
    """One number for each pair, and their mean."""

    _values_name: ClassVar[str]
    _result_name: ClassVar[str]

    def __init__(self) -> None:
        setattr(self, self._values_name, [])

    def _keep(self, pair: Pair) -> None:
        getattr(self, self._values_name).append(self._value(pair))

    @abstractmethod
    def _value(self, pair: Pair) -> Any:
        """Score of a pair."""

    def get_results(self) -> dict[str, Any]:
        """Return the mean over the pairs, by the score's name."""
        return {self._result_name: mean(getattr(self, self._values_name))}


def mean(values: Sequence[Any]) -> Any:
    """Mean over the pairs, of numbers or of curves."""
    check_stepped(values)
    return np.mean(np.array(values, np.float64), axis=0)


def check_stepped(values: Sequence[Any]) -> None:
    """Raise if there is nothing to take a mean of."""
    if not len(values):
        raise ValueError("get_results: expected at least one pair, got none; call step(pred, gt) first")


class _LastPair(threading.local):
    """The last pair of each thread."""

    pair: Pair | None = None


_last = _LastPair()


def pair_of(pred: NDArray, gt: NDArray, normalize: bool) -> Pair:
    """Return the last pair if the arguments repeat it, as they do for objects stepped side by side, or a new one.

    The comparison is by value with copies, because scripts refill one buffer and change maps in place between two
    steps. It takes a hundredth of the time that the statistics take.
    """
    _check_arrays(pred, gt, normalize)
    last = _last.pair
    if last is None or not last.equals(pred, gt, normalize):
        pred, gt = np.array(pred), np.array(gt)
        measured = _measured_levels(pred, gt) if normalize else _measured_probabilities(pred, gt)
        last = _last.pair = Pair(pred, gt, bool(normalize), measured)
    return last


def _check_arrays(pred: object, gt: object, normalize: object) -> None:
    """Raise unless the arguments of a `step` have the right types and shapes."""
    check_flag("normalize", normalize)
    for name, array in (("pred", pred), ("gt", gt)):
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            kind = f"{type(array).__module__}.{type(array).__qualname__}"
            raise TypeError(f"{name}: expected a plain NumPy array of shape (H, W), got {kind}; convert it")
        if array.ndim != 2 or array.size == 0:
            raise ValueError(
                f"{name}: expected one greyscale image of shape (H, W), got {array.shape}; "
                f"take one channel of a colour image, and one image of a batch at a time"
            )
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name}: expected bool, integers or floating values, got {array.dtype}")
    if pred.shape != gt.shape:  # type: ignore[attr-defined]
        raise ValueError(
            f"pred and gt: expected equal shapes, got {pred.shape} and {gt.shape}; "  # type: ignore[attr-defined]
            f"resize the prediction to the mask's size"
        )


def _measured_levels(pred: NDArray, gt: NDArray) -> Measured:
    """Check a map and a mask of 0 to 255, and stretch the map: integers in the statistics, floats as they are."""
    mask = _cut(gt)
    if pred.dtype == np.bool_:
        return Measured.of(pred * np.uint8(255), mask, check="off")
    _check_levels("pred", pred, "pass probabilities times 255, for logits the sigmoid of them times 255")
    if pred.dtype.kind in "iu":
        return Measured.of(pred.astype(np.uint8, copy=False), mask, check="off")
    x = (pred if pred.dtype == np.float32 else pred.astype(np.float64, copy=False)) / 255
    low, high = x.min(), x.max()  # in the array's own precision, as PySODMetrics does
    stretched = (x - low) / (high - low) if high > low else x
    return Measured.of(stretched, mask, normalize=False, check="off")


def _cut(gt: NDArray) -> npt.NDArray[np.bool_]:
    """Return whether a pixel's level is above 128; bool masks as they are."""
    if gt.dtype == np.bool_:
        return gt
    _check_levels("gt", gt, "pass a bool mask")
    peak = gt.max()
    if 0 < peak <= 128:
        raise ValueError(
            f"gt: expected a mask in which more than 128 is salient, got a largest value of {peak:g}, which would "
            f"count as empty; pass gt > 0 for masks of 0 and {peak:g}, gt > {peak / 2:g} for soft ones"
        )
    return np.asarray(gt > 128)


def _check_levels(name: str, array: NDArray, fix: str) -> None:
    low, high, tolerance = array.min(), array.max(), 255 * _tolerance(array)
    if not (low >= -tolerance and high <= 255 + tolerance):
        found = f"{digits(low, 0, 255)} to {digits(high, 0, 255)}"
        raise ValueError(f"{name}: expected finite values from 0 to 255, got {found}; {fix}")


def _tolerance(array: NDArray) -> float:
    """Return how far rounding may have pushed a value of a map in [0, 1] beyond."""
    return unit_tolerance(np, array.dtype) if array.dtype.kind == "f" else 0.0


def _measured_probabilities(pred: NDArray, gt: NDArray) -> Measured:
    """Check a map in [0, 1] and a bool mask."""
    if pred.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"pred: expected float32 or float64 with normalize=False, got {pred.dtype}; "
            f"divide 8-bit maps by 255, or leave normalize=True"
        )
    if gt.dtype != np.bool_:
        raise TypeError(f"gt: expected bool with normalize=False, got {gt.dtype}; pass gt > 128 for 8-bit masks")
    low, high, tolerance = pred.min(), pred.max(), _tolerance(pred)
    if not (low >= -tolerance and high <= 1 + tolerance):
        raise ValueError(
            f"pred: expected finite values in [0, 1] with normalize=False, got {digits(low, 0, 1)} to "
            f"{digits(high, 0, 1)}; divide 0 to 255 maps by 255, or leave normalize=True"
        )
    return Measured.of(pred, gt, normalize=False, check="off")
