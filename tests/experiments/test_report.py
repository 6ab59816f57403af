"""Tables and figures of an experiment, against numbers made by hand."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from random_reports import random_report  # noqa: E402

from benchmarks.experiments.figures import curves, roc, score_over_axis  # noqa: E402
from benchmarks.experiments.paper import PAPER_TABLES, paper_row  # noqa: E402
from benchmarks.experiments.report import by_noise, markdown, noise_table, write_report  # noqa: E402
from benchmarks.experiments.results import CLEAN_SHARES, Results  # noqa: E402

FOUND = {"samples": 8, "flagged": 4, "spoilt": 2, "precision": 0.5, "recall": 1.0, "auc": 0.75}
ROC = [0.0, *np.linspace(0.5, 1, 20)]
KINDS = {
    "dominated": {"spoilt": 1, "recall": 1.0, "auc": 0.5},
    "low_contrast": {"spoilt": 1, "recall": 1.0, "auc": 1.0},
}
DIFFERENCE = {
    "reference": "s = 0.5", "value": 0.02, "interval": [0.01, 0.03], "corrected": [-0.01, 0.05], "p": 0.25,
    "seeds": 2, "images": 6,
}  # fmt: skip


def row(method, maxF, *, deviation=0.01, seeds=2, chosen=None, differences=None, **point):  # noqa: N803
    scores = {"maxF": {"mean": maxF, "deviation": deviation}, "MAE": {"mean": 0.1, "deviation": deviation}}
    runs = {str(seed): f"{method}{point}{seed}" for seed in range(seeds)}
    return {
        "method": method, **point, "chosen": chosen or {}, "runs": runs, "scores": scores, "choosing": scores,
        "differences": differences or {},
    }  # fmt: skip


def summary(*rows, **others):
    return {
        "experiment": "tiny",
        "about": "Is it worth it.",
        "how": ["One.", "Two."],
        "rows": rows,
        "grid": rows,
    } | others


def noisy(*rows):
    """A summary and its runs, of method, share, and for each seed what its run knows of spoilt samples."""
    made = [row(method, 0.5, seeds=len(facts), **{"data.spoilt_share": share}) for method, share, facts in rows]
    pairs = [
        {"run": name, "noise": own}
        for each, (_, _, facts) in zip(made, rows, strict=True)
        for name, own in zip(each["runs"].values(), facts, strict=True)
    ]
    return summary(*made), pairs


def lines(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_files_hold_all_that_was_found(tmp_path):
    rate = {"training.learning_rate": 0.02}
    rows = (
        row("s = 0.5", 0.8, chosen=rate),
        row("dynamic_1", 0.82, chosen=rate, differences={"maxF": DIFFERENCE, "MAE": DIFFERENCE}),
    )
    other = row("dynamic_1", 0.7, chosen={"training.learning_rate": 0.1})
    paper = {"s = 0.5": paper_row(3, "s=0.5")}
    runs = [{"run": "teacher--seed0", "cells": [], "report": {"maxF": 0.9, "MAE": 0.05}}]
    results = Results(summary(*rows, grid=[*rows, other], paper=paper), runs, {})
    written = write_report(results, tmp_path, with_paper=True)
    names = ["table.md", "table.tex", "table.csv", "results.json", "runs.json"]
    assert [path.name for path in written] == [*names, "axis.png"]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.startswith("# tiny\n\nIs it worth it.\n\n| method | learning_rate | seeds | maxF | MAE |\n")
    assert "| dynamic_1 | 0.02 | 2 | .820\u00a0±\u00a0.010 | .100\u00a0±\u00a0.010 |\n\nOne.\n\nTwo.\n" in text
    assert (
        "## Differences in MAE\n\n| method | against | seeds | difference | interval | corrected interval | p |" in text
    )
    assert "| dynamic_1 | s = 0.5 | 2 | +0.0200 | +0.0100 to +0.0300 | -0.0100 to +0.0500 | 0.25 |" in text
    assert "## All points of the grid" in text
    assert "| dynamic_1 | 0.1 | 2 | .700" in text
    assert "| teacher--seed0 | .900 | .050 |" in text
    assert "| s = 0.5 | .845 / .805 / .061 | .902 / .889 / .034 |" in text
    assert "In the paper" not in markdown(*results[:2])
    found = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [line["method"] for line in found] == ["s = 0.5", "dynamic_1"]
    assert [(line["learning_rate"], line["maxF"], line["maxF_std"]) for line in found][1] == ("0.02", "0.82", "0.01")
    tex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert tex.startswith("% One.\n% Two.\n")
    assert r"dynamic\_1 & " in tex
    assert r"$\pm$" in tex
    assert tex.count(r"\toprule") == 2
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8")) == json.loads(
        json.dumps(results.summary)
    )
    assert json.loads((tmp_path / "runs.json").read_text(encoding="utf-8")) == runs


def test_several_points_are_first_seen_at_a_glance():
    rows = [row("a", 0.8, teacher_epoch=1), row("a", 0.9, teacher_epoch=3), row("b", 0.7, seeds=1, teacher_epoch=3)]
    text = markdown(summary(*rows), [])
    assert "maxF at each teacher_epoch, mean and standard deviation over 2 seeds (of fewer: how many):\n\n" in text
    glance = lines(text)[:4]
    assert glance == [
        ["method", "1", "3"], ["---", "---", "---"], ["a", ".800\u00a0±\u00a0.010", ".900\u00a0±\u00a0.010"],
        ["b", "-", ".700\u00a0±\u00a0.010\u00a0(1)"],
    ]  # fmt: skip
    grids = [row("a", 0.8, **{"loss.p": 0.3}), row("a", 0.8, **{"loss.temperature": 2.0})]
    text = markdown(summary(*grids), [])
    assert "maxF at each p, temperature, mean and" in text
    assert lines(text)[0] == ["method", "0.3 -", "- 2.0"]


def test_methods_that_found_the_same_share_a_row():
    facts = {**FOUND, "kinds": {}}
    other = {**facts, "recall": 0.5, "auc": 0.25}
    made = noisy(("fixed", 0.3, [facts, other]), ("dynamic", 0.3, [other, facts]), ("relative", 0.3, [other, other]))
    assert lines(noise_table(*made).to_markdown()) == [
        ["at", "methods", "spoilt", "precision", "recall", "AUC"],
        ["---"] * 6,
        ["spoilt_share=0.3", "fixed, dynamic", ".250", ".500", ".750", ".500"],
        ["spoilt_share=0.3", "relative", ".250", ".500", ".500", ".250"],
    ]


def test_several_kinds_are_columns_and_unknown_truth_is_left_out():
    unknown = {"samples": 8, "flagged": 4}
    made = noisy(("a", 0.0, [unknown]), ("a", 0.3, [{**FOUND, "kinds": KINDS}]), ("none", 0.3, []))
    header, _, known = lines(noise_table(*made).to_markdown())
    assert header[6:] == ["AUC, dominated", "AUC, low contrast"]
    assert known[6:] == [".500", "1.000"]
    mixed = noisy(("a", 0.3, [unknown, {**FOUND, "kinds": KINDS}]))
    assert lines(noise_table(*mixed).to_markdown())[2] == known  # of those that know
    one = noise_table(*noisy(("a", 0.3, [{**FOUND, "kinds": {"swapped": KINDS["dominated"]}}])))
    assert len(one.columns) == 6  # the kind's own AUC would repeat the other
    assert len(noise_table(*noisy(("a", 0.3, [unknown])))) == 0
    undefined = noise_table(*noisy(("a", 0.0, [{**FOUND, "auc": None, "kinds": {}}] * 2)))
    assert lines(undefined.to_markdown())[2][-1] == "-"


def test_characteristics_are_drawn_for_each_point_and_are_means_over_seeds():
    facts, other = {**FOUND, "roc": ROC, "kinds": {}}, {**FOUND, "auc": 0.5, "roc": list(CLEAN_SHARES), "kinds": {}}
    made = noisy(
        ("a", 0.0, [{**FOUND, "auc": None, "kinds": {}}]),
        ("a", 0.3, [facts, other]), ("b", 0.3, [{**facts, "recall": 0.1}, other]), ("c", 0.3, [other]),
        ("a", 0.6, [other]),
    )  # fmt: skip
    figure = roc(by_noise(*made, "auc"))
    assert [axes.get_title() for axes in figure.axes] == ["spoilt_share=0.3", "spoilt_share=0.6"]
    first, second, diagonal = figure.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), (np.array(ROC) + CLEAN_SHARES) / 2)
    assert [line.get_label() for line in (first, second)] == ["0.625  a, b", "0.500  c"]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert roc(by_noise(*noisy(("a", 0.3, [{**FOUND, "kinds": {}}])), "auc")) is None


def test_a_score_over_the_axis_is_a_line_for_each_method():
    rates = (0.02, 0.1)
    grid = [row(method, rate + 0.5, chosen={"training.learning_rate": rate}) for rate in rates for method in "ab"]
    axes = score_over_axis(summary(*grid[:2], grid=grid)).axes
    assert (axes[0].get_xlabel(), axes[0].get_xscale()) == ("learning rate", "log")
    drawn = {line.get_label(): line.get_xydata() for line in axes[0].get_lines()}
    assert drawn.keys() == {"a", "b"}
    np.testing.assert_allclose(drawn["a"], [[0.02, 0.52], [0.1, 0.6]])


def test_points_off_the_axis_are_marks_beside_it():
    rows = [
        row("m", value, **{"teacher.spoil": kind, "teacher.spoil_share": share})
        for kind, share, value in (("swapped", 0.0, 0.9), ("swapped", 0.3, 0.8), ("blurred", 0.3, 0.7))
    ]
    found = summary(*rows, axis="teacher.spoil_share")
    line, beside = score_over_axis(found).axes
    assert line.get_xlabel() == "share of wrong teacher maps"
    np.testing.assert_allclose(line.get_lines()[0].get_xydata(), [[0, 0.9], [0.3, 0.8]])
    assert [label.get_text() for label in beside.get_xticklabels()] == ["blurred\n0.3"]
    assert score_over_axis(found, "teacher.spoil") is None
    assert score_over_axis(summary(row("m", 0.5))) is None


def test_curves_are_means_over_seeds_at_the_first_point():
    rng = np.random.default_rng(0)
    rows = [row("m", 0.5, share=share) for share in (0.0, 0.3)]
    reports = {}
    for name in rows[0]["runs"].values():
        report = random_report(rng, 3)
        whole = dict.fromkeys(("threshold", "precision", "recall", "f_measure"), report.curves["f_measure"])
        reports[name] = replace(report, curves=whole)
    line = curves(summary(*rows), reports).axes[1].get_lines()[0]
    np.testing.assert_allclose(
        line.get_ydata(), np.mean([report.curves["f_measure"] for report in reports.values()], 0)
    )
    assert curves(summary(*rows), {}) is None


def test_the_papers_tables_are_those_of_the_paper():
    assert {number: len(sets) for number, sets in PAPER_TABLES.items()} == {3: 4, 4: 2, 5: 2}
    assert paper_row(3, "+threshold")["NLPR"] == {"meanF": 0.890, "wF": 0.887, "MAE": 0.021}
    assert paper_row(5, "dynamic")["LFSD"] == {"meanF": 0.798, "wF": 0.753, "MAE": 0.097}
    assert paper_row(4, "student")["DES"] == {"meanF": 0.892, "wF": 0.870, "MAE": 0.025}
    assert paper_row(3, "A2dele") == {}
    # MAE falls with wF over the columns of one set, as it must for numbers that were copied into the right places
    for sets in PAPER_TABLES.values():
        for columns in sets.values():
            numbers = np.array(list(columns.values()))
            assert np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1] > 0.3
            assert (numbers[:, 2] < 0.15).all()
