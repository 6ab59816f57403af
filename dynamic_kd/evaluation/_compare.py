"""Maps in folders scored against their masks: one method on one data set, or many on many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_kd._checks import check_whole
from dynamic_kd._extras import opencv
from dynamic_kd._mask import meaning
from dynamic_kd._threads import in_order, thread_pool
from dynamic_kd.evaluation._bootstrap import Interval, curve_of_maximum
from dynamic_kd.evaluation._cache import RecordCache
from dynamic_kd.evaluation._config import CompareConfig, CompareSettings
from dynamic_kd.evaluation._masks_seen import MasksSeen
from dynamic_kd.evaluation._matching import DataSetFiles, match_comparison, match_data_set
from dynamic_kd.evaluation._measure import MeasuredImage, Measurer
from dynamic_kd.evaluation._paired_tests import PairedTest, paired_tests
from dynamic_kd.evaluation._ranks import Rank, ranks, unranked
from dynamic_kd.evaluation._score import ScoredMethod, report_of, score_method
from dynamic_kd.metrics import MetricReport, SODMetrics

# Images submitted for each thread: enough to keep it busy, few enough to hold in memory.
_AHEAD = 8
# Methods whose curves of all images are in memory together, about 15 KB an image each.
_SCORED_AT_ONCE = 4


def evaluate_folders(
    pred: str | Path,
    target: str | Path,
    *,
    strict_size: bool = False,
    allow_missing: bool = False,
    channel: str = "auto",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> MetricReport:
    """Score the saliency maps of one folder against the masks of another, paired by file stem.

    Parameters
    ----------
    pred, target
        Folders of PNG, JPEG, BMP, TIFF or WebP images; maps may be ``.npy`` or ``.npz`` files. The suffixes of a pair
        may differ.
    strict_size
        Refuse a map whose size is not its mask's, instead of resizing it (bilinearly) and counting it.
    allow_missing
        Score the pairs there are and count what is missing, instead of raising an error.
    channel
        The channel of masks and maps to read: ``"auto"`` (not alpha), ``"grey"`` or ``"alpha"``, which takes the alpha
        channel of those files in which it varies.
    workers
        Threads that read and measure images. The result does not depend on their number.
    progress
        Called with the number of images done and their total after each image.
    **settings
        Settings of `SODMetrics`. ``salient`` and ``void`` also take colours, such as ``"#800000"``.

    Returns
    -------
    MetricReport
        With what the masks hold in ``settings["masks"]``, and these counts added: ``missing_pred``,
        ``missing_target``, ``grey_target`` (masks with more than 10% of middle greys), ``colour_pred`` (maps in colour,
        whose luma was scored), ``resized`` (maps of another size than their masks), ``other_shape`` (maps whose aspect
        ratio differs by more than 2%; not counted in ``resized``), ``deep_pred`` (maps with more than 8 bits, all of
        which count) and, with ``normalize=False``, ``zero_one_pred`` and ``of_255_pred`` (maps of a folder that holds
        only 0 and 1, or only 0 to 255 in 16 bits: see `top_of_maps`).

    Raises
    ------
    ValueError
        Missing or unmatched files (they are listed), two files with one stem, unreadable files, masks whose levels
        have several meanings (they are listed, with what to pass for each), sizes that differ under ``strict_size``,
        settings out of range.

    Examples
    --------
    >>> report = evaluate_folders("maps/ours", "DES/GT", workers=2)  # doctest: +SKIP
    >>> report["maxF"], report.counts["resized"]  # doctest: +SKIP
    (0.928, 0)
    """
    check_whole("workers", workers, low=1)
    metrics = SODMetrics(**settings)
    wanted = meaning(settings.get("salient"), settings.get("void"), channel)
    files = match_data_set("", Path(target), {"": Path(pred)}, allow_missing=allow_missing)
    opencv()  # imported here, because OpenCV must not be imported by several threads at once

    def watched(images: Iterator[MeasuredImage]) -> Iterator[MeasuredImage]:
        for done, image in enumerate(images, start=1):
            yield image
            if progress is not None:
                progress(done, files.maps)

    with thread_pool(workers) as pool:
        tops = {} if settings.get("normalize", True) else files.tops()
        measurer = Measurer(metrics, strict_size, wanted, None, tops)
        images = in_order(pool, measurer, files.images, ahead=_AHEAD * workers)
        masks = MasksSeen(files, wanted)
        return report_of("", files, masks.watched(watched(images)), metrics, masks)


@dataclass(frozen=True)
class DataSetResult:
    """Results on one data set.

    Attributes
    ----------
    reports
        Method -> report, as from `evaluate_folders`.
    intervals
        Method -> score -> bootstrap interval; empty without resamples.
    tests
        Paired tests between methods.
    common
        Number of images that every method was scored on, and which the tests use.
    fresh
        Number of maps that this run measured; the others were in the cache.
    """

    reports: Mapping[str, MetricReport]
    intervals: Mapping[str, Mapping[str, Interval]]
    tests: tuple[PairedTest, ...]
    common: int
    fresh: int


@dataclass(frozen=True)
class Comparison:
    """Results of a comparison: what was compared, and the results on each data set."""

    config: CompareConfig
    datasets: Mapping[str, DataSetResult]

    @property
    def scores(self) -> tuple[str, ...]:
        """Scores of the tables, the ranks and the tests."""
        return chosen_scores(self.config.settings)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Data sets for which no method has maps."""
        return tuple(name for name in self.config.datasets if name not in self.datasets)

    def ranks(self) -> list[Rank]:
        """Methods by their mean rank over data sets and scores, the best first.

        Methods that lack images of a data set which others have are left out, and so are scores that are the same for
        all methods by definition, such as maxFPR.
        """
        reports = {name: result.reports for name, result in self.datasets.items()}
        left_out = unranked(reports.values())
        complete = {
            name: {method: report for method, report in of_methods.items() if method not in left_out}
            for name, of_methods in reports.items()
        }
        return ranks(complete, self.scores)


def compare(
    config: CompareConfig, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> Comparison:
    """Score every method on every data set, and test how they differ.

    Each map is measured once. Its record stays in the cache, so that an interrupted run continues where it stopped, and
    other scores and statistics need no image again.

    Parameters
    ----------
    config
        From `read_config`.
    workers
        Threads that read and measure images. The result does not depend on their number.
    progress
        Called with a data set's name, the number of maps done over all data sets, and their total.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        What is wrong with the folders or a file, as for `evaluate_folders`. What was measured before is kept.
    OSError
        A cache that cannot be read or written.

    Examples
    --------
    >>> found = compare(read_config("compare.toml"), workers=4)  # doctest: +SKIP
    >>> found.datasets["DES"].reports["ours"]["maxF"]  # doctest: +SKIP
    0.928
    """
    check_whole("workers", workers, low=1)
    settings = config.settings
    chosen_scores(settings)
    matched = match_comparison(config)
    total, done = sum(files.maps for files in matched), 0
    datasets: dict[str, DataSetResult] = {}
    metrics = settings.accumulator()
    wanted = settings.meaning
    about = {**metrics.measured, "decoder": f"OpenCV {opencv().__version__}", "masks": wanted}
    with RecordCache(config.cache, about) as cache, thread_pool(workers) as pool:
        for files in matched:
            images, masks = [], MasksSeen(files, wanted)
            tops = {} if settings.normalize else files.tops()
            measurer = Measurer(metrics, settings.strict_size, wanted, cache, tops)
            for image in masks.watched(in_order(pool, measurer, files.images, ahead=_AHEAD * workers)):
                images.append(image)
                done += len(image.maps)
                if progress is not None:
                    progress(files.name, done, total)
            datasets[files.name] = _result(files, images, masks, settings, pool, workers)
    return Comparison(config, datasets)


def chosen_scores(settings: CompareSettings) -> tuple[str, ...]:
    """Return the scores of the tables; one that the chosen metrics do not give is an error."""
    columns = settings.accumulator().columns
    known = (*columns, *(f"{name}_per_image" for name in columns if curve_of_maximum(name)))
    for name in settings.scores or ():
        if name not in known:
            raise ValueError(
                f"scores: expected some of {', '.join(known)}, got {name!r}; choose others, or add metrics"
            )
    return tuple(settings.scores or columns)


def _result(
    files: DataSetFiles,
    images: list[MeasuredImage],
    masks: MasksSeen,
    settings: CompareSettings,
    pool: ThreadPoolExecutor,
    workers: int,
) -> DataSetResult:
    """Score the methods of a data set, a few at a time; only the scores of each are kept."""
    shared = {image.stem for image in images if len(image.maps) == len(files.folders)}

    def score(method: str) -> ScoredMethod:
        return score_method(method, files, images, masks, settings, shared)

    at_once = min(workers, _SCORED_AT_ONCE)
    scored = dict(zip(files.folders, in_order(pool, score, files.folders, ahead=at_once), strict=True))
    common = len(next(iter(scored.values())).common)
    paired = {method: found.paired for method, found in scored.items() if found.paired}
    tests = paired_tests(files.name, paired, chosen_scores(settings), common, reference=settings.reference)
    return DataSetResult(
        reports={method: found.report for method, found in scored.items()},
        intervals={method: found.intervals for method, found in scored.items() if settings.resamples},
        tests=tuple(tests),
        common=common,
        fresh=sum(measured.fresh for image in images for measured in image.maps.values()),
    )
