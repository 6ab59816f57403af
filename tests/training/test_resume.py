"""Runs that were stopped at any moment go on, and end with the same bits as one that nothing stopped."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import killed_when, place, recipe_file, rows, same_run, started  # noqa: E402

from dynamic_kd.training import _stage, _train, read_recipe, resumable, train  # noqa: E402

BOUNDARIES = [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Return a function that makes the recipe of a tiny run, with some settings changed."""
    path = recipe_file(tmp_path_factory.mktemp("recipe"))
    return lambda *settings: read_recipe(path, settings)


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """The folder of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny(), folder)
    return folder


@pytest.fixture
def no_figures(monkeypatch):
    """Leave the figures out, which take longer than the training."""
    monkeypatch.setattr(_train, "write_insight", lambda *arguments: None)


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
    (tmp_path / "run" / ".checkpoint.safetensors.1.tmp").write_bytes(b"half of one")
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
