"""One process at a time trains in a folder, and folders made for nothing go again."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("filelock", reason="filelock is not installed")

from dynamic_kd.training._run_folder import LOCK, locked  # noqa: E402

MESSAGE = r"run: another process trains in this folder; wait for it, or stop it"
HOLD = """\
import sys
from pathlib import Path
from dynamic_kd.training._run_folder import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_locked_folder_is_refused_until_it_is_released(tmp_path):
    folder = tmp_path / "runs" / "run"
    with locked(folder):
        with pytest.raises(ValueError, match=MESSAGE), locked(folder):
            pass
        assert [path.name for path in folder.iterdir()] == [LOCK]
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]
    with locked(folder):
        pass


def test_what_was_made_for_nothing_goes_again(tmp_path):
    with locked(tmp_path / "a" / "b" / "run"):
        (tmp_path / "a" / "mine").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    with locked(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_process_that_is_killed_releases_its_folder(tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=MESSAGE), locked(folder):
            pass
        process.kill()
        process.wait()
    assert (folder / LOCK).exists()
    with locked(folder):
        pass
    assert not (folder / LOCK).exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="run: is a file; name a folder for the run"), locked(tmp_path / "run"):
        pass
