"""Listings of recipes and experiments."""

import pytest

from dynamic_kd.cli._terminal import print_listing

DESCRIBED = {"cpu": "A small one.", "paper-vgg16": "Both stages as in the paper, on a GPU."}


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
