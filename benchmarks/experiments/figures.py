"""Figures of an experiment: a score along an axis of the grid, curves, and how well α finds spoilt samples."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.experiments.experiment import short
from benchmarks.experiments.results import CLEAN_SHARES, Json, point_of
from dynamic_kd.metrics import MetricReport, plot_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES, _MARKERS = ("-", "--", "-.", ":"), ("o", "s", "^", "D", "v", "P", "X")
_AXIS_NAMES = {"spoil_share": "share of wrong teacher maps", "spoilt_share": "share of spoilt depth maps"}
_PANELS_IN_A_ROW = 4


def score_over_axis(summary: Json, axis: str | None = None, score: str | None = None) -> Figure | None:
    """Draw a score over one setting of the grid: a line for each method, and bands of one deviation over seeds.

    Points that differ in other settings too, such as another kind of wrong maps, are single marks at the right.

    Parameters
    ----------
    summary : dict
        `Results.summary`.
    axis : str, optional
        A setting of the grid; by default the experiment's. Along a tuned setting, the whole grid is drawn.
    score : str, optional
        By default the score that the experiment chooses by.

    Returns
    -------
    matplotlib.figure.Figure or None
        None if there is no axis, or its values are not numbers.
    """
    from matplotlib.figure import Figure

    first = summary["rows"][0]
    axis = axis or summary.get("axis") or next(iter({**point_of(first), **first["chosen"]}), None)
    rows = summary["grid"] if axis in first["chosen"] else summary["rows"]
    points = [{**point_of(row), **(row["chosen"] if axis in row["chosen"] else {})} for row in rows]
    pairs = [(point, row) for point, row in zip(points, rows, strict=True) if axis in point]
    if axis is None or not pairs or not all(type(point[axis]) in (int, float) for point, _ in pairs):
        return None
    line, marks = _along(pairs, axis)
    figure = Figure(figsize=(7.6 + 0.9 * len(marks), 4.4), layout="constrained", dpi=150)
    widths = [5.0, 0.4 + 0.9 * len(marks)] if marks else [1.0]
    axes, *beside = figure.subplots(1, len(widths), squeeze=False, sharey=True, width_ratios=widths)[0]
    score = score or summary.get("by", "maxF")
    for index, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        _draw_line(axes, [pair for pair in line if pair[1]["method"] == method], axis, score, method, _style(index))
        for place, column in enumerate(marks.values()):
            for row in column:
                if row["method"] == method:
                    spread = row["scores"][score]
                    at = place + 0.09 * (index - 3)
                    beside[0].errorbar(at, spread["mean"], spread["deviation"] or 0, lw=1, **_style(index))
    name = short(axis, pairs[0][0])
    axes.set(xlabel=_AXIS_NAMES.get(name, name.replace("_", " ")), ylabel=f"{score}, mean and deviation over seeds")
    _scale(axes, sorted({point[axis] for point, _ in line}))
    for side in beside:
        side.set_xlim(-0.6, len(marks) - 0.4)
        side.set_xticks(range(len(marks)), [text.replace("_", " ") for text in marks], fontsize=8.5)
    for each in (axes, *beside):
        _plain_frame(each)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8.5, frameon=False)
    return figure


def _along(pairs: Sequence[tuple[Json, Json]], axis: str) -> tuple[list[tuple[Json, Json]], dict[str, list[Json]]]:
    """Separate the points on the line, which has the most values, from the single points beside it."""
    groups: dict[str, list[tuple[Json, Json]]] = {}
    for point, row in pairs:
        rest = {setting: value for setting, value in point.items() if setting != axis}
        groups.setdefault(repr(rest), []).append((point, row))
    line = max(groups, key=lambda key: len({point[axis] for point, _ in groups[key]}))
    marks: dict[str, list[Json]] = {}
    for key, group in groups.items():
        for point, row in group if key != line else ():
            others = [str(value) for setting, value in point.items() if setting != axis]
            marks.setdefault("\n".join([*others, f"{point[axis]:g}"]), []).append(row)
    return groups[line], marks


def _draw_line(axes: Any, pairs: Sequence[tuple[Json, Json]], axis: str, score: str, label: str, style: Json) -> None:
    pairs = sorted(pairs, key=lambda pair: pair[0][axis])
    places = [point[axis] for point, _ in pairs]
    means = np.array([row["scores"][score]["mean"] for _, row in pairs])
    spreads = np.array([row["scores"][score]["deviation"] or 0 for _, row in pairs])
    axes.plot(places, means, label=label.replace("$", r"\$"), linewidth=1.5, **style)
    axes.fill_between(places, means - spreads, means + spreads, color=style["color"], alpha=0.14, linewidth=0)


def _scale(axes: Any, values: Sequence[float]) -> None:
    """Use a logarithmic scale for values that span a wide range, as learning rates do."""
    if values[0] > 0 and values[-1] >= 4 * values[0]:
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.set_xticks([], minor=True)


def curves(summary: Json, reports: Mapping[str, MetricReport]) -> Figure | None:
    """Draw the curves of each method at the first point of the grid, as means over seeds; None without reports."""
    first = point_of(summary["rows"][0])
    shown = {row["method"]: row["runs"].values() for row in summary["rows"] if point_of(row) == first}
    return (
        plot_curves({name: _mean_report([reports[run] for run in runs]) for name, runs in shown.items()})
        if reports
        else None
    )


def _mean_report(reports: Sequence[MetricReport]) -> MetricReport:
    first = reports[0]
    means = {name: np.mean([report.curves[name] for report in reports], axis=0) for name in first.curves}
    scores = {name: float(np.mean([report[name] for report in reports])) for name in first}
    return replace(first, curves=means, scores=scores)


def roc(groups: Mapping[tuple[str, str], Sequence[Json]]) -> Figure | None:
    """Draw the receiver operating characteristics of a low α as a sign of spoilt samples, a panel for each point.

    Parameters
    ----------
    groups : mapping
        From point and methods to what their runs know, as `by_noise` returns it.

    Returns
    -------
    matplotlib.figure.Figure or None
        Means over seeds. None if it is not known which samples are spoilt.
    """
    from matplotlib.figure import Figure

    groups = {group: facts for group, facts in groups.items() if all("roc" in each for each in facts)}
    points = list(dict.fromkeys(at for at, _ in groups))
    if not points:
        return None
    across = min(len(points), _PANELS_IN_A_ROW)
    down = math.ceil(len(points) / across)
    most = max(sum(at == point for at, _ in groups) for point in points)
    figure = Figure(figsize=(3.3 * across + 0.3, (3.9 + 0.36 * most) * down), layout="constrained", dpi=130)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for panel, point in zip(panels, points, strict=False):
        _roc_panel(panel, {methods: facts for (at, methods), facts in groups.items() if at == point})
        panel.set_title("" if point == "-" else point, fontsize=10)
    for panel in panels[len(points) :]:
        panel.set_axis_off()
    figure.supylabel("share of the spoilt samples with so low an α", fontsize=9)
    return figure


def _roc_panel(axes: Any, groups: Mapping[str, Sequence[Json]]) -> None:
    for index, (methods, facts) in enumerate(groups.items()):
        area = np.mean([each["auc"] for each in facts])
        label = textwrap.fill(f"{area:.3f}  {methods}".replace("$", r"\$"), 44)
        style = {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}
        axes.plot(CLEAN_SHARES, np.mean([each["roc"] for each in facts], axis=0), label=label, linewidth=1.4, **style)
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(0, 1.01), aspect="equal", anchor="N")
    axes.set_xlabel("share of the clean samples", fontsize=9)
    _plain_frame(axes)
    legend = {"loc": "upper left", "bbox_to_anchor": (0, -0.16), "alignment": "left"}
    axes.legend(fontsize=7, frameon=False, title="area under the curve", title_fontsize=7, **legend)


def _style(index: int) -> Json:
    return {
        "color": _COLOURS[index % len(_COLOURS)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "linestyle": _DASHES[index // len(_COLOURS) % len(_DASHES)],
        "markerfacecolor": "white" if index >= len(_COLOURS) else None,
        "markersize": 4.5,
    }


def _plain_frame(axes: Any) -> None:
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
