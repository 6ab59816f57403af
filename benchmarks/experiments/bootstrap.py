"""Differences between methods, with a bootstrap that resamples seeds and images."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dynamic_kd.evaluation import Interval
from dynamic_kd.metrics import SCORES, MetricReport

Run = TypeVar("Run", bound=Hashable)
Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Resamples whose mean curves are computed together: some megabytes, which fit into the CPU's cache.
_BLOCK = 1024


class Resampled(NamedTuple):
    """A run's score, the score of each resample of its images, and the number of images."""

    score: float
    drawn: Floats
    images: int


class Difference(NamedTuple):
    """A method's score minus the reference's, each the mean over the seeds that both have.

    Attributes
    ----------
    reference
        The name of the other method.
    value
        The difference.
    interval
        Its 95% percentile interval, uncorrected.
    corrected
        Its 95% interval corrected for the number of methods (max-t).
    p
        Two-sided p-value, corrected in the same way: the share of resamples whose largest deviation over all methods
        is at least this difference's.
    seeds, images
        How many of each were resampled.
    """

    reference: str
    value: float
    interval: Interval
    corrected: Interval
    p: float
    seeds: int
    images: int


def differences(
    candidates: Mapping[str, Mapping[int, MetricReport]],
    reference: tuple[str, Mapping[int, MetricReport]],
    score: str,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    r"""Return how far each candidate is from the reference, with paired intervals corrected for their number.

    A resample draws the images with replacement, and the seeds with replacement, one fewer than there are. Its score is
    the mean over the drawn seeds of the score of the drawn images; maxF and maxE are the maximum of their mean curve.
    All methods and seeds are resampled with the same images, and methods of the same seeds with the same seeds. With
    :math:`d_j` the difference of candidate j, :math:`d^*_j` that of a resample and :math:`s_j` its standard deviation,
    the corrected interval is :math:`d_j \pm c\,s_j`, where c is the 95% quantile of
    :math:`\max_j |d^*_j - d_j| / s_j`.

    Parameters
    ----------
    candidates : mapping
        From method to the reports of its runs, by seed. `dynamic_kd.training.read_records` reads them.
    reference : tuple
        The name and the reports of the method that the candidates are compared with.
    score : str
        The score to compare.
    resamples, seed : int
        Number of resamples, and the seed that draws them.

    Returns
    -------
    dict
        From candidate to difference, each over the seeds that it shares with the reference. Candidates that share no
        seed are left out.

    Raises
    ------
    ValueError
        If runs were scored on different images.

    Notes
    -----
    With S seeds, S - 1 are drawn: their mean then varies as much as the mean of S networks does. The mean of S draws
    would vary less, by the factor (S - 1) / S. With two or three seeds that differ much the intervals are still too
    narrow. A single seed is not resampled.

    References
    ----------
    Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007): rows and columns resampled independently.
    Rao and Wu, Resampling inference with complex survey data, JASA 83 (1988): one fewer than there are.
    Westfall and Young, Resampling-Based Multiple Testing, 1993, chapter 2 (max-t).
    """
    name, baseline = reference
    reports = {id(report): report for runs in (baseline, *candidates.values()) for report in runs.values()}
    drawn = resampled_runs(reports, score, resamples=resamples, seed=seed)

    def of(runs: Mapping[int, MetricReport]) -> dict[int, Resampled]:
        return {run_seed: drawn[id(report)] for run_seed, report in runs.items()}

    return compared({method: of(runs) for method, runs in candidates.items()}, (name, of(baseline)), seed)


def resampled_runs(
    reports: Mapping[Run, MetricReport], score: str, *, resamples: int, seed: int
) -> dict[Run, Resampled]:
    """Return the score of each run, and of each resample of the images, which are drawn once for all runs.

    It takes 8 bytes for each run and resample: 160 MB for 1000 runs and 20,000 resamples.
    """
    if not reports:
        return {}
    names, *others = {report.names for report in reports.values()}
    if others:
        raise ValueError(f"expected all runs to be scored on the same images, got {1 + len(others)} sets of images")
    drawn, done = np.empty((len(reports), resamples)), 0
    values = [_per_image(report, score) for report in reports.values()]
    for times in _times_drawn(len(names), resamples, seed):
        for row, per_image in zip(drawn, values, strict=True):
            means = times @ per_image / len(names)
            row[done : done + len(times)] = means if means.ndim == 1 else means.max(axis=1)
        done += len(times)
    pairs = zip(reports.items(), drawn, strict=True)
    return {run: Resampled(report[score], row, len(names)) for (run, report), row in pairs}


def compared(
    candidates: Mapping[str, Mapping[int, Resampled]], reference: tuple[str, Mapping[int, Resampled]], seed: int
) -> dict[str, Difference]:
    """Return the `differences` between runs that are already resampled, with the same images for all."""
    name, baseline = reference
    shared = {method: sorted(runs.keys() & baseline.keys()) for method, runs in candidates.items()}
    shared = {method: seeds for method, seeds in shared.items() if seeds}
    if not shared:
        return {}
    values, drawn = [], []
    for method, seeds in shared.items():
        pairs = [(candidates[method][each], baseline[each]) for each in seeds]
        values.append(np.mean([run.score - base.score for run, base in pairs]))
        drawn.append(_mean_over_drawn_seeds(np.array([run.drawn - base.drawn for run, base in pairs]), seed))
    corrected, p_values = _max_t(np.array(values), np.array(drawn))
    images = next(iter(baseline.values())).images
    return {
        method: Difference(name, float(value), _interval(row), Interval(*bounds), p, len(shared[method]), images)
        for method, value, row, bounds, p in zip(shared, values, drawn, corrected, p_values, strict=True)
    }


def _per_image(report: MetricReport, score: str) -> Floats:
    """Return each image's score, shape (images,), or the curve that the score is the maximum of, (images, 256)."""
    if score.startswith("max"):
        return report.per_image_curves[SCORES[score].curve]
    return report.rows[:, report.columns.index(score)]


def _times_drawn(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample drew each image, shape (up to `_BLOCK` resamples, images)."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - start)
        drawn = generator.integers(0, images, size=(count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _mean_over_drawn_seeds(values: Floats, seed: int) -> Floats:
    """Return the mean over drawn seeds of values of shape (seeds, resamples)."""
    seeds, resamples = values.shape
    generator = np.random.default_rng([seed, 1])  # independent of the draws of images
    drawn = generator.integers(0, seeds, size=(resamples, max(1, seeds - 1)))
    means: Floats = values[drawn, np.arange(resamples)[:, None]].mean(axis=1)
    return means


def _max_t(values: Floats, drawn: Floats) -> tuple[list[tuple[float, float]], list[float]]:
    """Return simultaneous intervals and p-values, for values of shape (candidates,) and (candidates, resamples)."""
    spread = drawn.std(axis=1, ddof=1) if drawn.shape[1] > 1 else np.zeros(len(values))
    safe = np.where(spread > 0, spread, 1.0)
    deviations = np.where(spread[:, None] > 0, np.abs(drawn - values[:, None]) / safe[:, None], 0.0)
    largest = deviations.max(axis=0)
    reach = float(np.quantile(largest, LEVEL)) * spread
    bounds = [(float(low), float(high)) for low, high in zip(values - reach, values + reach, strict=True)]
    p_values = []
    for value, width in zip(values, spread, strict=True):
        beyond = np.count_nonzero(largest >= abs(value) / width) if width > 0 else 0 if value else len(largest)
        p_values.append(float((beyond + 1) / (len(largest) + 1)))
    return bounds, p_values
