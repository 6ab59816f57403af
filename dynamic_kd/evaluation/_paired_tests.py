"""Tests of whether two methods differ by more than the choice of images explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd.evaluation._bootstrap import Interval, percentile_interval

Floats = npt.NDArray[np.float64]

# On fewer images, the result of a test depends mostly on which images they are.
FEW = 20


class PairedTest(NamedTuple):
    """Two methods on the images of one data set that all methods have.

    Attributes
    ----------
    dataset, score, first, second
        What is compared.
    images
        Number of images, which all methods of the data set have.
    difference
        The first method's score minus the second's.
    interval
        Bootstrap interval of the difference; None without resamples.
    p_bootstrap, p_bootstrap_holm
        Two-sided p-value of the paired bootstrap, and the same corrected by Holm for the pairs of methods tested on
        this data set with this score; None without resamples.
    p_wilcoxon, p_wilcoxon_holm
        The same of Wilcoxon's signed-rank test; None for scores that are not means over images.
    """

    dataset: str
    score: str
    first: str
    second: str
    images: int
    difference: float
    interval: Interval | None
    p_bootstrap: float | None
    p_bootstrap_holm: float | None
    p_wilcoxon: float | None
    p_wilcoxon_holm: float | None


class PairedScores(NamedTuple):
    """A method on the images that all methods have: its scores, the value of each image, and the resampled scores."""

    scores: Mapping[str, float]
    means: Mapping[str, Floats]
    resampled: Mapping[str, Floats]


def paired_tests(
    dataset: str,
    methods: Mapping[str, PairedScores],
    scores: Iterable[str],
    images: int,
    *,
    reference: str | None = None,
) -> list[PairedTest]:
    """Test all pairs of methods on one data set, or each against a reference; nothing if the reference is missing."""
    if reference is None:
        pairs = list(combinations(methods, 2))
    else:
        pairs = [(reference, method) for method in methods if reference in methods and method != reference]
    return [test for score in scores for test in _tests_of(dataset, score, pairs, methods, images)]


def _tests_of(
    dataset: str, score: str, pairs: Sequence[tuple[str, str]], methods: Mapping[str, PairedScores], images: int
) -> list[PairedTest]:
    """Return the tests of one score, which are one family for the correction."""
    both = [(methods[first], methods[second]) for first, second in pairs]
    drawn = [a.resampled[score] - b.resampled[score] for a, b in both if score in a.resampled]
    ranked = [wilcoxon_p(a.means[score], b.means[score]) for a, b in both if score in a.means]
    p_bootstrap: list[float | None] = [bootstrap_p(each, images) for each in drawn] or [None] * len(pairs)
    p_wilcoxon: list[float | None] = [*ranked] or [None] * len(pairs)
    columns = zip(pairs, both, p_bootstrap, holm(p_bootstrap), p_wilcoxon, holm(p_wilcoxon), strict=True)
    return [
        PairedTest(
            dataset=dataset,
            score=score,
            first=pair[0],
            second=pair[1],
            images=images,
            difference=a.scores[score] - b.scores[score],
            interval=percentile_interval(drawn[index]) if drawn else None,
            p_bootstrap=bootstrapped,
            p_bootstrap_holm=bootstrapped_holm,
            p_wilcoxon=by_rank,
            p_wilcoxon_holm=by_rank_holm,
        )
        for index, (pair, (a, b), bootstrapped, bootstrapped_holm, by_rank, by_rank_holm) in enumerate(columns)
    ]


def bootstrap_p(differences: Floats, images: int) -> float:
    r"""Return the two-sided p-value of bootstrapped differences.

    .. math:: p = \min\left(1, 2 \, \frac{\min(\#\{d \le 0\}, \#\{d \ge 0\}) + 1}{R + 1}\right)

    for R resamples: the level at which the percentile interval would just reach 0. It is at least 2 / (R + 1). For n
    images it is also at least :math:`2 / 2^n`, the smallest p-value of a sign test: if the differences of a few images
    share a sign, so do all resamples.

    References
    ----------
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.4.
    """
    smaller = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return float(min(1.0, max(2 * (smaller + 1) / (len(differences) + 1), 2.0 ** (1 - images))))


def wilcoxon_p(first: Floats, second: Floats) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; 1 where all differences are 0.

    References
    ----------
    Wilcoxon, Individual Comparisons by Ranking Methods, Biometrics Bulletin 1, 1945.
    """
    from scipy.stats import wilcoxon

    differences = first - second
    differences = differences[differences != 0]
    return float(wilcoxon(differences).pvalue) if differences.size else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    r"""Correct p-values for their number: the k-th smallest of m is at most :math:`(m - k + 1) p_{(k)}`.

    References
    ----------
    Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    known = [(value, index) for index, value in enumerate(p_values) if value is not None]
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for step, (value, index) in enumerate(sorted(known)):
        highest = max(highest, min(1.0, (len(known) - step) * value))
        corrected[index] = highest
    return corrected
