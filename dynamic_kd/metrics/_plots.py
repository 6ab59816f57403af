"""Curves of reports as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dynamic_kd._extras import require
from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._tables import check_reports

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which stays apart for colour-blind readers, and dashes for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")


def plot_curves(reports: Mapping[str, MetricReport]) -> Figure:
    """Draw the precision-recall curve and the F-measure over thresholds of each report.

    Parameters
    ----------
    reports
        From legend entry to report.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels; ``figure.savefig("curves.png")`` writes it. pyplot's state is not touched.

    Raises
    ------
    ValueError
        No report.
    """
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    check_reports(reports)
    figure = Figure(figsize=(9, 4.2), layout="constrained", dpi=150)
    left, right = figure.subplots(1, 2)
    for index, (name, report) in enumerate(reports.items()):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        }
        curves = report.curves
        left.plot(curves["recall"], curves["precision"], label=name, **style)
        right.plot(
            255 * curves["threshold"],
            curves["f_measure"],
            label=f"{name} (max {report['maxF']:.3f})",
            **style,
        )
    left.set(xlabel="recall", ylabel="precision", title="Precision and recall", xlim=(0, 1), ylim=(0, 1.02))
    right.set(
        xlabel="threshold (of 255)",
        ylabel="F-measure (β² = 0.3)",
        title="F-measure",
        xlim=(0, 255),
        ylim=(0, 1.02),
    )
    right.legend(loc="lower center", fontsize="small")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
