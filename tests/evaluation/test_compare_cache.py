"""Killed, raced and damaged: no finished image is lost, no file is ever in part."""

import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import openpyxl
import pytest
from comparison_folders import write_layout

from dynamic_kd._files import write_whole
from dynamic_kd.evaluation import compare, read_config, write_comparison
from dynamic_kd.evaluation._cache import CachedRecord, RecordCache
from dynamic_kd.metrics import SODMetrics

# Measures so many maps, and the others once a file named "go" is there.
RUN = """
import itertools, pathlib, sys, time
from dynamic_kd.evaluation import compare, read_config, write_comparison
from dynamic_kd.metrics import SODMetrics
limit, root = int(sys.argv[1]), sys.argv[2]
measure, counter = SODMetrics.measure, itertools.count(1)
def waiting(*arguments, **settings):
    if next(counter) > limit:
        while not (pathlib.Path(root) / "go").exists():
            time.sleep(0.01)
    return measure(*arguments, **settings)
SODMetrics.measure = waiting
found = compare(read_config(root, resamples=20), workers=2)
write_comparison(found)
print(sum(result.fresh for result in found.datasets.values()))
"""


def start(root, limit):
    command = [sys.executable, "-c", RUN, str(limit), str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def records(path):
    if not path.exists():
        return 0
    database = sqlite3.connect(path, timeout=10)
    try:
        return database.execute("SELECT count(*) FROM records").fetchone()[0]
    except sqlite3.OperationalError:  # no table yet
        return 0
    finally:
        database.close()


def wait_for(process, cache, count):
    """Wait until a running process has measured some images."""
    deadline = time.monotonic() + 60
    while records(cache) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check_whole(folder):
    """Open every file of the results."""
    assert json.loads((folder / "results.json").read_text())["datasets"]
    assert openpyxl.load_workbook(folder / "results.xlsx")["scores"].max_row > 1
    for path in folder.rglob("*.png"):
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
        assert cv2.imread(str(path)) is not None
    for path in [*folder.rglob("*.csv"), folder / "scores.md", folder / "scores.tex"]:
        assert path.read_text().endswith("\n")
    assert (folder / "scores.tex").read_text().rstrip().endswith(r"\end{tabular}")
    assert not list(folder.rglob("*.partial"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_killed_run_goes_on_where_it_was(tmp_path):
    root = write_layout(tmp_path, datasets=("DES",), methods=("good", "poor"), images=40)
    cache = root / "comparison" / ".cache" / "records.sqlite"
    process = start(root, 15)
    wait_for(process, cache, 15)
    process.kill()
    process.communicate()
    finished = records(cache)
    assert finished == 15
    found = compare(read_config(root, resamples=20))
    assert found.datasets["DES"].fresh == 80 - finished
    write_comparison(found)
    check_whole(root / "comparison")
    whole = sqlite3.connect(cache)
    assert whole.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    whole.close()


def test_two_runs_at_once_share_the_work_and_harm_nothing(tmp_path):
    root = write_layout(tmp_path, datasets=("DES",), methods=("good", "poor"), images=20)
    cache = root / "comparison" / ".cache" / "records.sqlite"
    process = start(root, 4)
    wait_for(process, cache, 4)

    def progress(name, done, total):
        if done >= 10:
            (root / "go").touch()

    here = compare(read_config(root, resamples=20), progress=progress)
    write_comparison(here)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert here.datasets["DES"].fresh <= 36
    assert int(out) <= 34
    assert here.datasets["DES"].fresh + int(out) >= 40  # what both had begun, both measured
    check_whole(root / "comparison")
    assert records(cache) == 40
    assert sum(result.fresh for result in compare(read_config(root, resamples=0)).datasets.values()) == 0


def test_a_file_is_replaced_at_once_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "scores.md"
    write_whole(path, b"old")

    def failing(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_whoever_reads_finds_a_whole_file(tmp_path):
    path = tmp_path / "results.json"
    contents = [bytes([65 + index]) * 200_000 for index in range(4)]
    write_whole(path, contents[0])
    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write_whole, path, content) for content in contents * 5]
        while not all(each.done() for each in writing):
            assert path.read_bytes() in contents
    assert [each.result() for each in writing] == [None] * 20
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_keeps_what_is_finished_and_starts_nothing_more(tmp_path, monkeypatch, cancelled):
    root = write_layout(tmp_path, datasets=("DES",), methods=("good",), images=12)
    measure, counter = SODMetrics.measure, itertools.count(1)

    def waiting(*arguments, **settings):
        if next(counter) > 5:
            cancelled.wait()
        return measure(*arguments, **settings)

    def interrupt(name, done, total):
        if done == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(SODMetrics, "measure", waiting)
        with pytest.raises(KeyboardInterrupt):
            compare(read_config(root, resamples=0), progress=interrupt)
    kept = records(root / "comparison" / ".cache" / "records.sqlite")
    assert kept in (5, 6)
    assert compare(read_config(root, resamples=0)).datasets["DES"].fresh == 12 - kept


def test_a_damaged_cache_is_named(tmp_path):
    root = write_layout(tmp_path, datasets=("DES",), methods=("good",), images=1)
    path = root / "comparison" / ".cache" / "records.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database, but long enough to look like one" * 100)
    with pytest.raises(OSError, match=r"records\.sqlite: cannot use the cache: .*; remove the file; its images"):
        compare(read_config(root))


def test_a_place_that_takes_no_cache_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file.records\.sqlite: cannot use the cache: .*; choose another place for"):
        RecordCache(tmp_path / "file" / "records.sqlite", {})


def test_what_is_stored_is_found_under_its_own_key_alone(tmp_path):
    found = CachedRecord(b"record", ("resized", "grey_target"))
    with RecordCache(tmp_path / "cache", {"strict": True}) as cache:
        keys = [cache.key(b"p" * 20, b"t" * 20), cache.key(b"t" * 20, b"p" * 20), cache.key(b"p" * 20, b"p" * 20)]
        cache.store(keys[0], found)
        assert [cache.find(key) for key in keys] == [found, None, None]
    with RecordCache(tmp_path / "cache", {"strict": True}) as cache:
        assert cache.find(cache.key(b"p" * 20, b"t" * 20)) == found
    with RecordCache(tmp_path / "cache", {"strict": False}) as cache:
        assert cache.find(cache.key(b"p" * 20, b"t" * 20)) is None


def test_results_go_where_they_are_sent(tmp_path):
    root = write_layout(tmp_path / "maps", datasets=("DES",), methods=("good",), images=2)
    written = write_comparison(compare(read_config(root, resamples=5)), tmp_path / "elsewhere")
    assert all(path.is_relative_to(tmp_path / "elsewhere") for path in written)
    assert not list((root / "comparison").glob("*.md"))
