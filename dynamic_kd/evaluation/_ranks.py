"""Methods ranked over data sets and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dynamic_kd.metrics import SCORES, MetricReport

# At threshold 0 every pixel counts as salient, whatever the map: recall and false positive rate are 1, and the balanced
# error rate is 0.5, the maximum for any map that is nowhere worse than chance.
_CONSTANT = ("maxRecall", "maxFPR", "maxBER")


class Rank(NamedTuple):
    """A method's mean rank over scores, on each data set and over all of them; 1 is the best."""

    method: str
    datasets: dict[str, float]
    mean: float


def is_constant(score: str) -> bool:
    """Whether a score is the same for all methods by definition, so that none can be the best."""
    return score.removesuffix("_per_image") in _CONSTANT


def incomplete(reports: Mapping[str, MetricReport]) -> dict[str, int]:
    """Return the methods that lack images on which others were scored, and how many they lack."""
    every = {name for report in reports.values() for name in report.names}
    lacking = {method: len(every) - len(report.names) for method, report in reports.items()}
    return {method: count for method, count in lacking.items() if count}


def unranked(results: Iterable[Mapping[str, MetricReport]]) -> list[str]:
    """Return the methods that are `incomplete` on some data set."""
    return list(dict.fromkeys(method for reports in results for method in incomplete(reports)))


def ranks(results: Mapping[str, Mapping[str, Mapping[str, float]]], scores: Sequence[str]) -> list[Rank]:
    """Rank methods by their scores, the best first.

    Parameters
    ----------
    results
        Data set -> method -> score -> value. Every digit counts; equal values share the mean of their places.
    scores
        Scores to rank by, with equal weight; constant ones are left out.

    Returns
    -------
    list of Rank
        Over the data sets on which every method was scored; empty without such data sets, scores, or a second method.
    """
    scores = [score for score in scores if not is_constant(score)]
    methods = list(dict.fromkeys(method for reports in results.values() for method in reports))
    shared = {name: reports for name, reports in results.items() if all(method in reports for method in methods)}
    if not shared or not scores or len(methods) < 2:
        return []
    from scipy.stats import rankdata

    means = {}
    for name, reports in shared.items():
        signs = [-1 if SCORES[score].higher_is_better else 1 for score in scores]
        table = [
            [sign * reports[method][score] for method in methods] for sign, score in zip(signs, scores, strict=True)
        ]
        means[name] = rankdata(np.array(table), axis=1).mean(axis=0)
    ranked = [
        Rank(
            method,
            {name: float(mean[index]) for name, mean in means.items()},
            float(np.mean([*means.values()], 0)[index]),
        )
        for index, method in enumerate(methods)
    ]
    return sorted(ranked, key=lambda rank: rank.mean)
