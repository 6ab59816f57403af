"""What the classes share: `step`, the memory of the last pair, and means over the data set."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.compat.py_sod_metrics._inputs import NDArray, check_kinds, checked_pair
from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._on_host import normalised
from dynamic_kd.metrics._statistics import Statistics, statistics


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and its mask as they were given, and what was computed from them."""

    pred: NDArray
    gt: NDArray
    normalize: bool
    checked: Pairs

    @cached_property
    def statistics(self) -> Statistics:
        """Statistics that every class reads."""
        return statistics(self.checked)

    @cached_property
    def normalised(self) -> npt.NDArray[np.float64]:
        """Prediction in [0, 1], shape (H, W)."""
        return normalised(self.checked.pred[0], self.checked.normalize)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """Salient pixels, shape (H, W)."""
        return np.asarray(self.checked.target[0])

    def equals(self, pred: NDArray, gt: NDArray, normalize: bool) -> bool:
        """Whether the arguments of a `step` say the same, value by value."""
        mine, theirs = (self.pred, self.gt), (pred, gt)
        return self.normalize == normalize and all(
            a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True)
        )


class _Memory(threading.local):
    """The last pair of each thread."""

    last: Pair | None = None


_memory = _Memory()


def remembered_pair(pred: NDArray, gt: NDArray, normalize: bool) -> Pair:
    """Return the last pair if it is the same again, which it is for objects stepped side by side.

    It is compared by value with copies: scripts fill one buffer again and again, and change maps in place between
    two steps. That takes a hundredth of what the statistics take.
    """
    check_kinds(pred, gt, normalize)
    last = _memory.last
    if last is None or not last.equals(pred, gt, normalize):
        pred, gt = np.array(pred), np.array(gt)
        last = _memory.last = Pair(pred, gt, bool(normalize), checked_pair(pred, gt, normalize=normalize))
    return last


class Measure(ABC):
    """A score that is fed pair by pair."""

    def step(self, pred: NDArray, gt: NDArray, normalize: bool = True) -> None:
        """Score one prediction against its mask, and keep the result.

        Parameters
        ----------
        pred
            Map of shape (H, W), 0 to 255: uint8, other integers, or floating values (bool is 0 and 255); with
            ``normalize=False`` float32 or float64 in [0, 1].
        gt
            Mask of the same shape: bool, or 0 to 255 of which more than 128 is salient; with ``normalize=False`` bool.
        normalize
            Stretch the prediction to [0, 1] by its minimum and maximum, and cut the mask.

        Raises
        ------
        ValueError
            Shapes that are not (H, W) or differ, values out of range or not finite, masks whose largest value is from
            1 to 128 (PySODMetrics counts those as empty, without a word).
        TypeError
            Anything but NumPy arrays of the dtypes above.
        """
        self._keep(remembered_pair(pred, gt, normalize))

    @abstractmethod
    def _keep(self, pair: Pair) -> None:
        """Score a pair."""

    @abstractmethod
    def get_results(self) -> dict[str, Any]:
        """Return the results over all pairs."""


def descending(curve: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """One image's curve, of shape (1, 256) by ascending thresholds, in PySODMetrics' order: from 255 down to 0."""
    return curve[0, ::-1].copy()


def mean(values: Sequence[Any]) -> Any:
    """Mean over the pairs, of numbers or of curves."""
    check_stepped(values)
    return np.mean(np.array(values, np.float64), axis=0)


def check_stepped(values: Sequence[Any]) -> None:
    """Raise if there is nothing to take a mean of."""
    if not len(values):
        raise ValueError("get_results: expected at least one pair, got none; call step(pred, gt) first")
