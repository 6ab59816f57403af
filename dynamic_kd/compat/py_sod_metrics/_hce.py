"""Human correction effort."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamic_kd._checks import check_number, check_whole
from dynamic_kd.compat.py_sod_metrics._measure import Measure, Pair, mean
from dynamic_kd.metrics._human_correction_effort import human_correction_effort


class HumanCorrectionEffortMeasure(Measure):
    """Clicks that would mend the cut map, as `dynamic_kd.metrics.human_correction_effort`.

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
    It needs OpenCV and numba, which come with the extra ``eval``.

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

    def __init__(self, relax: int = 5, epsilon: float = 2.0) -> None:
        check_whole("relax", relax, low=0)
        check_number("epsilon", epsilon, low=0)
        self.hces: list[np.int64] = []
        self.relax = relax
        self.epsilon = epsilon

    def _keep(self, pair: Pair) -> None:
        effort = human_correction_effort(
            pair.normalised, pair.mask, relax=self.relax, epsilon=self.epsilon, normalize=False, check="off"
        )
        self.hces.append(np.int64(effort))

    def get_results(self) -> dict[str, Any]:
        """Return ``{"hce": mean over the pairs}``."""
        return {"hce": mean(self.hces)}
