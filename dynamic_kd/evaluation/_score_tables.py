"""A comparison as tables of cells, before they become text, sheets or a picture of a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dynamic_kd._tables import rounded
from dynamic_kd.evaluation._compare import Comparison, DataSetResult
from dynamic_kd.evaluation._notes import image_notes
from dynamic_kd.evaluation._paper import paper_numbers
from dynamic_kd.evaluation._ranks import incomplete, is_constant, lower_is_better

BEST, SECOND, PLAIN = "best", "second", ""
# Behind the name of a method that takes part in neither marks nor ranks.
INCOMPLETE = "†"
PAPER_NOTE = "E: the paper prints an E-measure without saying whether maximum, mean or adaptive"


class Cell(NamedTuple):
    """A score, if there is one, and whether it is the best or the second of its column."""

    value: float | None
    mark: str = PLAIN

    @property
    def text(self) -> str:
        """The score as papers print it."""
        return "-" if self.value is None else rounded(self.value)


class Row(NamedTuple):
    """A method's cells.

    ``paper`` is for numbers that the paper prints, ``incomplete`` for those of fewer images than others': neither take
    part in the marks.
    """

    method: str
    cells: tuple[Cell, ...]
    paper: bool = False
    incomplete: bool = False

    @property
    def name(self) -> str:
        """The method's name, with a mark if its numbers are of fewer images than others'."""
        return f"{self.method} {INCOMPLETE}" if self.incomplete else self.method

    @property
    def label(self) -> str:
        """The method's name, which says of a printed row where it is from."""
        return f"{self.name} (paper)" if self.paper else self.name


class ScoreTable(NamedTuple):
    """The scores of all methods on one data set."""

    dataset: str
    scores: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def header(self) -> list[str]:
        """Titles of the columns, with an arrow towards the better."""
        return ["method", *(f"{score} {'↓' if lower_is_better(score) else '↑'}" for score in self.scores)]


def score_tables(comparison: Comparison) -> list[ScoreTable]:
    """Return a table for each data set."""
    return [_table(comparison, name, result) for name, result in comparison.datasets.items()]


def marks(values: Sequence[float | None], score: str) -> list[str]:
    """Mark the best and the second of a column as they are printed: equal digits share a mark; one method has none.

    Scores that are the same for all methods by definition have none either.
    """
    printed = [None if value is None else float(rounded(value)) for value in values]
    places = sorted({value for value in printed if value is not None}, reverse=not lower_is_better(score))
    if is_constant(score) or sum(value is not None for value in printed) < 2:
        return [PLAIN] * len(printed)
    names = dict(zip(places, (BEST, SECOND), strict=False))
    return [PLAIN if value is None else names.get(value, PLAIN) for value in printed]


def _table(comparison: Comparison, name: str, result: DataSetResult) -> ScoreTable:
    scores = comparison.scores
    lacking = incomplete(result.reports)
    columns = []
    for score in scores:
        compared = [None if method in lacking else report[score] for method, report in result.reports.items()]
        values = [report[score] for report in result.reports.values()]
        columns.append([Cell(value, mark) for value, mark in zip(values, marks(compared, score), strict=True)])
    cells = zip(*columns, strict=True)
    rows = [Row(method, own, incomplete=method in lacking) for method, own in zip(result.reports, cells, strict=True)]
    notes = [*_notes(result), *_lacking(lacking), *_absent(comparison, result)]
    if comparison.config.settings.paper:
        printed = paper_numbers(name)
        if printed:
            scores = (*scores, "E")
            rows = [row._replace(cells=(*row.cells, Cell(None))) for row in rows]
            rows += [_paper_row(method, numbers, scores) for method, numbers in printed.items()]
            notes.append(PAPER_NOTE)
        else:
            notes.append(f"the paper's Table 1 has no numbers of {name}")
    return ScoreTable(name, scores, tuple(rows), tuple(notes))


def _paper_row(method: str, numbers: Mapping[str, float], scores: Sequence[str]) -> Row:
    return Row(method, tuple(Cell(numbers.get(score)) for score in scores), paper=True)


def _notes(result: DataSetResult) -> list[str]:
    """Return what is to be said of the images: once if it holds for every method alike."""
    said = {method: image_notes(report.counts) for method, report in result.reports.items()}
    if len(set(said.values())) == 1:
        return [next(iter(said.values()))]
    return [f"{method}: {note}" for method, note in said.items()]


def _lacking(lacking: Mapping[str, int]) -> list[str]:
    counted = ", ".join(f"{count} by {method}" for method, count in lacking.items())
    why = "neither marked nor ranked, for lack of images that others have"
    return [f"{INCOMPLETE} {why}: {counted}"] if lacking else []


def _absent(comparison: Comparison, result: DataSetResult) -> list[str]:
    absent = [method for method in comparison.config.methods if method not in result.reports]
    return [f"left out: no maps of {', '.join(absent)}"] if absent else []
