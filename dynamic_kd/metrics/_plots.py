"""Curves of reports as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd._figures import line_style
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._tables import check_reports

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _Panel(NamedTuple):
    """A curve, its label and the score in the legend; and the curve that it is drawn over, its label and end."""

    curve: str
    label: str
    score: str
    over: str = "threshold"
    over_label: str = "threshold (of 255)"
    end: int = 255


_PANELS = (
    _Panel("precision", "precision", "", "recall", "recall", 1),
    _Panel("f_measure", "F-measure (β² = 0.3)", "maxF"),
    _Panel("e_measure", "E-measure", "maxE"),
)
# Inches: a panel, a line of the legend, and a letter in it; and the letters that the sample of a line takes.
_PANEL_SIZE, _LINE, _LETTER, _SAMPLE = (4.4, 4.2), 0.22, 0.073, 7


def plot_curves(reports: Mapping[str, MetricReport], *, title: str = "") -> Figure:
    """Draw precision against recall, and the F- and the E-measure over thresholds, as far as they were measured.

    Parameters
    ----------
    reports
        Legend entry -> report.
    title
        Title of the figure, such as the data set's name.

    Returns
    -------
    matplotlib.figure.Figure
        ``figure.savefig("curves.png")`` writes it. pyplot's state is not touched.

    Raises
    ------
    ValueError
        No reports, or reports without these curves.
    """
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    check_reports(reports)
    measured = set.intersection(*(set(report.curves) for report in reports.values()))
    panels = [panel for panel in _PANELS if {panel.curve, panel.over} <= measured]
    if not panels:
        raise ValueError("reports: no curves of F or E to draw; measure one of these metrics")
    entries = [
        _legend_entry(name, report, [panel.score for panel in panels if panel.score])
        for name, report in reports.items()
    ]
    width = _PANEL_SIZE[0] * len(panels)
    columns = max(1, min(len(entries), int(width / _LETTER) // (max(map(len, entries)) + _SAMPLE)))
    height = _PANEL_SIZE[1] + _LINE * math.ceil(len(entries) / columns)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    places = figure.subplots(1, len(panels), squeeze=False)[0]
    if title:
        figure.suptitle(title)
    for axes, panel in zip(places, panels, strict=True):
        for index, report in enumerate(reports.values()):
            across = panel.end * report.curves[panel.over]
            axes.plot(across, report.curves[panel.curve], linewidth=1.3, **line_style(index))
        axes.set(xlabel=panel.over_label, ylabel=panel.label, xlim=(0, panel.end))
        axes.set_ylim(_bottom(reports, panel.curve), 1.01)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(places[0].get_lines(), entries, loc="outside lower center", ncols=columns, fontsize="small")
    return figure


def _bottom(reports: Mapping[str, MetricReport], curve: str) -> float:
    """Return where the axis starts: 0.2 below the median of the lowest curve, so that good curves stay apart."""
    lowest = min(float(np.median(report.curves[curve])) for report in reports.values())
    return max(0.0, math.floor(10 * lowest) / 10 - 0.2)


def _legend_entry(name: str, report: MetricReport, scores: list[str]) -> str:
    shown = ", ".join(f"{score} {report[score]:.3f}" for score in scores)
    # matplotlib reads dollars as mathematics.
    return f"{name} ({shown})".replace("$", r"\$") if shown else name.replace("$", r"\$")
