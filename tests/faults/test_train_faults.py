"""``dynamic-kd train`` when disks, files and processes fail it: one line, and the run goes on to the same bits."""

import errno
import os
import re
import signal
import time
from pathlib import Path

import pytest

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import numpy as np  # noqa: E402
from tiny_runs import recipe_file, rows, same_run, started  # noqa: E402

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402


@pytest.fixture
def words(tmp_path, monkeypatch, one_thread):
    """The command of a tiny run, in a folder of its own, without the figures, which take longer than it."""
    monkeypatch.setattr("dynamic_kd.training._train.write_insight", lambda *arguments, **limit: None)
    monkeypatch.chdir(tmp_path)
    return ["train", str(recipe_file(tmp_path)), "--cpu", "--out", "run"]


def partial(folder):
    """Files that were begun and not ended."""
    return [path.name for path in folder.rglob("*") if path.name.endswith(".partial")]


def test_a_disk_that_fills_leaves_a_run_that_goes_on(words, tmp_path, start, ended, small_files):
    """The recipe and the logs have room, a checkpoint has none; the images are in the cache."""
    assert main([*words[:-1], "whole"]) == 0
    status, _, err = ended(start(*words, "--checkpoint-every", "0", before=small_files(20_000), cwd=tmp_path))
    assert status == 2
    hint, last = [line for line in err.splitlines() if line.startswith("dynamic-kd: ")]
    assert hint.endswith("resume it: dynamic-kd train --resume run --cpu")
    assert re.fullmatch(r"dynamic-kd: error: .*run.checkpoint\.safetensors: File too large", last)
    assert partial(tmp_path) == []
    assert main(["train", "--resume", "run", "--cpu"]) == 0
    same_run(tmp_path / "run", tmp_path / "whole")


def test_a_disk_without_room_for_the_arrays_is_named_and_nothing_is_left(
    words, tmp_path, monkeypatch, start, ended, small_files
):
    monkeypatch.setenv("DYNAMIC_KD_CACHE", str(tmp_path / "cache"))
    status, _, err = ended(start(*words, before=small_files(20_000), cwd=tmp_path))
    assert status == 2
    assert "(set DYNAMIC_KD_CACHE to move it): File too large" in err.splitlines()[-1]
    assert partial(tmp_path) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS])
def test_a_place_where_nothing_may_be_written_is_named(words, tmp_path, monkeypatch, capsys, error):
    """As the administrator writes anywhere, the system is made to say no."""

    def refuse(*_):
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        assert main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"dynamic-kd: error: {Path('run', 'recipe.toml')}: ")
    assert os.strerror(error) in last
    assert partial(tmp_path) == []
    assert main(words) == 0


@pytest.mark.parametrize("folder", ["RGB", "depth", "GT"])
def test_an_image_that_goes_while_others_are_read_is_named_and_nothing_is_left(
    words, tmp_path, monkeypatch, capsys, folder
):
    for sample in synthetic_rgbd(6, size=32, seed=3, spoilt_share=0):
        pictures = {"RGB": sample.image, "depth": np.rint(255 * sample.depth), "GT": 255 * sample.mask}
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture.astype(np.uint8))
    from dynamic_kd.data import _sample

    read = _sample.read_rgb

    def reading(path):
        (tmp_path / "set" / folder / "00005.png").unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(_sample, "read_rgb", reading)
    settings = [
        "data.source=folders",
        f'data.train=["{tmp_path / "set"}"]',
        "data.near=bright",
        "data.validation_count=0",
    ]
    assert main([*words, "--set", *settings]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    said = f"{tmp_path / 'set' / folder / '00005.png'}: expected an image file, got no such file"
    assert last == f"dynamic-kd: error: {said}"
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_one_line_and_leaves_no_weights(words, tmp_path, capsys):
    assert main([*words, "--set", "training.learning_rate=1e30", "training.schedule=constant"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(
        r"dynamic-kd: error: the loss of epoch \d is (nan|inf); lower training.learning_rate \(1e\+30\)", last
    )
    assert not (tmp_path / "run" / "student-last.safetensors").exists()
    assert all(np.isfinite(float(row["loss"])) for row in rows(tmp_path / "run" / "epochs.csv"))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no processes")
@pytest.mark.timeout(300)
def test_one_of_two_processes_that_is_killed_ends_the_other_and_the_run_goes_on(words, tmp_path):
    psutil = pytest.importorskip("psutil")
    epochs = ["--set", "training.epochs=40", "training.schedule=constant"]
    launcher = started(*words, *epochs, processes=2, cwd=tmp_path)
    try:
        while sum(row["stage"] == "2" for row in rows(tmp_path / "run" / "epochs.csv")) < 2:
            assert launcher.poll() is None
            time.sleep(0.01)
        (second,) = [each for each in psutil.Process(launcher.pid).children() if each.environ().get("RANK") == "1"]
        second.kill()
        assert launcher.wait(timeout=120) != 0
    finally:
        launcher.kill()
        launcher.wait()
    before = rows(tmp_path / "run" / "epochs.csv")
    assert 2 + 2 <= len(before) < 42
    assert not (tmp_path / "run" / "results.json").exists()
    assert main(["train", "--resume", "run", "--cpu"]) == 0
    after = rows(tmp_path / "run" / "epochs.csv")
    assert [row["epoch"] for row in after] == ["1", "2", *map(str, range(1, 41))]
    assert after[: len(before) - 1] == before[:-1]
