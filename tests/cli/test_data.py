"""``dynamic-kd data check`` as its users call it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_kd.cli import main
from dynamic_kd.data import synthetic_rgbd

MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


@pytest.fixture
def check(monkeypatch, tmp_path, capsys):
    """Run the command in a folder that holds the data set DES; return status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for sample in synthetic_rgbd(3, size=32, seed=2, spoilt_share=0):
        pictures = {
            "RGB": sample.image[..., ::-1],
            "depth": np.rint(255 * sample.depth).astype(np.uint8),
            "GT": 255 * sample.mask.astype(np.uint8),
            "maps": 255 * sample.mask.astype(np.uint8),
        }
        for name, picture in pictures.items():
            (tmp_path / "DES" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "DES" / name / f"{sample.name}.png"), picture)

    def run(*arguments):
        status = main(["data", "check", *arguments])
        return status, *capsys.readouterr()

    return run


def test_what_is_printed_and_fits_eighty_columns(check):
    status, out, _ = check("DES", "--teacher", "maps")
    assert status == 0
    table = out[: out.index("Warning:")]
    assert max(map(len, table.splitlines())) <= 80
    for words in (
        "DES in DES: 3 samples, all looked at",
        "images",
        "PNG, 8-bit RGB",
        "teacher's maps",
        "Near is bright",
    ):
        assert words in table
    assert "the masks: 1.000" in table
    assert out.splitlines()[-2:] == [
        "Warning: DES: expected 135 images of DES, found 3; this is a part of them, or files are missing",
        "No problems that training would refuse, 1 warning.",
    ]


def test_problems_are_printed_and_make_status_1(check, tmp_path):
    (tmp_path / "DES" / "GT" / "00001.png").write_bytes(b"")
    (tmp_path / "DES" / "RGB" / "00002.png").unlink()
    status, out, err = check("DES")
    assert status == 1
    assert "Problem: DES: 1 missing in RGB: 00002" in out
    assert "Problem: DES: DES/GT/00001.png: expected an image file, got an empty one" in out
    assert "2 problems that training would refuse" in out
    assert err == ""


def test_json(check):
    status, out, _ = check("DES", "--json", "DES.json", "--near", "bright")
    assert out.endswith("warning.\nwrote DES.json\n")
    report = json.loads(Path("DES.json").read_text(encoding="utf-8"))
    assert (status, report["root"], report["problems"]) == (0, "DES", [])
    assert report["sets"][0]["polarity"]["near"] == "bright"
    assert report["sets"][0]["roles"][2]["stored"] == {"PNG, 8-bit grey": 3}


def test_a_list(check, tmp_path):
    (tmp_path / "list.txt").write_text("00001\n")
    assert "DES in DES: 1 sample, all" in check("DES", "--list", "list.txt")[1]


@pytest.mark.parametrize(("flags", "seen"), [((), 60), (("--full",), 60), (("--quick",), 50)])
def test_how_much_is_looked_at(check, tmp_path, flags, seen):
    for folder in ("RGB", "GT"):
        (tmp_path / "many" / folder).mkdir(parents=True)
        for number in range(60):
            cv2.imwrite(str(tmp_path / "many" / folder / f"{number}.png"), np.eye(4, dtype=np.uint8) * 255)
    check("many", "--json", "many.json", "--workers", "1", *flags)
    report = json.loads(Path("many.json").read_text(encoding="utf-8"))
    assert report["sets"][0]["looked_at"] == seen


def test_a_contact_sheet(check, tmp_path):
    assert check("DES", "--teacher", "maps", "--contact", "sheet.png")[0] == 0
    height, width = cv2.imread(str(tmp_path / "sheet.png")).shape[:2]
    assert width > height > 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: expected a folder, got no such folder"),
        (["DES/none"], "none: expected a folder"),
        (["DES", "--list", "none.txt"], "none.txt: expected a list file, got no such file"),
        (["DES", "--teacher", "none"], "teacher none: expected a sub-folder of each data set"),
        (["DES", "--workers", "0"], "workers: expected a whole number of at least 1, got 0"),
        (
            ["DES", "--contact", "nowhere/sheet.png"],
            "--contact nowhere/sheet.png: expected a file in a folder that exists",
        ),
        (["DES", "--contact", "sheet.xyz"], "--contact sheet.xyz: expected a name ending in .png, .pdf or .svg"),
        (["DES", "--json", "DES"], "--json DES: expected a file to write, got a folder"),
    ],
)
def test_mistakes_are_one_line_and_status_2(check, arguments, message):
    status, out, err = check(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_help_fits_eighty_columns(check, capsys):
    for arguments in (["data", "--help"], ["data", "check", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_parser_imports_neither_opencv_nor_matplotlib():
    code = "import sys, dynamic_kd.cli as c; c.parser(); print({'cv2', 'matplotlib', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_images(check):
    status, out, _ = check(str(MINI))
    assert status == 0
    assert "Near is bright in the depth files: 6 of 7 maps agree." in out
    assert out.count("Near is dark") == 2
