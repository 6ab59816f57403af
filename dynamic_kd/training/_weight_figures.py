"""Figures of the dynamic weight: IoU of teacher and student for each sample, and the weight over the epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._checks import check_number
from dynamic_kd._extras import require
from dynamic_kd._figures import COLOURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from dynamic_kd.training._weights_log import WeightsLog

_BLUE, _ORANGE = COLOURS[:2]
# From a trace of samples to many of them, in shades of the palette's blue.
_SHADES = ("#d6e8f4", "#7fb8da", _BLUE, "#00304d")
_CELLS, _PANELS_IN_A_ROW, _LOWEST = 36, 4, 3


def teacher_student_scatter(
    logs: Mapping[str, WeightsLog],
    *,
    last: int = 10_000,
    threshold: float | None = None,
    relative: bool = False,
) -> Figure:
    """Draw the student's against the teacher's IoU for the last samples seen in training, a panel for each log.

    This is the paper's Figure 7. Above the diagonal the student is better than its teacher.

    Parameters
    ----------
    logs : mapping
        From a panel's title, such as the weighting, to the log of its run.
    last : int
        Number of samples of each log; the paper draws the last 10,000 iterations.
    threshold : float, optional
        Noise threshold to mark.
    relative : bool
        Whether the threshold is a share of the student's IoU, as with ``noise_elimination="relative"``.

    Returns
    -------
    matplotlib.figure.Figure
        The shade of a cell stands for its number of samples. The titles give the share above the diagonal and
        Pearson's correlation. pyplot's state is not touched.

    Raises
    ------
    ValueError
        If there is no log, or ``last`` is not positive.
    """
    require("matplotlib", extra="eval")
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    check_number("last", last, low=1)
    if not logs:
        raise ValueError("logs: is empty; pass a log for each panel")
    columns = min(len(logs), _PANELS_IN_A_ROW)
    rows = math.ceil(len(logs) / columns)
    figure = Figure(figsize=(3.1 * columns + 1.3, 3.5 * rows + 0.3), layout="constrained", dpi=130)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    shades = LinearSegmentedColormap.from_list("blues", _SHADES)
    # α at a student's IoU of 0 and of 1.
    limit = None if threshold is None else (0.0 if relative else threshold, threshold)
    cells = [
        _panel(axes, title, *log.latest(last), limit, shades)
        for axes, (title, log) in zip(panels.flat, logs.items(), strict=False)
    ]
    norm = LogNorm(1, max(2, *(drawn.get_array().max() for drawn in cells)))
    for drawn in cells:
        drawn.set_norm(norm)
    for axes in panels.flat[len(logs) :]:
        axes.set_axis_off()
    figure.supxlabel("IoU of the teacher, α", fontsize=10)
    figure.supylabel("IoU of the student, 1 − β", fontsize=10)
    bar = figure.colorbar(cells[0], ax=panels, shrink=0.8, pad=0.02, aspect=30, format="%d")
    bar.set_label("samples", fontsize=9)
    bar.ax.tick_params(labelsize=8.5)
    bar.outline.set_visible(False)
    return figure


def _panel(
    axes: Any,
    title: str,
    teacher: NDArray[np.float64],
    student: NDArray[np.float64],
    limit: tuple[float, float] | None,
    shades: Any,
) -> Any:
    drawn = axes.hexbin(teacher, student, gridsize=_CELLS, extent=(0, 1, 0, 1), mincnt=1, cmap=shades, linewidths=0.2)
    axes.plot([0, 1], [0, 1], color=_ORANGE, linewidth=1)
    if limit is not None:
        axes.plot(limit, (0, 1), color="0.45", linewidth=0.8, linestyle=(0, (4, 3)))
        axes.text(limit[1] - 0.015, 0.985, "noise", ha="right", va="top", fontsize=7.5, color="0.35")
    above = np.mean(student > teacher)
    varied = min(np.ptp(teacher), np.ptp(student)) > 0
    correlation = f"r = {np.corrcoef(teacher, student)[0, 1]:.2f}" if varied else "r = -"
    axes.set_title(f"{_plain(title)}\n", fontsize=10)
    note = f"{above:.0%} above the diagonal, {correlation}"
    axes.text(0.5, 1.02, note, transform=axes.transAxes, ha="center", va="bottom", fontsize=8.5, color="0.25")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=np.linspace(0, 1, 6), yticks=np.linspace(0, 1, 6))
    _quiet(axes)
    return drawn


def weight_over_time(log: WeightsLog, *, threshold: float | None = None, relative: bool = False) -> Figure:
    """Draw the weight θ over the epochs, and the share of samples below the noise threshold.

    Of the samples never below the threshold, the three with the lowest mean weight, which the student has learnt best,
    are drawn one by one.

    Parameters
    ----------
    log : WeightsLog
        The log of a run.
    threshold : float, optional
        Noise threshold, for the title.
    relative : bool
        Whether the threshold is a share of the student's IoU, as with ``noise_elimination="relative"``.

    Returns
    -------
    matplotlib.figure.Figure
        The upper panel has the median of θ over the samples above the threshold, with bands for half of them and for
        90%; the lower panel has the share of the other samples. An epoch that has not reached half of the samples is
        left out, unless it is the first. pyplot's state is not touched.
    """
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    shown = log.seen.mean(axis=1) >= 0.5
    shown[0] = True
    epochs, weight = log.epochs[shown], log.weight[shown]
    figure = Figure(figsize=(8, 5.6), layout="constrained", dpi=130)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _bands(above, epochs, weight, log.reliable[shown])
    columns = _lowest(log, _LOWEST)
    if columns:
        above.plot([], [], " ", label="lowest of all epochs:")
    for rank, column in enumerate(columns):
        colour, name = COLOURS[2 + rank % (len(COLOURS) - 2)], _plain(log.names[column])
        above.plot(epochs, weight[:, column], color=colour, linewidth=0.9, label=name, **_line(epochs))
    above.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    noisy = (log.seen & ~log.reliable)[shown].sum(axis=1) / log.seen[shown].sum(axis=1)
    below.plot(epochs, noisy, color=_ORANGE, **_line(epochs))
    below.fill_between(epochs, noisy, color=_ORANGE, alpha=0.15, linewidth=0)
    whose = " of the student's IoU" if relative else ""
    limit = "" if threshold is None else f" (α ≤ {threshold:g}{whose})"
    below.set_title(f"Samples below the noise threshold{limit}", fontsize=10, loc="left")
    below.set(xlabel="epoch", ylim=(0, max(0.05, 1.25 * noisy.max())))
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.yaxis.set_major_locator(MaxNLocator(4))
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        _quiet(axes)
    return figure


def _bands(axes: Any, epochs: NDArray[np.int64], weight: NDArray[np.float64], reliable: NDArray[np.bool_]) -> None:
    """Draw the spread over the reliable samples; with ε among them, the median would jump at half of noise."""
    shares = (5, 25, 50, 75, 95)
    spread = [
        np.percentile(row[kept], shares) if kept.any() else [np.nan] * 5
        for row, kept in zip(weight, reliable, strict=True)
    ]
    low, first, median, third, high = np.transpose(spread)
    axes.fill_between(epochs, low, high, color=_BLUE, alpha=0.13, linewidth=0, label="90% of the samples")
    axes.fill_between(epochs, first, third, color=_BLUE, alpha=0.25, linewidth=0, label="half of the samples")
    axes.plot(epochs, median, color=_BLUE, label="median", linewidth=2, **_line(epochs))
    axes.set(ylim=(0, 1))
    axes.margins(x=0.02)
    axes.set_title("Weight of the teacher, θ, on the samples above the noise threshold", fontsize=10, loc="left")


def _lowest(log: WeightsLog, count: int) -> list[int]:
    """Positions of the lowest weights; samples ever below the threshold jump to ε and back, and are left out."""
    mean = np.where(log.seen, log.weight, 0).sum(axis=0) / log.seen.sum(axis=0)
    candidates = np.flatnonzero((log.reliable == log.seen).all(axis=0))
    if len(candidates) and np.ptp(mean[candidates]) == 0:  # a fixed weight
        return []
    return [int(column) for column in candidates[np.argsort(mean[candidates], kind="stable")][:count]]


def _line(epochs: NDArray[np.int64]) -> dict[str, Any]:
    """Return the style of a line over epochs: a few epochs need dots, because one point makes no line."""
    return {"marker": "o", "markersize": 3.5} if len(epochs) < 8 else {}


def _quiet(axes: Any) -> None:
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(name: str) -> str:
    """Escape dollars, which begin formulas, and leading underscores, which hide labels from a legend."""
    return f"\u200b{name}".replace("$", r"\$") if name.startswith("_") else name.replace("$", r"\$")
