"""A report in the terminal."""

from __future__ import annotations

from dynamic_kd._tables import rounded
from dynamic_kd.metrics import MetricReport


def print_report(name: str, report: MetricReport) -> None:
    """Print the table, then what a reader of the numbers should know of the images."""
    from rich.table import Table

    from dynamic_kd.cli._terminal import terminal
    from dynamic_kd.evaluation._notes import image_notes

    console = terminal()
    widest = max(map(len, report.columns))
    if console.width > sum(max(len(column), 5) + 3 for column in report.columns):
        console.print(f"{name} against {report.settings['target']}")
        sheet = Table(*report.columns)
        sheet.add_row(*(rounded(report[score]) for score in report.columns))
        console.print(sheet)
    else:
        console.print(*(f"{score:<{widest}} {rounded(report[score])}" for score in report.columns), sep="\n")
    console.print(image_notes(report.counts))
    conventions = ["maps min-max normalised" if report.settings["normalize"] else "maps not normalised"]
    if "e_measure" in report.curves:
        conventions.append(f"E-measure cut with {'>' if report.settings['strict'] else '>='}")
    console.print("; ".join([*conventions, f"backend {report.settings['backend']}"]), style="dim")
