"""What a comparison is written as: tables with marks, sheets, figures, and the paper's numbers beside."""

import csv
import json
import re
import shutil
import warnings
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pytest
from comparison_folders import write_image, write_layout
from matplotlib.figure import Figure

from dynamic_kd._figures import figure_bytes
from dynamic_kd.evaluation import compare, comparison_tables, read_config, write_comparison
from dynamic_kd.evaluation._grid import chosen_images, draw_grid
from dynamic_kd.evaluation._paper import paper_datasets, paper_numbers

PAPER = Path(__file__).parents[3] / "shared" / "paper.md"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = write_layout(tmp_path_factory.mktemp("maps"))
    for index in range(4):
        write_image(root / "RGB" / "DES" / f"{index:03}.jpg", np.full((20, 28, 3), (0, 0, 250), np.uint8))
    return root


@pytest.fixture(scope="module")
def comparison(root):
    return compare(read_config(root, resamples=50, paper=True, grid="worst:2"))


@pytest.fixture(scope="module")
def written(comparison):
    folder = comparison.config.output
    return {path.relative_to(folder).as_posix(): path for path in write_comparison(comparison)}


def rows_of(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_every_file_is_there(written):
    sheets = ["results.json", "results.xlsx", "scores.csv", "scores.md", "scores.tex", "ranks.csv", "tests.csv"]
    each = [f"{kind}/{name}" for name in ("DES", "SIP") for kind in ("per-image", "curves")]
    figures = ["curves/DES.png", "curves/SIP.png", "grid/DES.png", "grid/SIP.png"]
    assert sorted(written) == sorted([*sheets, *(f"{name}.csv" for name in each), *figures])


def test_files_of_another_run_are_removed_and_no_others(tmp_path):
    root, folder = write_layout(tmp_path / "maps", images=2), tmp_path / "results"
    write_comparison(compare(read_config(root, output=folder, resamples=5, grid="worst:1")))
    mine = ["notes.csv", "grid/notes.png", "per-image/other.csv", ".cache/DES.csv", "curves/tests.csv"]
    for name in mine:
        (folder / name).write_text("mine")
    for gone in (root / "GT" / "SIP", root / "good" / "SIP", root / "poor", root / "fair"):
        shutil.rmtree(gone)
    written = write_comparison(compare(read_config(root, output=folder, resamples=5)))
    files = {path for path in folder.rglob("*") if path.is_file() and path.name != "records.sqlite"}
    assert files == {*written, *(folder / name for name in mine)}


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b"{}", b'{"datasets": 1}', b'{"datasets": [1, "../x"]}'])
def test_results_that_nobody_wrote_do_no_harm(tmp_path, content):
    root = write_layout(tmp_path / "maps", datasets=("A",), methods=("ours",), images=1)
    (tmp_path / "out" / "grid").mkdir(parents=True)
    (tmp_path / "out" / "results.json").write_bytes(content)
    (tmp_path / "out" / "x.png").touch()
    write_comparison(compare(read_config(root, output=tmp_path / "out", resamples=0)))
    assert (tmp_path / "out" / "x.png").is_file()


def test_names_that_differ_in_capitals_may_be_one_file(tmp_path):
    """Where a disk ignores case, the file of the run before is the one just written."""
    root = write_layout(tmp_path / "maps", datasets=("DES",), methods=("ours",), images=1)
    out = tmp_path / "out"
    write_comparison(compare(read_config(root, output=out, resamples=0)))
    for method in ("GT", "ours"):
        (root / method / "DES").rename(root / method / "des")
    write_comparison(compare(read_config(root, output=out, resamples=0)))
    assert (out / "curves" / "des.csv").is_file()
    assert (out / "curves" / "DES.csv").is_file()


def test_letters_that_the_font_lacks_are_no_warning(tmp_path):
    """Any warning is an error here; others than those of letters stay."""
    write_layout(tmp_path, datasets=("空",), methods=("空 ours", "ゞ"), images=1)
    found = compare(read_config(tmp_path, resamples=0, grid="worst:1"))
    names = {path.relative_to(found.config.output).as_posix() for path in write_comparison(found)}
    assert {"curves/空.png", "grid/空.png"} <= names
    figure = Figure()
    figure.savefig = lambda *_, **__: warnings.warn("another", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="another"):
        figure_bytes(figure, "png")


def test_markdown_marks_best_and_second(comparison, written):
    text = written["scores.md"].read_text(encoding="utf-8")
    reports = comparison.datasets["DES"].reports
    assert f"| good | **{reports['good']['MAE']:.3f}".replace("**0.", "**.") + "**" in text
    assert f"| fair | <u>{reports['fair']['MAE']:.3f}".replace("<u>0.", "<u>.") + "</u>" in text
    assert "| method | MAE ↓ | maxF ↑ |" in text
    assert "4 images." in text
    for words in (
        "Bold: best; underlined: second best",
        "95%, percentile bootstrap over images, 50 resamples",
        "paired bootstrap",
        "signed-rank",
        "Holm",
    ):
        assert words in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    for before, line in pairwise(lines):
        if set(line) <= set("|- "):
            assert before.count("|") == line.count("|")


def test_one_method_alone_is_not_marked(tmp_path):
    root = write_layout(tmp_path / "maps", methods=("good",), images=2)
    written = write_comparison(compare(read_config(root, output=tmp_path / "results", resamples=0)))
    text = next(path for path in written if path.name == "scores.md").read_text(encoding="utf-8")
    assert "| good | ." in text
    assert "Bold" not in text


def test_latex_is_one_table_with_a_block_for_each_data_set(written):
    text = written["scores.tex"].read_text(encoding="utf-8")
    body = text[text.index(r"\begin{tabular}") :]
    columns = body[body.index("{l") : body.index("}\n")].count("r")
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {columns}
    assert body.count(r"\multicolumn{11}{l}") == 2
    assert re.search(r"^good & \\textbf\{\.\d+\}", body, re.MULTILINE)
    assert re.search(r"^fair & \\underline\{\.\d+\}", body, re.MULTILINE)
    assert re.search(r"^poor & \.\d+ ", body, re.MULTILINE)
    assert r"$\mathrm{MAE}$ $\downarrow$ & $F_\beta^{max}$ $\uparrow$" in body
    assert text.count("{") == text.count("}")


def test_latex_escapes_names(tmp_path):
    write_layout(tmp_path, datasets=("A_1",), methods=("50%_off", "b&c"), images=1)
    text = write_comparison(compare(read_config(tmp_path, resamples=0)))[1].read_text(encoding="utf-8")
    assert r"\textit{A\_1}" in text
    assert r"50\%\_off &" in text
    assert r"b\&c &" in text


def test_csv_keeps_every_digit(comparison, written):
    rows = rows_of(written["scores.csv"])
    assert [(row["dataset"], row["method"]) for row in rows[:3]] == [("DES", "fair"), ("DES", "good"), ("DES", "poor")]
    for row in rows:
        result = comparison.datasets[row["dataset"]]
        report, own = result.reports[row["method"]], result.intervals[row["method"]]
        assert int(row["images"]) == 4
        assert {name: float(row[name]) for name in report} == report.as_dict()
        assert (float(row["maxF_low"]), float(row["maxF_high"])) == own["maxF"]
        assert float(row["maxF_low"]) <= report["maxF"] * 1.2


def test_per_image_and_curves(comparison, written):
    rows = rows_of(written["per-image/DES.csv"])
    assert [row["name"] for row in rows if row["method"] == "good"] == ["000", "001", "002", "003"]
    report = comparison.datasets["DES"].reports["good"]
    own = [float(row["Sm"]) for row in rows if row["method"] == "good"]
    assert own == report.rows[:, report.columns.index("Sm")].tolist()
    curves = rows_of(written["curves/SIP.csv"])
    assert len(curves) == 3 * 256
    f_measure = [float(row["f_measure"]) for row in curves if row["method"] == "poor"]
    assert max(f_measure) == comparison.datasets["SIP"].reports["poor"]["maxF"]


def test_tests_and_ranks(comparison, written):
    rows = rows_of(written["tests.csv"])
    assert len(rows) == 2 * 9 * 3
    assert {row["images"] for row in rows} == {"4"}
    assert all(row["p_wilcoxon"] == "" for row in rows if row["score"] in ("maxF", "maxE"))
    assert all(float(row["p_bootstrap"]) <= float(row["p_bootstrap_holm"]) <= 1 for row in rows)
    ranks = rows_of(written["ranks.csv"])
    assert ranks[0]["method"] == "good"
    assert float(ranks[0]["all"]) == comparison.ranks()[0].mean


def test_json_holds_everything(comparison, written):
    content = json.loads(written["results.json"].read_text(encoding="utf-8"))
    own = content["datasets"]["DES"]["methods"]["good"]
    report = comparison.datasets["DES"].reports["good"]
    assert own["scores"] == report.as_dict()
    assert own["intervals"]["maxF"] == list(comparison.datasets["DES"].intervals["good"]["maxF"])
    assert (own["counts"], own["settings"]) == (report.counts, report.settings)
    assert len(content["datasets"]["DES"]["tests"]) == 27
    assert content["datasets"]["DES"]["paper"]["DMRA"]["maxF"] == 0.906
    assert content["ranks"][0]["method"] == "good"
    assert content["how"]


def test_the_workbook_opens_with_numbers_and_marks(comparison, written):
    book = openpyxl.load_workbook(written["results.xlsx"])
    assert book.sheetnames == ["scores", "Mean ranks", "tests", "images", "paper", "how"]
    page = book["scores"]
    header = [cell.value for cell in page[1]]
    column = header.index("MAE") + 1
    rows = {(row[0].value, row[1].value): row[0].row for row in page.iter_rows(min_row=2)}
    good, fair, poor = (page.cell(rows["SIP", method], column) for method in ("good", "fair", "poor"))
    assert good.value == pytest.approx(comparison.datasets["SIP"].reports["good"]["MAE"], rel=1e-15)
    assert good.number_format == "0.000"
    assert (good.font.bold, good.font.underline) == (True, None)
    assert (fair.font.bold, fair.font.underline) == (False, "single")
    assert (poor.font.bold, poor.font.underline) == (False, None)
    assert book["images"].max_row == 7


def test_a_method_whose_name_is_a_formula_stays_text(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("=1+1",), images=1)
    written = write_comparison(compare(read_config(tmp_path, resamples=0)))
    [path] = [path for path in written if path.suffix == ".xlsx"]
    cell = openpyxl.load_workbook(path)["scores"].cell(2, 2)
    assert (cell.value, cell.data_type) == ("=1+1", "s")


def test_the_paper_is_shown_beside_and_unmarked(comparison, written):
    des = comparison_tables(comparison)[0]
    assert [row[0] for row in des.rows[:3]] == ["fair", "good", "poor"]
    printed = {row["method"]: row for row in des.records()[3:]}
    assert len(printed) == 12
    assert {name: value for name, value in printed["Ours VGG16 (paper)"].items() if value is not None} == {
        "method": "Ours VGG16 (paper)", "MAE": 0.022, "maxF": 0.926, "Sm": 0.918, "E": 0.965,
    }  # fmt: skip
    assert not any(mark for marks in des.marks[3:] for mark in marks)
    assert any("without stating whether maximum, mean or adaptive" in note for note in des.notes)
    assert "| DMRA (paper) | .088 | .847 |" in written["scores.md"].read_text(encoding="utf-8")
    assert "DMRA (paper) & .088 & .847 &" in written["scores.tex"].read_text(encoding="utf-8")


def test_a_set_that_the_paper_lacks_is_said(tmp_path):
    write_layout(tmp_path, datasets=("ECSSD",), methods=("ours",), images=1)
    [table] = comparison_tables(compare(read_config(tmp_path, resamples=0, paper=True)))
    assert "The paper's Table 1 has no numbers for ECSSD." in table.notes
    assert [row[0] for row in table.rows] == ["ours"]


def test_the_paper_under_other_names():
    assert paper_numbers("NJU2K") == paper_numbers("NJUD") == paper_numbers("njud")
    assert paper_numbers("RGBD135")["DANet"] == {"maxF": 0.916, "Sm": 0.905, "E": 0.961, "MAE": 0.028}
    assert "DANet" not in paper_numbers("LFSD")  # the paper prints none
    assert len(paper_numbers("LFSD")) == 11
    assert paper_numbers("ECSSD") == {}


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's tables lie beside the checkout only")
def test_the_papers_numbers_to_the_digit():
    table = PAPER.read_text(encoding="utf-8").partition("## Table 1")[2].partition("## Table 2")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    methods, dataset, found = rows[0][2:], "", {}
    for row in rows[2:]:
        dataset = row[0] or dataset
        score = {"F": "maxF", "S": "Sm", "E": "E", "M": "MAE"}[row[1]]
        for method, cell in zip(methods, row[2:], strict=True):
            if cell != "-":
                found.setdefault(dataset, {}).setdefault(method, {})[score] = float(cell)
    assert {name: {m: s for m, s in each.items() if s} for name, each in paper_datasets().items()} == found


def test_curves_are_a_figure_for_each_data_set(written):
    image = cv2.imread(str(written["curves/DES.png"]))
    assert image.shape[0] > 500
    assert image.shape[1] > 1500
    assert (image < 250).any(axis=2).mean() > 0.01


def test_curves_of_other_metrics(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("ours",), images=1)
    found = compare(read_config(tmp_path, resamples=0, metrics=["IoU"]))
    names = {path.relative_to(found.config.output).as_posix() for path in write_comparison(found)}
    assert "curves/A.csv" in names
    assert "curves/A.png" not in names


def test_the_grid_shows_the_worst_images(comparison, written):
    result = comparison.datasets["DES"]
    means = {}
    for report in result.reports.values():
        for name, row in zip(report.names, report.rows, strict=True):
            means.setdefault(name, []).append(row[report.columns.index("Sm")])
    worst = sorted(means, key=lambda name: np.mean(means[name]))[:2]
    assert chosen_images(comparison)["DES"] == worst
    with_image, without = (cv2.imread(str(written[f"grid/{name}.png"])) for name in ("DES", "SIP"))
    assert with_image.shape[0] == without.shape[0]
    assert with_image.shape[1] - without.shape[1] == 226  # a column of images
    assert (np.abs(with_image[100, 100].astype(int) - (0, 0, 250)) < 4).all()


def test_the_worst_by_an_error_have_the_most_of_it(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("ours",), images=4)
    found = compare(read_config(tmp_path, resamples=0, metrics=["MAE"], grid="worst:1"))
    report = found.datasets["A"].reports["ours"]
    assert chosen_images(found) == {"A": [report.names[int(report.rows[:, 0].argmax())]]}


def test_the_grid_shows_chosen_images_and_gaps(tmp_path):
    write_layout(tmp_path, datasets=("A", "B"), methods=("one", "two"), images=3)
    (tmp_path / "two" / "A" / "001.png").unlink()
    for folder in ("GT", "one", "two"):
        (tmp_path / folder / "B" / "001.png").unlink()
    found = compare(read_config(tmp_path, resamples=0, allow_missing=True, grid="001, 002"))
    assert chosen_images(found) == {"A": ["001", "002"], "B": ["002"]}
    figure = draw_grid(found, "A", ["001", "002"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[:3] == ["mask", "one", "two"]
    assert texts[3] == "001"
    assert texts[5] == "no map"
    report = found.datasets["A"].reports["one"]
    assert texts[4] == f"Sm {report.rows[1, report.columns.index('Sm')]:.3f}".replace(" 0.", " .")


def test_an_image_that_the_grid_lacks_is_named(tmp_path):
    write_layout(tmp_path, datasets=("A",), methods=("ours",), images=1)
    (tmp_path / "RGB" / "A").mkdir(parents=True)
    found = compare(read_config(tmp_path, resamples=0, grid="worst:1"))
    with pytest.raises(ValueError, match=r"grid: no image 000 of A in .*RGB.A; add it, or choose"):
        write_comparison(found)
