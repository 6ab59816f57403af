"""``dynamic-kd inspect`` as its users call it."""

import pytest
from weights_csv import write_log

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from dynamic_kd.cli import main


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two run folders, "one" and "two"."""
    monkeypatch.chdir(tmp_path)
    for name, alpha in (("one", 0.9), ("two", 0.45)):
        (tmp_path / name).mkdir()
        rows = [(epoch, sample, alpha, 0.5, 0.5) for epoch in (1, 2) for sample in "ab"]
        write_log(tmp_path / name / "weights.csv", rows)
    return tmp_path


def test_one_run(runs, capsys):
    assert main(["inspect", "one"]) == 0
    assert capsys.readouterr().out == "wrote one/noise.csv\nwrote one/scatter.png\nwrote one/weight.png\n"
    lines = ["sample,teacher_iou,threshold,flagged", "a,0.900000,0.500000,0", "b,0.900000,0.500000,0"]
    assert (runs / "one" / "noise.csv").read_text().splitlines() == lines


def test_two_runs_share_a_scatter(runs, capsys):
    assert main(["inspect", "one", "two", "--scatter", "both.png", "--last", "3", "--threshold", "0.4"]) == 0
    assert capsys.readouterr().out.endswith("wrote both.png\n")
    assert (runs / "both.png").is_file()
    assert "a,0.450000,0.400000,0" in (runs / "two" / "noise-0.4.csv").read_text()
    assert not (runs / "two" / "noise.csv").exists()
    assert main(["inspect", "one", "two"]) == 0
    assert capsys.readouterr().out.endswith("wrote scatter.png\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none"], "weights.csv: no such file; stage 2 of training writes it"),
        (["one", "--scatter", "x.png"], "scatter: draws several runs side by side, got 1; leave it out"),
        (["one", "two", "--scatter", "x.xyz"], "--scatter x.xyz: expected a name ending in .png, .pdf or .svg"),
        (["one", "--last", "0"], "last: expected a number in [1, inf), got 0"),
        (["one", "--threshold", "-3"], "threshold: expected a number in [0, 1], got -3.0"),
        (["one", "--samples"], "one: has no recipe.toml, which names the training set; leave samples out"),
    ],
)
def test_mistakes_are_one_line_and_status_2(runs, capsys, words, message):
    assert main(["inspect", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
