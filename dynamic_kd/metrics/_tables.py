"""Reports side by side as a table, in the formats papers and spreadsheets take."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from dynamic_kd._checks import check_choice
from dynamic_kd.metrics._report import MetricReport

STYLES = ("markdown", "csv", "latex")
_LATEX_ESCAPES = str.maketrans(
    {char: "\\" + char for char in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def table(reports: Mapping[str, MetricReport], style: str = "markdown", *, scores: Sequence[str] | None = None) -> str:
    """Return reports as a table, a row for each.

    Parameters
    ----------
    reports
        From row name to report.
    style
        ``"markdown"`` and ``"latex"`` (booktabs) round to three decimals as papers do, ``"csv"`` keeps every digit.
    scores
        Names of the scores, one column each; by default all that the first report has of each image.

    Returns
    -------
    str
        The table, ending in a newline.

    Raises
    ------
    ValueError
        An unknown style or score, or no report.

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
    rows = [[name, *(report[score] for score in scores)] for name, report in reports.items()]
    header = ["method", *scores]
    return {"markdown": _markdown, "csv": _csv, "latex": _latex}[style](header, rows)


def check_reports(reports: object) -> None:
    """Raise unless ``reports`` maps names to reports; a single report, itself a mapping, is an easy slip."""
    if isinstance(reports, MetricReport) or not isinstance(reports, Mapping):
        kind = type(reports).__name__
        raise TypeError(f"reports: expected a mapping of names to reports, got {kind}; pass {{'name': report}}")
    if not reports:
        raise ValueError("reports: expected at least one, got none")
    for name, report in reports.items():
        if not isinstance(report, MetricReport):
            raise TypeError(f"reports: expected a MetricReport for {name!r}, got {type(report).__name__}")


def rounded(score: float) -> str:
    """Return three decimals without a leading zero, as papers print scores."""
    text = f"{score:.3f}"
    return text[1:] if text.startswith("0.") else text


def _markdown(header: list[str], rows: list[list[object]]) -> str:
    lines = [header, ["---"] * len(header)]
    lines += [[" ".join(str(name).split()).replace("|", "\\|"), *_cells(scores)] for name, *scores in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _csv(header: list[str], rows: list[list[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def _latex(header: list[str], rows: list[list[object]]) -> str:
    lines = [[cell.translate(_LATEX_ESCAPES) for cell in header]]
    lines += [[str(name).translate(_LATEX_ESCAPES), *_cells(scores)] for name, *scores in rows]
    top, *body = (" & ".join(cells) + r" \\" for cells in lines)
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            top,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _cells(scores: Sequence[object]) -> list[str]:
    return [rounded(float(score)) for score in scores]  # type: ignore[arg-type]
