"""What commands print: progress on standard error, tables, and lists of names."""

import io
import sys

import pytest

pytest.importorskip("rich", reason="rich is not installed")

from dynamic_kd._tables import Column, Table
from dynamic_kd.cli import _terminal
from dynamic_kd.cli._terminal import bars, one_bar, print_listing, print_table

DESCRIBED = {"cpu": "A small one.", "paper-vgg16": "Both stages as in the paper, on a GPU."}


@pytest.fixture
def watched(monkeypatch):
    """Let rich believe that somebody watches."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


def test_one_bar_goes_to_standard_error(watched, capsys):
    with one_bar() as progress:
        progress("[DES]", 3, 8)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[DES]" in captured.err
    assert "3/8" in captured.err


def test_one_bar_leaves_nothing_in_a_log(capsys):
    with one_bar() as progress:
        progress("scoring", 8, 8)
    assert capsys.readouterr() == ("", "")


def test_a_bar_for_each_step_and_notes_above(watched, capsys):
    with bars() as (progress, note):
        progress("first [x]", 1, 2)
        note("near is [bold] dark")
        progress("first [x]", 2, 2)
        progress("second", 1, 4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "note: near is [bold] dark\n" in err
    last = err[err.rindex("first [x]") :]
    assert "2/2" in last
    assert "1/4" in last


def test_a_log_gets_a_line_for_each_step_and_each_minute(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(_terminal.time, "monotonic", lambda: now[0])
    with bars() as (progress, note):
        note("long " + "x" * 120)
        for done in range(1, 9):
            now[0] += 25
            progress("teacher", done, 8)
        progress("maps", 1, 1)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"note: long {'x' * 120}",
        "teacher: 4/8, 75 s",
        "teacher: 7/8, 150 s",
        "teacher: 8/8, 175 s",
        "maps: 1/1, 0 s",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_other_processes_show_nothing(terminal, monkeypatch, capsys):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with bars(shown=False) as (progress, note):
        progress("teacher", 1, 1)
        note("x")
    assert capsys.readouterr() == ("", "")


def test_without_rich_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setattr("dynamic_kd._extras.installed", lambda name: name != "rich")
    for shown in (one_bar, bars):
        with pytest.raises(ModuleNotFoundError, match=r"rich is not installed; .*'dynamic-kd\[eval\]'"), shown():
            pass


def test_in_a_pipe_a_name_has_a_line(capsys):
    print_listing(DESCRIBED)
    assert capsys.readouterr().out == (
        "cpu          A small one.\npaper-vgg16  Both stages as in the paper, on a GPU.\n"
    )


@pytest.mark.parametrize(("columns", "lines"), [("80", 2), ("40", 3), ("5", 3)])
def test_on_a_terminal_text_goes_on_below_itself(capsys, monkeypatch, columns, lines):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_listing(DESCRIBED)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == lines
    assert max(map(len, printed)) <= max(int(columns), 33)
    assert all(line[:13].strip() in ("", "cpu", "paper-vgg16") for line in printed)


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [("utf-8", ["m †  MAE↓", "---  ----", "é     0.5"]), ("ascii", ["m *  MAE", "---  ----", "?     0.5"])],
)
def test_a_table_is_printed_with_the_signs_that_the_terminal_has(monkeypatch, encoding, lines):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    table = Table(["m †", Column("MAE", ".1f", better="lower")], [["é", 0.5]])
    print_table(table)
    stream.flush()
    assert [line.rstrip() for line in stream.buffer.getvalue().decode(encoding).splitlines()] == lines
