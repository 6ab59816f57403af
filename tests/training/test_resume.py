"""Runs that were stopped at any moment go on, and end with the same bits as one that nothing stopped."""

import itertools
import json
import math
import re
import time

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import killed_when, place, recipe_file, rows, same_run, started  # noqa: E402

from dynamic_kd.models import RFBTeacher, save_model  # noqa: E402
from dynamic_kd.training import _loop, _stage, _train, recipe_toml, resumable, train  # noqa: E402

BOUNDARIES = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


class StoppedError(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_run_stopped_around_a_checkpoint_ends_with_the_same_bits(
    whole, tiny, tmp_path, monkeypatch, no_figures, boundary, moment
):
    write = _stage.save_checkpoint

    def stopping(*arguments):
        here = (arguments[-1].stage, arguments[-1].epoch) == boundary
        if here and moment == "before":
            raise StoppedError
        write(*arguments)
        if here:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(_stage, "save_checkpoint", stopping)
        with pytest.raises(StoppedError):
            train(tiny(), tmp_path / "run")
    (tmp_path / "run" / ".checkpoint.safetensors.1.partial").write_bytes(b"half of one")
    train(tiny(), tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole)


def in_stage(folder, stage, count):
    return lambda: sum(row["stage"] == str(stage) for row in rows(folder / "epochs.csv")) >= count


def at_a_checkpoint(folder):
    return lambda: place(folder / "checkpoint.safetensors") >= (2, 1)


@pytest.mark.parametrize("moment", ["in stage 1", "in stage 2", "at a checkpoint"])
def test_a_run_that_was_killed_ends_with_the_same_bits(whole, tiny, tmp_path, no_figures, moment):
    folder = tmp_path / "run"
    happened = {
        "in stage 1": in_stage(folder, 1, 1),
        "in stage 2": in_stage(folder, 2, 2),
        "at a checkpoint": at_a_checkpoint(folder),
    }[moment]
    process = started("train", recipe_file(tmp_path), "--out", folder, "--cpu")
    killed_when(process, happened)
    assert process.returncode == -9
    assert not (folder / "results.json").exists()
    train(resumable(folder), folder, resume=True)
    same_run(folder, whole)


def test_a_run_that_had_ended_goes_on_to_its_results(whole, tiny, tmp_path, no_figures):
    train(tiny(), tmp_path / "run")
    before = (tmp_path / "run" / "epochs.csv").read_bytes()
    (tmp_path / "run" / "results.json").unlink()
    assert train(tiny(), tmp_path / "run", resume=True)["results"]["student"]["last"]["epoch"] == 3
    assert (tmp_path / "run" / "epochs.csv").read_bytes() == before
    same_run(tmp_path / "run", whole)


def stop(monkeypatch, recipe, folder, boundary, **settings):
    """Train until right after a checkpoint."""
    write = _stage.save_checkpoint

    def stopping(*arguments):
        write(*arguments)
        if (arguments[-1].stage, arguments[-1].epoch) == boundary:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(_stage, "save_checkpoint", stopping)
        with pytest.raises(StoppedError):
            train(recipe, folder, **settings)


def sessions(folder):
    return json.loads((folder / "environment.json").read_text())["sessions"]


def test_every_session_is_recorded_and_the_seconds_of_all_count(tiny, tmp_path, monkeypatch, no_figures):
    clock, folder = time.perf_counter, tmp_path / "run"

    def later(seconds):
        start = clock()
        monkeypatch.setattr(time, "perf_counter", lambda: start + seconds + clock() - start)

    read = _train.recipe_samples

    def slowly(*arguments):
        later(slowly.seconds)
        slowly.seconds += 1000
        return read(*arguments)

    slowly.seconds = 1000
    monkeypatch.setattr(_train, "recipe_samples", slowly)
    stop(monkeypatch, tiny(), folder, (1, 2))
    stop(monkeypatch, tiny(), folder, (2, 1), resume=True)
    results = train(tiny(), folder, resume=True)
    assert [each["after"] for each in sessions(folder)] == [
        {"stage": 1, "epoch": 0}, {"stage": 1, "epoch": 2}, {"stage": 2, "epoch": 1}
    ]  # fmt: skip
    assert all(each.keys() == sessions(folder)[0].keys() for each in sessions(folder))
    assert results["seconds"] == json.loads((folder / "results.json").read_text())["seconds"]
    assert results["seconds"] == pytest.approx(3000, abs=100)


@pytest.mark.parametrize(("number", "diverged"), [(2, {"stage": 1, "epoch": 2}), (3, {"stage": 2, "epoch": 1})])
def test_a_session_whose_loss_is_no_longer_finite_says_so_and_the_next_one_does_not(
    tiny, tmp_path, monkeypatch, no_figures, number, diverged
):
    check, calls, folder = _loop._check_finite, itertools.count(1), tmp_path / "run"
    spoilt = number, number + 1
    with monkeypatch.context() as patch:
        patch.setattr(
            _loop, "_check_finite", lambda loss, *rest: check(math.nan if next(calls) in spoilt else loss, *rest)
        )
        for resume in (False, True):
            with pytest.raises(ValueError, match=f"the loss of epoch {diverged['epoch']} is nan"):
                train(tiny(), folder, resume=resume)
    assert [each["diverged"] for each in sessions(folder)] == [diverged, diverged]
    train(tiny(), folder, resume=True)
    first, _, last = sessions(folder)
    assert first.keys() - last.keys() == {"diverged"}


def test_a_run_goes_on_from_another_folder(tiny, tmp_path, monkeypatch, no_figures):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    save_model(RFBTeacher("tiny"), "teacher.safetensors")
    recipe = tiny("teacher.checkpoint=teacher.safetensors")
    stop(monkeypatch, recipe, "run", (2, 1))
    monkeypatch.chdir(tmp_path / "there")
    assert resumable("../here/run").teacher.checkpoint == str((tmp_path / "here" / "teacher.safetensors").resolve())
    train(resumable("../here/run"), "../here/run", resume=True)
    monkeypatch.chdir(tmp_path / "here")
    train(recipe, "run", resume=True)
    train(recipe, "whole")
    same_run(tmp_path / "here" / "run", tmp_path / "here" / "whole")


@pytest.mark.parametrize(
    ("before", "settings", "message"),
    [
        ((1, 2), ["teacher.training.epochs=1"], "got one after epoch 2 of the teacher; was recipe.toml changed? put"),
        ((2, 2), ["training.epochs=1"], "run: expected a run that its recipe can make, got one after epoch 2 of the"),
        ((1, 1), ["loss.weighting=none"], "got one after epoch 1 of the teacher; was recipe.toml changed? put it back"),
        ((2, 1), ["data.train_count=9"], "run: expected the training images that the run began with, got others, 9 no"),
        ((1, 1), ["data.depth=false"], "expected a checkpoint of the recipe's network, got another (wrong: "),
        ((2, 1), ["data.depth=false"], "teacher-last.safetensors: expected a network for 3 channels (data.depth = Fal"),
    ],
)  # fmt: skip
def test_a_run_whose_recipe_was_changed(tiny, tmp_path, monkeypatch, before, settings, message):
    folder = tmp_path / "run"
    stop(monkeypatch, tiny(), folder, before)
    logs = (folder / "epochs.csv").read_bytes()
    (folder / "recipe.toml").write_text(recipe_toml(tiny(*settings)))
    with pytest.raises(ValueError, match=re.escape(message)):
        train(resumable(folder), folder, resume=True)
    assert (folder / "epochs.csv").read_bytes() == logs
    (folder / "recipe.toml").write_text(recipe_toml(tiny()))
    stop(
        monkeypatch, resumable(folder), folder, (before[0], before[1] + 1) if before != (1, 2) else (2, 1), resume=True
    )


def test_two_processes_do_not_share_a_run_folder(tiny, tmp_path):
    folder = tmp_path / "run"
    words = ["train", recipe_file(tmp_path), "--out", folder, "--cpu", "--set", "training.epochs=5000"]
    process = started(*words)
    try:
        while not rows(folder / "epochs.csv"):
            assert process.poll() is None
        whole = tiny("training.epochs=5000")
        for recipe, settings in ((tiny(), {}), (tiny(), {"overwrite": True}), (whole, {"resume": True})):
            message = "run: expected no other process that trains there, got one; wait for it, or stop it"
            with pytest.raises(ValueError, match=message):
                train(recipe, folder, **settings)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ValueError, match=r"go on with it \(--resume\), replace it \(--overwrite\), or name another"):
        train(tiny(), folder)
    assert (folder / "recipe.toml").is_file()
