"""Rates of the map cut at thresholds, one for each handler: of the image, or of each of its objects."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.compat.py_sod_metrics._pair import Measure, NDArray, Pair, check_stepped, mean

# What `FmeasureV2` needs of any handler; a call with tp, fp, tn and fn gives its value.
_ATTRIBUTES = ("dynamic_results", "adaptive_results", "binary_results", "sample_based")

Confusion = dict[str, npt.NDArray[np.int64]]


class FmeasureV2(Measure):
    """Any rates of the map cut at thresholds, as the functions `dynamic_kd.metrics.precision` and so on.

    Parameters
    ----------
    metric_handlers
        Handlers by the names of their results. A custom handler needs the attributes of `FmeasureHandler`, and is
        called with ``tp``, ``fp``, ``tn`` and ``fn``.

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
        cuts = _Cuts(self._statistics(pair))
        for handler in self._metric_handlers.values():
            if handler.dynamic_results is not None:
                self._keep_curves(handler, [handler(**confusion) for confusion in cuts.dynamic])
            if handler.adaptive_results is not None:
                handler.adaptive_results.append(mean([handler(**confusion) for confusion in cuts.adaptive]))
            if handler.binary_results is not None:
                _keep_binary(handler, cuts.binary)

    def _statistics(self, pair: Pair) -> Any:
        return pair.measured.statistics

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


class SizeInvarianceFmeasureV2(FmeasureV2):
    """`FmeasureV2` of each object in its own box, averaged over the objects of a pair.

    Handlers with ``sample_based=False`` average the curves over all objects of the data set, and sum the binary counts
    over them.

    Parameters
    ----------
    metric_handlers
        As for `FmeasureV2`; ``dynamic_results`` of a handler with ``sample_based=True`` are arrays of shape (T, 256)
        for the T objects of each pair.

    Examples
    --------
    >>> import numpy as np
    >>> from dynamic_kd.compat.py_sod_metrics import RecallHandler, SizeInvarianceFmeasureV2
    >>> measure = SizeInvarianceFmeasureV2({"recall": RecallHandler(True, False, with_binary=True)})
    >>> gt = np.zeros((32, 32), np.uint8)
    >>> gt[:8, :8], gt[12:, 12:] = 255, 255
    >>> measure.step(pred=np.where(np.arange(32) < 12, gt, 0).astype(np.uint8), gt=gt)  # only the small one is found
    >>> results = measure.get_results()["recall"]
    >>> results["dynamic"][0].shape, float(results["binary"])
    ((2, 256), 0.5)
    """

    def _statistics(self, pair: Pair) -> Any:
        return pair.measured.objects[0]

    def _keep_curves(self, handler: Any, curves: list[Any]) -> None:
        if handler.sample_based:
            handler.dynamic_results.append(np.array(curves, np.float64))
        else:
            super()._keep_curves(handler, curves)

    def get_results(self) -> dict[str, dict[str, Any]]:
        """Return the same as `FmeasureV2`, but ``"dynamic"`` a list of arrays (T, 256) where curves are per sample."""
        return super().get_results()

    def _dynamic_result(self, handler: Any) -> Any:
        if not handler.sample_based:
            return super()._dynamic_result(handler)
        check_stepped(handler.dynamic_results)
        return handler.dynamic_results


class _Cuts:
    """Confusion counts of one image, or of each of its objects: a list of dictionaries ``tp, fp, tn, fn``."""

    def __init__(self, statistics: Any) -> None:
        self._statistics = statistics

    @cached_property
    def dynamic(self) -> list[Confusion]:
        """At the thresholds from 255 / 255 down to 0 / 255, shape (256,)."""
        return self._confusions(*(counts[:, ::-1] for counts in self._statistics.threshold_counts()))

    @cached_property
    def adaptive(self) -> list[Confusion]:
        """At twice the mean."""
        return self._confusions(*self._statistics.adaptive_counts())

    @cached_property
    def binary(self) -> list[Confusion]:
        """Above one half."""
        return self._confusions(*self._statistics.binary_counts())

    def _confusions(self, *counts: Any) -> list[Confusion]:
        salient = self._statistics.foreground.astype(np.int64)
        background = self._statistics.pixels - salient
        hits, alarms = (each.astype(np.int64) for each in counts)
        return [
            {"tp": tp, "fp": fp, "tn": negative - fp, "fn": positive - tp}
            for tp, fp, positive, negative in zip(hits, alarms, salient, background, strict=True)
        ]


def _keep_binary(handler: Any, confusions: list[Confusion]) -> None:
    """Record the mean value over the objects of one pair, or add their counts."""
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
