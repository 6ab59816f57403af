"""Reports, tables and curves."""

import csv
import dataclasses
import io
import json

import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics, plot_curves, table

NAMES = ["MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE"]


@pytest.fixture
def report(random_pair):
    generator = np.random.default_rng(0)
    metrics = SODMetrics()
    for name in ("a", 'quote", comma'):
        metrics.update(*random_pair(generator, 20, 24), names=[name])
    return metrics.compute()


def test_a_report_maps_the_names_papers_print_to_floats(report):
    assert list(report)[:9] == NAMES
    assert all(type(value) is float for value in report.values())
    assert dict(report) == report.as_dict()
    assert "maxF_per_image" in report


def test_reports_are_mappings_that_nothing_changes(report):
    assert report == dataclasses.replace(report, names=("a", "b"))
    assert report != dataclasses.replace(report, scores={"MAE": 0.5})
    assert report == report.as_dict()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.scores = {}


def test_settings_say_what_the_formulas_were_given(report):
    given = {"f_beta_squared": 0.3, "wf_beta_squared": 1.0, "s_alpha": 0.5, "normalize": True, "quantize": False}
    given |= {"strict": False, "empty_target": "count", "duplicates": "refuse", "per_image_curves": False}
    assert given.items() <= report.settings.items()


def test_json_holds_everything(report):
    content = json.loads(report.to_json())
    assert set(content) == {"scores", "pooled", "counts", "settings", "curves", "per_image"}
    assert '\n "scores": {\n  "MAE": ' in report.to_json()  # for eyes, too
    assert content["scores"] == report.as_dict()
    assert content["per_image"] == report.per_image
    assert {name: len(curve) for name, curve in content["curves"].items()} == dict.fromkeys(
        ["threshold", "precision", "recall", "f_measure", "e_measure"], 256
    )


def test_curves_ascend_with_the_threshold(report):
    assert report.curves["threshold"][[0, 255]].tolist() == [0, 1]
    assert report.curves["recall"][0] == 1
    assert report["maxF"] == report.curves["f_measure"].max()


def test_per_image_csv_keeps_every_digit(report):
    rows = list(csv.DictReader(io.StringIO(report.per_image_csv())))
    assert [row["name"] for row in rows] == ["a", 'quote", comma']
    assert [float(row["Sm"]) for row in rows] == [row["Sm"] for row in report.per_image]


def test_markdown(report):
    lines = table({"a|b": report}, "markdown").splitlines()
    assert lines[0] == f"| method | {' | '.join(NAMES)} |"
    assert lines[2].startswith(r"| a\|b | .")
    assert len(lines) == 3


def test_latex(report):
    text = table({"a_b": report, "50%": report}, "latex", scores=["MAE", "maxF_per_image"])
    assert r"\begin{tabular}{lrr}" in text
    assert r"method & MAE & maxF\_per\_image \\" in text
    assert r"a\_b & ." in text
    assert r"50\% & ." in text
    assert text.count(r"\\") == 3


def test_csv_keeps_every_digit(report):
    rows = list(csv.DictReader(io.StringIO(table({"ours": report}, "csv"))))
    assert rows[0]["method"] == "ours"
    assert {name: float(rows[0][name]) for name in NAMES} == {name: report[name] for name in NAMES}


def test_papers_print_three_decimals_without_the_zero():
    from dynamic_kd._tables import rounded

    assert [rounded(value) for value in (0.0, 0.8317, 0.9996, 1.0, 0.0004)] == [
        ".000",
        ".832",
        "1.000",
        "1.000",
        ".000",
    ]


def test_bad_tables(report):
    with pytest.raises(ValueError, match="style: expected one of 'markdown', 'csv', 'latex', got 'html'"):
        table({"ours": report}, "html")
    with pytest.raises(ValueError, match=r"scores: expected one of 'MAE', .*, got 'AUC'"):
        table({"ours": report}, scores=["AUC"])
    with pytest.raises(ValueError, match="reports: expected at least one, got none"):
        table({})
    pytest.importorskip("matplotlib")
    for function in (table, plot_curves):
        with pytest.raises(TypeError, match="reports: expected a mapping of names to reports, got MetricReport; pass"):
            function(report)


def test_names_are_escaped(report):
    assert r"a\textasciitilde{}b\textasciicircum{}c\textbackslash{}d\&" in table({"a~b^c\\d&": report}, "latex")
    assert table({"two\nlines": report}).splitlines()[2].startswith("| two lines |")


def test_without_matplotlib_the_extra_is_named(report, monkeypatch):
    from dynamic_kd import _extras

    monkeypatch.setattr(_extras, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match=r"matplotlib is not installed; get it with: pip install 'dynamic-kd\[eval\]'"
    ):
        plot_curves({"ours": report})


def test_curves_are_drawn_without_pyplot(report, tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_curves({"ours": report, "theirs$": report}, title="DES")
    curves = [("recall", "precision"), ("threshold", "f_measure"), ("threshold", "e_measure")]
    for axes, (x, y) in zip(figure.axes, curves, strict=True):
        assert len(axes.lines) == 2
        np.testing.assert_allclose(axes.lines[0].get_xdata(), report.curves[x] * (255 if x == "threshold" else 1))
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), report.curves[y])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == f"ours (maxF {report['maxF']:.3f}, maxE {report['maxE']:.3f})"
    assert labels[1].startswith(r"theirs\$ (")
    figure.savefig(tmp_path / "curves.png")
    with pytest.raises(ValueError, match="reports: expected at least one, got none"):
        plot_curves({})


def test_only_measured_curves_are_drawn(random_pair):
    pytest.importorskip("matplotlib")
    for metrics, panels in ((["F"], 2), (["E"], 1)):
        accumulator = SODMetrics(metrics)
        accumulator.update(*random_pair(np.random.default_rng(0), 20, 24))
        assert len(plot_curves({"ours": accumulator.compute()}).axes) == panels
    accumulator = SODMetrics(["MAE"])
    accumulator.update(*random_pair(np.random.default_rng(0), 20, 24))
    with pytest.raises(ValueError, match="no curves of F or E"):
        plot_curves({"ours": accumulator.compute()})


def test_curves_stay_apart_and_within_their_axes(report):
    pytest.importorskip("matplotlib")
    figure = plot_curves({str(number): report for number in range(30)})
    for axes, last in zip(figure.axes, (1, 255, 255), strict=True):
        assert axes.get_xlim() == (0, last)
        assert axes.get_ylim()[1] == 1.01
        assert {side: spine.get_visible() for side, spine in axes.spines.items()} == {
            "left": True,
            "bottom": True,
            "right": False,
            "top": False,
        }
        styles = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
        assert len(set(styles)) == 28  # seven colours, then the same with other dashes
        assert styles[28:] == styles[:2]
        assert [dashes for _, dashes in styles[:28]] == ["-"] * 7 + ["--"] * 7 + ["-."] * 7 + [":"] * 7


def test_reports_that_do_not_share_the_scores(report, random_pair):
    other = SODMetrics(["IoU"])
    other.update(*random_pair(np.random.default_rng(1), 9, 9))
    other = other.compute()
    with pytest.raises(ValueError, match=r"scores: expected one of 'maxIoU', .* got 'MAE'"):
        table({"ours": report, "theirs": other})
    with pytest.raises(ValueError, match=r"scores: expected one of 'MAE', .* got 'maxIoU'"):
        table({"theirs": other, "ours": report})
    with pytest.raises(TypeError, match="reports: expected a MetricReport for 'ours', got dict"):
        table({"ours": report.as_dict()})
    with pytest.raises(TypeError, match=r"scores: expected a sequence of names, got the string 'MAE'; pass \['MAE'\]"):
        table({"ours": report}, scores="MAE")
    with pytest.raises(KeyError, match="'F' is not among this report's scores: MAE, maxF, "):
        report["F"]
    assert report.get("F") is None
