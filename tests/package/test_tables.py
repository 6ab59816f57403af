"""A table is described once; every format shows the same values, marks and notes."""

import csv
import io
import json
import math

import numpy as np
import pytest

from dynamic_kd.evaluation import Column, Table


@pytest.fixture
def table():
    columns = ["method", Column("MAE", "score", better="lower"), Column("maxF", "score", better="higher"), "images"]
    table = Table(columns, title="DES", notes=["4 images."])
    table.add_row("a", 0.1004, 0.9, 4)
    table.add_row("b", 0.1001, None, 4)
    table.add_row("c", 0.25, 0.85, 4)
    table.add_section("paper")
    table.add_row("d", 0.01, math.nan, None, compared=False)
    return table


def test_marks_go_by_the_printed_digits_within_a_section(table):
    assert table.marks == [
        ("", "best", "best", ""), ("", "best", "", ""), ("", "second", "second", ""), ("", "", "", ""),
    ]  # fmt: skip


def test_one_number_alone_is_not_the_best():
    column = Column("Sm", "score", better="higher")
    assert Table([column], [[0.5], [None]]).marks == [("",), ("",)]
    assert Table([column], [[0.5], [0.5]]).marks == [("best",), ("best",)]
    assert Table([column], [[0.1], [0.3], [0.2], [0.4]]).marks == [("",), ("second",), ("",), ("best",)]


def test_text(table):
    assert str(table).splitlines() == [
        "DES",
        "method  MAE↓  maxF↑  images",
        "------  ----  -----  ------",
        "a       .100   .900       4",
        "b       .100      -       4",
        "c       .250   .850       4",
        "------  ----  -----  ------",
        "paper:",
        "d       .010      -       -",
        "4 images.",
    ]
    styled = table.to_text(styled=True)
    assert "\x1b[1m.100\x1b[0m" in styled
    assert "\x1b[4m.850\x1b[0m" in styled


def test_narrow_text_is_cut_into_parts_that_repeat_the_first_column(table):
    text = table.to_text(14)
    assert max(map(len, text.splitlines())) <= 14
    assert [line for line in text.splitlines() if "method" in line] == [
        "method  MAE↓",
        "method  maxF↑",
        "method  images",
    ]


def test_long_names_are_folded_before_a_table_is_cut():
    table = Table(["method", Column("MAE", "score")], [["a " * 30, 0.1], ["空" * 3, 0.2]])
    lines = table.to_text(40).splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[0].endswith("MAE")
    assert lines[-1] == "空空空" + " " * 18 + "  .200"


def test_markdown(table):
    assert table.to_markdown().splitlines() == [
        "## DES",
        "",
        "| method | MAE ↓ | maxF ↑ | images |",
        "| --- | --- | --- | --- |",
        "| a | **.100** | **.900** | 4 |",
        "| b | **.100** | - | 4 |",
        "| c | <u>.250</u> | <u>.850</u> | 4 |",
        "| *paper* |  |  |  |",
        "| d | .010 | - | - |",
        "",
        "4 images.",
    ]
    assert Table(["a|b"], [["two\nlines"], ["*c* `d` <e>"]]).to_markdown().splitlines()[::2] == [
        r"| a\|b |", "| two lines |",
    ]  # fmt: skip


def test_latex(table):
    assert table.to_latex().splitlines() == [
        "% 4 images.",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"method & MAE $\downarrow$ & maxF $\uparrow$ & images \\",
        r"\midrule",
        r"a & \textbf{.100} & \textbf{.900} & 4 \\",
        r"b & \textbf{.100} & - & 4 \\",
        r"c & \underline{.250} & \underline{.850} & 4 \\",
        r"\midrule",
        r"\multicolumn{4}{l}{\textit{paper}} \\",
        r"d & .010 & - & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_escapes_text_and_takes_symbols_as_they_are():
    text = Table([Column("Sm", "score", symbol="$S_m$"), "50%_off †"], [[0.5, r"a~b^c\d & {e}"]]).to_latex()
    assert r"$S_m$ & 50\%\_off$^\dagger$ \\" in text
    assert r"a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d \& \{e\}" in text


def test_means_with_deviations():
    table = Table(["method", Column("wF", "score", better="higher")], [["a", (0.8, 0.01)], ["b", (0.7, math.nan)]])
    assert table.marks == [("", "best"), ("", "second")]
    assert ".800\u00a0±\u00a0.010" in table.to_text()
    assert r"\textbf{.800~$\pm$~.010}" in table.to_latex()
    assert table.to_csv() == "method,wF,wF_std\na,0.8,0.01\nb,0.7,\n"
    assert json.loads(table.to_json())[1] == {"method": "b", "wF": 0.7, "wF_std": None}


def test_csv_and_json_keep_every_digit(table):
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["MAE"] for row in rows] == ["0.1004", "0.1001", "0.25", "0.01"]
    assert rows[3]["maxF"] == rows[3]["images"] == ""
    assert json.loads(table.to_json())[0] == {"method": "a", "MAE": 0.1004, "maxF": 0.9, "images": 4}


def test_a_workbook_has_numbers_formats_and_marks(table):
    openpyxl = pytest.importorskip("openpyxl")
    table.add_row("=1+1", 0.5, 0.5, 4)
    page = openpyxl.load_workbook(io.BytesIO(table.to_xlsx()))["DES"]
    assert [cell.value for cell in page[1]] == ["method", "MAE", "maxF", "images"]
    assert (page["B2"].value, page["B2"].number_format, page["B2"].font.bold) == (0.1004, "0.000", True)
    assert (page["B4"].font.bold, page["B4"].font.underline) == (False, "single")
    assert (page["A6"].value, page["A6"].data_type) == ("=1+1", "s")


@pytest.mark.parametrize(
    ("spec", "value", "text"),
    [
        ("score", 0.8317, ".832"), ("score", 0.9996, "1.000"), ("score", -0.0123, "-0.012"), ("+.4f", 0.5, "+0.5000"),
        (",", 12345, "12,345"), ("", 0.1234567, "0.123457"), ("", 10**9, "1000000000"), (".1f", None, "-"),
    ],
)  # fmt: skip
def test_how_numbers_are_printed(spec, value, text):
    assert Column("x", spec).text(value) == text


def test_numbers_of_numpy_are_numbers():
    table = Table(["n", "x"], [[np.int64(3), np.float32(0.5)]])
    assert table.records() == [{"n": 3, "x": 0.5}]
    assert json.loads(table.to_json()) == table.records()


def test_a_workbook_takes_any_title():
    openpyxl = pytest.importorskip("openpyxl")
    content = Table(["a"], [["b"]], title="scores: DES/SIP, and a long rest of the title").to_xlsx()
    assert openpyxl.load_workbook(io.BytesIO(content)).sheetnames == ["scores  DES SIP, and a long res"]


def test_mistakes():
    with pytest.raises(ValueError, match="row: expected 2 values, one for each column, got 1"):
        Table(["a", "b"], [["c"]])
    with pytest.raises(ValueError, match="columns: expected names that differ"):
        Table(["a", "a"])
    with pytest.raises(ValueError, match="better: expected one of 'higher', 'lower', got 'up'"):
        Column("x", better="up")
