"""How far a method is from another, and how sure that is: a bootstrap over seeds and images at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd.evaluation._bootstrap import LEVEL, Interval, Sample, interval, resampled_scores

Floats = npt.NDArray[np.float64]


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
    candidates: Mapping[str, Mapping[int, Sample]],
    reference: tuple[str, Mapping[int, Sample]],
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
        From method to its runs' samples, by seed; all of the same images.
    reference : tuple
        Name and samples of what they are compared with.
    score : str
        What is compared.
    resamples, seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        From candidate to difference, each on the seeds that it shares with the reference; those that share none are
        left out.

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
    shared = {method: sorted(runs.keys() & own.keys()) for method, runs in candidates.items()}
    shown = {method: seeds for method, seeds in shared.items() if seeds}
    if not shown:
        return {}
    base = {each: _scored(own[each], score, resamples, seed) for each in set().union(*shown.values())}
    values, drawn = [], []
    for method, seeds in shown.items():
        scored = [_scored(candidates[method][each], score, resamples, seed) for each in seeds]
        values.append(np.mean([one - base[each][0] for each, (one, _) in zip(seeds, scored, strict=True)]))
        apart = np.array([many - base[each][1] for each, (_, many) in zip(seeds, scored, strict=True)])
        drawn.append(_of_drawn_seeds(apart, seed))
    corrected, p_values = _max_t(np.array(values), np.array(drawn))
    images = len(next(iter(own.values())).names)
    return {
        method: Difference(name, float(value), interval(each), Interval(*bounds), p, len(shown[method]), images)
        for method, value, each, bounds, p in zip(shown, values, drawn, corrected, p_values, strict=True)
    }


def _scored(sample: Sample, score: str, resamples: int, seed: int) -> tuple[float, Floats]:
    """Return a run's score, and that of each resample of images."""
    alone = _only(sample, score)
    return alone.scores()[score], resampled_scores(alone, resamples, seed)[score]


def _of_drawn_seeds(values: Floats, seed: int) -> Floats:
    """Return the mean over drawn seeds of (seeds, resamples) values."""
    seeds, resamples = values.shape
    generator = np.random.default_rng([seed, 1])  # apart from what draws the images
    drawn = generator.integers(0, seeds, size=(resamples, max(1, seeds - 1)))
    means: Floats = values[drawn, np.arange(resamples)[:, None]].mean(axis=1)
    return means


def _only(sample: Sample, score: str) -> Sample:
    rows = {score: sample.rows[score]} if score in sample.rows else {}
    curves = {score: sample.curves[score]} if score in sample.curves else {}
    return Sample(sample.names, rows, curves)


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
