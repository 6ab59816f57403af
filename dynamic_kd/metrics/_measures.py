"""What can be asked of an accumulator by name: which numbers and curves each metric has, and their formulas."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice
from dynamic_kd._extras import require
from dynamic_kd.metrics._area_under_curve import pr_auc_values, roc_auc_values
from dynamic_kd.metrics._e_measure import e_values
from dynamic_kd.metrics._f_measure import f_values, precision_recall
from dynamic_kd.metrics._host_measures import HOST_MEASURES, HostMeasure
from dynamic_kd.metrics._mean_absolute_error import mean_absolute_error_values
from dynamic_kd.metrics._rates import rate_values
from dynamic_kd.metrics._s_measure import s_values
from dynamic_kd.metrics._statistics import RecordedStatistics, Statistics
from dynamic_kd.metrics._statistics._recorded import CONSTANT, KEPT, SIZE
from dynamic_kd.metrics._weighted_f_measure import weighted_f_values

Values = dict[str, Array]
DEFAULT = ("MAE", "F", "wF", "S", "E")


@dataclass(frozen=True)
class Measure:
    """One metric, from statistics.

    Attributes
    ----------
    numbers
        Names of each image's own scores.
    curves
        Names of the curves over 256 thresholds that are averaged over the data set.
    curve_values
        (statistics, strict) -> the curves, each of shape (B, 256).
    number_values
        (statistics, the curves, strict) -> the numbers, each of shape (B,).
    summarized
        The curve whose maximum and mean over the data set replace the means of ``max...`` and ``mean...``.
    pooled
        Whether it also makes sense for counts summed over the data set.
    """

    numbers: tuple[str, ...]
    number_values: Callable[[Statistics, Values, bool], Values]
    curves: tuple[str, ...] = ()
    curve_values: Callable[[Statistics, bool], Values] = lambda statistics, strict: {}
    summarized: str = ""
    pooled: bool = False


def _single(name: str, values: Callable[[Statistics], Array]) -> Measure:
    return Measure((name,), lambda statistics, curves, strict: {name: values(statistics)})


def _peaks(statistics: Statistics, curve: Array, name: str) -> Values:
    return {f"max{name}": statistics.xp.max(curve, axis=1), f"mean{name}": statistics.xp.mean(curve, axis=1)}


def _f_curves(statistics: Statistics, strict: bool) -> Values:
    precision, recall = precision_recall(statistics, statistics.threshold_counts())
    return {"precision": precision, "recall": recall, "f_measure": f_values(statistics, "curve")}


def _f_numbers(statistics: Statistics, curves: Values, strict: bool) -> Values:
    return _peaks(statistics, curves["f_measure"], "F") | {"adpF": f_values(statistics, "adaptive")}


def _e_curves(statistics: Statistics, strict: bool) -> Values:
    return {"e_measure": e_values(statistics, "curve", strict=strict)}


def _e_numbers(statistics: Statistics, curves: Values, strict: bool) -> Values:
    adaptive = e_values(statistics, "adaptive", strict=strict)
    return _peaks(statistics, curves["e_measure"], "E") | {"adpE": adaptive}


def _rate(rate: str, suffix: str) -> Measure:
    """Return a rate of the cut map: its curve, the curve's peaks, and its values at the two single cuts."""

    def numbers(statistics: Statistics, curves: Values, strict: bool) -> Values:
        single = {"adp": "adaptive", "bin": "binary"}
        cuts = {f"{prefix}{suffix}": rate_values(statistics, rate, reduce) for prefix, reduce in single.items()}
        return _peaks(statistics, curves[rate], suffix) | cuts

    return Measure(
        tuple(f"{prefix}{suffix}" for prefix in ("max", "mean", "adp", "bin")),
        numbers,
        (rate,),
        lambda statistics, strict: {rate: rate_values(statistics, rate, "curve")},
        rate,
        True,
    )


MEASURES: Mapping[str, Measure] = {
    "MAE": _single("MAE", mean_absolute_error_values),
    "F": Measure(
        ("maxF", "meanF", "adpF"), _f_numbers, ("precision", "recall", "f_measure"), _f_curves, "f_measure", True
    ),
    "wF": _single("wF", weighted_f_values),
    "S": _single("Sm", s_values),
    "E": Measure(("maxE", "meanE", "adpE"), _e_numbers, ("e_measure",), _e_curves, "e_measure"),
    "precision": _rate("precision", "Precision"),
    "recall": _rate("recall", "Recall"),
    "specificity": _rate("specificity", "Specificity"),
    "FPR": _rate("false_positive_rate", "FPR"),
    "IoU": _rate("intersection_over_union", "IoU"),
    "Dice": _rate("dice", "Dice"),
    "BER": _rate("balanced_error_rate", "BER"),
    "OA": _rate("overall_accuracy", "OA"),
    "kappa": _rate("kappa", "Kappa"),
    "AUC": Measure(
        ("AUC-ROC", "AUC-PR"),
        lambda statistics, curves, strict: {
            "AUC-ROC": roc_auc_values(statistics),
            "AUC-PR": pr_auc_values(statistics),
        },
        pooled=True,
    ),
}


@dataclass(frozen=True)
class Plan:
    """A selection of metrics as one formula over statistics.

    Attributes
    ----------
    metrics
        Keys of `MEASURES` and `HOST_MEASURES`.
    strict
        Whether the E-measure cuts with ``>``.
    """

    metrics: tuple[str, ...]
    strict: bool

    def __reduce__(self) -> tuple[type[Plan], tuple[tuple[str, ...], bool]]:
        return Plan, (self.metrics, self.strict)

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Declarations of the metrics from statistics."""
        return tuple(MEASURES[name] for name in self.metrics if name in MEASURES)

    @cached_property
    def host(self) -> tuple[str, ...]:
        """The metrics from pixels, in `HOST_MEASURES`; their numbers and curves come last."""
        return tuple(name for name in self.metrics if name in HOST_MEASURES)

    @cached_property
    def every(self) -> tuple[Measure | HostMeasure, ...]:
        """Declarations of all metrics, in the order of numbers and curves."""
        return *self.measures, *(HOST_MEASURES[name] for name in self.host)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of each image's scores."""
        return tuple(name for measure in self.every for name in measure.numbers)

    @cached_property
    def curves(self) -> tuple[str, ...]:
        """Names of the curves, each once."""
        return tuple(dict.fromkeys(name for measure in self.every for name in measure.curves))

    @cached_property
    def host_curves(self) -> tuple[str, ...]:
        """Names of the curves from pixels."""
        return tuple(name for each in self.host for name in HOST_MEASURES[each].curves)

    @cached_property
    def pools(self) -> bool:
        """Whether counts are summed over the data set."""
        return any(measure.pooled for measure in self.measures)

    @cached_property
    def cuts_strictly(self) -> bool:
        """Whether counts above the thresholds are needed as well."""
        return self.strict and "E" in self.metrics

    def __call__(self, statistics: Statistics) -> tuple[Sequence[Array], Sequence[Array], Sequence[Array]]:
        """Return curves, each of shape (B, 256), counts to sum, of shape (B,) or (B, 256), and numbers, (B,).

        All are those from statistics.
        """
        curves: Values = {}
        numbers: Values = {}
        for measure in self.measures:
            curves |= measure.curve_values(statistics, self.strict)
            numbers |= measure.number_values(statistics, curves, self.strict)
        return list(curves.values()), self.totals(statistics), list(numbers.values())

    def curve_values(self, statistics: Statistics) -> list[Array]:
        """Return the curves from statistics alone."""
        curves: Values = {}
        for measure in self.measures:
            curves |= measure.curve_values(statistics, self.strict)
        return list(curves.values())

    def totals(self, statistics: Statistics) -> list[Array]:
        """Return the counts whose sums over the data set `pooled_values` takes."""
        if not self.pools:
            return []
        every = (statistics.adaptive_counts(), statistics.binary_counts(), statistics.threshold_counts())
        return [statistics.foreground, *(each for counts in every for each in counts)]

    def pooled(self, totals: npt.NDArray[np.int64], pixels: int) -> Values:
        """Return the numbers of counts summed over the data set, as of one large image."""
        if not self.pools:
            return {}
        records = np.full((1, SIZE), np.nan)
        records[0, [column for column in KEPT if column != CONSTANT]] = totals
        statistics = RecordedStatistics(np, records, pixels=pixels, backend="")
        numbers: Values = {}
        for measure in self.measures:
            if measure.pooled:
                numbers |= measure.number_values(statistics, measure.curve_values(statistics, self.strict), self.strict)
        return {name: float(value[0]) for name, value in numbers.items()}


def plan_of(metrics: Sequence[str], *, strict: bool) -> Plan:
    """Return the plan of some metrics, or raise for names that are none or come twice."""
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        hint = f"; pass [{metrics!r}]" if isinstance(metrics, str) else ""
        raise TypeError(f"metrics: expected a sequence of names, got {metrics!r} ({type(metrics).__name__}){hint}")
    names = tuple(metrics)
    known: dict[str, Measure | HostMeasure] = {**MEASURES, **HOST_MEASURES}
    for name in names:
        for metric, measure in known.items():
            if name in measure.numbers and name not in known:
                raise ValueError(f"metrics: expected names of metrics, got {name!r}, a score of {metric!r}; pass that")
        check_choice("metrics", name, tuple(known))
        if name in HOST_MEASURES:
            require(*HOST_MEASURES[name].needs, extra="eval")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics: expected at least one, each once, got {list(names)}")
    return Plan(names, strict)
