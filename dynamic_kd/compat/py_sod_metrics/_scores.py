"""The classes that score a pair by numbers and curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd import metrics
from dynamic_kd._checks import check_flag, check_number, check_whole
from dynamic_kd.compat.py_sod_metrics._pair import Measure, NDArray, Pair, SingleScore, mean, pair_of

# Private: PySODMetrics' curve has one threshold more than the public one, 256.
from dynamic_kd.metrics._pixels._multi_scale_iou import SCALES, multi_scale_curve

Curve = npt.NDArray[np.float64]


def _descending(curve: Curve) -> Curve:
    """Return a curve over ascending thresholds in PySODMetrics' order, from 255 down to 0."""
    return curve[::-1].copy()


class MAE(SingleScore):
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

    maes: list[np.float64]
    _values_name, _result_name = "maes", "mae"

    def _value(self, pair: Pair) -> Any:
        return pair.value(metrics.mean_absolute_error)


class Fmeasure(Measure):
    """F-measure with precision and recall, as `dynamic_kd.metrics.f_measure`.

    PySODMetrics warns that this class is deprecated. This one does not warn.

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
        self.precisions.append(_descending(pair.value(metrics.precision)))
        self.recalls.append(_descending(pair.value(metrics.recall)))
        self.changeable_fms.append(_descending(pair.value(metrics.f_measure, beta_squared=self.beta)))
        self.adaptive_fms.append(pair.value(metrics.f_measure, reduce="adaptive", beta_squared=self.beta))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"fm": {"adp": adaptive, "curve": (256,)}, "pr": {"p": (256,), "r": (256,)}}``."""
        return {
            "fm": {"adp": mean(self.adaptive_fms), "curve": mean(self.changeable_fms)},
            "pr": {"p": mean(self.precisions), "r": mean(self.recalls)},
        }


class WeightedFmeasure(SingleScore):
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

    weighted_fms: list[np.float64]
    _values_name, _result_name = "weighted_fms", "wfm"

    def __init__(self, beta: float = 1) -> None:
        check_number("beta", beta, low=0)
        super().__init__()
        self.beta = beta

    def _value(self, pair: Pair) -> Any:
        return pair.value(metrics.weighted_f_measure, beta_squared=self.beta)


class Smeasure(SingleScore):
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
    Three cases differ from PySODMetrics. A quadrant without pixels has weight 0; there S is NaN. A quadrant in which
    the map or the mask is constant has exactly no variance; there rounding noise decides between 0 and 1. A centroid
    on a half is rounded up as in the original MATLAB code; there to the even number.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = Smeasure(), np.zeros((8, 8), np.uint8)
    >>> gt[7] = 255
    >>> measure.step(pred=gt, gt=gt)  # the centroid lies in the last row
    >>> round(float(measure.get_results()["sm"]), 6)
    1.0
    """

    sms: list[np.float64]
    _values_name, _result_name = "sms", "sm"

    def __init__(self, alpha: float = 0.5) -> None:
        check_number("alpha", alpha, low=0, high=1)
        super().__init__()
        self.alpha = alpha

    def _value(self, pair: Pair) -> Any:
        return pair.value(metrics.s_measure, alpha=self.alpha)


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
    An image of one pixel divides by 1. In PySODMetrics it divides by the machine epsilon, which gives 4.5e15.

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
        self.changeable_ems.append(_descending(pair.value(metrics.e_measure)))
        self.adaptive_ems.append(pair.value(metrics.e_measure, reduce="adaptive"))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"em": {"adp": adaptive, "curve": (256,)}}``."""
        return {"em": {"adp": mean(self.adaptive_ems), "curve": mean(self.changeable_ems)}}


class SizeInvarianceMAE(MAE):
    """Size-invariant mean absolute error, as `dynamic_kd.metrics.size_invariant_mean_absolute_error`.

    Attributes
    ----------
    maes
        Error of each pair.

    Notes
    -----
    Where the objects' boxes cover the image, the boxes alone count. PySODMetrics gives NaN there, and raises for a
    full mask.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = SizeInvarianceMAE(), np.zeros((10, 10), np.uint8)
    >>> gt[:, :5] = 255
    >>> measure.step(pred=np.zeros_like(gt), gt=gt)
    >>> float(measure.get_results()["si_mae"])
    0.5
    """

    _result_name = "si_mae"

    def _value(self, pair: Pair) -> Any:
        return pair.value_of_pixels(metrics.size_invariant_mean_absolute_error)


class ContextMeasure(SingleScore):
    """Agreement in the context of the object's shape, as `dynamic_kd.metrics.context_measure`.

    Parameters
    ----------
    beta2
        β², the weight of relevance against completeness, above 0.
    alpha
        Standard deviation of the context in pixels, above 0.

    Attributes
    ----------
    scores
        Value of each pair.

    Notes
    -----
    The extra ``eval`` installs OpenCV, which this class needs. PySODMetrics filters in single precision, so values
    differ by about 1e-8. It fails for a foreground along an oblique line, which has a value here.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = ContextMeasure(), np.zeros((40, 40), np.uint8)
    >>> gt[10:30, 10:30] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> round(float(measure.get_results()["cm"]), 3)
    0.733
    """

    scores: list[np.float64]
    _values_name, _result_name = "scores", "cm"

    def __init__(self, beta2: float = 1.0, alpha: float = 6.0) -> None:
        check_number("beta2", beta2, low=0, exclusive_low=True)
        check_number("alpha", alpha, low=0, exclusive_low=True)
        super().__init__()
        self.beta2 = beta2
        self.alpha = alpha

    def _value(self, pair: Pair) -> Any:
        return pair.value_of_pixels(metrics.context_measure, beta_squared=self.beta2, alpha=self.alpha)


class CamouflageContextMeasure(ContextMeasure):
    """Context measure that weights camouflaged pixels more, as `dynamic_kd.metrics.camouflage_context_measure`.

    Parameters
    ----------
    beta2, alpha
        As for `ContextMeasure`.
    gamma
        How steeply the camouflage degree falls with the difference of colours, above 0.
    lambda_spatial
        Weight of places against colours in the search for similar patches, at least 0.

    Attributes
    ----------
    scores
        Value of each pair.

    Notes
    -----
    Values differ from PySODMetrics' by about 1e-6, and by more where several patches are equally near and PySODMetrics
    chooses another one.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = CamouflageContextMeasure(), np.zeros((40, 40), np.uint8)
    >>> gt[10:30, 10:30] = 255
    >>> measure.step(pred=gt, gt=gt, img=np.full((40, 40, 3), 128, np.uint8))
    >>> round(float(measure.get_results()["ccm"]), 3)
    0.752
    """

    _result_name = "ccm"

    def __init__(self, beta2: float = 1.2, alpha: float = 6.0, gamma: float = 8, lambda_spatial: float = 20) -> None:
        super().__init__(beta2, alpha)
        check_number("gamma", gamma, low=0, exclusive_low=True)
        check_number("lambda_spatial", lambda_spatial, low=0)
        self.gamma = gamma
        self.lambda_spatial = lambda_spatial

    def step(  # type: ignore[override]
        self, pred: NDArray, gt: NDArray, *, img: NDArray, normalize: bool = True
    ) -> None:
        """Score one prediction against its mask; ``img`` is the photograph, RGB, uint8, of shape (H, W, 3)."""
        settings = {"beta_squared": self.beta2, "alpha": self.alpha, "gamma": self.gamma}
        self.scores.append(
            pair_of(pred, gt, normalize).value_of_pixels(
                metrics.camouflage_context_measure, img, **settings, spatial_weight=self.lambda_spatial
            )
        )


class HumanCorrectionEffortMeasure(SingleScore):
    """Clicks that would correct the cut map, as `dynamic_kd.metrics.human_correction_effort`.

    Parameters
    ----------
    relax
        Steps by which errors are eroded and grown back, a whole number from 0.
    epsilon
        Largest distance, in pixels, of a contour from its simplification, from 0.

    Attributes
    ----------
    hces
        Whole number of each pair.

    Notes
    -----
    The extra ``eval`` installs OpenCV and numba, which this class needs.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = HumanCorrectionEffortMeasure(), np.zeros((48, 48), np.uint8)
    >>> gt[12:36, 12:36] = 255
    >>> pred = gt.copy()
    >>> pred[:, 24:] = 0
    >>> measure.step(pred=pred, gt=gt)
    >>> float(measure.get_results()["hce"])
    6.0
    """

    hces: list[np.int64]
    _values_name, _result_name = "hces", "hce"

    def __init__(self, relax: int = 5, epsilon: float = 2.0) -> None:
        check_whole("relax", relax, low=0)
        check_number("epsilon", epsilon, low=0)
        super().__init__()
        self.relax = relax
        self.epsilon = epsilon

    def _value(self, pair: Pair) -> Any:
        effort = pair.value_of_pixels(metrics.human_correction_effort, relax=self.relax, epsilon=self.epsilon)
        return np.int64(effort)


class MSIoU(Measure):
    """Multi-scale IoU of edges, as `dynamic_kd.metrics.multi_scale_iou`.

    Parameters
    ----------
    with_dynamic
        Record the curve over the 257 thresholds 0 to 256, *ascending*, of each pair.
    with_adaptive
        Record the value at the threshold min(2 · mean(pred), 1) of each pair.
    with_binary
        Record the value of the map cut above one half.
    num_levels
        Number of cell sizes, from 1 to 512 pixels; only the paper's 10 is supported.

    Attributes
    ----------
    dynamic_results, adaptive_results, binary_results
        What was recorded of each pair, or None.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = MSIoU(with_dynamic=True, with_adaptive=True), np.zeros((8, 8), np.uint8)
    >>> gt[2:6, 2:6] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> results = measure.get_results()
    >>> results["dynamic"].shape, float(results["adaptive"])
    ((257,), 1.0)
    """

    def __init__(
        self, with_dynamic: bool, with_adaptive: bool, *, with_binary: bool = False, num_levels: int = SCALES
    ) -> None:
        flags = {"with_dynamic": with_dynamic, "with_adaptive": with_adaptive, "with_binary": with_binary}
        for name, value in flags.items():
            check_flag(name, value)
        if num_levels != SCALES:
            raise ValueError(f"num_levels: expected {SCALES}, the cell sizes of the paper, got {num_levels!r}")
        self.dynamic_results: list[Any] | None = [] if with_dynamic else None
        self.adaptive_results: list[Any] | None = [] if with_adaptive else None
        self.binary_results: list[Any] | None = [] if with_binary else None
        self.cell_sizes = 2 ** np.arange(SCALES)

    def _keep(self, pair: Pair) -> None:
        if self.dynamic_results is not None:
            x, mask = pair.measured.images[0]
            self.dynamic_results.append(list(multi_scale_curve((x * 255).astype(np.uint8), mask)))
        for values, reduce in ((self.adaptive_results, "adaptive"), (self.binary_results, "binary")):
            if values is not None:
                values.append(pair.value_of_pixels(metrics.multi_scale_iou, reduce=reduce))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"dynamic": (257,), "adaptive": number, "binary": number}``, of what was recorded."""
        kept = {"dynamic": self.dynamic_results, "adaptive": self.adaptive_results, "binary": self.binary_results}
        return {name: mean(values) for name, values in kept.items() if values is not None}
