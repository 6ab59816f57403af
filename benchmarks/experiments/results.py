"""What the finished runs of an experiment show: chosen settings, means over seeds, and differences with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.experiments.bootstrap import LEVEL, compared, resampled_runs
from benchmarks.experiments.experiment import Experiment, Point, short
from benchmarks.experiments.paper import paper_row
from benchmarks.experiments.plan import Cell, Plan, PlannedRun
from benchmarks.experiments.run import records_file, run_folder, sessions, state_of
from dynamic_kd import __version__
from dynamic_kd.metrics import SCORES, MetricReport
from dynamic_kd.training import read_noise_report, read_records

Json = dict[str, Any]

# Spoilt samples found, interpolated at these shares of clean samples flagged.
CLEAN_SHARES = np.linspace(0, 1, 21)
_MISSING_NAMED = 5


class Results(NamedTuple):
    """The results of an experiment.

    Attributes
    ----------
    summary
        The content of ``results.json``: the experiment, what its numbers are, a row per method and point (``rows``,
        tuned settings chosen) and the rows of the whole grid (``grid``).
    runs
        The content of ``runs.json``: a row per run with its cells, scores, duration, device and versions. Runs without
        cells trained a teacher.
    reports
        From run to the report of the images that it is judged by. Empty if the results were read from the two files.
    """

    summary: Json
    runs: list[Json]
    reports: Mapping[str, MetricReport]


def read_results(experiment: Experiment, plan: Plan, folder: str | Path) -> Results:
    """Read what the finished runs of an experiment have left, and compare the methods.

    Raises
    ------
    ValueError
        If no run is finished, or if runs were scored on different images.
    """
    folder = Path(folder)
    states = {run.name: state_of(folder, run) for run in plan.runs}
    finished = [run for run in plan.runs if states[run.name] == "finished"]
    students = [run for run in finished if not run.recipe.teacher_only]
    if not students:
        raise ValueError(f"{folder}: none of the runs is finished; run the experiment first")
    reports = {run.name: read_records(records_file(run_folder(folder, run.name), run.recipe)) for run in students}
    if len({report.names for report in reports.values()}) > 1:
        raise ValueError(f"{folder}: the runs were scored on different images; use one recipe and one data set")
    runs = [_run_row(folder, run, plan.cells, reports.get(run.name)) for run in finished]
    unfinished = [name for name, state in states.items() if state != "finished"]
    diverged = [name for name in unfinished if "diverged" in (sessions(run_folder(folder, name)) or [{}])[-1]]
    summary = summarize(experiment, plan, runs, reports)
    summary |= {"diverged": diverged, "missing": [name for name in unfinished if name not in diverged]}
    summary["how"] += _left_out(summary)
    return Results(summary, runs, reports)


def summarize(experiment: Experiment, plan: Plan, runs: Sequence[Json], reports: Mapping[str, MetricReport]) -> Json:
    """Return the content of ``results.json`` for finished runs, from their rows and reports."""
    students = {row["run"]: row for row in runs if row["cells"]}
    grid = _grid_rows(experiment, plan, students)
    rows = _chosen(experiment, grid)
    references = _references(experiment, rows)
    _add_differences(experiment, rows, reports, references)
    free = [axis for axis in experiment.axes if axis not in experiment.choose]
    summary: Json = {
        "version": __version__,
        "experiment": experiment.name,
        "about": experiment.about,
        "recipe": Path(experiment.recipe).name.removesuffix(".toml"),
        "settings": dict(experiment.settings),
        "methods": {name: dict(method.settings) for name, method in experiment.methods.items()},
        "seeds": list(experiment.seeds),
        "by": experiment.by,
        "axis": experiment.axis or next(iter((*free, *experiment.axes)), None),
        "how": [],
        "rows": rows,
        "grid": grid,
    }
    if experiment.paper_table is not None:
        columns = {name: each.paper for name, each in experiment.methods.items() if each.paper}
        summary["paper"] = {name: paper_row(experiment.paper_table, column) for name, column in columns.items()}
    has_choosing = all("choosing" in row for row in students.values())
    images = len(next(iter(reports.values())).names)
    summary["how"] = _sentences(experiment, summary["recipe"], images, bool(references), has_choosing)
    return summary


def read_published(folder: str | Path) -> Results:
    """Read ``results.json`` and ``runs.json``, and compute means and deviations again from the scores of single runs.

    Differences and their intervals need the records of every image, so they stay as they are in the file.
    """
    summary, runs = (json.loads((Path(folder) / f"{name}.json").read_text("utf-8")) for name in ("results", "runs"))
    known = {row["run"]: row for row in runs}
    for row in (*summary["rows"], *summary["grid"]):
        row |= _spreads([known[name] for name in row["runs"].values()], row["scores"])
    return Results(summary, runs, {})


def _run_row(folder: Path, run: PlannedRun, cells: Iterable[Cell], report: MetricReport | None) -> Json:
    """Return the row of a finished run."""
    place = run_folder(folder, run.name)
    judged = records_file(place, run.recipe)
    results = json.loads((place / "results.json").read_text(encoding="utf-8"))
    row: Json = {
        "run": run.name,
        "cells": [
            {"method": cell.method, "seed": cell.seed, **dict(cell.point)} for cell in cells if cell.run == run.name
        ],
        "report": (read_records(judged) if report is None else report).as_dict(),
    }
    choosing = place / "student-validation.npz"
    if choosing.is_file() and choosing != judged:
        row["choosing"] = read_records(choosing).as_dict()
    row["seconds"] = results["seconds"]
    if "noise" in results:
        row["noise"] = results["noise"]
        if 0 < row["noise"].get("spoilt", 0) < row["noise"]["samples"]:
            roc = read_noise_report(place / "noise.csv").roc()
            row["noise"]["roc"] = [round(float(share), 4) for share in np.interp(CLEAN_SHARES, *roc)]
    session = sessions(place)[-1]
    return row | {key: session[key] for key in ("device", "platform", "versions") if key in session}


def _grid_rows(experiment: Experiment, plan: Plan, runs: Mapping[str, Json]) -> list[Json]:
    """Return a row for each method at each point of the grid where it has a finished run."""
    found: dict[tuple[str, Point], dict[int, str]] = {}
    for cell in plan.cells:
        if cell.run in runs:
            found.setdefault((cell.method, cell.point), {})[cell.seed] = cell.run
    scores = dict.fromkeys((*experiment.scores, experiment.by))
    rows = []
    for method, point in _without_repetitions(experiment, plan, found):
        names = found[method, point]
        rows.append(
            {
                "method": method,
                **{setting: value for setting, value in point if setting not in experiment.choose},
                "chosen": {setting: value for setting, value in point if setting in experiment.choose},
                "runs": {str(seed): name for seed, name in names.items()},
                **_spreads([runs[name] for name in names.values()], scores),
                "differences": {},
            }
        )
    return rows


def _without_repetitions(
    experiment: Experiment, plan: Plan, found: Mapping[tuple[str, Point], Mapping[int, str]]
) -> list[tuple[str, Point]]:
    """Return the methods and points with a finished run, in order, without points that only repeat shared runs.

    A run without a teacher belongs to all points that differ in the teacher. It is shown at the points where another
    method has runs of that point alone, and if there are none, at the first of its points.
    """
    points: dict[str, set[Point]] = {}
    for cell in plan.cells:
        points.setdefault(cell.run, set()).add(cell.point)
    order = [(method, point) for point in experiment.points() for method in experiment.methods]
    order = [key for key in order if key in found]

    def free(point: Point) -> Point:
        return tuple((setting, value) for setting, value in point if setting not in experiment.choose)

    distinct = {free(key[1]) for key in order if any(len(points[name]) == 1 for name in found[key].values())}
    shown = {name for key in order if free(key[1]) in distinct for name in found[key].values()}
    kept = []
    for key in order:
        names = set(found[key].values())
        if free(key[1]) in distinct or not names & shown:
            kept.append(key)
            shown |= names
    return kept


def _spreads(runs: Sequence[Json], scores: Iterable[str]) -> Json:
    """Return mean and standard deviation over runs, of the reporting and of the choosing images."""

    def spread(values: Sequence[float]) -> Json:
        return {"mean": float(np.mean(values)), "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None}

    return {
        "scores": {score: spread([run["report"][score] for run in runs]) for score in scores},
        "choosing": {score: spread([run.get("choosing", run["report"])[score] for run in runs]) for score in scores},
    }


def point_of(row: Json) -> Json:
    """Return the settings of a row's point, without the tuned ones."""
    return {key: value for key, value in row.items() if key not in _ROW_KEYS}


_ROW_KEYS = ("method", "chosen", "runs", "scores", "choosing", "differences")


def _best(rows: Sequence[Json], by: str) -> Json:
    """Return the row that is best on the choosing images, the first of equals.

    Rows with fewer seeds than others, where runs diverged or are not finished, are not eligible.
    """
    most = max(len(row["runs"]) for row in rows)
    complete = [row for row in rows if len(row["runs"]) == most]
    return (max if SCORES[by].higher_is_better else min)(complete, key=lambda row: row["choosing"][by]["mean"])


def _chosen(experiment: Experiment, grid: Sequence[Json]) -> list[Json]:
    """Return, for each method at each point, a copy of the row with the best tuned settings."""
    groups: dict[str, list[Json]] = {}
    for row in grid:
        groups.setdefault(repr((point_of(row), row["method"])), []).append(row)
    return [dict(_best(rows, experiment.by)) for rows in groups.values()]


def _references(experiment: Experiment, rows: Sequence[Json]) -> dict[str, str]:
    """Return the best baseline on the choosing images, for each point (as text)."""
    fixed: dict[str, list[Json]] = {}
    for row in rows:
        if experiment.methods[row["method"]].fixed:
            fixed.setdefault(repr(point_of(row)), []).append(row)
    return {point: _best(here, experiment.by)["method"] for point, here in fixed.items()}


def _add_differences(
    experiment: Experiment, rows: Sequence[Json], reports: Mapping[str, MetricReport], references: Mapping[str, str]
) -> None:
    """Compare the methods at each point with the best baseline there.

    A run may belong to many points, and is resampled once for all of them. The resamples of one score are held at once.
    """
    at = {point: [row for row in rows if repr(point_of(row)) == point] for point in references}
    needed = {name: reports[name] for here in at.values() for row in here for name in row["runs"].values()}
    for row in rows:
        row["differences"] = {}
    for score in experiment.scores:
        drawn = resampled_runs(needed, score, resamples=experiment.resamples, seed=experiment.bootstrap_seed)
        for point, here in at.items():
            runs = {row["method"]: {int(seed): drawn[name] for seed, name in row["runs"].items()} for row in here}
            reference = references[point]
            found = compared(runs, (reference, runs.pop(reference)), experiment.bootstrap_seed)
            for row in here:
                if row["method"] in found:
                    row["differences"][score] = found[row["method"]]._asdict()


def _sentences(experiment: Experiment, recipe: str, images: int, has_references: bool, has_choosing: bool) -> list[str]:
    """Return sentences that say what the numbers are."""
    judged = "the reporting images" if has_choosing else "the only images that runs are scored on"
    choosing = "the choosing images" if has_choosing else "the same images, because there are no others"
    seeds = ", ".join(map(str, experiment.seeds))
    how = [
        f"Reported by dynamic-kd {__version__}; recipe {recipe}, seeds {seeds}.",
        f"Mean and standard deviation over seeds, after the last epoch, on {images} images ({judged}).",
    ]
    if experiment.choose:
        tuned = " and ".join(short(setting, experiment.axes) for setting in experiment.choose)
        how.append(f"{tuned}: for each method the value with the best mean {experiment.by} on {choosing}.")
    if has_references:
        fixed = [name for name, method in experiment.methods.items() if method.fixed]
        best = f"the best of {', '.join(fixed)} by {experiment.by} on {choosing}" if len(fixed) > 1 else fixed[0]
        how.append(
            f"Differences are from {best}. {100 * LEVEL:.0f}% intervals by a paired bootstrap over seeds and images, "
            f"drawn with replacement ({experiment.resamples} resamples, seed {experiment.bootstrap_seed}): one seed "
            "fewer than there are, and the same images for all seeds and methods. Corrected intervals and p are "
            "corrected by max-t for the methods compared at one point of the grid. With two or three seeds that differ "
            "much the intervals are too narrow."
        )
    return how


def _left_out(summary: Json) -> list[str]:
    """Return sentences that name the runs without a result."""
    diverged, missing = summary["diverged"], summary["missing"]
    sentences = [f"Diverged (the loss was no longer finite): {', '.join(diverged)}."] if diverged else []
    if missing:
        more = f" and {len(missing) - _MISSING_NAMED} more" if len(missing) > _MISSING_NAMED else ""
        sentences.append(f"Not finished: {', '.join(missing[:_MISSING_NAMED])}{more}.")
    return sentences
