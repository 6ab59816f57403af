"""What an experiment found: the chosen settings, means and deviations over seeds, and differences with intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.experiments._bootstrap import Difference, compared, resampled_runs
from benchmarks.experiments._experiment import Experiment, Point
from benchmarks.experiments._folder import has_diverged, result_file, run_folder, state_of
from benchmarks.experiments._noise import noise_facts
from benchmarks.experiments._plan import Cell, Plan, PlannedRun
from benchmarks.experiments._rows import Row, RunResult, grid_rows
from dynamic_kd.evaluation import ImageScores
from dynamic_kd.metrics import SCORES
from dynamic_kd.training._records_file import read_records
from dynamic_kd.training._results import RESULTS
from dynamic_kd.training._stage import records_file
from dynamic_kd.training._surroundings import read_sessions
from dynamic_kd.training._train import SURROUNDINGS


@dataclass(frozen=True)
class Results:
    """What was found.

    Attributes
    ----------
    experiment : Experiment
        What was asked.
    rows : tuple of Row
        A row for each point and method, tuned settings chosen.
    grid : tuple of Row
        A row for each point and method of the whole grid.
    runs : dict
        The finished runs, by name.
    references : dict
        From point to the best fixed weight there.
    diverged : tuple of str
        Runs that stopped because their loss was no longer finite.
    missing : tuple of str
        Other runs that are not finished.
    own_choosing : bool
        Whether there are images for choosing that are not those of the report.
    teachers : dict
        The finished runs that trained a teacher.
    cells : tuple of Cell
        What each run stands for.
    """

    experiment: Experiment
    rows: tuple[Row, ...]
    grid: tuple[Row, ...]
    runs: Mapping[str, RunResult]
    references: Mapping[Point, str]
    diverged: tuple[str, ...]
    missing: tuple[str, ...]
    own_choosing: bool
    teachers: Mapping[str, RunResult]
    cells: tuple[Cell, ...]


def read_results(experiment: Experiment, plan: Plan, folder: str | Path) -> Results:
    """Read what an experiment's finished runs found, and compare the methods.

    Raises
    ------
    ValueError
        If no run is finished, or if runs were scored on different images.
    """
    folder = Path(folder)
    states = {run.name: state_of(folder, run) for run in plan.runs}
    read = {run.name: _read(folder, run) for run in plan.runs if states[run.name] == "finished"}
    teachers = {run.name: read.pop(run.name) for run in plan.runs if run.recipe.teacher_only and run.name in read}
    runs = read
    if not runs:
        count = sum(not run.recipe.teacher_only for run in plan.runs)
        raise ValueError(f"{folder}: expected a finished run, got none of {count}; run the experiment first")
    if len({run.report.names for run in runs.values()}) > 1:
        raise ValueError(f"{folder}: expected all runs to be scored on the same images, got others")
    unfinished = [name for name, state in states.items() if state != "finished"]
    diverged = tuple(name for name in unfinished if has_diverged(folder, name))
    grid = grid_rows(experiment, plan, runs)
    rows = _chosen(experiment, grid)
    references = _references(experiment, rows)
    return Results(
        experiment=experiment,
        rows=_with_differences(experiment, rows, runs, references),
        grid=tuple(grid),
        runs=runs,
        references=references,
        diverged=diverged,
        missing=tuple(name for name in unfinished if name not in diverged),
        own_choosing=all(run.choosing is not None for run in runs.values()),
        teachers=teachers,
        cells=plan.cells,
    )


def _read(folder: Path, run: PlannedRun) -> RunResult:
    place = run_folder(folder, run.name)
    judged, choosing = result_file(place, run.recipe), records_file(place, 2, "validation")
    own = choosing.is_file() and choosing != judged
    facts = json.loads((place / RESULTS).read_text(encoding="utf-8"))
    facts["environment"] = read_sessions(place / SURROUNDINGS)[-1]
    if noise := noise_facts(place, run.recipe):
        facts["noise"] = noise
    return RunResult(
        run.name,
        place,
        ImageScores.of(read_records(judged)),
        ImageScores.of(read_records(choosing)) if own else None,
        facts,
    )


def _best(rows: list[Row], by: str) -> Row:
    """Return the row that is best on the choosing images; the first of equals.

    Those with fewer seeds than others, as where runs diverged or are not finished, cannot be chosen.
    """
    most = max(len(row.runs) for row in rows)
    best = max if SCORES[by].higher_is_better else min
    return best([row for row in rows if len(row.runs) == most], key=lambda row: row.choosing[by].mean)


def _chosen(experiment: Experiment, grid: list[Row]) -> list[Row]:
    """Return, of each method at each point that is left, the row with the tuned settings that chose best."""
    groups: dict[tuple[Point, str], list[Row]] = {}
    for row in grid:
        groups.setdefault((row.point, row.method), []).append(row)
    return [_best(rows, experiment.by) for rows in groups.values()]


def _references(experiment: Experiment, rows: list[Row]) -> dict[Point, str]:
    """Return the best fixed weight at each point, on the choosing images."""
    fixed = {method.name for method in experiment.methods if method.fixed}
    points = dict.fromkeys(row.point for row in rows)
    found = {point: [row for row in rows if row.point == point and row.method in fixed] for point in points}
    return {point: _best(own, experiment.by).method for point, own in found.items() if own}


def _with_differences(
    experiment: Experiment, rows: list[Row], runs: Mapping[str, RunResult], references: Mapping[Point, str]
) -> tuple[Row, ...]:
    """Compare the methods at each point with the best fixed weight there.

    A run may stand at many points: each is resampled once for all of them. The resamples of one score are held at once.
    """
    samples = {name: runs[name].report for row in rows if row.point in references for name in row.runs.values()}
    found: dict[tuple[Point, str], dict[str, Difference]] = {}
    for score in experiment.scores:
        drawn = resampled_runs(samples, score, resamples=experiment.resamples, seed=experiment.bootstrap_seed)
        for point, reference in references.items():
            here = [row for row in rows if row.point == point]
            own = {row.method: {seed: drawn[name] for seed, name in row.runs.items()} for row in here}
            base = own.pop(reference)
            for method, each in compared(own, (reference, base), experiment.bootstrap_seed).items():
                found.setdefault((point, method), {})[score] = each
    return tuple(replace(row, differences=found.get((row.point, row.method), {})) for row in rows)
