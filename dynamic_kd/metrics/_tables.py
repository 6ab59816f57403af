"""Reports side by side as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dynamic_kd._checks import check_choice
from dynamic_kd._tables import SCORE, Column, Table
from dynamic_kd.metrics._report import MetricReport

STYLES = ("markdown", "csv", "latex")


def table(reports: Mapping[str, MetricReport], style: str = "markdown", *, scores: Sequence[str] | None = None) -> str:
    """Return reports as a table with one row for each.

    Parameters
    ----------
    reports
        Row name -> report.
    style
        ``"markdown"`` and ``"latex"`` (booktabs) round to three decimals as papers do. ``"csv"`` keeps every digit.
    scores
        Names of the scores, one column each. Default: the per-image scores of the first report.

    Returns
    -------
    str
        The table, ending in a newline.

    Raises
    ------
    ValueError
        An unknown style or score, or no reports.

    Examples
    --------
    >>> import numpy as np
    >>> from dynamic_kd.metrics import SODMetrics
    >>> metrics = SODMetrics()
    >>> metrics.update(np.eye(4), np.eye(4, dtype=bool))
    >>> print(table({"ours": metrics.compute()}, scores=["MAE", "maxF"]), end="")
    | method | MAE | maxF |
    | --- | --- | --- |
    | ours | .000 | 1.000 |
    """
    check_choice("style", style, STYLES)
    check_reports(reports)
    if isinstance(scores, str):
        raise TypeError(f"scores: expected a sequence of names, got the string {scores!r}; pass [{scores!r}]")
    scores = next(iter(reports.values())).columns if scores is None else scores
    for report in reports.values():
        for name in scores:
            check_choice("scores", name, tuple(report))
    result = Table([Column("method"), *(Column(score, SCORE) for score in scores)])
    for name, report in reports.items():
        result.add_row(str(name), *(report[score] for score in scores))
    return {"markdown": result.to_markdown, "csv": result.to_csv, "latex": result.to_latex}[style]()


def check_reports(reports: object) -> None:
    """Raise unless ``reports`` maps names to reports; a single report is itself a mapping, and an easy mistake."""
    if isinstance(reports, MetricReport) or not isinstance(reports, Mapping):
        kind = type(reports).__name__
        raise TypeError(f"reports: expected a mapping of names to reports, got {kind}; pass {{'name': report}}")
    if not reports:
        raise ValueError("reports: expected at least one, got none")
    for name, report in reports.items():
        if not isinstance(report, MetricReport):
            raise TypeError(f"reports: expected a MetricReport for {name!r}, got {type(report).__name__}")
