"""Runs that were stopped at any moment go on, and end with the same bits as one that nothing stopped."""

import itertools
import json
import math
import re
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import killed_when, place, recipe_file, rows, same_run, started  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import RFBTeacher, save_model  # noqa: E402
from dynamic_kd.training import _checkpoint, _loop, _train, read_recipe, recipe_toml, train  # noqa: E402

BOUNDARIES = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


class StoppedError(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_run_stopped_around_a_checkpoint_ends_with_the_same_bits(
    whole, tiny, tmp_path, monkeypatch, no_figures, boundary, moment
):
    write = _checkpoint.save_checkpoint

    def stopping(*arguments):
        here = (arguments[-1].stage, arguments[-1].epoch) == boundary
        if here and moment == "before":
            raise StoppedError
        write(*arguments)
        if here:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "save_checkpoint", stopping)
        with pytest.raises(StoppedError):
            train(tiny(), tmp_path / "run", checkpoint_every=0)
    (tmp_path / "run" / ".checkpoint.safetensors.1.partial").write_bytes(b"half of one")
    train(tiny(), tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole)


def in_stage(folder, stage, count):
    # The file may be looked at while its first line is being written.
    return lambda: sum(row.get("stage") == str(stage) for row in rows(folder / "epochs.csv")) >= count


def test_a_run_that_was_killed_ends_with_the_same_bits(whole, tiny, tmp_path, no_figures):
    folder = tmp_path / "run"
    process = started("train", recipe_file(tmp_path), "--out", folder, "--cpu", "--checkpoint-every", "0")
    killed_when(process, lambda: place(folder / "checkpoint.safetensors") >= (2, 1))
    assert process.returncode == -9
    assert not (folder / "results.json").exists()
    train(read_recipe(folder), folder, resume=True)
    same_run(folder, whole)


@pytest.fixture
def written(monkeypatch):
    """The places of the checkpoints that are written."""
    write, places = _checkpoint.save_checkpoint, []

    def writing(path, state, place):
        places.append((place.stage, place.epoch))
        write(path, state, place)

    monkeypatch.setattr(_checkpoint, "save_checkpoint", writing)
    return places


@pytest.mark.parametrize(("every", "expected"), [(0, BOUNDARIES), (math.inf, [(1, 2), (2, 2), (2, 3)])])
def test_how_often_a_checkpoint_is_written_changes_nothing_else(
    whole, tiny, tmp_path, no_figures, written, every, expected
):
    """Evaluations are after the second epoch and the last of each stage, and here each is better than those before."""
    train(tiny(), tmp_path / "run", checkpoint_every=every)
    assert written == expected
    same_run(tmp_path / "run", whole)


def test_each_stage_ends_with_a_checkpoint(tiny, tmp_path, no_figures, written):
    train(tiny("evaluate_every=0"), tmp_path / "run", checkpoint_every=math.inf)
    assert written == [(1, 2), (2, 3)]


@pytest.mark.parametrize("every", [-1, -1e-9, math.nan])
def test_times_that_there_are_not(tiny, tmp_path, every):
    message = f"^checkpoint_every: expected seconds from 0, got {every}$"
    with pytest.raises(ValueError, match=message):
        train(tiny(), tmp_path / "run", checkpoint_every=every)
    assert not (tmp_path / "run").exists()


def end_by(signal_or_error):
    if isinstance(signal_or_error, signal.Signals):
        signal.raise_signal(signal_or_error)
    raise signal_or_error


@pytest.mark.parametrize("end", [StoppedError, signal.SIGTERM, signal.SIGINT], ids=str)
@pytest.mark.parametrize(
    ("step", "after"), [(("teacher", 4), (1, 1)), (("student", 6), (2, 1)), (("student", 9), (2, 2))]
)
def test_a_run_stopped_between_checkpoints_keeps_every_epoch_it_finished(
    whole, tiny, tmp_path, no_figures, end, step, after
):
    """Steps have changed the network since the last epoch; three make one."""

    def stopping(name, done, total):
        if (name, done) == step:
            end_by(end)

    with pytest.raises(StoppedError if end is StoppedError else KeyboardInterrupt):
        train(tiny(), tmp_path / "run", progress=stopping, checkpoint_every=math.inf)
    assert place(tmp_path / "run" / "checkpoint.safetensors") == after
    train(tiny(), tmp_path / "run", resume=True)
    same_run(tmp_path / "run", whole)


LONG = ["teacher.training.epochs=4", "training.epochs=16", "evaluate_every=8"]


@pytest.fixture(scope="module")
def long(tiny, tmp_path_factory):
    """The folder of a longer run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "long"
    train(tiny(*LONG), folder)
    return folder


def long_run(tmp_path):
    """Start a longer run that writes checkpoints only where it has to: (1, 4), (2, 8) and (2, 16)."""
    words = ["train", recipe_file(tmp_path), "--out", tmp_path / "run", "--cpu", "--checkpoint-every", "inf"]
    return started(*words, "--set", *LONG)


def curve(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [event.step for event in EventAccumulator(str(folder / "tensorboard" / "student")).Reload().Scalars("loss")]


@pytest.mark.parametrize(
    ("stage", "count", "kept"), [(1, 2, (0, 0)), (2, 3, (1, 4)), (2, 10, (2, 8))], ids=["first", "second", "middle"]
)
def test_a_run_killed_with_logs_beyond_its_checkpoint_ends_with_the_same_bits_and_logs(
    long, tiny, tmp_path, no_figures, stage, count, kept
):
    folder = tmp_path / "run"
    killed_when(long_run(tmp_path), in_stage(folder, stage, count))
    assert place(folder / "checkpoint.safetensors") == kept
    assert [(row["stage"], row["epoch"]) for row in rows(folder / "epochs.csv")][-1] >= (str(stage), str(count))
    time.sleep(1)  # TensorBoard orders what it reads by the second, and a new process takes longer than one to begin
    train(read_recipe(folder), folder, resume=True)
    same_run(folder, long)
    assert curve(folder) == list(range(1, 17))


def test_a_run_that_is_asked_to_end_keeps_every_epoch_it_finished(long, tmp_path, no_figures):
    folder = tmp_path / "run"
    with long_run(tmp_path) as process:
        while not in_stage(folder, 2, 3)():
            assert process.poll() is None
            time.sleep(0.002)
        process.terminate()
        assert process.wait(60) == 130
    last = rows(folder / "epochs.csv")[-1]
    # One less if it was asked while the epoch's rows were written.
    assert int(last["epoch"]) - place(folder / "checkpoint.safetensors")[1] in (0, 1)
    assert place(folder / "checkpoint.safetensors")[0] == 2
    train(read_recipe(folder), folder, resume=True)
    same_run(folder, long)


def test_a_run_that_had_ended_goes_on_to_its_results(whole, tiny, tmp_path, no_figures):
    train(tiny(), tmp_path / "run")
    before = (tmp_path / "run" / "epochs.csv").read_bytes()
    (tmp_path / "run" / "results.json").unlink()
    assert train(tiny(), tmp_path / "run", resume=True)["results"]["student"]["last"]["epoch"] == 3
    assert (tmp_path / "run" / "epochs.csv").read_bytes() == before
    same_run(tmp_path / "run", whole)


def stop(monkeypatch, recipe, folder, boundary, **settings):
    """Train until right after a checkpoint."""
    write = _checkpoint.save_checkpoint

    def stopping(*arguments):
        write(*arguments)
        if (arguments[-1].stage, arguments[-1].epoch) == boundary:
            raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "save_checkpoint", stopping)
        with pytest.raises(StoppedError):
            train(recipe, folder, checkpoint_every=0, **settings)


def sessions(folder):
    return json.loads((folder / "environment.json").read_text())["sessions"]


def test_every_session_is_recorded_and_the_seconds_of_all_count(tiny, tmp_path, monkeypatch, no_figures):
    clock, folder = time.perf_counter, tmp_path / "run"

    def later(seconds):
        start = clock()
        monkeypatch.setattr(time, "perf_counter", lambda: start + seconds + clock() - start)

    read = _train.read_recipe_data

    def slowly(*arguments):
        later(slowly.seconds)
        slowly.seconds += 1000
        return read(*arguments)

    slowly.seconds = 1000
    monkeypatch.setattr(_train, "read_recipe_data", slowly)
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
    assert read_recipe("../here/run").teacher.checkpoint == str((tmp_path / "here" / "teacher.safetensors").resolve())
    train(read_recipe("../here/run"), "../here/run", resume=True)
    monkeypatch.chdir(tmp_path / "here")
    train(recipe, "run", resume=True)
    train(recipe, "whole")
    same_run(tmp_path / "here" / "run", tmp_path / "here" / "whole")


@pytest.mark.parametrize(
    ("before", "settings", "message"),
    [
        ((1, 2), ["teacher.training.epochs=1"], "teacher.training.epochs (it was 2, now 1)"),
        ((1, 1), ["loss.weighting=none"], "loss.weighting (it was 'dynamic', now 'none')"),
        (
            (2, 1),
            ["loss.temperature=4", "seed=3", "training.learning_rate=0.5", "precision=bf16", "training.clip_norm=1"],
            (
                "loss.temperature (it was 5.0, now 4.0), precision (it was 'fp32', now 'bf16'), seed (it was 0, now 3)"
                ", teacher.training.clip_norm (it was 'none', now 1.0), teacher.training.learning_rate (it was 0.05, "
                "now 0.5), training.clip_norm (it was 'none', now 1.0), training.learning_rate (it was 0.05, now 0.5)"
                "; restore them, or begin another run in a new folder; only these may change: name, compile, data.root"
            ),
        ),
    ],
)  # fmt: skip
def test_a_run_whose_recipe_was_changed(tiny, tmp_path, monkeypatch, before, settings, message):
    folder = tmp_path / "run"
    stop(monkeypatch, tiny(), folder, before)
    logs = (folder / "epochs.csv").read_bytes()
    (folder / "recipe.toml").write_text(recipe_toml(tiny(*settings)))
    message = f"{folder}/recipe.toml: expected the settings that the run began with, got others for {message}"
    with pytest.raises(ValueError, match=re.escape(message)):
        train(read_recipe(folder), folder, resume=True)
    assert (folder / "epochs.csv").read_bytes() == logs
    free = ["name=other", "training.keep_epochs=[3]", "training.accumulation=1", "data.report_count=0"]
    (folder / "recipe.toml").write_text(recipe_toml(tiny(*free)))
    stop(
        monkeypatch,
        read_recipe(folder),
        folder,
        (before[0], before[1] + 1) if before != (1, 2) else (2, 1),
        resume=True,
    )


@pytest.mark.parametrize("role", ["GT", "maps"])
def test_a_run_whose_files_were_edited_under_the_same_names(tiny, tmp_path, monkeypatch, no_figures, role):
    for sample in synthetic_rgbd(5, size=32, seed=3):
        mask = 255 * sample.mask.astype(np.uint8)
        for name, picture in {"RGB": sample.image, "GT": mask, "maps": mask}.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture)
    recipe = tiny(
        "data.source=folders", f"data.root={tmp_path}", "data.train=['set']", "data.depth=false", "training.epochs=2",
        "teacher.model=maps", "teacher.maps=maps", "evaluate_every=0",
    )  # fmt: skip
    folder, edited = tmp_path / "run", tmp_path / "set" / role / "00002.png"
    stop(monkeypatch, recipe, folder, (2, 1))
    content = edited.read_bytes()
    cv2.imwrite(str(edited), 255 - cv2.imread(str(edited), 0))
    with pytest.raises(ValueError, match="run began with other training images: names or contents of the 5 samples"):
        train(recipe, folder, resume=True)
    edited.write_bytes(content)
    shutil.move(tmp_path / "set", tmp_path / "moved" / "set")
    moved = replace(recipe, data=replace(recipe.data, root=str(tmp_path / "moved")))
    (folder / "recipe.toml").write_text(recipe_toml(moved))
    assert train(moved, folder, resume=True)["results"]["student"]["last"]["epoch"] == 2


def test_two_processes_do_not_share_a_run_folder(tiny, tmp_path):
    folder = tmp_path / "run"
    words = ["train", recipe_file(tmp_path), "--out", folder, "--cpu", "--set", "training.epochs=5000"]
    process = started(*words)
    try:
        while not rows(folder / "epochs.csv"):
            assert process.poll() is None
            time.sleep(0.02)
        whole = tiny("training.epochs=5000")
        for recipe, settings in ((tiny(), {}), (tiny(), {"overwrite": True}), (whole, {"resume": True})):
            message = "run: another process trains in this folder; wait for it, or stop it"
            with pytest.raises(ValueError, match=message):
                train(recipe, folder, **settings)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ValueError, match=r"resume it \(--resume\), replace it \(--overwrite\), or name another"):
        train(tiny(), folder)
    assert (folder / "recipe.toml").is_file()
