"""The five classic scores: MAE, F-measure, weighted F-measure, S-measure, E-measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._checks import check_number
from dynamic_kd.compat.py_sod_metrics._measure import Measure, Pair, descending, mean
from dynamic_kd.metrics._e_measure import e_values
from dynamic_kd.metrics._f_measure import f_values
from dynamic_kd.metrics._mean_absolute_error import mean_absolute_error_values
from dynamic_kd.metrics._s_measure import s_values
from dynamic_kd.metrics._threshold_measures import RATES, rate_values
from dynamic_kd.metrics._weighted_f_measure import weighted_f_values

Curve = npt.NDArray[np.float64]


class MAE(Measure):
    """Mean absolute error, as `dynamic_kd.metrics.mean_absolute_error`.

    Attributes
    ----------
    maes
        Error of each pair.

    Examples
    --------
    >>> import numpy as np
    >>> mae = MAE()
    >>> mae.step(pred=np.array([[0, 51], [204, 255]], np.uint8), gt=np.array([[0, 0], [255, 255]], np.uint8))
    >>> round(float(mae.get_results()["mae"]), 6)
    0.1
    """

    def __init__(self) -> None:
        self.maes: list[np.float64] = []

    def _keep(self, pair: Pair) -> None:
        self.maes.append(mean_absolute_error_values(pair.statistics)[0])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"mae": mean over the pairs}``."""
        return {"mae": mean(self.maes)}


class Fmeasure(Measure):
    """F-measure with precision and recall, as `dynamic_kd.metrics.f_measure`; making one warns of nothing.

    Parameters
    ----------
    beta
        β², the weight of precision against recall, at least 0.

    Attributes
    ----------
    precisions, recalls, changeable_fms
        Curves of each pair, shape (256,), at the thresholds 255 / 255 *down to* 0 / 255.
    adaptive_fms
        F of each pair at the threshold min(2 · mean(pred), 1).

    Examples
    --------
    >>> import numpy as np
    >>> fmeasure = Fmeasure()
    >>> fmeasure.step(pred=np.array([[0, 51], [204, 255]], np.uint8), gt=np.array([[0, 0], [255, 255]], np.uint8))
    >>> results = fmeasure.get_results()
    >>> results["fm"]["curve"].shape, float(results["fm"]["curve"].max()), float(results["fm"]["adp"])
    ((256,), 1.0, 0.8125)
    """

    def __init__(self, beta: float = 0.3) -> None:
        check_number("beta", beta, low=0)
        self.beta = beta
        self.precisions: list[Curve] = []
        self.recalls: list[Curve] = []
        self.adaptive_fms: list[np.float64] = []
        self.changeable_fms: list[Curve] = []

    def _keep(self, pair: Pair) -> None:
        measured = pair.statistics
        self.precisions.append(descending(rate_values(measured, RATES["precision"], "curve")))
        self.recalls.append(descending(rate_values(measured, RATES["recall"], "curve")))
        self.changeable_fms.append(descending(f_values(measured, "curve", beta_squared=self.beta)))
        self.adaptive_fms.append(f_values(measured, "adaptive", beta_squared=self.beta)[0])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"fm": {"adp": adaptive, "curve": (256,)}, "pr": {"p": (256,), "r": (256,)}}``."""
        return {
            "fm": {"adp": mean(self.adaptive_fms), "curve": mean(self.changeable_fms)},
            "pr": {"p": mean(self.precisions), "r": mean(self.recalls)},
        }


class WeightedFmeasure(Measure):
    """Weighted F-measure, as `dynamic_kd.metrics.weighted_f_measure`.

    Parameters
    ----------
    beta
        β², the weight of precision against recall, at least 0.

    Attributes
    ----------
    weighted_fms
        Value of each pair; 0 where the mask is empty.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = WeightedFmeasure(), np.zeros((16, 16), np.uint8)
    >>> gt[4:12, 4:12] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> round(float(measure.get_results()["wfm"]), 6)
    1.0
    """

    def __init__(self, beta: float = 1) -> None:
        check_number("beta", beta, low=0)
        self.beta = beta
        self.weighted_fms: list[np.float64] = []

    def _keep(self, pair: Pair) -> None:
        self.weighted_fms.append(weighted_f_values(pair.statistics, beta_squared=self.beta)[0])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"wfm": mean over the pairs}``."""
        return {"wfm": mean(self.weighted_fms)}


class Smeasure(Measure):
    """Structure measure, as `dynamic_kd.metrics.s_measure`.

    Parameters
    ----------
    alpha
        Share of the object-aware part, in [0, 1].

    Attributes
    ----------
    sms
        Value of each pair.

    Notes
    -----
    Three things are not PySODMetrics': a quadrant without pixels has weight 0 (there S is NaN); a quadrant in which the
    map or the mask is constant has exactly no variance (there rounding noise decides between 0 and 1); a centroid on
    a half is rounded up as in the original MATLAB code (there to the even number).

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = Smeasure(), np.zeros((8, 8), np.uint8)
    >>> gt[7] = 255
    >>> measure.step(pred=gt, gt=gt)  # the centroid lies in the last row
    >>> round(float(measure.get_results()["sm"]), 6)
    1.0
    """

    def __init__(self, alpha: float = 0.5) -> None:
        check_number("alpha", alpha, low=0, high=1)
        self.sms: list[np.float64] = []
        self.alpha = alpha

    def _keep(self, pair: Pair) -> None:
        self.sms.append(s_values(pair.statistics, alpha=self.alpha)[0])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"sm": mean over the pairs}``."""
        return {"sm": mean(self.sms)}


class Emeasure(Measure):
    """Enhanced-alignment measure, as `dynamic_kd.metrics.e_measure`.

    Attributes
    ----------
    changeable_ems
        Curve of each pair, shape (256,), at the thresholds 255 / 255 *down to* 0 / 255.
    adaptive_ems
        E of each pair at the threshold min(2 · mean(pred), 1).

    Notes
    -----
    An image of one pixel divides by 1; in PySODMetrics it divides by the machine epsilon, which gives 4.5e15.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = Emeasure(), np.zeros((8, 8), np.uint8)
    >>> gt[2:6, 2:6] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> round(float(measure.get_results()["em"]["adp"]), 6)  # 64 / 63
    1.015873
    """

    def __init__(self) -> None:
        self.adaptive_ems: list[np.float64] = []
        self.changeable_ems: list[Curve] = []

    def _keep(self, pair: Pair) -> None:
        self.changeable_ems.append(descending(e_values(pair.statistics, "curve", strict=False)))
        self.adaptive_ems.append(e_values(pair.statistics, "adaptive", strict=False)[0])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"em": {"adp": adaptive, "curve": (256,)}}``."""
        return {"em": {"adp": mean(self.adaptive_ems), "curve": mean(self.changeable_ems)}}
