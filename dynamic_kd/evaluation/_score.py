"""One method on one data set, from records to its report, intervals, and what the paired tests need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from dynamic_kd._files import printable
from dynamic_kd.evaluation._bootstrap import ImageScores, Interval, percentile_interval, resampled_scores
from dynamic_kd.evaluation._config import CompareSettings
from dynamic_kd.evaluation._masks_seen import MasksSeen
from dynamic_kd.evaluation._matching import DataSetFiles
from dynamic_kd.evaluation._measure import MARKS, MeasuredImage
from dynamic_kd.evaluation._paired_tests import PairedScores
from dynamic_kd.metrics import MetricReport, Records, SODMetrics

# Images scored together, which takes little longer than scoring one.
_BATCH = 256


class ScoredMethod(NamedTuple):
    """What is kept of a method on a data set.

    Attributes
    ----------
    report
        Its report, without the curves of each image.
    intervals
        Score -> bootstrap interval; empty without resamples.
    common
        Its images that all methods have.
    paired
        Its scores on these images; None if there are none.
    """

    report: MetricReport
    intervals: Mapping[str, Interval]
    common: tuple[str, ...]
    paired: PairedScores | None


def report_of(
    method: str, files: DataSetFiles, images: Iterable[MeasuredImage], metrics: SODMetrics, masks: MasksSeen
) -> MetricReport:
    """Score the measured images of a method in their order; errors name the folder of masks."""
    counts = Counter(dict.fromkeys(MARKS, 0))
    own = ((image.stem, image.maps[method]) for image in images if method in image.maps)
    while batch := list(islice(own, _BATCH)):
        for _, measured in batch:
            counts.update(measured.marks)
        records = Records.join([measured.records() for _, measured in batch])
        try:
            metrics.update_records(records, names=[stem for stem, _ in batch])
        except ValueError as error:
            raise ValueError(f"{files.target}: {error}") from None
    report = metrics.compute()
    return replace(
        report,
        counts={**report.counts, **counts, **files.missing[method]},
        settings={
            **report.settings,
            "pred": printable(str(files.folders[method])),
            "target": printable(str(files.target)),
            "resize": "bilinear",
            "masks": masks.settings(),
        },
    )


def score_method(
    method: str,
    files: DataSetFiles,
    images: Iterable[MeasuredImage],
    masks: MasksSeen,
    settings: CompareSettings,
    shared: set[str],
) -> ScoredMethod:
    """Score a method of a comparison; ``shared`` are the images that every method has."""
    try:
        report = report_of(method, files, images, settings.accumulator(per_image_curves=True), masks)
    except ValueError as error:
        raise ValueError(f"{method} on {files.name}: {error}") from None
    scores = ImageScores.of(report)
    resampled = resampled_scores(scores, settings.resamples, settings.seed) if settings.resamples else {}
    common = tuple(name for name in report.names if name in shared)
    restricted = scores.restricted(common)
    resampled_common = resampled
    if resampled and common and restricted is not scores:
        resampled_common = resampled_scores(restricted, settings.resamples, settings.seed)
    return ScoredMethod(
        replace(report, per_image_curves={}),
        {score: percentile_interval(values) for score, values in resampled.items()},
        common,
        PairedScores(restricted.scores(), restricted.means, resampled_common) if common else None,
    )
