"""The metrics that `SODMetrics` takes by name, their scores, and a selection of them as one formula."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array
from dynamic_kd._checks import check_choice
from dynamic_kd._extras import require
from dynamic_kd.metrics import (
    _area_under_curve,
    _e_measure,
    _f_measure,
    _mean_absolute_error,
    _s_measure,
    _threshold_measures,
    _weighted_f_measure,
)
from dynamic_kd.metrics._declarations import Measure, PixelMeasure, Score
from dynamic_kd.metrics._pixels import PIXEL_MEASURES
from dynamic_kd.metrics._statistics import RecordedStatistics, Statistics
from dynamic_kd.metrics._statistics._recorded import CONSTANT, KEPT, SIZE

MEASURES: Mapping[str, Measure] = {
    measure.metric: measure
    for measure in (
        _mean_absolute_error.MEASURE,
        _f_measure.MEASURE,
        _weighted_f_measure.MEASURE,
        _s_measure.MEASURE,
        _e_measure.MEASURE,
        *_threshold_measures.MEASURES,
        _area_under_curve.MEASURE,
    )
}
DEFAULT = ("MAE", "F", "wF", "S", "E")


def _scores() -> dict[str, Score]:
    """Scores by name: the numbers of each image, then the means of the images' own maxima."""
    scores = [score for measure in (*MEASURES.values(), *PIXEL_MEASURES.values()) for score in measure.scores]
    own_maxima = [
        replace(score, name=f"{score.name}_per_image", symbol=rf"\overline{{{score.symbol}}}", curve="")
        for score in scores
        if score.curve and score.name.startswith("max")
    ]
    return {score.name: score for score in (*scores, *own_maxima)}


SCORES: Mapping[str, Score] = MappingProxyType(_scores())
"""Every score of a report by its name, in the order of reports."""


@dataclass(frozen=True)
class Selection:
    """A selection of metrics as one formula over statistics.

    Attributes
    ----------
    metrics
        Keys of `MEASURES` and `PIXEL_MEASURES`.
    strict
        Whether the E-measure cuts with ``>``.
    """

    metrics: tuple[str, ...]
    strict: bool

    def __reduce__(self) -> tuple[type[Selection], tuple[tuple[str, ...], bool]]:
        return Selection, (self.metrics, self.strict)

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """Declarations of the metrics from statistics."""
        return tuple(MEASURES[name] for name in self.metrics if name in MEASURES)

    @cached_property
    def from_pixels(self) -> tuple[str, ...]:
        """The metrics from pixels, in `PIXEL_MEASURES`; their numbers and curves come last."""
        return tuple(name for name in self.metrics if name in PIXEL_MEASURES)

    @cached_property
    def every(self) -> tuple[Measure | PixelMeasure, ...]:
        """Declarations of all metrics, in the order of numbers and curves."""
        return *self.measures, *(PIXEL_MEASURES[name] for name in self.from_pixels)

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of each image's scores."""
        return tuple(name for measure in self.every for name in measure.numbers)

    @cached_property
    def curves(self) -> tuple[str, ...]:
        """Names of the curves, each once."""
        return tuple(dict.fromkeys(name for measure in self.every for name in measure.curves))

    @cached_property
    def pixel_curves(self) -> tuple[str, ...]:
        """Names of the curves from pixels."""
        return tuple(name for metric in self.from_pixels for name in PIXEL_MEASURES[metric].curves)

    @cached_property
    def structural(self) -> tuple[str, ...]:
        """The metrics that look at where pixels are."""
        return tuple(measure.metric for measure in self.every if measure.structural)

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
        curves: dict[str, Array] = {}
        numbers: list[Array] = []
        for measure in self.measures:
            values = measure.curve_values(statistics, self.strict)
            curves |= zip(measure.curves, values, strict=True)
            numbers += measure.number_values(statistics, values, self.strict)
        return list(curves.values()), self.totals(statistics), numbers

    def curve_values(self, statistics: Statistics) -> list[Array]:
        """Return the curves from statistics alone."""
        curves: dict[str, Array] = {}
        for measure in self.measures:
            curves |= zip(measure.curves, measure.curve_values(statistics, self.strict), strict=True)
        return list(curves.values())

    def totals(self, statistics: Statistics) -> list[Array]:
        """Return the counts whose sums over the data set `pooled` takes."""
        if not self.pools:
            return []
        cuts = (statistics.adaptive_counts(), statistics.binary_counts(), statistics.threshold_counts())
        return [statistics.foreground, *(count for counts in cuts for count in counts)]

    def pooled(self, totals: npt.NDArray[np.int64], pixels: int) -> dict[str, float]:
        """Return the numbers of counts summed over the data set, as of one large image."""
        if not self.pools:
            return {}
        records = np.full((1, SIZE), np.nan)
        records[0, [column for column in KEPT if column != CONSTANT]] = totals
        statistics = RecordedStatistics(np, records, pixels=pixels, backend="")
        numbers: dict[str, Array] = {}
        for measure in self.measures:
            if measure.pooled:
                curves = measure.curve_values(statistics, self.strict)
                values = measure.number_values(statistics, curves, self.strict)
                numbers |= zip(measure.numbers, values, strict=True)
        return {name: float(value[0]) for name, value in numbers.items()}


def select(metrics: Sequence[str] | None, *, strict: bool, void: bool = False) -> Selection:
    """Return a selection of metrics by name, or raise for unknown and repeated names.

    By default these are `DEFAULT`. Where void pixels are left out, structural metrics are not among them, and one that
    is named is an error.
    """
    if metrics is None:
        names = tuple(name for name in DEFAULT if not (void and MEASURES[name].structural))
        return Selection(names, strict)
    selection = _selection(metrics, strict=strict)
    if void and selection.structural:
        raise ValueError(
            f"metrics: with void=, expected metrics that can leave pixels out, got {', '.join(selection.structural)}, "
            "which look at where pixels are; leave these out, or void="
        )
    return selection


def _selection(metrics: Sequence[str], *, strict: bool) -> Selection:
    if isinstance(metrics, str) or not isinstance(metrics, Iterable):
        hint = f"; pass [{metrics!r}]" if isinstance(metrics, str) else ""
        raise TypeError(f"metrics: expected a sequence of names, got {metrics!r} ({type(metrics).__name__}){hint}")
    names = tuple(metrics)
    known: dict[str, Measure | PixelMeasure] = {**MEASURES, **PIXEL_MEASURES}
    for name in names:
        for metric, measure in () if name in known else known.items():
            if name in measure.numbers:
                raise ValueError(f"metrics: expected names of metrics, got {name!r}, a score of {metric!r}; pass that")
        check_choice("metrics", name, tuple(known))
        if name in PIXEL_MEASURES:
            require(*PIXEL_MEASURES[name].needs, extra="eval")
    if not names or len(set(names)) < len(names):
        raise ValueError(f"metrics: expected at least one, each once, got {list(names)}")
    return Selection(names, strict)
