"""The handlers of `FmeasureV2`: one rate of the cut map each, and the lists of its values."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from dynamic_kd._checks import check_flag, check_number

# Private: a handler's formula takes counts, and a public metric takes maps.
from dynamic_kd.metrics._pixels._size_invariant import OBJECT_RATES


class Handler:
    """A rate of the cut map, from its four counts.

    Parameters
    ----------
    with_dynamic
        Record the curve over the thresholds 255 / 255 *down to* 0 / 255 of each pair.
    with_adaptive
        Record the value at the threshold min(2 · mean(pred), 1) of each pair.
    with_binary
        Record the value of the map cut above one half.
    sample_based
        True averages the binary values of the pairs. False sums the counts over the data set first.

    Attributes
    ----------
    dynamic_results, adaptive_results
        What was recorded of each pair, or None.
    binary_results
        The same; with ``sample_based=False`` the sums ``{"tp": ..., "fp": ..., "tn": ..., "fn": ...}``.
    """

    _rate: ClassVar[str]

    def __init__(
        self, with_dynamic: bool, with_adaptive: bool, *, with_binary: bool = False, sample_based: bool = True
    ) -> None:
        flags = {"with_dynamic": with_dynamic, "with_adaptive": with_adaptive}
        for name, value in (flags | {"with_binary": with_binary, "sample_based": sample_based}).items():
            check_flag(name, value)
        self.sample_based = sample_based
        self.dynamic_results: list[Any] | None = [] if with_dynamic else None
        self.adaptive_results: list[Any] | None = [] if with_adaptive else None
        self.binary_results: list[Any] | dict[str, Any] | None = None
        if with_binary:
            self.binary_results = [] if sample_based else dict.fromkeys(("tp", "fp", "tn", "fn"), 0)
        self._settings: dict[str, float] = {}

    def __call__(self, tp: npt.ArrayLike, fp: npt.ArrayLike, tn: npt.ArrayLike, fn: npt.ArrayLike) -> Any:
        """Return the rate for counts of any shapes that broadcast."""
        formula: Any = OBJECT_RATES[self._rate]
        return formula(np, *(np.asarray(count, np.float64) for count in (tp, fp, fn, tn)), **self._settings)


class FmeasureHandler(Handler):
    """F-measure, (1 + β²) P R / (β² P + R).

    Parameters
    ----------
    with_dynamic, with_adaptive, with_binary, sample_based
        As for every handler.
    beta
        β², the weight of precision against recall, at least 0.
    """

    _rate = "f_measure"

    def __init__(
        self,
        with_dynamic: bool,
        with_adaptive: bool,
        *,
        with_binary: bool = False,
        sample_based: bool = True,
        beta: float = 0.3,
    ) -> None:
        check_number("beta", beta, low=0)
        super().__init__(with_dynamic, with_adaptive, with_binary=with_binary, sample_based=sample_based)
        self.beta = beta
        self._settings = {"beta_squared": beta}


class PrecisionHandler(Handler):
    """Precision, TP / (TP + FP)."""

    _rate = "precision"


class RecallHandler(Handler):
    """Recall, sensitivity or true positive rate, TP / (TP + FN)."""

    _rate = "recall"


class SpecificityHandler(Handler):
    """Specificity or true negative rate, TN / (TN + FP)."""

    _rate = "specificity"


class FPRHandler(Handler):
    """False positive rate, FP / (TN + FP)."""

    _rate = "false_positive_rate"


class IOUHandler(Handler):
    """Intersection over union, TP / (TP + FP + FN)."""

    _rate = "intersection_over_union"


class DICEHandler(Handler):
    """Dice coefficient, 2 TP / (2 TP + FP + FN)."""

    _rate = "dice"


class BERHandler(Handler):
    """Balanced error rate, 1 - (TP / (TP + FN) + TN / (TN + FP)) / 2."""

    _rate = "balanced_error_rate"


class OverallAccuracyHandler(Handler):
    """Overall accuracy, (TP + TN) / (TP + FP + TN + FN)."""

    _rate = "overall_accuracy"


class KappaHandler(Handler):
    """Cohen's kappa: agreement beyond chance. PySODMetrics 1.6.2 has another formula."""

    _rate = "kappa"


SensitivityHandler = TPRHandler = RecallHandler
TNRHandler = SpecificityHandler
