"""How far a method is from another, and how sure that is: a bootstrap over seeds and images at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from dynamic_kd.evaluation import ImageScores, Interval, bootstrap_counts, percentile_interval
from dynamic_kd.evaluation._bootstrap import LEVEL
from dynamic_kd.metrics import MetricReport

Floats = npt.NDArray[np.float64]
Run = TypeVar("Run", bound=Hashable)

# Resamples whose mean curves are made together: some megabytes, which stay in the processor's cache.
_BLOCK = 1024


class Resampled(NamedTuple):
    """A run's score, that of each resample of its images, and how many they are."""

    score: float
    drawn: Floats
    images: int


class Difference(NamedTuple):
    """A candidate's score minus the reference's, in the mean over the seeds that both have.

    Attributes
    ----------
    reference
        The other method.
    value
        The difference.
    interval
        Its 95% percentile interval, of this candidate alone.
    corrected
        Its 95% interval that holds for all candidates at once (max-t).
    p
        The share of resamples whose largest deviation, over all candidates, is at least this one's: two-sided, and
        corrected in the same way.
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
    candidates: Mapping[str, Mapping[int, MetricReport | ImageScores]],
    reference: tuple[str, Mapping[int, MetricReport | ImageScores]],
    score: str,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    r"""Return how far each candidate is from the reference, with paired intervals corrected for their number.

    A resample draws images with replacement, and seeds with replacement, one fewer than there are; its score is the
    mean over the drawn seeds of the score of the drawn images, made as the data set's (of maxF, the maximum of their
    mean curve). All seeds and methods have the same images, and methods of the same seeds the same seeds. With
    :math:`d_j` the difference of candidate j, :math:`d^*_j` that of a resample and :math:`s_j` the latter's standard
    deviation, the corrected interval is :math:`d_j \pm c\,s_j`, where c is the 95% quantile of
    :math:`\max_j |d^*_j - d_j| / s_j`.

    Parameters
    ----------
    candidates : mapping
        From method to its runs' reports, by seed; all of the same images (`dynamic_kd.training.read_records`).
    reference : tuple
        Name and reports of what they are compared with.
    score : str
        What is compared.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        From candidate to difference, each on the seeds that it shares with the reference; those that share none are
        left out.

    Raises
    ------
    ValueError
        If runs were scored on different images.

    Notes
    -----
    Of S seeds, S - 1 are drawn: their mean then varies as much as that of S networks does, where that of S draws would
    vary less by the factor (S - 1) / S. Still, with two or three seeds nobody knows what a further one would do, and
    where they differ much intervals are too narrow. A single seed is taken as it is.

    References
    ----------
    Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007): rows and columns resampled independently.
    Rao and Wu, Resampling inference with complex survey data, JASA 83 (1988): one fewer than there are.
    Westfall and Young, Resampling-Based Multiple Testing, 1993, chapter 2 (max-t).
    """
    name, own = reference
    reports = {id(report): report for runs in (own, *candidates.values()) for report in runs.values()}
    samples = {key: each if isinstance(each, ImageScores) else ImageScores.of(each) for key, each in reports.items()}
    found = resampled_runs(samples, score, resamples=resamples, seed=seed)

    def of(runs: Mapping[int, MetricReport | ImageScores]) -> dict[int, Resampled]:
        return {each: found[id(report)] for each, report in runs.items()}

    return compared({method: of(runs) for method, runs in candidates.items()}, (name, of(own)), seed)


def resampled_runs(
    samples: Mapping[Run, ImageScores], score: str, *, resamples: int, seed: int
) -> dict[Run, Resampled]:
    """Return a score of each run, and of each resample of the images, drawn once for all runs.

    It takes 8 bytes for each run and resample: 160 MB for 1000 runs and 20,000 resamples.
    """
    if not samples:
        return {}
    images, *others = {sample.names for sample in samples.values()}
    if others:
        raise ValueError(f"expected all runs to be scored on the same images, got {1 + len(others)} sets of images")
    drawn, done = np.empty((len(samples), resamples)), 0
    for times in _times_in_blocks(len(images), resamples, seed):
        for own, sample in zip(drawn, samples.values(), strict=True):
            own[done : done + len(times)] = _of_drawn_images(sample, score, times)
        done += len(times)
    return {
        run: Resampled(sample.scores()[score], own, len(images))
        for own, (run, sample) in zip(drawn, samples.items(), strict=True)
    }


def compared(
    candidates: Mapping[str, Mapping[int, Resampled]], reference: tuple[str, Mapping[int, Resampled]], seed: int
) -> dict[str, Difference]:
    """Return the `differences` of runs that are resampled already, together."""
    name, own = reference
    shared = {method: sorted(runs.keys() & own.keys()) for method, runs in candidates.items()}
    shown = {method: seeds for method, seeds in shared.items() if seeds}
    if not shown:
        return {}
    values, drawn = [], []
    for method, seeds in shown.items():
        pairs = [(candidates[method][each], own[each]) for each in seeds]
        values.append(np.mean([run.score - base.score for run, base in pairs]))
        drawn.append(_of_drawn_seeds(np.array([run.drawn - base.drawn for run, base in pairs]), seed))
    corrected, p_values = _max_t(np.array(values), np.array(drawn))
    images = next(iter(own.values())).images
    return {
        method: Difference(
            name, float(value), percentile_interval(each), Interval(*bounds), p, len(shown[method]), images
        )
        for method, value, each, bounds, p in zip(shown, values, drawn, corrected, p_values, strict=True)
    }


def _times_in_blocks(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample drew each image, shape (some resamples, images)."""
    for counts in bootstrap_counts(images, resamples, seed):
        for start in range(0, len(counts), _BLOCK):
            yield counts[start : start + _BLOCK]


def _of_drawn_images(sample: ImageScores, score: str, times: Floats) -> Floats:
    """Return the score of each resample, made as the data set's: a mean, or the maximum of the mean curve."""
    mean = score in sample.means
    sums = times @ sample.means[score] if mean else (times @ sample.curves[score]).max(axis=1)
    return sums / len(sample.names)


def _of_drawn_seeds(values: Floats, seed: int) -> Floats:
    """Return the mean over drawn seeds of (seeds, resamples) values."""
    seeds, resamples = values.shape
    generator = np.random.default_rng([seed, 1])  # apart from what draws the images
    drawn = generator.integers(0, seeds, size=(resamples, max(1, seeds - 1)))
    means: Floats = values[drawn, np.arange(resamples)[:, None]].mean(axis=1)
    return means


def _max_t(values: Floats, drawn: Floats) -> tuple[list[tuple[float, float]], list[float]]:
    """Return simultaneous intervals and p-values of (candidates,) values and their (candidates, resamples)."""
    spread = drawn.std(axis=1, ddof=1) if drawn.shape[1] > 1 else np.zeros(len(values))
    safe = np.where(spread > 0, spread, 1.0)
    deviations = np.where(spread[:, None] > 0, np.abs(drawn - values[:, None]) / safe[:, None], 0.0)
    largest = deviations.max(axis=0)
    reach = float(np.quantile(largest, LEVEL)) * spread
    bounds = [(float(low), float(high)) for low, high in zip(values - reach, values + reach, strict=True)]
    p_values = []
    for value, own in zip(values, spread, strict=True):
        beyond = np.count_nonzero(largest >= abs(value) / own) if own > 0 else 0 if value else len(largest)
        p_values.append(float((beyond + 1) / (len(largest) + 1)))
    return bounds, p_values
