"""The curves of all methods on one data set, as a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._extras import require
from dynamic_kd.metrics import MetricReport
from dynamic_kd.metrics._plots import COLOURS, DASHES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Curve, its name on the axis, and the score its legend tells.
_OVER_THRESHOLDS = (("f_measure", "F-measure (β² = 0.3)", "maxF"), ("e_measure", "E-measure", "maxE"))
# Inches: a panel, a line of the legend, and a letter there; and the letters that a line's sample takes.
_PANEL, _LINE, _LETTER, _SAMPLE = (4.4, 4.2), 0.22, 0.073, 7


def curve_sheet(dataset: str, reports: Mapping[str, MetricReport]) -> Figure | None:
    """Draw precision against recall, and the F- and the E-measure over thresholds; None if none was measured."""
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    measured = set(next(iter(reports.values())).curves)
    over = [each for each in _OVER_THRESHOLDS if each[0] in measured]
    both = {"precision", "recall"} <= measured
    if not over and not both:
        return None
    titles = [_title(name, report, [score for _, _, score in over]) for name, report in reports.items()]
    width = _PANEL[0] * (len(over) + both)
    columns = max(1, min(len(titles), int(width / _LETTER) // (max(map(len, titles)) + _SAMPLE)))
    height = _PANEL[1] + _LINE * math.ceil(len(titles) / columns)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    panels = list(figure.subplots(1, len(over) + both, squeeze=False)[0])
    figure.suptitle(dataset)
    if both:
        _precision_recall(panels[0], reports)
    for axes, (curve, label, _) in zip(panels[both:], over, strict=True):
        _over_thresholds(axes, reports, curve, label)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(panels[0].get_lines(), titles, loc="outside lower center", ncols=columns, fontsize="small")
    return figure


def _precision_recall(axes: Any, reports: Mapping[str, MetricReport]) -> None:
    for index, report in enumerate(reports.values()):
        axes.plot(report.curves["recall"], report.curves["precision"], **_style(index))
    bottom = _bottom(report.curves["precision"] for report in reports.values())
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(bottom, 1.01))


def _over_thresholds(axes: Any, reports: Mapping[str, MetricReport], curve: str, label: str) -> None:
    for index, report in enumerate(reports.values()):
        axes.plot(255 * report.curves["threshold"], report.curves[curve], **_style(index))
    bottom = _bottom(report.curves[curve] for report in reports.values())
    axes.set(xlabel="threshold (of 255)", ylabel=label, xlim=(0, 255), ylim=(bottom, 1.01))


def _bottom(curves: Iterable[npt.NDArray[np.float64]]) -> float:
    """Return where the axis starts: two tenths under the middle of the lowest curve, so that good ones stay apart."""
    return max(0.0, math.floor(10 * min(float(np.median(curve)) for curve in curves)) / 10 - 0.2)


def _style(index: int) -> dict[str, Any]:
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        "linewidth": 1.3,
    }


def _title(name: str, report: MetricReport, scores: list[str]) -> str:
    told = ", ".join(f"{score} {report[score]:.3f}" for score in scores)
    # matplotlib leaves names with a leading underscore out of legends, and reads dollars as mathematics.
    return f"{name} ({told})".replace("$", r"\$") if told else name.replace("$", r"\$")
