"""A comparison as an Excel workbook."""

from __future__ import annotations

import io
from typing import Any

from dynamic_kd._extras import require
from dynamic_kd.evaluation._compare import Comparison
from dynamic_kd.evaluation._score_tables import BEST, SECOND, score_tables
from dynamic_kd.evaluation._sheets import (
    Sheet,
    count_sheet,
    how_sheet,
    paper_sheet,
    rank_sheet,
    score_sheet,
    tests_sheet,
)


def workbook(comparison: Comparison) -> bytes:
    """Return the bytes of a workbook, with 16 digits; the best scores are bold, the second underlined."""
    require("openpyxl", extra="eval")
    from openpyxl import Workbook

    book = Workbook()
    book.remove(book.active)
    _fill(book, "scores", score_sheet(comparison), digits=3)
    _mark(book["scores"], comparison)
    sheets = {
        "ranks": (rank_sheet(comparison), 2),
        "tests": (tests_sheet(comparison), 4),
        "images": (count_sheet(comparison), 0),
        "paper": (paper_sheet(comparison) if comparison.config.settings.paper else ([], []), 3),
    }
    for name, (sheet, digits) in sheets.items():
        if sheet[1]:
            _fill(book, name, sheet, digits=digits)
    _fill(book, "how", how_sheet(comparison), digits=0)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def _fill(book: Any, name: str, sheet: Sheet, *, digits: int) -> None:
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    header, rows = sheet
    page = book.create_sheet(name)
    for column, title in enumerate(header, start=1):
        page.cell(1, column, title).font = Font(bold=True)
    for index, row in enumerate(rows, start=2):
        for column, value in enumerate(row, start=1):
            cell = page.cell(index, column)
            cell.value = value
            if isinstance(value, str):
                cell.data_type = "s"  # a method called =ours is no formula
            elif isinstance(value, float):
                cell.number_format = f"0.{'0' * digits}"
    page.freeze_panes = "A2"
    for column, title in enumerate(header, start=1):
        width = max([len(title), *(len(value) for row in rows if isinstance(value := row[column - 1], str))])
        page.column_dimensions[get_column_letter(column)].width = min(60, max(9, width + 2))


def _mark(page: Any, comparison: Comparison) -> None:
    """Carry the marks of the printed tables over to the sheet of scores."""
    from openpyxl.styles import Font

    fonts = {BEST: Font(bold=True), SECOND: Font(underline="single")}
    columns = {cell.value: cell.column for cell in page[1]}
    row = 1
    for table in score_tables(comparison):
        for line in table.rows:
            if line.paper:
                continue
            row += 1
            for score, cell in zip(table.scores, line.cells, strict=True):
                if cell.mark:
                    page.cell(row, columns[score]).font = fonts[cell.mark]
