"""One process at a time at work in a folder, whatever becomes of it."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
fcntl = pytest.importorskip("fcntl", reason="this system has no locks of files")

from dynamic_kd.training._lock import LOCK, alone  # noqa: E402

MESSAGE = r"run: expected no other process that trains there, got one; wait for it, or stop it"
HOLD = """\
import sys
from pathlib import Path
from dynamic_kd.training._lock import alone
with alone(Path(sys.argv[1]), "trains"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_held_folder_is_refused_until_it_is_let_go(tmp_path):
    folder = tmp_path / "runs" / "run"
    with alone(folder, "trains") as descriptor:
        assert isinstance(descriptor, int)
        with pytest.raises(ValueError, match=MESSAGE), alone(folder, "trains"):
            pass
        assert [path.name for path in folder.iterdir()] == [LOCK]
        (folder / "result").touch()
    assert [path.name for path in folder.iterdir()] == ["result"]
    with alone(folder, "trains"):
        pass


def test_what_was_made_for_nothing_goes_again(tmp_path):
    with alone(tmp_path / "a" / "b" / "run", "trains"):
        (tmp_path / "a" / "mine").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    with alone(tmp_path / "empty", "trains"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_process_that_is_killed_lets_go(tmp_path):
    folder = tmp_path / "run"
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=MESSAGE), alone(folder, "trains"):
            pass
        process.kill()
        process.wait()
    assert (folder / LOCK).exists()
    with alone(folder, "trains"):
        pass
    assert not (folder / LOCK).exists()


def test_a_lock_that_was_removed_meanwhile_is_none(tmp_path, monkeypatch):
    lock, removed = fcntl.flock, []

    def late(file, flags):
        lock(file, flags)
        if not removed:
            removed.append((tmp_path / LOCK).unlink())

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(tmp_path, "trains"):
        monkeypatch.undo()
        with pytest.raises(ValueError, match="expected no other process"), alone(tmp_path, "trains"):
            pass


def test_without_locks_there_is_none(tmp_path, monkeypatch):
    def unsupported(file, flags):
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", unsupported)
        with alone(tmp_path / "run", "trains"):
            pass
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "fcntl", None)
        with alone(tmp_path / "run", "trains") as descriptor:
            assert descriptor is None
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "run").touch()
    with (
        pytest.raises(ValueError, match="run: expected a folder, got a file; name another"),
        alone(tmp_path / "run", "trains"),
    ):
        pass
