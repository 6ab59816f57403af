"""Curves of reports as a figure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd._figures import line_style
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._tables import check_reports

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Curve, its label on the axis, and the score in its legend.
_OVER_THRESHOLDS = (("f_measure", "F-measure (β² = 0.3)", "maxF"), ("e_measure", "E-measure", "maxE"))
# Inches: a panel, a line of the legend, and a letter in it; and the letters that the sample of a line takes.
_PANEL, _LINE, _LETTER, _SAMPLE = (4.4, 4.2), 0.22, 0.073, 7


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
    over = [each for each in _OVER_THRESHOLDS if each[0] in measured]
    both = {"precision", "recall"} <= measured
    if not over and not both:
        raise ValueError("reports: no curves of F or E to draw; measure one of these metrics")
    entries = [_legend_entry(name, report, [score for _, _, score in over]) for name, report in reports.items()]
    width = _PANEL[0] * (len(over) + both)
    columns = max(1, min(len(entries), int(width / _LETTER) // (max(map(len, entries)) + _SAMPLE)))
    height = _PANEL[1] + _LINE * math.ceil(len(entries) / columns)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    panels = list(figure.subplots(1, len(over) + both, squeeze=False)[0])
    if title:
        figure.suptitle(title)
    if both:
        _precision_recall(panels[0], reports)
    for axes, (curve, label, _) in zip(panels[both:], over, strict=True):
        _over_thresholds(axes, reports, curve, label)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(panels[0].get_lines(), entries, loc="outside lower center", ncols=columns, fontsize="small")
    return figure


def _precision_recall(axes: Any, reports: Mapping[str, MetricReport]) -> None:
    for index, report in enumerate(reports.values()):
        axes.plot(report.curves["recall"], report.curves["precision"], linewidth=1.3, **line_style(index))
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(_bottom(reports, "precision"), 1.01))


def _over_thresholds(axes: Any, reports: Mapping[str, MetricReport], curve: str, label: str) -> None:
    for index, report in enumerate(reports.values()):
        axes.plot(255 * report.curves["threshold"], report.curves[curve], linewidth=1.3, **line_style(index))
    axes.set(xlabel="threshold (of 255)", ylabel=label, xlim=(0, 255), ylim=(_bottom(reports, curve), 1.01))


def _bottom(reports: Mapping[str, MetricReport], curve: str) -> float:
    """Return where the axis starts: 0.2 below the median of the lowest curve, so that good curves stay apart."""
    lowest = min(float(np.median(report.curves[curve])) for report in reports.values())
    return max(0.0, math.floor(10 * lowest) / 10 - 0.2)


def _legend_entry(name: str, report: MetricReport, scores: list[str]) -> str:
    shown = ", ".join(f"{score} {report[score]:.3f}" for score in scores)
    # matplotlib reads dollars as mathematics.
    return f"{name} ({shown})".replace("$", r"\$") if shown else name.replace("$", r"\$")
