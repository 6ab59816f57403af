"""A comparison as sheets of rows, for CSV files and for a workbook."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from dynamic_kd.evaluation._compare import Comparison
from dynamic_kd.evaluation._paper import SCORES as PAPER_SCORES
from dynamic_kd.evaluation._paper import paper_numbers
from dynamic_kd.evaluation._report_text import methods_used

Value = str | float | int | None
Sheet = tuple[list[str], list[list[Value]]]


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Value]]) -> str:
    """Return rows as CSV; floats keep every digit, what is missing is left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def score_sheet(comparison: Comparison) -> Sheet:
    """A row for each data set and method: its images, all its scores, and their intervals."""
    reports = [(name, *each) for name, result in comparison.datasets.items() for each in result.reports.items()]
    scores = list(reports[0][2])
    header = ["dataset", "method", "images", *scores]
    bounded: list[str] = []
    for result in comparison.datasets.values():
        bounded = bounded or [score for score in scores if score in next(iter(result.intervals.values()), {})]
    header += [f"{score}_{bound}" for score in bounded for bound in ("low", "high")]
    rows: list[list[Value]] = []
    for name, method, report in reports:
        own = comparison.datasets[name].intervals.get(method, {})
        bounds = chain.from_iterable(own[score] for score in bounded)
        rows.append([name, method, report.counts["images"], *(report[score] for score in scores), *bounds])
    return header, rows


def count_sheet(comparison: Comparison) -> Sheet:
    """A row for each data set and method: how many images there were, and of which kind."""
    rows: list[list[Value]] = []
    header: list[str] = []
    for name, result in comparison.datasets.items():
        for method, report in result.reports.items():
            header = ["dataset", "method", *report.counts]
            rows.append([name, method, *report.counts.values()])
    return header, rows


def rank_sheet(comparison: Comparison) -> Sheet:
    """A row for each method: its mean rank on each data set and over all."""
    ranks = comparison.ranks()
    names = list(ranks[0].datasets) if ranks else []
    return ["method", *names, "all"], [[rank.method, *(rank.datasets[n] for n in names), rank.mean] for rank in ranks]


def tests_sheet(comparison: Comparison) -> Sheet:
    """A row for each paired test."""
    header = ["dataset", "score", "first", "second", "images", "difference", "difference_low", "difference_high"]
    header += ["p_bootstrap", "p_bootstrap_holm", "p_wilcoxon", "p_wilcoxon_holm"]
    rows: list[list[Value]] = []
    for result in comparison.datasets.values():
        for test in result.tests:
            low, high = test.interval or (None, None)
            rows.append([*test[:6], low, high, *test[7:]])
    return header, rows


def paper_sheet(comparison: Comparison) -> Sheet:
    """The paper's numbers for the data sets compared."""
    rows: list[list[Value]] = [
        [name, method, *(scores.get(score) for score in PAPER_SCORES.values())]
        for name in comparison.datasets
        for method, scores in paper_numbers(name).items()
    ]
    return ["dataset", "method", *PAPER_SCORES.values()], rows


def how_sheet(comparison: Comparison) -> Sheet:
    """The conventions, a sentence in a row."""
    return ["how"], [[sentence] for sentence in methods_used(comparison)]


def per_image_rows(comparison: Comparison, dataset: str) -> Iterator[list[Value]]:
    """Yield a row for each map of a data set, after the header."""
    reports = comparison.datasets[dataset].reports
    yield ["method", "name", *next(iter(reports.values())).columns]
    for method, report in reports.items():
        for name, row in zip(report.names, report.rows.tolist(), strict=True):
            yield [method, name, *row]


def curve_rows(comparison: Comparison, dataset: str) -> Iterator[list[Value]]:
    """Yield a row for each method and threshold of a data set's mean curves, after the header."""
    reports = comparison.datasets[dataset].reports
    yield ["method", *next(iter(reports.values())).curves]
    for method, report in reports.items():
        for row in zip(*(curve.tolist() for curve in report.curves.values()), strict=True):
            yield [method, *row]
