"""An experiment's results as Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.experiments._bootstrap import Difference
from benchmarks.experiments._experiment import Experiment, Point, described, short
from benchmarks.experiments._noise import noise_lines
from benchmarks.experiments._paper import PAPER_TABLES, SCORES, paper_row
from benchmarks.experiments._results import Results
from benchmarks.experiments._rows import Row, Spread
from benchmarks.experiments._sentences import sentences
from dynamic_kd._tables import latex_text, rounded

Lines = list[list[str]]

WITH_DEVIATION = "{}\u00a0±\u00a0{}"  # in one line, also in narrow columns


def markdown(results: Results, *, paper: bool = False) -> str:
    """Return everything as one document."""
    experiment = results.experiment
    parts = [f"# {experiment.name}", *([experiment.about] if experiment.about else [])]
    parts += _glance_parts(results)
    parts += [_grid(_table(results, results.rows, WITH_DEVIATION)), *sentences(results)]
    if results.references:
        for score in _scores(experiment):
            lines = _difference_lines(results, score)
            parts += [f"## Differences in {score}", _grid(lines)] if len(lines) > 1 else []
    if experiment.choose:
        parts += ["## All points of the grid", _grid(_table(results, results.grid, WITH_DEVIATION))]
    if results.teachers:
        parts += ["## Teachers", _grid(_teacher_lines(results))]
    noise = noise_lines(results)
    if len(noise) > 1:
        parts += ["## How well α finds the spoilt samples", _grid(noise)]
    if paper:
        parts += _paper_parts(experiment)
    return "\n\n".join(parts) + "\n"


def latex(results: Results, *, paper: bool = False) -> str:
    """Return the table for a paper (booktabs), and the paper's own below it."""
    lines = _table(results, results.rows, r"{} $\pm$ {}", _escaped)
    parts = [_tabular(lines)]
    if paper and results.experiment.paper_table is not None:
        own = _paper_lines(results.experiment)
        if own:
            parts.append(_tabular([[_escaped(cell) for cell in line] for line in own]))
    return "".join(f"% {sentence}\n" for sentence in sentences(results)) + "\n".join(parts)


def sheet(results: Results, rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """Return rows for CSV, every digit kept."""
    experiment = results.experiment
    axes, scores = experiment.axes, _scores(experiment)
    compared = [score for score in scores if any(score in row.differences for row in rows)]
    header = ["method", *axes, "seeds"]
    header += [f"{score}_{what}" for score in scores for what in ("mean", "deviation", "choosing")]
    whats = ("difference", "low", "high", "low_corrected", "high_corrected", "p_corrected")
    header += ["reference"] * bool(compared) + [f"{score}_{what}" for score in compared for what in whats]
    lines: list[list[Any]] = []
    for row in rows:
        values = dict((*row.point, *row.chosen))
        line: list[Any] = [row.method, *(values.get(axis) for axis in axes), len(row.runs)]
        for score in scores:
            spread = row.scores[score]
            deviation = None if math.isnan(spread.deviation) else spread.deviation
            line += [spread.mean, deviation, row.choosing[score].mean]
        if compared:
            line.append(results.references.get(row.point))
        for score in compared:
            found = row.differences.get(score)
            line += [None] * len(whats) if found is None else [found.value, *found.interval, *found.corrected, found.p]
        lines.append(line)
    return header, lines


def difference_text(found: Difference) -> list[str]:
    """Return a difference, its interval, the corrected one and its p in words."""
    alone, corrected = (f"{each.low:+.4f} to {each.high:+.4f}" for each in (found.interval, found.corrected))
    return [f"{found.value:+.4f}", alone, corrected, f"{found.p:.2g}"]


def _scores(experiment: Experiment) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*experiment.scores, experiment.by)))


def _axes_of(results: Results, rows: Sequence[Row]) -> list[str]:
    """Return the settings that tell rows apart, or were chosen."""
    points: list[Point] = [(*row.point, *row.chosen) for row in rows]
    values = {axis: {str(dict(point).get(axis)) for point in points} for axis in results.experiment.axes}
    return [axis for axis in values if len(values[axis]) > 1 or axis in results.experiment.choose]


def _table(results: Results, rows: Sequence[Row], style: str, plain: Any = str) -> Lines:
    experiment = results.experiment
    axes, scores = _axes_of(results, rows), experiment.scores
    lines = [["method", *(short(axis, experiment.axes) for axis in axes), "seeds", *scores]]
    for row in rows:
        values = dict((*row.point, *row.chosen))
        cells = [row.method, *(str(values.get(axis, "-")) for axis in axes), str(len(row.runs))]
        lines.append([plain(cell) for cell in cells] + [_spread_text(row.scores[score], style) for score in scores])
    lines[0] = [plain(cell) for cell in lines[0]]
    return lines


def _glance_parts(results: Results) -> list[str]:
    """Return what to see first where there are several points: one score, a line a method, a column a point."""
    experiment = results.experiment
    points = list(dict.fromkeys(row.point for row in results.rows))
    if len(points) < 2:
        return []
    most = max(len(row.runs) for row in results.rows)
    varied = [axis for axis in _axes_of(results, results.rows) if axis not in experiment.choose]
    lines = [["method", *(" ".join(str(dict(point).get(axis, "-")) for axis in varied) for point in points)]]
    for method in dict.fromkeys(row.method for row in results.rows):
        own = {row.point: row for row in results.rows if row.method == method}
        texts = [_glance_text(own[point], experiment.by, most) if point in own else "-" for point in points]
        lines.append([method, *texts])
    settings = ", ".join(short(axis, experiment.axes) for axis in varied)
    said = f"{experiment.by} at each {settings}, mean and standard deviation over {most} seeds (of fewer: how many):"
    return [said, _grid(lines), "All scores:"]


def _glance_text(row: Row, score: str, most: int) -> str:
    text = _spread_text(row.scores[score], WITH_DEVIATION)
    return text if len(row.runs) == most else f"{text}\u00a0({len(row.runs)})"


def _spread_text(spread: Spread, style: str) -> str:
    if math.isnan(spread.deviation):
        return rounded(spread.mean)
    return style.format(rounded(spread.mean), rounded(spread.deviation))


def _difference_lines(results: Results, score: str) -> Lines:
    varied = len({row.point for row in results.rows}) > 1
    lines = [[*(["at"] * varied), "method", "against", "seeds", "difference", "interval", "corrected interval", "p"]]
    for row in results.rows:
        if score in row.differences:
            found = row.differences[score]
            at = [described(row.point, results.experiment.axes)] * varied
            lines.append([*at, row.method, found.reference, str(found.seeds), *difference_text(found)])
    return lines


def _teacher_lines(results: Results) -> Lines:
    scores = results.experiment.scores
    lines = [["teacher", *scores]]
    for name, run in results.teachers.items():
        own = run.report.scores()
        lines.append([name, *(rounded(own[score]) for score in scores)])
    return lines


def _paper_parts(experiment: Experiment) -> list[str]:
    lines = _paper_lines(experiment)
    if not lines:
        return ["The paper has no numbers for this."]
    title = PAPER_TABLES[experiment.paper_table or 0].title
    note = f"{title}: other data and networks, so that only the order of the methods compares. Mean F / wF / MAE:"
    return [f"## The paper's Table {experiment.paper_table}", note, _grid(lines)]


def _paper_lines(experiment: Experiment) -> Lines:
    if experiment.paper_table is None:
        return []
    sets = list(PAPER_TABLES[experiment.paper_table].sets)
    lines = [["method", "in the paper", *sets]]
    for method in experiment.methods:
        numbers = paper_row(experiment.paper_table, method.paper) if method.paper else {}
        if numbers:
            cells = [
                " / ".join(rounded(numbers[name][score]) for score in SCORES) if name in numbers else "-"
                for name in sets
            ]
            lines.append([method.name, f"{method.paper}", *cells])
    return lines if len(lines) > 1 else []


def _grid(lines: Lines) -> str:
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in rows)


def _tabular(lines: Lines) -> str:
    top, *body = (" & ".join(line) + r" \\" for line in lines)
    columns = "l" + "r" * (len(lines[0]) - 1)
    rows = "\n".join([r"\toprule", top, r"\midrule", *body, r"\bottomrule"])
    return f"\\begin{{tabular}}{{{columns}}}\n{rows}\n\\end{{tabular}}\n"


def _escaped(text: str) -> str:
    return latex_text(text)
