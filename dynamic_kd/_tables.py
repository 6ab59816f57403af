"""Tables of numbers and text: one description, rendered for terminals, documents, spreadsheets and programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, NamedTuple

import numpy as np

from dynamic_kd._checks import check_choice
from dynamic_kd._extras import require

Value = str | int | float | tuple[float, float] | None
"""What a cell holds. A tuple is a mean and its standard deviation; None is a missing value."""

SCORE = "score"
BEST, SECOND = "best", "second"
_ARROWS = {"higher": "↑", "lower": "↓"}

_ANSI = {BEST: "\x1b[1m{}\x1b[0m", SECOND: "\x1b[4m{}\x1b[0m"}
_MARKDOWN = {BEST: "**{}**", SECOND: "<u>{}</u>"}
_LATEX = {BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}

_LATEX_ESCAPES = str.maketrans(
    {char: "\\" + char for char in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"↓": r"$\downarrow$", "↑": r"$\uparrow$", "±": r"$\pm$", "†": r"$^\dagger$", "\u00a0": "~"}
)
_MARKDOWN_ESCAPES = str.maketrans({char: "\\" + char for char in "\\|*`<"})

# Text columns are folded to this width before a table is cut into parts.
_FOLDED = 24
_GAP = 2


def rounded(score: float) -> str:
    """Return a score as papers print it: three decimals without a leading zero."""
    text = f"{score:.3f}"
    return text[1:] if text.startswith("0.") else text


def latex_text(text: str) -> str:
    """Escape text for LaTeX; arrows, daggers and plus-minus signs become mathematics."""
    return _one_line(text).replace(" †", "†").translate(_LATEX_ESCAPES)


def markdown_text(text: str) -> str:
    """Escape text for a Markdown table."""
    return _one_line(text).translate(_MARKDOWN_ESCAPES)


def _one_line(text: str) -> str:
    return re.sub(r"[^\S\u00a0]+", " ", text).strip()


@dataclass(frozen=True)
class Column:
    """A column of a `Table`.

    Attributes
    ----------
    name
        Heading; also the column's name in CSV, JSON and workbooks.
    format
        How numbers are printed: ``"score"`` (three decimals without a leading zero, as papers print scores) or a
        format specification such as ``".2f"``. Empty: whole numbers and text as they are, other numbers with six
        significant digits.
    better
        Whether ``"higher"`` or ``"lower"`` values are better. The heading gets an arrow and the best values are marked.
    symbol
        LaTeX for the heading, such as ``r"$S_m$"``; by default the escaped name.
    """

    name: str
    format: str = ""
    better: Literal["higher", "lower"] | None = None
    symbol: str = ""

    def __post_init__(self) -> None:
        if self.better is not None:
            check_choice("better", self.better, ("higher", "lower"))

    def heading(self, gap: str = "") -> str:
        """Return the name and, after a gap, the arrow towards better values."""
        return f"{self.name}{gap}{_ARROWS[self.better]}" if self.better else self.name

    def text(self, value: Value) -> str:
        """Return a value as this column prints it; ``-`` for a missing one."""
        if isinstance(value, str):
            return value
        if isinstance(value, tuple):
            mean, deviation = value
            return self.text(mean) if math.isnan(deviation) else f"{self.text(mean)}\u00a0±\u00a0{self.text(deviation)}"
        if value is None or math.isnan(value):
            return "-"
        if self.format == SCORE:
            return rounded(value)
        return format(value, self.format or ("g" if isinstance(value, float) else ""))


@dataclass(frozen=True)
class _Line:
    """A row's values, or the heading of a section where there are none; ``compared`` rows take part in the marks."""

    values: tuple[Value, ...]
    compared: bool = True
    heading: str = ""


class Table:
    """Rows of numbers and text under named columns, rendered in any format.

    In a column with a better end, the best value is bold and the second best underlined. Values that print alike share
    a mark, and sections are marked separately. A column with fewer than two numbers in a section gets no marks there.

    Parameters
    ----------
    columns
        Names, or `Column` objects for columns of formatted or marked numbers.
    rows
        One sequence of values for each row.
    title
        Printed above the table, and the name of its sheet in a workbook.
    notes
        Sentences printed below the table.

    Raises
    ------
    ValueError
        A row whose length is not the number of columns, or column names that are not unique.

    Examples
    --------
    >>> table = Table(["method", Column("MAE", "score", better="lower")], [["ours", 0.021], ["theirs", 0.03]])
    >>> print(table)
    method  MAE↓
    ------  ----
    ours    .021
    theirs  .030
    >>> print(table.to_markdown(), end="")
    | method | MAE ↓ |
    | --- | --- |
    | ours | **.021** |
    | theirs | <u>.030</u> |
    """

    def __init__(
        self,
        columns: Sequence[str | Column],
        rows: Iterable[Sequence[Value]] = (),
        *,
        title: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.columns = tuple(Column(column) if isinstance(column, str) else column for column in columns)
        self.title = title
        self.notes = list(notes)
        self._lines: list[_Line] = []
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError(f"columns: expected names that differ, got {names}; rename one")
        for row in rows:
            self.add_row(*row)

    def __str__(self) -> str:
        return self.to_text()

    def __len__(self) -> int:
        return len(self.rows)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    @property
    def rows(self) -> list[tuple[Value, ...]]:
        """The values of each row."""
        return [line.values for line in self._lines if line.values]

    def add_row(self, *values: Value, compared: bool = True) -> None:
        """Append a row; with ``compared=False`` its values take no part in the marks."""
        if len(values) != len(self.columns):
            raise ValueError(f"row: expected {len(self.columns)} values, one for each column, got {len(values)}")
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        self._lines.append(_Line(tuple(plain), compared))

    def add_section(self, heading: str = "") -> None:
        """Start a section, which is ruled off and has marks of its own."""
        self._lines.append(_Line((), heading=heading))

    @property
    def marks(self) -> list[tuple[str, ...]]:
        """For each row and column ``"best"``, ``"second"`` or ``""``."""
        marks: list[tuple[str, ...]] = []
        for is_row, lines in groupby(self._lines, key=lambda line: bool(line.values)):
            if is_row:
                section = list(lines)
                columns = [self._column_marks(index, section) for index in range(len(self.columns))]
                marks += zip(*columns, strict=True)
        return marks

    def _column_marks(self, index: int, lines: Sequence[_Line]) -> list[str]:
        column = self.columns[index]
        numbers = [_number(line.values[index]) if line.compared and column.better else None for line in lines]
        known = [number for number in numbers if number is not None]
        if len(known) < 2:
            return [""] * len(lines)
        ordered = dict.fromkeys(map(column.text, sorted(known, reverse=column.better == "higher")))
        places = dict(zip(ordered, (BEST, SECOND), strict=False))
        return ["" if number is None else places.get(column.text(number), "") for number in numbers]

    def to_text(self, width: int | None = None, *, styled: bool = False) -> str:
        """Return aligned text.

        Parameters
        ----------
        width
            Characters in a line. A wider table is cut into parts that repeat the first column, and notes are wrapped.
            None: one part.
        styled
            Show marks with ANSI escapes: bold and underlined.
        """
        title = [_ANSI[BEST].format(self.title) if styled else self.title] if self.title else []
        parts = ["\n".join(self._text_part(columns, styled)) for columns in _parts(self._text_columns(width), width)]
        notes = [_wrapped(note, width) for note in self.notes]
        return "\n".join([*title, "\n\n".join(parts), *notes])

    def _text_columns(self, width: int | None) -> list[_TextColumn]:
        rows, columns = self.rows, []
        for index, (column, right) in enumerate(zip(self.columns, self._aligned_right(), strict=True)):
            texts = [column.heading(), *(column.text(row[index]) for row in rows)]
            columns.append(_TextColumn(index, column, max(map(_width, texts)), right))
        if width is None or _total(columns) <= width:
            return columns
        return [
            each if each.right else each._replace(width=min(each.width, max(_FOLDED, _width(each.column.heading()))))
            for each in columns
        ]

    def _text_part(self, columns: Sequence[_TextColumn], styled: bool) -> list[str]:
        lines = _folded([each.column.heading() for each in columns], [""] * len(columns), columns)
        rule = (" " * _GAP).join("-" * each.width for each in columns)
        lines.append(rule)
        marks = iter(self.marks if styled else [("",) * len(self.columns)] * len(self))
        for line in self._lines:
            if line.values:
                own = next(marks)
                texts = [each.column.text(line.values[each.position]) for each in columns]
                lines += _folded(texts, [own[each.position] for each in columns], columns)
            else:
                lines += [*([rule] if lines[-1] != rule else []), *([f"{line.heading}:"] if line.heading else [])]
        return lines

    def _aligned_right(self) -> list[bool]:
        """For each column, whether it holds formatted or other numbers."""
        rows = self.rows
        return [
            bool(column.format) or not any(isinstance(row[index], str) for row in rows)
            for index, column in enumerate(self.columns)
        ]

    def to_markdown(self) -> str:
        """Return a Markdown table, with the title as a heading and the notes as paragraphs."""
        headings = [markdown_text(column.heading(" ")) for column in self.columns]
        lines = [headings, ["---"] * len(headings)]
        for line, cells in self._cells(markdown_text, _MARKDOWN):
            if line.values:
                lines.append(cells)
            elif line.heading:
                lines.append([f"*{markdown_text(line.heading)}*", *[""] * (len(headings) - 1)])
        table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        title = f"## {markdown_text(self.title)}\n\n" if self.title else ""
        return title + table + "".join(f"\n{markdown_text(note)}\n" for note in self.notes)

    def to_latex(self) -> str:
        r"""Return a ``tabular`` for the package booktabs, with the notes as comments above it."""
        alignment = "".join("r" if right else "l" for right in self._aligned_right())
        headings = [
            (column.symbol or latex_text(column.name))
            + (f" {latex_text(_ARROWS[column.better])}" if column.better else "")
            for column in self.columns
        ]
        lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", " & ".join(headings) + r" \\", r"\midrule"]
        for line, cells in self._cells(latex_text, _LATEX):
            if line.values:
                lines.append(" & ".join(cells).rstrip() + r" \\")
                continue
            lines += [r"\midrule"] if lines[-1] != r"\midrule" else []
            if line.heading:
                heading = rf"\textit{{{latex_text(line.heading)}}}"
                lines.append(rf"\multicolumn{{{len(self.columns)}}}{{l}}{{{heading}}} \\")
        comments = [f"% {_one_line(note)}" for note in self.notes]
        return "\n".join([*comments, *lines, r"\bottomrule", r"\end{tabular}", ""])

    def _cells(self, escape: Callable[[str], str], marked: Mapping[str, str]) -> Iterator[tuple[_Line, list[str]]]:
        """Yield each line with the escaped and marked texts of its cells."""
        marks = iter(self.marks)
        for line in self._lines:
            own = next(marks) if line.values else ()
            texts = [escape(column.text(value)) for column, value in zip(self.columns, line.values, strict=False)]
            yield line, [marked.get(mark, "{}").format(text) for text, mark in zip(texts, own, strict=True)]

    def records(self) -> list[dict[str, str | int | float | None]]:
        """Return a dictionary for each row; a mean with a deviation gives ``name`` and ``name_std``."""
        header, rows = self._flat()
        return [dict(zip(header, row, strict=True)) for row in rows]

    def to_csv(self) -> str:
        """Return CSV with every digit; missing values are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        header, rows = self._flat()
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue()

    def to_json(self) -> str:
        """Return the `records` as JSON with every digit."""
        return json.dumps(self.records(), indent=1, ensure_ascii=False) + "\n"

    def to_xlsx(self) -> bytes:
        """Return an Excel workbook of one sheet, which has every digit and the marks."""
        return workbook([self])

    def _flat(self) -> tuple[list[str], list[list[str | int | float | None]]]:
        """Return header and rows without tuples; not-a-number becomes a missing value."""
        given = self.rows
        spread = [any(isinstance(row[index], tuple) for row in given) for index in range(len(self.columns))]
        header: list[str] = []
        for column, twice in zip(self.columns, spread, strict=True):
            header += [column.name, f"{column.name}_std"] if twice else [column.name]
        rows: list[list[Any]] = []
        for row in given:
            flat: list[Any] = []
            for value, twice in zip(row, spread, strict=True):
                flat += value if isinstance(value, tuple) else (value, None) if twice else (value,)
            rows.append([None if value != value else value for value in flat])  # only NaN differs from itself
        return header, rows


def workbook(tables: Sequence[Table]) -> bytes:
    """Return an Excel workbook with a sheet for each table, named by its title."""
    require("openpyxl", extra="eval")
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    for number, table in enumerate(tables, start=1):
        title = re.sub(r"[][:*?/\\]", " ", table.title)[:31] or f"Sheet{number}"  # what Excel takes
        _fill(book.create_sheet(title), table)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _fill(page: Any, table: Table) -> None:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    fonts = {BEST: Font(bold=True), SECOND: Font(underline="single")}
    header, rows = table._flat()
    formats = {column.name: column.format for column in table.columns}
    for index, name in enumerate(header, start=1):
        page.cell(1, index, name).font = Font(bold=True)
        texts = [value for row in rows if isinstance(value := row[index - 1], str)]
        page.column_dimensions[get_column_letter(index)].width = min(60, max(9, *map(len, [name, *texts])) + 2)
    for line, (row, marks) in enumerate(zip(rows, table.marks, strict=True), start=2):
        marked = {column.name: mark for column, mark in zip(table.columns, marks, strict=True)}
        for index, (name, value) in enumerate(zip(header, row, strict=True), start=1):
            cell = page.cell(line, index)
            cell.value = value
            if isinstance(value, str):
                cell.data_type = "s"  # a method called =ours is no formula
            elif isinstance(value, float):
                cell.number_format = _excel_format(formats.get(name, formats.get(name.removesuffix("_std"), "")))
            if marked.get(name):
                cell.font = fonts[marked[name]]
    page.freeze_panes = "A2"


def _excel_format(spec: str) -> str:
    decimals = 3 if spec == SCORE else next((int(digits) for digits in re.findall(r"\.(\d+)f", spec)), None)
    return "General" if decimals is None else "0." + "0" * decimals if decimals else "0"


def _number(value: Value) -> float | None:
    """Return what a cell is compared by: a number, or the mean of a mean and deviation."""
    if isinstance(value, tuple):
        value = value[0]
    if value is None or isinstance(value, str) or math.isnan(value):
        return None
    return value


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: East Asian characters take two, combining ones none."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


class _TextColumn(NamedTuple):
    """A column of aligned text."""

    position: int
    column: Column
    width: int
    right: bool


def _folded(texts: Sequence[str], marks: Sequence[str], columns: Sequence[_TextColumn]) -> list[str]:
    """Return the lines of one row: more than one where a text is wider than its column."""
    folded = [
        (textwrap.wrap(text, each.width) if _width(text) > each.width else []) or [text]
        for text, each in zip(texts, columns, strict=True)
    ]
    lines = []
    for height in range(max(map(len, folded))):
        cells = []
        for parts, mark, each in zip(folded, marks, columns, strict=True):
            text = parts[height] if height < len(parts) else ""
            blank = " " * (each.width - _width(text))
            shown = _ANSI[mark].format(text) if mark and text else text
            cells.append(blank + shown if each.right else shown + blank)
        lines.append((" " * _GAP).join(cells).rstrip())
    return lines


def _wrapped(text: str, width: int | None) -> str:
    return text if width is None else textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _total(columns: Sequence[_TextColumn]) -> int:
    return sum(each.width for each in columns) + _GAP * (len(columns) - 1)


def _parts(columns: Sequence[_TextColumn], width: int | None) -> list[list[_TextColumn]]:
    """Cut columns into runs that fit a width, each after the first column; a run has at least one other column."""
    if width is None or len(columns) < 2:
        return [list(columns)]
    parts: list[list[_TextColumn]] = []
    for each in columns[1:]:
        if parts and _total([*parts[-1], each]) <= width:
            parts[-1].append(each)
        else:
            parts.append([columns[0], each])
    return parts
