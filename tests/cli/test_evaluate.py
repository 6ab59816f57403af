"""``dynamic-kd evaluate`` as its users call it."""

import csv
import json

import cv2
import numpy as np
import pytest

from dynamic_kd.cli import main
from dynamic_kd.cli._arguments import known_names
from dynamic_kd.metrics import SCORES


@pytest.fixture
def folders(tmp_path):
    for folder, level in (("pred", 180), ("target", 255)):
        (tmp_path / folder).mkdir()
        for index in range(3):
            image = np.full((24, 32), 20 if folder == "pred" else 0, np.uint8)
            image[4 + index : 18, 6:20] = level
            cv2.imwrite(str(tmp_path / folder / f"{index}.png"), image)
    return ["--pred", str(tmp_path / "pred"), "--target", str(tmp_path / "target")]


def test_the_table_fits_80_columns(folders, capsys):
    assert main(["evaluate", *folders]) == 0
    out = capsys.readouterr().out
    for name in ("MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE"):
        assert name in out
    assert "1.000" in out
    assert "3 images" in out
    assert max(len(line) for line in out.splitlines() if folders[-1] not in line) <= 80


def test_every_file_is_written(folders, tmp_path, capsys):
    files = {name: tmp_path / f"out.{name}" for name in ("json", "csv", "markdown", "latex")}
    options = [f"--{name}={path}" for name, path in files.items()]
    per_image, curves = tmp_path / "images.csv", tmp_path / "curves.png"
    extra = [f"--per-image={per_image}", f"--curves={curves}", "--name", "ours", "--workers", "2"]
    assert main(["evaluate", *folders, *options, *extra]) == 0
    scores = json.loads(files["json"].read_text())["scores"]
    row = next(csv.DictReader(files["csv"].read_text().splitlines()))
    assert (row["method"], float(row["Sm"])) == ("ours", scores["Sm"])
    assert files["markdown"].read_text().splitlines()[2].startswith("| ours | ")
    assert r"\bottomrule" in files["latex"].read_text()
    assert [row["name"] for row in csv.DictReader(per_image.read_text().splitlines())] == ["0", "1", "2"]
    assert cv2.imread(str(curves)).shape[0] > 400
    out = capsys.readouterr().out
    assert all(f"wrote {path}" in out for path in (*files.values(), per_image, curves))


def test_other_metrics(folders, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["evaluate", *folders, "--metrics", "IoU,HCE,MAE", f"--csv={out}"]) == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert list(row) == ["method", "maxIoU", "meanIoU", "adpIoU", "binIoU", "MAE", "HCE"]
    assert "maxIoU" in capsys.readouterr().out
    for option, message in (("IoU,iou", "each once"), ("MAE,MAE", "each once"), ("", "got ''"), ("xyz", "got 'xyz'")):
        assert main(["evaluate", *folders, "--metrics", option]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", *folders, "--metrics", "maxF"]) == 2
    assert "got 'maxF', a score of 'F'; pass that" in capsys.readouterr().err
    assert main(["evaluate", *folders, "--metrics", "MAE", f"--curves={tmp_path / 'curves.png'}"]) == 2
    assert "--curves: --metrics has neither F nor E" in capsys.readouterr().err


def test_metrics_are_known_whatever_their_capitals(folders, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert main(["evaluate", *folders, "--metrics", " mae, Wf,IOU ", f"--csv={out}"]) == 0
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert list(row) == ["method", "MAE", "wF", "maxIoU", "meanIoU", "adpIoU", "binIoU"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *folders, "--metrics", "MAE,diec"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "argument --metrics: expected metrics, got 'diec'; did you mean 'Dice'?; see" in error
    assert error.count("\n") == 1


def test_no_two_names_differ_in_capitals_alone():
    for names in (list(SCORES), list(dict.fromkeys(score.metric for score in SCORES.values()))):
        assert known_names(",".join(names).upper(), "names", names) == list(names)


def test_photographs_and_other_shapes_are_pointed_out(folders, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "pred" / "0.png"), np.full((24, 32, 3), (200, 20, 20), np.uint8))
    cv2.imwrite(str(tmp_path / "pred" / "1.png"), np.eye(24, dtype=np.uint8) * 255)
    assert main(["evaluate", *folders]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "1 with another aspect ratio than their masks, stretched onto them (check that" in out
    assert "1 in colour, of which the luma was scored (check that they are saliency maps)" in out


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_letters_that_the_font_lacks_are_no_warning(folders, tmp_path, capsys, suffix):
    assert main(["evaluate", *folders, "--name", "空", f"--curves={tmp_path / f'c{suffix}'}"]) == 0
    assert capsys.readouterr().err == ""


def test_gt_is_an_alias_of_target(folders):
    assert main(["evaluate", *folders[:2], "--gt", folders[3]]) == 0


def test_what_was_done_to_images_is_said(folders, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "pred" / "0.png"), np.zeros((12, 16), np.uint8))
    cv2.imwrite(str(tmp_path / "target" / "1.png"), np.zeros((24, 32), np.uint8))
    (tmp_path / "pred" / "2.png").unlink()
    assert main(["evaluate", *folders, "--allow-missing", "--strict"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "2 images; 1 resized to their masks; 1 left out: no map for the mask; 1 with an empty mask" in out
    assert "1 with a constant map" in out
    assert "Maps min-max normalised; E-measure with > at the thresholds; backend" in out
    assert main(["evaluate", *folders, "--allow-missing", "--metrics", "S"]) == 0
    assert "Maps min-max normalised; backend" in " ".join(capsys.readouterr().out.split())


MISTAKES = [
    (["--strict-size"], "expected the size of its mask, 32 x 24, got 16 x 12"),
    (["--workers", "0"], "workers: expected a whole number of at least 1, got 0"),
    (
        ["--json", "nowhere/out.json"],
        "--json nowhere/out.json: expected a file in a folder that exists; make nowhere first",
    ),
    (["--csv", "."], "--csv .: expected a file to write, got a folder"),
    (["--curves", "curves.txt"], "--curves curves.txt: expected a name ending in .png, .pdf or .svg"),
    (["--empty-target", "refuse"], "expected salient pixels in every mask, got none in 1"),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES)
def test_a_mistake_is_one_line_and_status_2(folders, tmp_path, capsys, options, message):
    cv2.imwrite(str(tmp_path / "pred" / "0.png"), np.zeros((12, 16), np.uint8))
    cv2.imwrite(str(tmp_path / "target" / "1.png"), np.zeros((24, 32), np.uint8))
    assert main(["evaluate", *folders, *options]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("dynamic-kd: error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected an image file, got an empty one"),
        (b"hello", "expected an image (PNG, JPEG, BMP, TIFF or WebP), got something else"),
        (None, "1 missing in pred: 0"),
    ],
)
def test_bad_files(folders, tmp_path, capsys, content, message):
    path = tmp_path / "pred" / "0.png"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert main(["evaluate", *folders]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_truncated_file(folders, tmp_path, capsys):
    path = tmp_path / "pred" / "0.png"
    path.write_bytes(path.read_bytes()[:60])
    assert main(["evaluate", *folders]) == 2
    assert f"{path}: expected a whole image, got a truncated or damaged one" in capsys.readouterr().err


def test_files_of_other_kinds_are_named(tmp_path, capsys):
    (tmp_path / "maps.npy").touch()
    assert main(["evaluate", "--pred", str(tmp_path), "--target", str(tmp_path)]) == 2
    assert "images end in .png, .jpg" in capsys.readouterr().err


def test_two_options_may_not_share_a_file(folders, tmp_path, capsys):
    path = str(tmp_path / "out")
    assert main(["evaluate", *folders, "--json", path, "--csv", path]) == 2
    assert f"--csv {path}: --json names the same file; name another" in capsys.readouterr().err


def test_names_are_printed_as_they_are(folders, capsys):
    assert main(["evaluate", *folders, "--name", "x[/red] [bold]y"]) == 0
    assert "x[/red] [bold]y " in capsys.readouterr().out


def test_narrow_terminals_get_the_table_in_parts(folders, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["evaluate", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "pred " in line] == ["pred", "pred"]
    assert max(len(line) for line in lines if not line.startswith(("Masks:", "/"))) <= 40


def test_masks_of_greys_are_pointed_out(folders, tmp_path, capsys):
    photograph = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (24, 1))
    cv2.imwrite(str(tmp_path / "target" / "0.png"), photograph)
    assert main(["evaluate", *folders]) == 0
    assert "1 with a mask of many greys, cut at 128 (check that it is a mask)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_results_are_written_even_if_nobody_reads_them(folders, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise BrokenPipeError

    monkeypatch.setattr("dynamic_kd.cli.evaluate.print_table", broken)
    assert main(["evaluate", *folders, "--json", str(tmp_path / "out.json")]) == 141
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "out.json").read_text())["counts"]["images"] == 3


def test_folders_that_are_not_there(tmp_path, capsys):
    assert main(["evaluate", "--pred", str(tmp_path / "no"), "--target", str(tmp_path)]) == 2
    assert "expected a folder of images, got no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["evaluate"], ["evaluate", "--pred", "x"], ["score"]])
def test_incomplete_commands_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "dynamic-kd" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["evaluate"], ["demo"]])
def test_help_reads_well_at_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_traceback_is_there_for_who_asks(monkeypatch, tmp_path):
    monkeypatch.setenv("DYNAMIC_KD_DEBUG", "1")
    with pytest.raises(ValueError, match="expected a folder of images"):
        main(["evaluate", "--pred", str(tmp_path / "no"), "--target", str(tmp_path)])


def test_without_the_extra_the_fix_is_named(folders, capsys, monkeypatch):
    monkeypatch.setattr("dynamic_kd._extras.find_spec", lambda name: None)
    assert main(["evaluate", *folders]) == 2
    assert "rich is not installed; get it with: pip install 'dynamic-kd[eval]'" in capsys.readouterr().err
