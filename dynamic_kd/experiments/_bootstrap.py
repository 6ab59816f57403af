"""How far a method is from another, and how sure that is: a bootstrap over seeds and images at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    A resample draws seeds with replacement, and images with replacement, the same for all seeds and methods; its score
    is the mean over the drawn seeds of the score of the drawn images, made as the data set's (of maxF, the maximum of
    their mean curve). With :math:`d_j` the difference of candidate j, :math:`d^*_j` that of a resample and
    :math:`s_j` the latter's standard deviation, the corrected interval is :math:`d_j \pm c\,s_j`, where c is the 95%
    quantile of :math:`\max_j |d^*_j - d_j| / s_j`.

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
        From candidate to difference. Candidates without a seed that the reference has are left out, and all candidates
        are compared on the seeds that all of them have.

    Notes
    -----
    Resampling S seeds gives a variance over seeds that is too small by the factor (S - 1) / S: with three seeds,
    intervals are somewhat too narrow.

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (hierarchical data).
    Westfall and Young, Resampling-Based Multiple Testing, 1993, chapter 2 (max-t).
    """
    name, own = reference
    shown = {method: runs for method, runs in candidates.items() if runs.keys() & own.keys()}
    if not shown:
        return {}
    seeds = sorted(set(own).intersection(*shown.values()))
    if not seeds:
        return {}
    base, base_drawn = _scored([own[each] for each in seeds], score, resamples, seed)
    values, drawn = [], []
    for runs in shown.values():
        mean, resampled = _scored([runs[each] for each in seeds], score, resamples, seed)
        values.append(mean - base)
        drawn.append(resampled - base_drawn)
    corrected, p_values = _max_t(np.array(values), np.array(drawn))
    images = len(own[seeds[0]].names)
    return {
        method: Difference(name, float(value), interval(each), Interval(*bounds), p, len(seeds), images)
        for method, value, each, bounds, p in zip(shown, values, drawn, corrected, p_values, strict=True)
    }


def _scored(samples: Sequence[Sample], score: str, resamples: int, seed: int) -> tuple[float, Floats]:
    """Return the mean of a score over seeds, and that of each resample of seeds and images."""
    alone = [_only(sample, score) for sample in samples]
    by_seed = np.array([resampled_scores(each, resamples, seed)[score] for each in alone])
    generator = np.random.default_rng([seed, 1])  # apart from what draws the images
    drawn = generator.integers(0, len(samples), size=(resamples, len(samples)))
    means = by_seed[drawn, np.arange(resamples)[:, None]].mean(axis=1)
    return float(np.mean([each.scores()[score] for each in alone])), means


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
