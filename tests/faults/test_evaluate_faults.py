"""``dynamic-kd evaluate`` when disks, files, signals and readers fail it: one line, and no file half written."""

import errno
import json
import os
import signal
import threading
from pathlib import Path

import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("matplotlib")

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.evaluation import _measure, evaluate_folders  # noqa: E402

OPTIONS = {
    "--json": "out.json",
    "--csv": "out.csv",
    "--markdown": "out.md",
    "--latex": "out.tex",
    "--per-image": "images.csv",
    "--curves": "curves.png",
}
SLOWLY = """
from dynamic_kd.metrics import SODMetrics
measure = SODMetrics.measure
def slowly(*arguments, **valid):
    open(os.environ["MARK"], "a").write("x")
    time.sleep(0.3)
    return measure(*arguments, **valid)
SODMetrics.measure = slowly
"""
BEFORE_THE_MOVE = """
def stop(*_):
    open(os.environ["MARK"], "a").write("x")
    time.sleep(60)
os.replace = stop
"""


@pytest.fixture
def mark(tmp_path, monkeypatch):
    """A file that a process makes when it is where the test wants it."""
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    return tmp_path / "mark"


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


# Disks


@pytest.mark.parametrize("option", OPTIONS)
def test_a_full_disk_leaves_the_file_of_before(folders, tmp_path, option, full_disk, capsys, one_line):
    path = tmp_path / OPTIONS[option]
    path.write_bytes(b"of before")
    assert main(["evaluate", *folders, option, str(path)]) == 2
    assert one_line(capsys.readouterr().err) == f"dynamic-kd: error: {path}: No space left on device"
    assert path.read_bytes() == b"of before"
    assert hidden(tmp_path) == []


def test_a_disk_that_fills_in_the_middle_of_a_file(folders, tmp_path, start, ended, small_files, one_line):
    path = tmp_path / "out.json"
    path.write_bytes(b"of before")
    status, _, err = ended(start("evaluate", *folders, "--json", path, before=small_files(5000)))
    assert status == 2
    assert one_line(err) == f"dynamic-kd: error: {path}: File too large"
    assert path.read_bytes() == b"of before"
    assert hidden(tmp_path) == []


def test_a_place_that_is_closed_in_mid_run(folders, tmp_path, monkeypatch, capsys, one_line):
    """As the administrator writes anywhere, the system is made to say no."""

    def refuse(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "out.json"
    assert main(["evaluate", *folders, "--json", str(path)]) == 2
    said = f"{path}: Permission denied; check the path"
    assert one_line(capsys.readouterr().err) == f"dynamic-kd: error: {said}"
    assert not path.exists()
    assert hidden(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_the_terminal_loses_no_file(folders, tmp_path, start, ended, one_line):
    path = tmp_path / "out.json"
    with open("/dev/full", "w") as full:
        status, _, err = ended(start("evaluate", *folders, "--json", path, stdout=full))
    assert status == 2
    assert "No space left on device" in one_line(err)
    assert json.loads(path.read_text())["counts"]["images"] == 12


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="the system has no /dev/stdout")
def test_devices_and_links_stay_what_they_are(folders, tmp_path, start, ended):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    words = ["--json", "/dev/stdout", "--csv", "/dev/null", "--markdown", tmp_path / "link.json"]
    status, out, err = ended(start("evaluate", *folders, *words))
    assert (status, err) == (0, "")
    assert json.JSONDecoder().raw_decode(out)[0]["counts"]["images"] == 12
    assert not Path("/dev/null").is_file()
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text().startswith("| method |")


# Files that go


@pytest.mark.parametrize("folder", ["pred", "target"])
def test_a_file_that_goes_in_mid_run_is_named(folders, tmp_path, folder):
    def progress(done, total):
        (tmp_path / folder / "11.png").unlink(missing_ok=True)

    before = threading.active_count()
    with pytest.raises(ValueError, match=rf"{folder}.11\.png: expected an image file, got no such file$"):
        evaluate_folders(tmp_path / "pred", tmp_path / "target", workers=1, progress=progress)
    assert threading.active_count() == before


def test_a_disk_that_stops_answering_is_named(folders, tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(ValueError, match=r"00\.png: expected an image file, got an unreadable one: Input/output error"):
        evaluate_folders(tmp_path / "pred", tmp_path / "target")


# Workers and signals


@pytest.mark.parametrize("error", [MemoryError("no memory"), RuntimeError("a bug"), SystemExit(3)])
def test_a_worker_that_dies_ends_the_run_and_its_threads(folders, tmp_path, monkeypatch, cancelled, error):
    begun = []

    def read(path, content, **settings):
        begun.append(path.stem)
        if path.stem != "00":  # the run waits for the first one
            cancelled.wait()
        raise error

    monkeypatch.setattr(_measure, "read_gray", read)
    before = threading.active_count()
    with pytest.raises(type(error)):
        evaluate_folders(tmp_path / "pred", tmp_path / "target", workers=2)
    assert threading.active_count() == before
    assert len(begun) <= 3  # not even those that were lined up


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_is_one_line_and_writes_nothing(folders, tmp_path, start, ended, wait_for, mark, one_line):
    path = tmp_path / "out.json"
    process = start("evaluate", *folders, "--json", path, before=SLOWLY)
    wait_for(process, mark.exists)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert (status, out) == (130, "")
    assert one_line(err) == "dynamic-kd: interrupted"
    assert not path.exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_kill_while_a_file_is_written_leaves_the_file_of_before(folders, tmp_path, start, wait_for, mark):
    path = tmp_path / "out.json"
    path.write_bytes(b"of before")
    process = start("evaluate", *folders, "--json", path, before=BEFORE_THE_MOVE)
    wait_for(process, mark.exists)
    process.kill()
    process.wait()
    assert path.read_bytes() == b"of before"
    assert main(["evaluate", *folders, "--json", str(path)]) == 0
    assert json.loads(path.read_text())["counts"]["images"] == 12
