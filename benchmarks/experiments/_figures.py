"""An experiment's results as plots: scores over an axis of the grid, and F-measure curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiments._experiment import short
from benchmarks.experiments._results import Results
from benchmarks.experiments._rows import Row
from dynamic_kd._extras import require
from dynamic_kd._figures import COLOURS, DASHES
from dynamic_kd.metrics import MetricReport, plot_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def score_over_axis(results: Results, axis: str | None = None, score: str | None = None) -> Figure | None:
    """Draw a score over one setting of the grid, a line for each method, with bands of one deviation over seeds.

    Points that differ in other settings too, such as other kinds of wrong maps, are drawn as single marks at the
    right. With the share of wrong maps as the axis, this tells when to use what.

    Parameters
    ----------
    results : Results
        From `read_results`.
    axis : str, optional
        A setting of the grid with numbers; by default the experiment's, or the first, if there is one, that is not
        tuned. Along a tuned one, the whole grid is drawn.
    score : str, optional
        By default the one that the experiment chooses by.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if there is no such axis.
    """
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    experiment = results.experiment
    free = [each for each in experiment.axes if each not in experiment.choose]
    axis = axis or experiment.axis or (free[0] if free else None)
    score = score or experiment.by
    if axis is None and experiment.axes:
        axis = experiment.axes[0]
    every = results.grid if axis in experiment.choose else results.rows
    rows = [replace(row, point=row.point + row.chosen * (axis in experiment.choose)) for row in every]
    rows = [row for row in rows if axis in dict(row.point)]
    if axis is None or not rows or not all(_is_number(dict(row.point)[axis]) for row in rows):
        return None
    lines, marks = _along(rows, axis)
    figure = Figure(figsize=(7.6 + 0.9 * len(marks), 4.4), layout="constrained", dpi=150)
    axes, *beside = figure.subplots(1, 1 + bool(marks), squeeze=False, sharey=True, width_ratios=_widths(marks))[0]
    for index, method in enumerate(dict.fromkeys(row.method for row in rows)):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": _MARKERS[index % len(_MARKERS)],
            "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
            "markerfacecolor": "white" if index >= len(COLOURS) else None,
        }
        _line(axes, [row for row in lines if row.method == method], axis, score, method, style)
        for side in beside:
            _marks(
                side, [[row for row in each if row.method == method] for each in marks.values()], score, index, style
            )
    axes.set(xlabel=_axis_words(short(axis, experiment.axes)), ylabel=f"{score}, mean and deviation over seeds")
    _scale(axes, sorted({float(dict(row.point)[axis]) for row in lines}))
    for side in beside:
        side.set_xlim(-0.6, len(marks) - 0.4)
        side.set_xticks(range(len(marks)), [name.replace("_", " ") for name in marks], fontsize=8.5)
    for each in (axes, *beside):
        each.grid(color="0.9", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8.5, frameon=False)
    return figure


def _along(rows: Sequence[Row], axis: str) -> tuple[list[Row], dict[str, list[Row]]]:
    """Part the rows that lie along the axis from those elsewhere: the others of most values make the line."""
    others: dict[str, list[Row]] = {}
    for row in rows:
        rest = [(setting, value) for setting, value in row.point if setting != axis]
        others.setdefault(repr(rest), []).append(row)
    line = max(others, key=lambda key: len({dict(row.point)[axis] for row in others[key]}))
    marks: dict[str, list[Row]] = {}
    for key, own in others.items():
        for row in own if key != line else ():
            point = dict(row.point)
            value = point.pop(axis)
            marks.setdefault("\n".join([*map(str, point.values()), f"{value:g}"]), []).append(row)
    return others[line], marks


def _scale(axes: Any, values: Sequence[float]) -> None:
    """Draw values that span much, as learning rates do, on a logarithmic scale."""
    if values[0] > 0 and values[-1] >= 4 * values[0]:
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)


def _widths(marks: Mapping[str, Any]) -> list[float]:
    return [5.0, 0.4 + 0.9 * len(marks)] if marks else [1.0]


def _line(axes: Any, rows: Sequence[Row], axis: str, score: str, label: str, style: dict[str, Any]) -> None:
    rows = sorted(rows, key=lambda row: float(dict(row.point)[axis]))
    places = np.array([float(dict(row.point)[axis]) for row in rows])
    means = np.array([row.scores[score].mean for row in rows])
    spreads = np.nan_to_num(np.array([row.scores[score].deviation for row in rows]))
    axes.plot(places, means, label=_plain(label), linewidth=1.5, markersize=4.5, **style)
    axes.fill_between(places, means - spreads, means + spreads, color=style["color"], alpha=0.14, linewidth=0)


def _marks(axes: Any, columns: Sequence[Sequence[Row]], score: str, index: int, style: dict[str, Any]) -> None:
    for place, rows in enumerate(columns):
        for row in rows:
            spread = row.scores[score]
            deviation = float(np.nan_to_num(spread.deviation))
            axes.errorbar(place + 0.09 * (index - 3), spread.mean, deviation, markersize=4.5, linewidth=1, **style)


def f_measure_curves(reports: Mapping[str, Sequence[MetricReport]], title: str = "") -> Figure | None:
    """Draw F-measure, E-measure and precision-recall curves of methods, each the mean over its runs: Figure 5.

    Parameters
    ----------
    reports : mapping
        From method to the reports of its runs (`read_records`).
    title : str
        Names the images.
    """
    return plot_curves({name: _mean_report(own) for name, own in reports.items()}, title=title)


def _mean_report(reports: Sequence[MetricReport]) -> MetricReport:
    first = reports[0]
    curves = {name: np.mean([report.curves[name] for report in reports], axis=0) for name in first.curves}
    scores = {name: float(np.mean([report[name] for report in reports])) for name in first}
    return replace(first, curves=curves, scores=scores)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _axis_words(setting: str) -> str:
    words = {"spoil_share": "share of wrong teacher maps", "spoilt_share": "share of spoilt depth maps"}
    return words.get(setting, setting.replace("_", " "))


def _plain(text: str) -> str:
    return text.replace("$", r"\$")
