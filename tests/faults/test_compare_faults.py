"""``dynamic-kd compare`` when disks, files and signals fail it: one line, and no finished image lost."""

import os
import signal
import sqlite3

import pytest

cv2 = pytest.importorskip("cv2")
pytest.importorskip("openpyxl")

from comparison_folders import write_image, write_layout  # noqa: E402

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.evaluation import _cache, compare, read_config  # noqa: E402

SLOWLY = """
import itertools
from dynamic_kd.metrics import SODMetrics
measure, counter = SODMetrics.measure, itertools.count()
def slowly(*arguments, **settings):
    time.sleep(next(counter) > 3)
    return measure(*arguments, **settings)
SODMetrics.measure = slowly
"""


@pytest.fixture
def root(tmp_path):
    return write_layout(tmp_path / "maps", datasets=("DES",), methods=("good", "poor"), images=12)


def cache_of(root):
    return root / "comparison" / ".cache" / "records.sqlite"


def kept(root):
    """How many records are in the cache, if there is one yet."""
    if not cache_of(root).exists():
        return 0
    database = sqlite3.connect(cache_of(root), timeout=10)
    try:
        return database.execute("SELECT count(*) FROM records").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
    finally:
        database.close()


def fresh(root):
    return compare(read_config(root, resamples=0)).datasets["DES"].fresh


def test_a_cache_whose_disk_fills_keeps_what_it_has(root, start, ended, small_files, one_line):
    status, out, err = ended(start("compare", root, "--workers", "2", before=small_files(40_000)))
    assert (status, out) == (2, "")
    said = f"{cache_of(root)}: cannot use the cache: OperationalError: disk I/O error; choose another"
    assert said in one_line(err)
    finished = kept(root)
    assert fresh(root) == 24 - finished
    database = sqlite3.connect(cache_of(root))
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_full_disk_leaves_the_tables_of_before(root, monkeypatch, capsys, one_line, request):
    words = ["compare", str(root), "--resamples", "0", "--workers", "1"]
    assert main(words) == 0
    before = {path: path.read_bytes() for path in (root / "comparison").iterdir() if path.is_file()}
    capsys.readouterr()
    request.getfixturevalue("full_disk")
    assert main(words) == 2
    assert (
        one_line(capsys.readouterr().err)
        == f"dynamic-kd: error: {root / 'comparison' / 'scores.md'}: No space left on device"
    )
    assert {path: path.read_bytes() for path in (root / "comparison").iterdir() if path.is_file()} == before


def test_a_cache_held_by_another_process_is_waited_for_then_named(root, monkeypatch):
    assert fresh(root) == 24
    monkeypatch.setattr(_cache, "_PATIENCE", 0.2)
    holder = sqlite3.connect(cache_of(root), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert fresh(root) == 0  # reading needs no lock
        path = root / "good" / "DES" / "000.png"
        write_image(path, cv2.imread(str(path), 0) // 2)
        with pytest.raises(OSError, match=r"records\.sqlite: cannot use the cache: .*database is locked; choose"):
            fresh(root)
    finally:
        holder.close()
    assert fresh(root) == 1


def test_a_damaged_record_is_measured_again(root):
    expected = compare(read_config(root, resamples=0)).datasets["DES"].reports["good"].as_dict()
    database = sqlite3.connect(cache_of(root))
    for key, record in database.execute("SELECT key, record FROM records LIMIT 2").fetchall():
        spoilt = bytearray(record)
        spoilt[len(spoilt) // 2] ^= 4
        database.execute("UPDATE records SET record = ? WHERE key = ?", (bytes(spoilt), key))
    database.execute("UPDATE records SET record = x'' WHERE key = (SELECT max(key) FROM records)")
    database.commit()
    database.close()
    found = compare(read_config(root, resamples=0)).datasets["DES"]
    assert found.fresh in (2, 3)
    assert found.reports["good"].as_dict() == expected
    assert fresh(root) == 0


@pytest.mark.parametrize("folder", ["good", "GT"])
def test_a_file_that_goes_in_mid_run_is_named_and_the_rest_kept(root, folder):
    path = root / folder / "DES" / "011.png"

    def progress(name, done, total):
        path.unlink(missing_ok=True)

    with pytest.raises(ValueError, match=rf"{folder}.DES.011\.png: expected an image file, got no such file$"):
        compare(read_config(root, resamples=0), progress=progress)
    assert kept(root) >= 20


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_says_that_the_same_command_goes_on_and_it_does(root, start, ended, wait_for, one_line):
    process = start("compare", root, "--workers", "2", before=SLOWLY)
    wait_for(process, lambda: kept(root) >= 3)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert (status, out) == (130, "")
    assert one_line(err) == "dynamic-kd: interrupted; finished images are kept; repeat the command to continue"
    finished = kept(root)
    assert 3 <= finished < 24
    assert fresh(root) == 24 - finished
