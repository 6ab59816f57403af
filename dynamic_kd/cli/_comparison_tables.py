"""A comparison in the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynamic_kd.cli._terminal import terminal
from dynamic_kd.evaluation import Comparison
from dynamic_kd.evaluation._report_text import methods_used
from dynamic_kd.evaluation._score_tables import BEST, INCOMPLETE, SECOND, ScoreTable, score_tables

_STYLES = {BEST: "bold", SECOND: "underline"}
# The narrowest and the widest column of the methods' names, and what a score takes with what parts it from the next.
_LEAST_NAME, _NAME = len("method"), 24
_DIGITS, _PADDING = 4, 2


def print_comparison(comparison: Comparison) -> None:
    """Print a table for each data set, what was done to its images, the ranks, and the conventions."""
    console = terminal()
    for table in score_tables(comparison):
        _print_scores(console, table)
        for note in table.notes:
            console.print(_shown(console, note))
        console.print()
    ranks = comparison.ranks()
    if ranks:
        names = list(ranks[0].datasets)
        sheet = Table(
            "method", *names, "all", title="Mean ranks", title_justify="left", title_style="bold", box=SIMPLE_HEAD
        )
        for rank in ranks:
            sheet.add_row(Text(rank.method), *(f"{rank.datasets[name]:.2f}" for name in names), f"{rank.mean:.2f}")
        console.print(sheet)
    for sentence in methods_used(comparison):
        console.print(_shown(console, sentence), style="dim")
    fresh = sum(result.fresh for result in comparison.datasets.values())
    reports = [report for result in comparison.datasets.values() for report in result.reports.values()]
    maps = sum(report.counts["images"] + report.counts["skipped"] for report in reports)
    console.print(f"{fresh} maps measured, {maps - fresh} found in {comparison.config.cache}")


def _print_scores(console: Console, table: ScoreTable) -> None:
    """Print a table, in as many parts as the terminal's width asks for."""
    titles = [title.replace(" ", "") if _signs(console) else title.split()[0] for title in table.header[1:]]
    for part in _parts(titles, console.width - max(_LEAST_NAME, *(min(_NAME, len(row.name)) for row in table.rows))):
        sheet = Table(title=table.dataset, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        sheet.pad_edge, sheet.collapse_padding = False, True
        sheet.add_column("method", max_width=_NAME, overflow="fold")
        for title in titles[part]:
            sheet.add_column(title, justify="right", no_wrap=True)
        printed = False
        for row in table.rows:
            if row.paper and not printed:
                sheet.add_section()
                sheet.add_row("paper:", style="dim")
            printed = row.paper
            cells = [Text(cell.text, style=_STYLES.get(cell.mark, "")) for cell in row.cells[part]]
            sheet.add_row(Text(_shown(console, row.name)), *cells, style="dim" if row.paper else None)
        console.print(sheet)


def _signs(console: Console) -> bool:
    """Whether the terminal can show arrows and daggers; one that cannot would raise at them."""
    return console.encoding.startswith("utf")


def _shown(console: Console, text: str) -> str:
    return text if _signs(console) else text.replace(INCOMPLETE, "*")


def _parts(titles: list[str], width: int) -> list[slice]:
    """Cut columns into runs that fit a width; a run has one column at least."""
    parts, start, used = [], 0, 0
    for index, title in enumerate(titles):
        needed = max(len(title), _DIGITS) + _PADDING
        if index > start and used + needed > width:
            parts.append(slice(start, index))
            start, used = index, 0
        used += needed
    return [*parts, slice(start, len(titles))]
