"""What an experiment says of spoilt samples, against counts made by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from benchmarks.experiments._noise import CLEAN_SHARES, noise_facts, noise_lines, roc_sheet
from benchmarks.experiments._rows import Row, RunResult
from dynamic_kd.training import read_recipe

FOUND = {"samples": 8, "flagged": 4, "spoilt": 2, "precision": 0.5, "recall": 1.0, "auc": 0.75}
ROC = [0.0, *np.linspace(0.5, 1, 20)]
KINDS = {
    "dominated": {"spoilt": 1, "recall": 1.0, "auc": 0.5},
    "low_contrast": {"spoilt": 1, "recall": 1.0, "auc": 1.0},
}


def results(*rows):
    """Results of rows: method, share, and of each seed what its run says."""
    runs, made = {}, []
    for method, share, facts in rows:
        names = {seed: f"{method}{share}{seed}" for seed in range(len(facts))}
        runs |= {
            names[seed]: RunResult(names[seed], None, None, None, {"noise": own}) for seed, own in enumerate(facts)
        }
        made.append(Row(method, (("data.spoilt_share", share),), (), names, {}, {}))
    return SimpleNamespace(rows=made, runs=runs, experiment=SimpleNamespace(axes=("data.spoilt_share",)))


@pytest.fixture
def folder(tmp_path):
    lines = ["sample,teacher_iou,threshold,flagged,spoilt,kind", "a,0.1,0.5,1,1,dominated", "b,0.2,0.5,1,0,"]
    (tmp_path / "noise.csv").write_text("\n".join([*lines, "c,0.7,0.5,0,1,dominated", "d,0.9,0.5,0,0,"]) + "\n")
    return tmp_path


def test_the_facts_of_a_run_folder(folder):
    facts = noise_facts(folder, read_recipe("cpu"))
    assert (facts["spoilt"], facts["precision"], facts["recall"], facts["auc"]) == (2, 0.5, 0.5, 0.75)
    corners = [(0, 0.5), (0.5, 1), (1, 1)]  # half of the spoilt before any clean one, all before the last clean one
    shares = dict(zip(CLEAN_SHARES.round(2), facts["roc"], strict=True))
    assert all(shares[clean] == spoilt for clean, spoilt in corners)
    (folder / "noise.csv").write_text("sample,teacher_iou,threshold,flagged\na,0.1,0.5,1\n")
    assert noise_facts(folder, read_recipe("cpu")) == {"samples": 1, "flagged": 1}
    (folder / "noise.csv").unlink()
    assert noise_facts(folder, read_recipe("cpu")) == {}


def test_a_file_without_thresholds_has_the_recipes(folder):
    """As run folders of before have it."""
    rows = [line.split(",") for line in (folder / "noise.csv").read_text().splitlines()]
    (folder / "noise.csv").write_text("\n".join(",".join(row[:2] + row[3:]) for row in rows))
    assert noise_facts(folder, read_recipe("cpu"))["flagged"] == 2


def test_methods_that_found_the_same_share_a_row():
    facts = {**FOUND, "kinds": {}}
    other = {**facts, "recall": 0.5, "auc": 0.25}
    made = results(("fixed", 0.3, [facts, other]), ("dynamic", 0.3, [other, facts]), ("relative", 0.3, [other, other]))
    assert noise_lines(made) == [
        ["at", "methods", "spoilt", "precision", "recall", "AUC"],
        ["spoilt_share=0.3", "fixed, dynamic", ".250", ".500", ".750", ".500"],
        ["spoilt_share=0.3", "relative", ".250", ".500", ".500", ".250"],
    ]


def test_several_kinds_are_columns_and_what_nobody_knows_is_left_out():
    unknown = {"samples": 8, "flagged": 4}
    made = results(("a", 0.0, [unknown]), ("a", 0.3, [{**FOUND, "kinds": KINDS}]), ("none", 0.3, []))
    header, row = noise_lines(made)
    assert noise_lines(results(("a", 0.3, [unknown, {**FOUND, "kinds": KINDS}]))) == [header, row]  # of those that know
    assert header[6:] == ["AUC, dominated", "AUC, low contrast"]
    assert row[6:] == [".500", "1.000"]
    one = noise_lines(results(("a", 0.3, [{**FOUND, "kinds": {"swapped": KINDS["dominated"]}}])))
    assert len(one[0]) == 6  # the kind's own AUC would say the same again
    assert len(noise_lines(results(("a", 0.3, [unknown])))) == 1
    assert noise_lines(results(("a", 0.3, [FOUND])))[1][2:] == [".250", ".500", "1.000", ".750"]


def test_a_quotient_that_no_seed_has_is_a_dash():
    [_, row] = noise_lines(results(("a", 0.0, [{**FOUND, "auc": None, "kinds": {}}] * 2)))
    assert row[-1] == "-"


def test_characteristics_are_drawn_for_each_point_and_are_means_over_seeds():
    facts, other = {**FOUND, "roc": ROC, "kinds": {}}, {**FOUND, "auc": 0.5, "roc": list(CLEAN_SHARES), "kinds": {}}
    made = results(
        ("a", 0.0, [{**FOUND, "auc": None, "kinds": {}}]),
        ("a", 0.3, [facts, other]), ("b", 0.3, [{**facts, "recall": 0.1}, other]), ("c", 0.3, [other]),
        ("a", 0.6, [other]),
    )  # fmt: skip
    figure = roc_sheet(made)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["spoilt_share=0.3", "spoilt_share=0.6"]
    first, second, diagonal = figure.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), (np.array(ROC) + CLEAN_SHARES) / 2)
    assert [line.get_label() for line in (first, second)] == [".625  a, b", ".500  c"]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert roc_sheet(results(("a", 0.3, [{**FOUND, "kinds": {}}]))) is None
