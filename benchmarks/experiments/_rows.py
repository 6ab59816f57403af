"""The rows of an experiment: what a method's finished runs scored at a point of the grid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.experiments._bootstrap import Difference
from benchmarks.experiments._experiment import Experiment, Point
from benchmarks.experiments._plan import Plan
from dynamic_kd.evaluation import ImageScores


class RunResult(NamedTuple):
    """A finished run: its images' records for reporting and for choosing, and what its folder says of it."""

    name: str
    folder: Path
    report: ImageScores
    choosing: ImageScores | None
    facts: Mapping[str, Any]


class Spread(NamedTuple):
    """A score's mean over seeds, and its standard deviation (NaN of a single one)."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Row:
    """A method at a point of the grid.

    Attributes
    ----------
    method : str
        Its name.
    point : tuple
        The point's settings that are not tuned.
    chosen : tuple
        The tuned ones, with the values that were chosen.
    runs : dict
        From seed to the run's name.
    scores, choosing : dict
        From score to its spread over seeds, on the reporting and on the choosing images.
    differences : dict
        From score to the difference to the best fixed weight; empty for that one, and where there is none.
    """

    method: str
    point: Point
    chosen: Point
    runs: Mapping[int, str]
    scores: Mapping[str, Spread]
    choosing: Mapping[str, Spread]
    differences: Mapping[str, Difference] = field(default_factory=dict)


def grid_rows(experiment: Experiment, plan: Plan, runs: Mapping[str, RunResult]) -> list[Row]:
    """Return a row for each method at each point of the grid where it has a finished run, but for mere repetitions."""
    found: dict[tuple[str, Point], dict[int, str]] = {}
    for cell in plan.cells:
        if cell.run in runs:
            found.setdefault((cell.method, cell.point), {})[cell.seed] = cell.run
    order = [(method.name, point) for point in experiment.points() for method in experiment.methods]
    rows = []
    for method, point in order:
        own = found.get((method, point))
        if own:
            samples = [runs[name] for name in own.values()]
            scores = _spreads([each.report for each in samples], experiment)
            choosing = _spreads([each.choosing or each.report for each in samples], experiment)
            group, tuned = experiment.group(point), experiment.tuned(point)
            rows.append(Row(method, group, tuned, own, scores, choosing))
    return _without_repetitions(plan, rows)


def _without_repetitions(plan: Plan, rows: list[Row]) -> list[Row]:
    """Leave rows of shared runs out where there is nothing to compare them with.

    Runs without a teacher stand at all points that differ in the teacher alone. They are shown where another method has
    runs of that very point, and without such a place at the first of their points.
    """
    points: dict[str, set[Point]] = {}
    for cell in plan.cells:
        points.setdefault(cell.run, set()).add(cell.point)
    alive = {row.point for row in rows if any(len(points[name]) == 1 for name in row.runs.values())}
    shown = {name for row in rows if row.point in alive for name in row.runs.values()}
    kept = []
    for row in rows:
        names = set(row.runs.values())
        if row.point in alive or not names & shown:
            kept.append(row)
            shown |= names
    return kept


def _spreads(samples: list[ImageScores], experiment: Experiment) -> dict[str, Spread]:
    every = [sample.scores() for sample in samples]
    spreads = {}
    for score in dict.fromkeys((*experiment.scores, experiment.by)):
        values = np.array([each[score] for each in every])
        spreads[score] = Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else math.nan)
    return spreads
