"""Reports and comparisons as tables."""

from __future__ import annotations

from collections.abc import Mapping

from dynamic_kd._tables import SCORE, Column, Table, Value, rounded
from dynamic_kd.evaluation._compare import Comparison, DataSetResult
from dynamic_kd.evaluation._conventions import conventions, image_notes, mask_notes
from dynamic_kd.evaluation._paper import PAPER_SCORES, paper_numbers
from dynamic_kd.evaluation._ranks import incomplete, is_constant
from dynamic_kd.metrics import SCORES, MetricReport

# Follows the name of a method that takes part in neither marks nor ranks.
INCOMPLETE = "†"
_PAPER_NOTE = "E: the paper prints an E-measure without stating whether maximum, mean or adaptive."


def report_table(name: str, report: MetricReport) -> Table:
    """Return the scores of a report from `evaluate_folders` as a table of one row, with notes about its images.

    Parameters
    ----------
    name
        Name of the method.
    report
        Its report.

    Returns
    -------
    Table
    """
    settings = report.settings
    columns = (*report.columns, *_left_out(report))
    table = Table([Column("method"), *(Column(score, SCORE) for score in columns)])
    table.add_row(name, *(report.scores.get(score) for score in columns))
    about = ["Maps min-max normalised" if settings["normalize"] else "Maps not normalised"]
    if "e_measure" in report.curves:
        about.append(f"E-measure with {'>' if settings['strict'] else '>='} at the thresholds")
    about.append(f"backend {settings['backend']}")
    table.notes += [f"Masks: {settings['target']}", *mask_notes(report), f"{image_notes(report.counts)}."]
    table.notes.append(f"{'; '.join(about)}.")
    return table


def _left_out(report: MetricReport) -> tuple[str, ...]:
    """Return the default scores that cannot leave void pixels out."""
    metrics = report.settings.get("left_out")
    return tuple(name for name, score in SCORES.items() if score.metric in metrics) if isinstance(metrics, list) else ()


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return a table of scores for each data set, and the mean ranks; the last one's notes state the conventions.

    Parameters
    ----------
    comparison
        From `compare`.

    Returns
    -------
    list of Table
    """
    tables = [score_table(comparison, name) for name in comparison.datasets]
    ranks = rank_table(comparison)
    tables += [ranks] if len(ranks) else []
    tables[-1].notes += conventions(comparison)
    return tables


def score_table(comparison: Comparison, dataset: str) -> Table:
    """Return the scores of all methods on one data set, with notes about its images."""
    result = comparison.datasets[dataset]
    table = Table(_columns(comparison, [dataset]), title=dataset, notes=_notes(comparison, dataset, result))
    _add_methods(table, comparison, dataset)
    return table


def paper_layout(comparison: Comparison) -> Table:
    """Return one table for a paper, with a section for each data set."""
    table = Table(_columns(comparison, list(comparison.datasets)), notes=conventions(comparison))
    for dataset in comparison.datasets:
        table.add_section(dataset)
        _add_methods(table, comparison, dataset)
    return table


def _columns(comparison: Comparison, datasets: list[str]) -> list[Column]:
    """Return the columns of scores; the paper's E-measure has its own where the paper has a data set."""
    absent = _left_out(next(iter(next(iter(comparison.datasets.values())).reports.values())))
    names = comparison.scores if comparison.config.settings.scores else (*comparison.scores, *absent)
    columns = [Column("method"), *map(_score_column, names)]
    if comparison.config.settings.paper and any(map(paper_numbers, datasets)):
        columns.append(Column("E", SCORE, symbol="$E$"))
    return columns


def _score_column(score: str) -> Column:
    symbol = f"${SCORES[score].symbol}$"
    if is_constant(score):
        return Column(score, SCORE, symbol=symbol)
    return Column(score, SCORE, "higher" if SCORES[score].higher_is_better else "lower", symbol)


def _add_methods(table: Table, comparison: Comparison, dataset: str) -> None:
    """Add a row for each method, and for each one that the paper prints; only complete methods get marks."""
    scores = [column.name for column in table.columns[1:]]
    reports = comparison.datasets[dataset].reports
    lacking = incomplete(reports)
    for method, report in reports.items():
        label = f"{method} {INCOMPLETE}" if method in lacking else method
        table.add_row(label, *(report.scores.get(score) for score in scores), compared=method not in lacking)
    printed = paper_numbers(dataset) if comparison.config.settings.paper else {}
    if printed:
        table.add_section()
    for method, numbers in printed.items():
        table.add_row(f"{method} (paper)", *(numbers.get(score) for score in scores), compared=False)


def _notes(comparison: Comparison, dataset: str, result: DataSetResult) -> list[str]:
    notes = {method: image_notes(report.counts) for method, report in result.reports.items()}
    same = len(set(notes.values())) == 1
    sentences = [f"{next(iter(notes.values()))}."] if same else [f"{name}: {note}." for name, note in notes.items()]
    sentences += mask_notes(next(iter(result.reports.values())))
    lacking = ", ".join(f"{name} lacks {count}" for name, count in incomplete(result.reports).items())
    if lacking:
        sentences.append(f"{INCOMPLETE} Neither marked nor ranked, for lack of images that others have: {lacking}.")
    absent = [method for method in comparison.config.methods if method not in result.reports]
    if absent:
        sentences.append(f"Left out, without maps of this data set: {', '.join(absent)}.")
    if comparison.config.settings.paper:
        known = bool(paper_numbers(dataset))
        sentences.append(_PAPER_NOTE if known else f"The paper's Table 1 has no numbers for {dataset}.")
    return sentences


def all_scores(comparison: Comparison) -> Table:
    """Return one row for each data set and method: its images, all its scores, and their intervals."""
    results = comparison.datasets
    reports = [(name, *each) for name, result in results.items() for each in result.reports.items()]
    compared = set(comparison.scores)
    columns = [Column("dataset"), Column("method"), Column("images")]
    scores = list(reports[0][2])
    columns += [_score_column(score) if score in compared else Column(score, SCORE) for score in scores]
    intervals = [each for result in results.values() for each in result.intervals.values()]
    bounded = [score for score in scores if intervals and score in intervals[0]]
    columns += [Column(f"{score}_{bound}", SCORE) for score in bounded for bound in ("low", "high")]
    table = Table(columns, title="scores")
    for name, result in results.items():
        table.add_section(name)
        lacking = incomplete(result.reports)
        for method, report in result.reports.items():
            own = result.intervals.get(method, {})
            bounds = [bound for score in bounded for bound in own[score]]
            values = [report.counts["images"], *(report[score] for score in scores), *bounds]
            table.add_row(name, method, *values, compared=method not in lacking)
    return table


def interval_table(result: DataSetResult, scores: tuple[str, ...]) -> Table:
    """Return the intervals of the scores on one data set, as text."""
    shown = [score for score in scores if score in next(iter(result.intervals.values()))]
    table = Table(["method", *shown])
    for method, own in result.intervals.items():
        table.add_row(method, *(f"{rounded(own[score].low)} to {rounded(own[score].high)}" for score in shown))
    return table


def rank_table(comparison: Comparison) -> Table:
    """Return one row for each method: its mean rank on each data set and over all; empty without ranks."""
    ranks = comparison.ranks()
    names = list(ranks[0].datasets) if ranks else []
    table = Table(
        [Column("method"), *(Column(name, ".2f") for name in names), Column("all", ".2f")], title="Mean ranks"
    )
    for rank in ranks:
        table.add_row(rank.method, *(rank.datasets[name] for name in names), rank.mean)
    return table


def test_table(comparison: Comparison) -> Table:
    """Return one row for each paired test."""
    differences = [Column(name, "+.4f") for name in ("difference", "difference_low", "difference_high")]
    p_values = ("p_bootstrap", "p_bootstrap_holm", "p_wilcoxon", "p_wilcoxon_holm")
    names = ["dataset", "score", "first", "second", "images"]
    table = Table([*names, *differences, *(Column(name, ".2g") for name in p_values)], title="tests")
    for result in comparison.datasets.values():
        for test in result.tests:
            low, high = test.interval or (None, None)
            table.add_row(*test[:6], low, high, *test[7:])
    return table


def count_table(comparison: Comparison) -> Table:
    """Return one row for each data set and method: how many images there were, and of which kind."""
    reports = {
        (name, method): report
        for name, result in comparison.datasets.items()
        for method, report in result.reports.items()
    }
    table = Table(["dataset", "method", *next(iter(reports.values())).counts], title="images")
    for (name, method), report in reports.items():
        table.add_row(name, method, *report.counts.values())
    return table


def paper_table(comparison: Comparison) -> Table:
    """Return the paper's numbers for the data sets compared; empty unless they are asked for."""
    scores = PAPER_SCORES.values()
    table = Table(["dataset", "method", *(Column(score, SCORE) for score in scores)], title="paper")
    for name in comparison.datasets if comparison.config.settings.paper else ():
        for method, numbers in paper_numbers(name).items():
            table.add_row(name, method, *(numbers.get(score) for score in scores))
    return table


def image_table(reports: Mapping[str, MetricReport]) -> Table:
    """Return one row for each map of a data set: its own scores."""
    table = Table(["method", "name", *next(iter(reports.values())).columns])
    for method, report in reports.items():
        for name, row in zip(report.names, report.rows.tolist(), strict=True):
            table.add_row(method, name, *row)
    return table


def curve_table(reports: Mapping[str, MetricReport]) -> Table:
    """Return one row for each method and threshold: the mean curves of a data set."""
    table = Table(["method", *next(iter(reports.values())).curves])
    for method, report in reports.items():
        rows: list[tuple[Value, ...]] = list(zip(*(curve.tolist() for curve in report.curves.values()), strict=True))
        for row in rows:
            table.add_row(method, *row)
    return table
