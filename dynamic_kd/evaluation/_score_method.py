"""One method on one data set, from its records: report, intervals, and what paired tests need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from dynamic_kd.evaluation._bootstrap import Interval, Sample, interval, resampled_scores
from dynamic_kd.evaluation._cache import RecordCache
from dynamic_kd.evaluation._compare_config import CompareConfig
from dynamic_kd.evaluation._compare_plan import DataSetPlan
from dynamic_kd.evaluation._compare_settings import CompareSettings
from dynamic_kd.evaluation._fit import MARKS
from dynamic_kd.evaluation._measuring import Measured
from dynamic_kd.evaluation._paired_tests import Paired
from dynamic_kd.metrics import MetricReport, Records, SODMetrics
from dynamic_kd.metrics._host_measures import HOST_MEASURES
from dynamic_kd.metrics._measure import Measure, PixelMeasure
from dynamic_kd.metrics._measures import DEFAULT, MEASURES, plan_of

# Images scored together.
_BATCH = 256


class ScoredMethod(NamedTuple):
    """What is kept of a method on a data set.

    Attributes
    ----------
    report
        Its report, without each image's own curves.
    intervals
        Score -> bootstrap interval; empty without resamples.
    common
        Its images that all methods have.
    paired
        The method on these images; None if there are none.
    """

    report: MetricReport
    intervals: Mapping[str, Interval]
    common: tuple[str, ...]
    paired: Paired | None


def names_of_scores(measures: Iterable[Measure | PixelMeasure]) -> tuple[str, ...]:
    """Return the names of what metrics score, the means of the images' own maxima last."""
    measures = list(measures)
    own = [name for each in measures for name in each.numbers]
    return *own, *(f"{each.numbers[0]}_per_image" for each in measures if each.summarized)


def scores_of(settings: CompareSettings) -> tuple[str, ...]:
    """Return the scores of the tables; raise for those that the chosen metrics do not have."""
    chosen = plan_of(settings.metrics or DEFAULT, strict=settings.strict)
    known = names_of_scores(chosen.every)
    for name in settings.scores or ():
        if name not in known:
            raise ValueError(
                f"scores: expected some of {', '.join(known)}, got {name!r}; choose others, or add metrics"
            )
    return tuple(settings.scores or chosen.numbers)


def score_method(
    config: CompareConfig,
    each: DataSetPlan,
    method: str,
    measured: Iterable[Measured],
    cache: RecordCache,
    shared: set[str],
) -> ScoredMethod:
    """Score a method on a data set, whose images ``shared`` every method has."""
    settings = config.settings
    report = _report(config, each, method, measured, cache)
    sample = sample_of(report)
    drawn = resampled_scores(sample, settings.resamples, settings.seed) if settings.resamples else {}
    common = tuple(name for name in report.names if name in shared)
    restricted = sample.restricted(common)
    drawn_common = drawn
    if drawn and common and restricted is not sample:
        drawn_common = resampled_scores(restricted, settings.resamples, settings.seed)
    return ScoredMethod(
        replace(report, per_image_curves={}),
        {score: interval(values) for score, values in drawn.items()},
        common,
        Paired.of(restricted, drawn_common) if common else None,
    )


def _report(
    config: CompareConfig, each: DataSetPlan, method: str, measured: Iterable[Measured], cache: RecordCache
) -> MetricReport:
    """Return the report of one method, its images in the order of their names."""
    settings = config.settings
    chosen = settings.metrics or DEFAULT
    metrics = SODMetrics(
        chosen,
        normalize=settings.normalize,
        strict=settings.strict,
        empty_target=settings.empty_target,
        per_image_curves=bool(plan_of(chosen, strict=settings.strict).curves),
    )
    target = config.datasets[each.name].target
    counts = Counter(dict.fromkeys(MARKS, 0))
    batches = _Batches(metrics)
    try:
        for image in measured:
            if method in image.keys:
                found = cache.find(image.keys[method])
                assert found is not None, "stored a moment ago, and nothing is ever deleted"
                batches.add(image.stem, Records.from_bytes(found.record))
                counts.update(found.marks)
        batches.flush()
        report = metrics.compute()
    except ValueError as error:
        raise ValueError(f"{method} on {each.name} ({target}): {error}") from None
    about = {"pred": str(config.methods[method][each.name]), "target": str(target), "resize": "bilinear"}
    return replace(
        _sorted(report),
        counts={**report.counts, **counts, **each.missing[method]},
        settings={**report.settings, **about},
    )


class _Batches:
    """Records that wait for others: scoring many together takes little longer than one."""

    def __init__(self, metrics: SODMetrics) -> None:
        self._metrics = metrics
        self._held: list[tuple[str, Records]] = []

    def add(self, name: str, records: Records) -> None:
        """Add an image."""
        self._held.append((name, records))
        if len(self._held) == _BATCH:
            self.flush()

    def flush(self) -> None:
        """Score what waits."""
        if self._held:
            names, records = zip(*self._held, strict=True)
            self._metrics.update_records(Records.join(records), names=names)
            self._held = []


def _sorted(report: MetricReport) -> MetricReport:
    """Return the report with its images in the order of their names."""
    order = sorted(range(len(report.names)), key=report.names.__getitem__)
    return replace(
        report,
        names=tuple(report.names[index] for index in order),
        rows=report.rows[order],
        per_image_curves={name: curves[order] for name, curves in report.per_image_curves.items()},
    )


def sample_of(report: MetricReport) -> Sample:
    """Return what the report's scores are made of: means over images, and maxima of mean curves."""
    own = dict(zip(report.columns, report.rows.T, strict=True))
    curves = {}
    every: list[Measure | PixelMeasure] = [*MEASURES.values(), *HOST_MEASURES.values()]
    for measure in every:
        if measure.summarized and measure.numbers[0] in own:
            largest = measure.numbers[0]
            own[f"{largest}_per_image"] = own.pop(largest)
            curves[largest] = ("max", report.per_image_curves[measure.summarized])
    return Sample(report.names, own, curves)
