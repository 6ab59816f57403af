"""Many methods on many data sets, measured once each, image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dynamic_kd._checks import check_whole
from dynamic_kd.data._images import opencv
from dynamic_kd.evaluation._bootstrap import Interval
from dynamic_kd.evaluation._cache import RecordCache
from dynamic_kd.evaluation._compare_config import CompareConfig
from dynamic_kd.evaluation._compare_plan import DataSetPlan, plan
from dynamic_kd.evaluation._measuring import Measured, Measurer
from dynamic_kd.evaluation._paired_tests import PairedTest, paired_tests
from dynamic_kd.evaluation._ranks import Rank, ranks, unranked
from dynamic_kd.evaluation._score_method import ScoredMethod, score_method, scores_of
from dynamic_kd.evaluation._threads import in_order, thread_pool
from dynamic_kd.metrics import MetricReport
from dynamic_kd.metrics._measures import DEFAULT, plan_of

# Images on their way for each thread: enough that none waits, few enough to hold.
_AHEAD = 8
# Methods whose images' curves are in memory together: some 15 KB an image each.
_SCORED_AT_ONCE = 4


@dataclass(frozen=True)
class DataSetResult:
    """What was found on one data set.

    Attributes
    ----------
    reports
        Method -> report, with the counts of an evaluation of folders.
    intervals
        Method -> score -> bootstrap interval; empty without resamples.
    tests
        Paired tests between methods.
    common
        Images that every method was scored on, which the tests are about.
    fresh
        Maps that were measured in this run; the others were in the cache.
    """

    reports: Mapping[str, MetricReport]
    intervals: Mapping[str, Mapping[str, Interval]]
    tests: tuple[PairedTest, ...]
    common: int
    fresh: int


@dataclass(frozen=True)
class Comparison:
    """Methods on data sets: what was compared, and what was found on each data set."""

    config: CompareConfig
    datasets: Mapping[str, DataSetResult]

    @property
    def scores(self) -> tuple[str, ...]:
        """Scores of the tables, the ranks and the tests."""
        return scores_of(self.config.settings)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Data sets that no method has maps of."""
        return tuple(name for name in self.config.datasets if name not in self.datasets)

    def ranks(self) -> list[Rank]:
        """Methods by their mean rank over data sets and scores, the best first.

        Methods that lack images of a data set which others have are left out, and so are scores that are the same for
        all methods by definition, such as maxFPR.
        """
        reports = {name: result.reports for name, result in self.datasets.items()}
        left_out = unranked(reports.values())
        complete = {
            name: {method: report for method, report in each.items() if method not in left_out}
            for name, each in reports.items()
        }
        return ranks(complete, self.scores)


def compare(
    config: CompareConfig, *, workers: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> Comparison:
    """Score every method on every data set, and test how they differ.

    Each map is measured once: its record stays in the cache, so that a run goes on where the last one stopped, and
    other scores and statistics need no image again.

    Parameters
    ----------
    config
        From `read_config`.
    workers
        Threads that read and measure images; the result does not depend on their number.
    progress
        Called with a data set's name, the number of maps done over all data sets, and their total.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        What is wrong with the folders or a file, as `evaluate_folders`; what was measured until then is kept.
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
    scores_of(settings)
    plans = plan(config)
    total = sum(each.maps for each in plans)
    host = plan_of(settings.metrics or DEFAULT, strict=settings.strict).host
    inputs = {"normalize": settings.normalize, "strict": settings.strict, "host": host}
    datasets: dict[str, DataSetResult] = {}
    done = 0
    decoder = {"decoder": f"OpenCV {opencv().__version__}"}
    with RecordCache(config.cache, {**inputs, **decoder}) as cache, thread_pool(workers) as pool:
        measure = Measurer(cache, settings.strict_size, inputs)
        for each in plans:
            measured = []
            for image in in_order(pool, measure, each.images, ahead=_AHEAD * workers):
                measured.append(image)
                done += len(image.keys)
                if progress is not None:
                    progress(each.name, done, total)
            datasets[each.name] = _result(config, each, measured, cache, pool, workers)
    return Comparison(config, datasets)


def _result(
    config: CompareConfig,
    each: DataSetPlan,
    measured: list[Measured],
    cache: RecordCache,
    pool: ThreadPoolExecutor,
    workers: int,
) -> DataSetResult:
    """Score a data set's methods, a few at a time: of each, only the scores are kept."""
    settings = config.settings
    shared = {image.stem for image in measured if len(image.keys) == len(each.methods)}

    def score(method: str) -> ScoredMethod:
        return score_method(config, each, method, measured, cache, shared)

    at_once = min(workers, _SCORED_AT_ONCE)
    scored = dict(zip(each.methods, in_order(pool, score, each.methods, ahead=at_once), strict=True))
    common = len(next(iter(scored.values())).common)
    paired = {method: found.paired for method, found in scored.items() if found.paired}
    tests = paired_tests(each.name, paired, scores_of(settings), common, reference=settings.reference)
    return DataSetResult(
        reports={method: found.report for method, found in scored.items()},
        intervals={method: found.intervals for method, found in scored.items() if settings.resamples},
        tests=tuple(tests),
        common=common,
        fresh=sum(image.fresh for image in measured),
    )
