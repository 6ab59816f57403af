"""Names of files: two spellings of one name match with a note, and names that are not UTF-8 survive every output."""

import csv
import json
import os
import sys
import unicodedata
import zipfile

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from dynamic_kd._files import ESCAPED, plain_name, printable  # noqa: E402
from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import check_data, find_data, images_by_stem, match_by_stem  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402

COMPOSED, APART = unicodedata.normalize("NFC", "cafe\u0301"), unicodedata.normalize("NFD", "caf\u00e9")
MASK = cv2.imencode(".png", 255 * np.eye(32, dtype=np.uint8))[1].tobytes()
linux = pytest.mark.skipif(sys.platform != "linux", reason="other file systems hold Unicode alone")


def write(folder, *names):
    folder = os.fsencode(folder)
    os.makedirs(folder, exist_ok=True)
    for name in names:
        with open(os.path.join(folder, os.fsencode(name) + b".png"), "wb") as file:
            file.write(MASK)


def test_how_names_are_written():
    assert printable("a b\u00e9\u5b57") == "a b\u00e9\u5b57"
    assert printable(os.fsdecode(b"caf\xe9")) == "caf%E9"
    assert printable("a\nb\x1b[31m\x85\ud800") == "a%0Ab%1B[31m%85%uD800"
    assert plain_name(APART) == plain_name(COMPOSED) == COMPOSED
    assert (os.fsdecode(b"caf\xe9") + " \u03b1").encode("ascii", ESCAPED) == b"caf%E9 \\u03b1"


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system normalises names")
class TestSpellings:
    def test_they_match_and_are_counted(self, tmp_path, capsys):
        write(tmp_path / "maps", APART, "b")
        write(tmp_path / "masks", COMPOSED, "b")
        report = evaluate_folders(tmp_path / "maps", tmp_path / "masks")
        assert report.names == ("b", COMPOSED)
        assert report["MAE"] == 0
        assert report.counts["other_spelling"] == 1
        assert main(["evaluate", "--pred", str(tmp_path / "maps"), "--target", str(tmp_path / "masks")]) == 0
        assert "1 whose map and mask have names that differ by" in " ".join(capsys.readouterr().out.split())

    def test_two_in_one_folder_are_an_error_that_shows_their_letters(self, tmp_path):
        write(tmp_path, APART, COMPOSED)
        message = r"expected one image per stem, got .*\.png \(cafe\\u0301\.png\) and .*\.png \(caf\\xe9\.png\); remove"
        with pytest.raises(ValueError, match=message):
            images_by_stem(tmp_path)

    def test_names_that_only_look_alike_are_shown_by_their_letters(self, tmp_path):
        write(tmp_path / "a", "\u0430")  # Cyrillic
        write(tmp_path / "b", "a")
        with pytest.raises(ValueError, match=r"1 in a \(the first is \u0430 \(\\u0430\)\), 1 in b \(the first is a\)"):
            match_by_stem(a=tmp_path / "a", b=tmp_path / "b")

    def test_a_data_set_and_its_list_file(self, tmp_path):
        write(tmp_path / "RGB", COMPOSED, "b")
        write(tmp_path / "GT", APART, "b")
        (tmp_path / "list.txt").write_text(f"RGB/{APART}.png\n", encoding="utf-8")
        [data] = find_data(tmp_path, list_file=tmp_path / "list.txt")
        assert [files.name for files in data.files] == [COMPOSED]
        assert data.notes[-1].endswith(": 1 samples have files whose names differ by Unicode normalisation only")
        report = check_data(tmp_path)
        assert not report.problems
        assert any("differ by Unicode normalisation only" in warning for warning in report.warnings)


@linux
class TestNotUTF8:
    @pytest.fixture
    def maps(self, tmp_path):
        folder = os.fsdecode(os.fsencode(tmp_path) + b"/pr\xe9d")
        for place in (folder, tmp_path / "GT"):
            write(place, b"caf\xe9", b"b")
        return folder

    def test_evaluate_writes_every_file(self, maps, tmp_path, capsys):
        options = ("json", "csv", "markdown", "latex", "per-image")
        words = [word for option in options for word in (f"--{option}", f"{tmp_path}/out.{option}")]
        assert main(["evaluate", "--pred", maps, "--target", str(tmp_path / "GT"), *words]) == 0
        content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert content["settings"]["pred"] == f"{tmp_path}/pr%E9d"
        with (tmp_path / "out.per-image").open(encoding="utf-8", newline="") as file:
            assert [row[0] for row in csv.reader(file)] == ["name", "b", "caf%E9"]
        for option in options:
            (tmp_path / f"out.{option}").read_text(encoding="utf-8")
        assert "pr%E9d" in capsys.readouterr().out

    def test_compare_writes_every_file(self, tmp_path):
        for folder in (tmp_path / "GT" / "DES", os.fsencode(tmp_path) + b"/pr\xe9d/DES"):
            write(folder, b"caf\xe9", "control\x1b\n")
        assert main(["compare", str(tmp_path), "--grid", "worst:1", "--resamples", "0"]) == 0
        text = (tmp_path / "comparison" / "per-image" / "DES.csv").read_text(encoding="utf-8")
        assert "caf%E9" in text
        assert "control%1B%0A" in text
        assert json.loads((tmp_path / "comparison" / "results.json").read_text(encoding="utf-8"))
        with zipfile.ZipFile(tmp_path / "comparison" / "results.xlsx") as book:
            assert any(b"pr%E9d" in book.read(name) for name in book.namelist())

    def test_data_check_writes_its_report(self, maps, tmp_path, capsys):
        write(tmp_path / "RGB", b"caf\xe9", b"b")
        assert main(["data", "check", str(tmp_path), "--json", str(tmp_path / "out.json")]) in (0, 1)
        json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        assert "\\udce9" not in (tmp_path / "out.json").read_text(encoding="utf-8")

    def test_errors_name_the_file(self, maps, tmp_path, capsys):
        with open(os.fsencode(maps) + b"/caf\xe9.png", "wb") as file:
            file.write(MASK[:-9])
        assert main(["evaluate", "--pred", maps, "--target", str(tmp_path / "GT")]) == 2
        assert "pr%E9d/caf%E9.png: expected a whole image" in capsys.readouterr().err
