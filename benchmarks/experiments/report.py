"""The report of an experiment: tables in Markdown, LaTeX and CSV, the raw numbers in JSON, and figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments import figures, paper
from benchmarks.experiments.experiment import short
from benchmarks.experiments.results import Json, Results, point_of
from dynamic_kd.evaluation import Column, Table

_SCORE = Column("score", "score")


def write_report(results: Results, folder: str | Path, *, with_paper: bool = False) -> list[Path]:
    """Write the report of an experiment into a folder, and return its files.

    They are ``table.md``, ``table.tex`` and ``table.csv``, ``results.json`` and ``runs.json``, and the figures for
    which there are data: ``axis.png``, ``curves.png`` and ``roc.png``. ``with_paper`` adds the paper's numbers.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    summary, runs, reports = results
    latex = [_score_table(summary["rows"], summary["how"])]
    if with_paper and len(printed := _paper_table(summary)):
        latex.append(printed)
    texts = {
        "table.md": markdown(summary, runs, with_paper=with_paper),
        "table.tex": "\n".join(table.to_latex() for table in latex),
        "table.csv": _score_table(summary["rows"]).to_csv(),
        "results.json": json.dumps(summary, indent=1, ensure_ascii=False) + "\n",
        "runs.json": json.dumps(runs, indent=1, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    drawn = {
        "axis.png": figures.score_over_axis(summary),
        "curves.png": figures.curves(summary, reports),
        "roc.png": figures.roc(by_noise(summary, runs, "auc")),
    }
    for name, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / name)
    return [folder / name for name in (*texts, *(name for name, figure in drawn.items() if figure is not None))]


def markdown(summary: Json, runs: Sequence[Json], *, with_paper: bool = False) -> str:
    """Return the whole report as one document."""
    rows = summary["rows"]
    tables = {f"Differences in {score}": _difference_table(rows, score) for score in rows[0]["scores"]}
    if rows[0]["chosen"]:
        tables["All points of the grid"] = _score_table(summary["grid"])
    tables["Teachers"] = _teacher_table(runs, rows[0]["scores"])
    tables["How well α finds the spoilt samples"] = noise_table(summary, runs)
    if with_paper:
        tables["In the paper"] = _paper_table(summary)
    parts = [f"# {summary['experiment']}", summary.get("about", ""), *_glance(summary)]
    parts += [_score_table(rows).to_markdown().strip(), *summary["how"]]
    for title, table in tables.items():
        if len(table):
            parts += [f"## {title}", table.to_markdown().strip()]
    return "\n\n".join(part for part in parts if part) + "\n"


def described(point: Mapping[str, Any], among: Iterable[str]) -> str:
    """Return a point in words, such as ``learning_rate=0.01, spoil_share=0.3``."""
    among = list(among)
    return ", ".join(f"{short(setting, among)}={value}" for setting, value in point.items())


def _axes(rows: Sequence[Json]) -> list[str]:
    """Return the settings that distinguish rows, and those that were chosen."""
    points = [{**point_of(row), **row["chosen"]} for row in rows]
    axes = dict.fromkeys(axis for point in points for axis in point)
    chosen = {axis for row in rows for axis in row["chosen"]}
    return [axis for axis in axes if axis in chosen or len({str(point.get(axis)) for point in points}) > 1]


def _score_table(rows: Sequence[Json], notes: Sequence[str] = ()) -> Table:
    """Return mean and standard deviation of every score, a row for each method and point."""
    axes, scores = _axes(rows), list(rows[0]["scores"])
    columns = ["method", *(short(axis, axes) for axis in axes), "seeds", *(Column(score, "score") for score in scores)]
    table = Table(columns, notes=notes)
    for row in rows:
        point = {**point_of(row), **row["chosen"]}
        spreads = [_pair(row["scores"][score]) for score in scores]
        table.add_row(row["method"], *(str(point.get(axis, "-")) for axis in axes), len(row["runs"]), *spreads)
    return table


def _glance(summary: Json) -> list[str]:
    """Return one score as a table with a row for each method and a column for each point, if there are several."""
    rows = summary["rows"]
    points = list({repr(point_of(row)): point_of(row) for row in rows}.values())
    if len(points) < 2:
        return []
    axes, score = [axis for axis in _axes(rows) if axis not in rows[0]["chosen"]], summary.get("by", "maxF")
    most = max(len(row["runs"]) for row in rows)
    table = Table(["method", *(" ".join(str(point.get(axis, "-")) for axis in axes) for point in points)])
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = []
        for point in points:
            row = next((row for row in rows if row["method"] == method and point_of(row) == point), None)
            seeds = "" if row is None or len(row["runs"]) == most else f"\u00a0({len(row['runs'])})"
            cells.append("-" if row is None else _SCORE.text(_pair(row["scores"][score])) + seeds)
        table.add_row(method, *cells)
    settings = ", ".join(short(axis, axes) for axis in axes)
    heading = f"{score} at each {settings}, mean and standard deviation over {most} seeds (of fewer: how many):"
    return [heading, table.to_markdown().strip(), "All scores:"]


def _difference_table(rows: Sequence[Json], score: str) -> Table:
    varied = len({repr(point_of(row)) for row in rows}) > 1
    words = ("method", "against", "seeds", "difference", "interval", "corrected interval", "p")
    table = Table([*(["at"] * varied), *words])
    for row in rows:
        if found := row["differences"].get(score):
            at = [described(point_of(row), _axes(rows))] * varied
            intervals = ["{:+.4f} to {:+.4f}".format(*found[key]) for key in ("interval", "corrected")]
            numbers = (f"{found['value']:+.4f}", *intervals, f"{found['p']:.2g}")
            table.add_row(*at, row["method"], found["reference"], found["seeds"], *numbers)
    return table


def _teacher_table(runs: Sequence[Json], scores: Iterable[str]) -> Table:
    scores = list(scores)
    teachers = [run for run in runs if not run["cells"]]
    rows = [[run["run"], *(run["report"][score] for score in scores)] for run in teachers]
    return Table(["teacher", *(Column(score, "score") for score in scores)], rows)


def _paper_table(summary: Json) -> Table:
    """Return the numbers of the paper's table for the methods that it has."""
    columns = summary.get("paper", {})
    sets = list(dict.fromkeys(name for numbers in columns.values() for name in numbers))
    headings = [f"{name}: {' / '.join(paper.SCORES)}" for name in sets]
    table = Table(["method", *headings], notes=["The paper has other data and networks: compare the order of methods."])
    for method, numbers in columns.items():
        scores = [[numbers.get(name, {}).get(score) for score in paper.SCORES] for name in sets]
        table.add_row(method, *(" / ".join(map(_SCORE.text, each)) for each in scores))
    return table


def by_noise(summary: Json, runs: Sequence[Json], *alike: str) -> dict[tuple[str, str], list[Json]]:
    """Return what runs know of spoilt samples, by point and methods; methods with equal numbers share an entry."""
    noise = {run["run"]: run["noise"] for run in runs if "auc" in run.get("noise", {})}
    axes = {axis for row in summary["rows"] for axis in point_of(row)}
    groups: dict[tuple[str, ...], tuple[list[str], list[Json]]] = {}
    for row in summary["rows"]:
        facts = [noise[name] for name in row["runs"].values() if name in noise]
        if facts:
            numbers = (_SCORE.text(mean_of(facts, key)) for key in alike)
            methods, _ = groups.setdefault((described(point_of(row), axes) or "-", *numbers), ([], facts))
            methods.append(row["method"])
    return {(key[0], ", ".join(methods)): facts for key, (methods, facts) in groups.items()}


def noise_table(summary: Json, runs: Sequence[Json]) -> Table:
    """Return how well flags and α find the spoilt samples, as means over seeds; no rows where none are known."""
    groups = by_noise(summary, runs, "spoilt", "precision", "recall", "auc")
    kinds = sorted({kind for facts in groups.values() for each in facts for kind in each.get("kinds", {})})
    kinds = kinds if len(kinds) > 1 else []
    words = ("spoilt", "precision", "recall", "AUC", *(f"AUC, {kind.replace('_', ' ')}" for kind in kinds))
    table = Table(["at", "methods", *(Column(word, "score") for word in words)])
    for (at, methods), facts in groups.items():
        share = sum(each["spoilt"] / each["samples"] for each in facts) / len(facts)
        by_kind = [mean_of([each.get("kinds", {}).get(kind, {}) for each in facts], "auc") for kind in kinds]
        table.add_row(at, methods, share, *(mean_of(facts, key) for key in ("precision", "recall", "auc")), *by_kind)
    return table


def mean_of(facts: Sequence[Json], key: str) -> float | None:
    """Return the mean of the values that are known, or None."""
    known = [each[key] for each in facts if each.get(key) is not None]
    return sum(known) / len(known) if known else None


def _pair(spread: Json) -> tuple[float, float]:
    return spread["mean"], math.nan if spread["deviation"] is None else spread["deviation"]
