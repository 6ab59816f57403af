"""Small folders to score, and commands in processes of their own that can be limited, interrupted and killed."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

COMMAND = """
import os, sys, time
{before}
from dynamic_kd.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def folders(tmp_path):
    """Twelve maps with their masks: the folders, as the command takes them."""
    cv2 = pytest.importorskip("cv2")
    generator = np.random.default_rng(0)
    for index in range(12):
        mask = np.zeros((24, 32), np.uint8)
        mask[4:18, 6 + index : 20] = 255
        noisy = np.clip(0.7 * mask + 40 + generator.normal(0, 20, mask.shape), 0, 255).astype(np.uint8)
        for folder, image in (("pred", noisy), ("target", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{index:02}.png"), image)
    return ["--pred", str(tmp_path / "pred"), "--target", str(tmp_path / "target"), "--workers", "2"]


@pytest.fixture
def start():
    """Start ``dynamic-kd`` in a process of its own, after some code; it does not outlive the test."""
    started = []

    def starting(*words, before="", **settings):
        command = [sys.executable, "-c", COMMAND.format(before=before), *map(str, words)]
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
        environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        started.append(subprocess.Popen(command, env=environment, **settings))
        return started[-1]

    yield starting
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def ended():
    """Wait for a process: its status, its output and its errors."""

    def wait(process, limit=60):
        out, err = process.communicate(timeout=limit)
        return process.returncode, out, err

    return wait


@pytest.fixture
def wait_for():
    """Wait until something has happened while a process runs."""

    def wait(process, happened, limit=60):
        end = time.monotonic() + limit
        while not happened():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "what was waited for did not happen"
            time.sleep(0.02)

    return wait


@pytest.fixture
def one_line():
    """Assert that an error is one line for its user, and return it."""

    def check(error):
        assert error.startswith("dynamic-kd: "), error
        assert error.count("\n") == 1, error
        return error.strip()

    return check


@pytest.fixture
def small_files():
    """Code that lets a process write files of so many bytes only: writing more fails as on a full disk."""
    if not hasattr(signal, "SIGXFSZ"):
        pytest.skip("the system has no limits of files")
    return (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"
    ).format


@pytest.fixture
def full_disk(monkeypatch):
    """Let the disk be full when a file's content is brought there."""
    import errno

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
