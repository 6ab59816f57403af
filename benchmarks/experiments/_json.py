"""An experiment's results and its single runs as JSON, every digit kept."""

from __future__ import annotations

import json
import math
from typing import Any

from benchmarks.experiments._paper import paper_row
from benchmarks.experiments._results import Results
from benchmarks.experiments._rows import Row, Spread
from benchmarks.experiments._sentences import recipe_name, sentences
from dynamic_kd._version import __version__


def as_json(results: Results, *, paper: bool = False) -> str:
    """Return everything but the single runs."""
    experiment = results.experiment
    content: dict[str, Any] = {
        "version": __version__,
        "experiment": experiment.name,
        "recipe": recipe_name(experiment.recipe),
        "settings": dict(experiment.settings),
        "methods": {method.name: dict(method.settings) for method in experiment.methods},
        "seeds": list(experiment.seeds),
        "how": sentences(results),
        "rows": [_row_json(row) for row in results.rows],
        "grid": [_row_json(row) for row in results.grid],
        "diverged": list(results.diverged),
        "missing": list(results.missing),
    }
    if paper and experiment.paper_table is not None:
        columns = {method.name: method.paper for method in experiment.methods if method.paper}
        content["paper"] = {name: paper_row(experiment.paper_table, column) for name, column in columns.items()}
    return _dumped(content)


def runs_json(results: Results) -> str:
    """Return a row for each run: what it stands for, its scores, and where and how long it ran."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for cell in results.cells:
        cells.setdefault(cell.run, []).append({"method": cell.method, "seed": cell.seed, **dict(cell.point)})
    rows = []
    for run in (*results.teachers.values(), *results.runs.values()):
        row: dict[str, Any] = {"run": run.name, "cells": cells.get(run.name, []), "report": run.report.scores()}
        if run.choosing is not None:
            row["choosing"] = run.choosing.scores()
        row |= {key: run.facts[key] for key in ("seconds", "noise") if key in run.facts}
        about = run.facts["environment"]
        rows.append(row | {key: about[key] for key in ("device", "platform", "versions") if key in about})
    return _dumped(rows)


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        **dict(row.point),
        "chosen": dict(row.chosen),
        "runs": {str(seed): name for seed, name in row.runs.items()},
        "scores": {score: _spread_json(spread) for score, spread in row.scores.items()},
        "choosing": {score: _spread_json(spread) for score, spread in row.choosing.items()},
        "differences": {score: each._asdict() for score, each in row.differences.items()},
    }


def _spread_json(spread: Spread) -> dict[str, float | None]:
    return {"mean": spread.mean, "deviation": None if math.isnan(spread.deviation) else spread.deviation}


def _dumped(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
