"""Context measures."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamic_kd._checks import check_number
from dynamic_kd.compat.py_sod_metrics._inputs import NDArray
from dynamic_kd.compat.py_sod_metrics._measure import Measure, Pair, mean, remembered_pair
from dynamic_kd.metrics._context_measure import camouflage_context_measure, context_measure


class ContextMeasure(Measure):
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
    It needs OpenCV, which comes with the extra ``eval``. PySODMetrics filters in single precision, so values differ by
    about 1e-8; a foreground along an oblique line, on which it fails, has a value here.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = ContextMeasure(), np.zeros((40, 40), np.uint8)
    >>> gt[10:30, 10:30] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> round(float(measure.get_results()["cm"]), 3)
    0.733
    """

    def __init__(self, beta2: float = 1.0, alpha: float = 6.0) -> None:
        check_number("beta2", beta2, low=0, exclusive_low=True)
        check_number("alpha", alpha, low=0, exclusive_low=True)
        self.beta2 = beta2
        self.alpha = alpha
        self.scores: list[np.float64] = []

    def _keep(self, pair: Pair) -> None:
        score = context_measure(
            pair.normalised, pair.mask, beta_squared=self.beta2, alpha=self.alpha, normalize=False, check="off"
        )
        self.scores.append(np.float64(score))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"cm": mean over the pairs}``."""
        return {"cm": mean(self.scores)}


class CamouflageContextMeasure(ContextMeasure):
    """The same where camouflaged pixels weigh more, as `dynamic_kd.metrics.camouflage_context_measure`.

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
    Values differ from PySODMetrics' by about 1e-6, and by more where several patches are equally near and it chooses
    another one.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = CamouflageContextMeasure(), np.zeros((40, 40), np.uint8)
    >>> gt[10:30, 10:30] = 255
    >>> measure.step(pred=gt, gt=gt, img=np.full((40, 40, 3), 128, np.uint8))
    >>> round(float(measure.get_results()["ccm"]), 3)
    0.752
    """

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
        pair = remembered_pair(pred, gt, normalize)
        score = camouflage_context_measure(
            pair.normalised,
            pair.mask,
            img,
            beta_squared=self.beta2,
            alpha=self.alpha,
            gamma=self.gamma,
            spatial_weight=self.lambda_spatial,
            normalize=False,
            check="off",
        )
        self.scores.append(np.float64(score))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"ccm": mean over the pairs}``."""
        return {"ccm": mean(self.scores)}
