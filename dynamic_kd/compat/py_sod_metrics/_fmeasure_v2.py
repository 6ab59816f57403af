"""Rates of the map cut at thresholds, by handlers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.compat.py_sod_metrics._inputs import NDArray
from dynamic_kd.compat.py_sod_metrics._measure import Measure, Pair, check_stepped, mean
from dynamic_kd.metrics._objects import ObjectStatistics
from dynamic_kd.metrics._statistics import Counts, Statistics

# What `FmeasureV2` asks of a handler, whoever wrote it; calling it with tp, fp, tn and fn gives its value.
_ATTRIBUTES = ("dynamic_results", "adaptive_results", "binary_results", "sample_based")

CutStatistics = Statistics | ObjectStatistics
Confusion = dict[str, npt.NDArray[np.int64]]


class FmeasureV2(Measure):
    """Any rates of the map cut at thresholds, as the functions `dynamic_kd.metrics.precision` and so on.

    Parameters
    ----------
    metric_handlers
        Handlers by the names of their results. Your own need the attributes of `FmeasureHandler`, and are called with
        ``tp``, ``fp``, ``tn`` and ``fn``.

    Examples
    --------
    >>> import numpy as np
    >>> from dynamic_kd.compat.py_sod_metrics import FmeasureV2, IOUHandler
    >>> measure = FmeasureV2({"iou": IOUHandler(with_dynamic=True, with_adaptive=False, with_binary=True)})
    >>> measure.step(pred=np.array([[0, 51], [204, 255]], np.uint8), gt=np.array([[0, 0], [255, 255]], np.uint8))
    >>> results = measure.get_results()["iou"]
    >>> results["dynamic"].shape, float(results["dynamic"][0]), float(results["binary"])
    ((256,), 0.5, 1.0)
    """

    def __init__(self, metric_handlers: dict[str, Any] | None = None) -> None:
        self._metric_handlers: dict[str, Any] = metric_handlers or {}
        for name, handler in self._metric_handlers.items():
            _check_handler(name, handler)

    def add_handler(self, handler_name: str, metric_handler: Any) -> None:
        """Add a handler, or replace the one of this name."""
        _check_handler(handler_name, metric_handler)
        self._metric_handlers[handler_name] = metric_handler

    def step(self, pred: NDArray, gt: NDArray, normalize: bool = True) -> None:
        """Score one prediction against its mask with every handler; arguments and errors as for `MAE.step`."""
        if not self._metric_handlers:
            raise ValueError("step: expected at least one handler, got none; call add_handler(name, handler) first")
        super().step(pred, gt, normalize)

    def _keep(self, pair: Pair) -> None:
        cuts = self._cuts(pair)
        for handler in self._metric_handlers.values():
            if handler.dynamic_results is not None:
                self._keep_curves(handler, [handler(**confusion) for confusion in cuts.dynamic])
            if handler.adaptive_results is not None:
                handler.adaptive_results.append(mean([handler(**confusion) for confusion in cuts.adaptive]))
            if handler.binary_results is not None:
                _keep_binary(handler, cuts.binary)

    def _cuts(self, pair: Pair) -> Cuts:
        return Cuts(pair.statistics)

    def _keep_curves(self, handler: Any, curves: list[Any]) -> None:
        handler.dynamic_results.extend(curves)

    def get_results(self) -> dict[str, dict[str, Any]]:
        """Return ``{name: {"dynamic": (256,), "adaptive": number, "binary": number}}``, of what was recorded."""
        return {name: self._results_of(handler) for name, handler in self._metric_handlers.items()}

    def _results_of(self, handler: Any) -> dict[str, Any]:
        results = {}
        if handler.dynamic_results is not None:
            results["dynamic"] = self._dynamic_result(handler)
        if handler.adaptive_results is not None:
            results["adaptive"] = mean(handler.adaptive_results)
        if handler.binary_results is not None:
            results["binary"] = _binary_result(handler)
        return results

    def _dynamic_result(self, handler: Any) -> Any:
        return mean(handler.dynamic_results)


class Cuts:
    """Confusion counts of the images of a batch (or of an image's objects), one dictionary ``tp, fp, tn, fn`` each."""

    def __init__(self, statistics: CutStatistics) -> None:
        self._statistics = statistics

    @cached_property
    def dynamic(self) -> list[Confusion]:
        """At the thresholds from 255 / 255 down to 0 / 255, shape (256,)."""
        hits, alarms = self._statistics.threshold_counts()
        return self._confusions(Counts(hits[:, ::-1], alarms[:, ::-1]))

    @cached_property
    def adaptive(self) -> list[Confusion]:
        """At twice the mean."""
        return self._confusions(self._statistics.adaptive_counts())

    @cached_property
    def binary(self) -> list[Confusion]:
        """Above one half."""
        return self._confusions(self._statistics.binary_counts())

    def _confusions(self, counts: Counts) -> list[Confusion]:
        salient = self._statistics.foreground.astype(np.int64)
        background = self._statistics.pixels - salient
        hits, alarms = (each.astype(np.int64) for each in counts)
        return [
            {"tp": tp, "fp": fp, "tn": negative - fp, "fn": positive - tp}
            for tp, fp, positive, negative in zip(hits, alarms, salient, background, strict=True)
        ]


def _keep_binary(handler: Any, confusions: list[Confusion]) -> None:
    """Record the mean value over the images of one pair, or add their counts."""
    if handler.sample_based:
        handler.binary_results.append(mean([handler(**confusion) for confusion in confusions]))
        return
    for confusion in confusions:
        for name, count in confusion.items():
            handler.binary_results[name] += count


def _binary_result(handler: Any) -> Any:
    """Mean over the pairs, or the value for the sums of the counts."""
    if handler.sample_based:
        return mean(handler.binary_results)
    check_stepped([count for count in handler.binary_results.values() if count])
    return np.mean(handler(**handler.binary_results))


def _check_handler(name: str, handler: Any) -> None:
    if not callable(handler) or not all(hasattr(handler, attribute) for attribute in _ATTRIBUTES):
        raise TypeError(
            f"metric_handlers[{name!r}]: expected a handler such as "
            f"FmeasureHandler(with_dynamic=True, with_adaptive=True), got {handler!r}"
        )
