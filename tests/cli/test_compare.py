"""``dynamic-kd compare`` as its users call it."""

import io
import json
import sys

import numpy as np
import pytest
from comparison_folders import write_image, write_layout

from dynamic_kd.cli import main
from dynamic_kd.evaluation import evaluate_folders


@pytest.fixture
def root(tmp_path):
    return write_layout(tmp_path / "maps", images=2)


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_help_fits_80_columns(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    for words in ("DIR/GT/DES/*.png", "[methods.ours]", "{dataset}", "--grid NAMES|worst:N", "--paper"):
        assert words in out


def test_a_folder_to_tables_and_files(root, capsys):
    assert main(["compare", str(root), "--resamples", "20", "--workers", "2", "--paper", "--grid", "worst:1"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("wrote ") and "found in" not in line) <= 80
    for words in ("DES", "SIP", "MAE↓", "maxF↑", "good", "2 images", "Mean ranks", "Ours VGG19 (paper)", "bootstrap"):
        assert words in captured.out
    content = json.loads((root / "comparison" / "results.json").read_text(encoding="utf-8"))
    alone = evaluate_folders(root / "good" / "DES", root / "GT" / "DES")
    assert content["datasets"]["DES"]["methods"]["good"]["scores"] == alone.as_dict()
    for line in lines:
        if line.startswith("wrote "):
            assert (root / "comparison" / line.removeprefix("wrote ")).is_file()
    assert "12 maps measured, 0 found in" in captured.out
    assert main(["compare", str(root), "--resamples", "0"]) == 0
    assert "0 maps measured, 12 found in" in capsys.readouterr().out


def test_best_and_second_are_seen_in_a_terminal(root, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert main(["compare", str(root), "--resamples", "0", "--scores", "MAE"]) == 0
    out = capsys.readouterr().out
    mae = {method: evaluate_folders(root / method / "DES", root / "GT" / "DES")["MAE"] for method in ("good", "fair")}
    assert f"\x1b[1m{mae['good']:.3f}".replace("0.", ".") in out
    assert f"\x1b[4m{mae['fair']:.3f}".replace("0.", ".") in out


def test_a_file_and_options_before_it(root, tmp_path, capsys):
    path = tmp_path / "compare.toml"
    path.write_text(
        '[datasets.DES]\ntarget = "maps/GT/DES"\n[methods.ours]\nmaps = "maps/good/{dataset}"\n'
        '[settings]\nscores = ["wF"]\nresamples = 7\nstrict = true\nnormalize = false\n'
    )
    assert main(["compare", str(path), "--scores", "Sm,MAE", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Sm↑  MAE↓" in out
    assert "wF" not in out
    assert "7 resamples" in out
    assert "Maps not normalised; E-measure with > at the thresholds;" in " ".join(out.split())
    assert (tmp_path / "out" / "scores.md").is_file()


def test_narrow_terminals_get_the_table_in_parts(root, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["compare", str(root), "--resamples", "0"]) == 0
    out = capsys.readouterr().out
    assert all(score in out for score in ("MAE↓", "maxF↑", "meanF↑", "adpF↑", "wF↑", "Sm↑", "maxE↑", "meanE↑", "adpE↑"))
    assert "…" not in out


def test_a_terminal_without_arrows(root, monkeypatch):
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    assert main(["compare", str(root), "--resamples", "0"]) == 0
    plain.flush()
    header = next(line for line in plain.buffer.getvalue().decode("ascii").splitlines() if "method" in line)
    assert header.replace("|", " ").split() == [
        "method",
        "MAE",
        "maxF",
        "meanF",
        "adpF",
        "wF",
        "Sm",
        "maxE",
        "meanE",
        "adpE",
    ]


def test_what_was_done_to_images_is_said(root, capsys):
    write_image(root / "good" / "DES" / "000.png", np.zeros((10, 14), np.uint8))
    write_image(root / "GT" / "DES" / "001.png", np.zeros((20, 28), np.uint8))
    (root / "fair" / "DES" / "000.png").unlink()
    assert main(["compare", str(root), "--resamples", "0", "--allow-missing"]) == 0
    out = capsys.readouterr().out
    assert "good: 2 images; 1 resized to their masks; 1 with an empty mask; 1 with a constant map" in " ".join(
        out.split()
    )
    assert "fair: 1 images; 1 left out: no map for the mask" in out


MISTAKES = [
    (["nowhere"], "nowhere: no such file or folder; name a .toml file or a folder of methods"),
    (["--grid", "worst:x"], "grid: expected worst:N"),
    (["--scores", "maxIoU"], "scores: expected some of MAE"),
    (["--scores", "xyz"], "scores: expected some of MAE"),
    (["--reference", "god"], "did you mean 'good'?"),
    (["--resamples", "-1"], "resamples: expected a whole number"),
    (["--workers", "0"], "workers: expected a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(root, capsys, options, message):
    options = options if options[0] == "nowhere" else [str(root), *options]
    assert main(["compare", *options]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("dynamic-kd: error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--scores", "Sm,maxG", "argument --scores: expected scores, got 'maxG'; did you mean 'maxF'?"),
        ("--metrics", "MEA", "argument --metrics: expected metrics, got 'MEA'; did you mean 'MAE'?"),
    ],
)
def test_a_misspelt_name_is_one_line_with_a_hint(root, capsys, option, value, message):
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(root), option, value])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_names_of_scores_in_any_capitals(root, capsys):
    assert main(["compare", str(root), "--resamples=0", "--metrics", "iou, mae", "--scores", "mae, MAXIOU"]) == 0
    assert "MAE↓  maxIoU↑" in capsys.readouterr().out


def test_a_method_that_lacks_images_is_marked(root, capsys, monkeypatch):
    (root / "fair" / "DES" / "000.png").unlink()
    assert main(["compare", str(root), "--resamples", "0", "--allow-missing"]) == 0
    out = capsys.readouterr().out
    assert "\nfair † " in out
    assert "† Neither marked nor ranked, for lack of images that others have: fair lacks 1." in out
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    assert main(["compare", str(root), "--resamples", "0", "--allow-missing"]) == 0
    plain.flush()
    shown = plain.buffer.getvalue().decode("ascii")
    assert "fair * " in shown
    assert "* Neither marked nor ranked" in shown
    assert "without fair (*)" in " ".join(shown.split())


def test_a_bad_image_is_one_line_and_status_2(root, capsys):
    (root / "good" / "SIP" / "001.png").write_bytes(b"")
    assert main(["compare", str(root)]) == 2
    assert "001.png: expected an image file, got an empty one" in capsys.readouterr().err


def test_an_interrupt_says_that_nothing_is_lost(root, capsys, monkeypatch):
    from dynamic_kd import evaluation

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation, "compare", interrupted)
    assert main(["compare", str(root)]) == 130
    error = capsys.readouterr().err
    assert error == "dynamic-kd: interrupted; finished images are kept; repeat the command to continue\n"
