"""Size-invariant rates and errors: every object of the mask counts the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamic_kd.compat.py_sod_metrics._classic import MAE
from dynamic_kd.compat.py_sod_metrics._fmeasure_v2 import Cuts, FmeasureV2
from dynamic_kd.compat.py_sod_metrics._measure import Pair, check_stepped, mean
from dynamic_kd.metrics._objects import ObjectStatistics
from dynamic_kd.metrics._size_invariant import object_error


class SizeInvarianceFmeasureV2(FmeasureV2):
    """`FmeasureV2` of every object in its box by itself, averaged over the objects of a pair.

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
    >>> measure.step(pred=np.where(np.arange(32) < 12, gt, 0).astype(np.uint8), gt=gt)  # the small one is found
    >>> results = measure.get_results()["recall"]
    >>> results["dynamic"][0].shape, float(results["binary"])
    ((2, 256), 0.5)
    """

    def _cuts(self, pair: Pair) -> Cuts:
        return Cuts(ObjectStatistics(pair.normalised, pair.mask))

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


class SizeInvarianceMAE(MAE):
    """Size-invariant mean absolute error, as `dynamic_kd.metrics.size_invariant_mean_absolute_error`.

    Attributes
    ----------
    maes
        Error of each pair.

    Notes
    -----
    Where the objects' boxes cover the image the boxes alone count; PySODMetrics gives NaN there, and refuses a full
    mask.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = SizeInvarianceMAE(), np.zeros((10, 10), np.uint8)
    >>> gt[:, :5] = 255
    >>> measure.step(pred=np.zeros_like(gt), gt=gt)
    >>> float(measure.get_results()["si_mae"])
    0.5
    """

    def _keep(self, pair: Pair) -> None:
        self.maes.append(np.float64(object_error(pair.normalised, pair.mask)))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"si_mae": mean over the pairs}``."""
        return {"si_mae": mean(self.maes)}
