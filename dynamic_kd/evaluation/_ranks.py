"""Methods ranked over data sets and scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dynamic_kd.metrics import SCORES, MetricReport

# At threshold 0 all is salient, whatever the map: recall and false positive rate are 1, and the balanced error is 0.5,
# which is the most of any map that is nowhere worse than chance.
_CONSTANT = ("maxRecall", "maxFPR", "maxBER")


class Rank(NamedTuple):
    """A method's mean rank over all scores, on each data set and over these; 1 is the best."""

    method: str
    datasets: dict[str, float]
    mean: float


def lower_is_better(score: str) -> bool:
    """Whether a score measures error, as MAE does."""
    return not SCORES[score].higher_is_better


def is_constant(score: str) -> bool:
    """Whether a score is the same for all methods by its definition, so that none can be the best."""
    return score.removesuffix("_per_image") in _CONSTANT


def incomplete(reports: Mapping[str, MetricReport]) -> dict[str, int]:
    """Return the methods that lack images which others were scored on, and how many they lack."""
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
        Data set -> method -> score -> value, every digit of which counts; equal ones share the mean of their places.
    scores
        Scores that count, all alike, but for those that are constant.

    Returns
    -------
    list of Rank
        Over the data sets that every method was scored on; nothing if there is none, or no other method or no score.
    """
    scores = [score for score in scores if not is_constant(score)]
    methods = list(dict.fromkeys(method for reports in results.values() for method in reports))
    shared = {name: reports for name, reports in results.items() if all(method in reports for method in methods)}
    if not shared or not scores or len(methods) < 2:
        return []
    from scipy.stats import rankdata

    means = {}
    for name, reports in shared.items():
        table = [
            [(1 if lower_is_better(each) else -1) * reports[method][each] for method in methods] for each in scores
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
