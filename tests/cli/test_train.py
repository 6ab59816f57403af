"""``dynamic-kd train`` as its users call it."""

import inspect
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import recipe_file, rows, same_run, started  # noqa: E402

from dynamic_kd import training  # noqa: E402
from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the recipe ``tiny.toml``."""
    monkeypatch.chdir(tmp_path)
    recipe_file(tmp_path)
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Leave the figures out, which take longer than the training."""
    from dynamic_kd.training import _train

    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)


def test_help_fits_80_columns_and_names_the_next_steps(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main(["train", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for words in ("dynamic-kd train cpu", "--resume RUN", "--overwrite", "torchrun --nproc-per-node 2", "--list"):
        assert words in text
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "train a teacher and distil it into a student" in capsys.readouterr().out


def test_the_recipes_of_the_package(capsys):
    assert main(["train", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(training.bundled_recipes())
    assert {"cpu", "ecssd", "paper-vgg16", "paper-vgg19"} <= {line.split()[0] for line in lines}
    assert all(line.endswith(".") for line in lines)


def test_a_run_its_table_and_where_to_go_next(here, capsys, quick):
    assert main(["train", "tiny.toml", "--cpu", "--set", "seed=1", "training.epochs=1"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["set", "epoch", "MAE", "maxF", "wF", "Sm", "maxE"] in [line[-7:] for line in lines]
    found = next(line for line in lines if line[:2] == ["student,", "last"])
    row = rows(here / "runs" / "tiny-seed1" / "epochs.csv")[-1]
    assert found[2] == row["epoch"] == "1"
    for shown, name in zip(found[3:], ("MAE", "maxF", "wF", "Sm", "maxE"), strict=True):
        assert float(shown) == pytest.approx(float(row[name]), abs=5.1e-4)
    assert "In runs/tiny-seed1: the weights student-last.safetensors, " in out
    assert out.endswith("Next: dynamic-kd predict runs/tiny-seed1/student-last.safetensors DIR --out MAPS\n")
    assert training.read_recipe("runs/tiny-seed1").training.epochs == 1


def test_a_finished_run_whose_weights_were_removed(here, capsys, quick):
    assert (
        main(["train", "tiny.toml", "--cpu", "--out", "run", "--set", "training.epochs=1", "loss.weighting=none"]) == 0
    )
    for path in (here / "run").glob("student-*.safetensors"):
        path.unlink()
    capsys.readouterr()
    assert main(["train", "--resume", "run", "--cpu"]) == 0
    assert capsys.readouterr().out.startswith("\nIn run: no weights any more, ")


def test_names_that_a_shell_or_a_table_would_misread(here, capsys, quick):
    words = ["--set", "training.epochs=1", "loss.weighting=none", "data.validation_count=0"]
    assert main(["train", "tiny.toml", "--cpu", "--out", "my [bold] run", *words]) == 0
    out = capsys.readouterr().out
    assert "scores on the validation set" not in out
    assert "In my [bold] run: " in out
    assert "predict 'my [bold] run/student-last.safetensors' DIR" in out


def write_set(folder, count=8):
    for sample in synthetic_rgbd(count, size=40, seed=3, spoilt_share=0):
        pictures = {
            "RGB": sample.image[..., ::-1],
            "depth": np.rint(255 * sample.depth).astype(np.uint8),
            "GT": 255 * sample.mask.astype(np.uint8),
        }
        for name, picture in pictures.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / name / f"{sample.name}.png"), picture)


def test_from_folders_to_predicted_maps(here, capsys, quick):
    write_set(here / "user's data" / "NJUD" / "train")
    words = ["--set", "data.source=folders", 'data.train=["NJUD/train"]', "training.epochs=1", "loss.weighting=none"]
    assert main(["train", "tiny.toml", "--cpu", "--data", "user's data", "--out", "run", *words]) == 0
    error = capsys.readouterr().err
    assert "note: " in error
    assert "1485" in error  # the images that this set is known to have
    assert Path(training.read_recipe("run").data.root) == (here / "user's data").resolve()
    assert main(["predict", "run/student-last.safetensors", "user's data/NJUD/train", "--out", "maps"]) == 0
    maps = sorted((here / "maps").rglob("*.png"))
    assert len(maps) == 8
    assert cv2.imread(str(maps[0]), cv2.IMREAD_UNCHANGED).shape == (40, 40)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "RECIPE is missing; dynamic-kd train --list names the bundled ones"),
        (["gpu"], "gpu: no such recipe"),
        (["tiny.toml", "--set", "epochs"], "epochs: expected SETTING=VALUE, such as training.epochs=2"),
        (["tiny.toml", "--set", "training.epoch=2"], "--set: training.epoch: unknown setting"),
        (["tiny.toml", "--set", "training.epochs=0"], "--set: training.epochs: expected a whole number of at least 1"),
        (["tiny.toml", "--set", "data.train=NJUD"], "data.train: expected a list"),
        (["tiny.toml", "--set", "student.backbone=vgg16", "student.weights=none.pth"], "none.pth: expected a file of"),
        (["tiny.toml", "--data", "none", "--set", "data.source=folders", "data.train=['a']"], "none/a: expected a f"),
        (["tiny.toml", "--set", "precision=fp16"], 'precision: "fp16" requires a GPU; choose "fp32" or "bf16"'),
        (["tiny.toml", "--out", "tiny.toml"], "tiny.toml: is a file; name a folder for the run"),
        (["tiny.toml", "--out", "."], ".: holds files that are not of a run; name a new or empty folder"),
        (["--resume", "none"], "none: holds no run (recipe.toml is missing); name a run folder to resume"),
        (["tiny.toml", "--resume", "run"], "--resume: takes the run's own recipe; leave out recipe"),
        (["--resume", "run", "--set", "seed=1", "--overwrite"], "leave out set, overwrite"),
        (["tiny.toml", "--set", "name=../../evil"], "--set: name: '../../evil' cannot name a folder"),
        (["paper-vgg16", "--data", "nosuchdir"], "nosuchdir/NJUD/train: expected a folder, got no such folder"),
        (["tiny.toml", "--data", "."], 'tiny.toml: data.root: the synthetic set takes no folders, got \''),
        (["tiny.toml", "--set", "data.train=['a']"], "data.train: the synthetic set takes no folders, got ('a',)"),
        (["tiny.toml", "--set", "loss.impl=fused", "teacher.model=fpn", "loss.weighting=0.5",
          "teacher.checkpoint=none.pt"], 'loss.impl: "fused" requires a GPU; choose "auto" or "eager"'),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_and_status_2(here, capsys, words, message):
    assert main(["train", "--cpu", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in here.iterdir()] == ["tiny.toml"]


def test_a_mistake_is_mended_without_tidying_up(here, capsys, quick):
    words = ["train", "tiny.toml", "--cpu", "--set", "training.epochs=1", "loss.weighting=none"]
    assert main([*words, "student.weights=none.pth"]) == 2
    assert main(words) == 0
    assert main(words) == 2
    assert "resume it (--resume), replace it (--overwrite), or name another" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (OSError(28, "No space left on device"), 2, "dynamic-kd: error: [Errno 28] No space left on device"),
        (OSError(30, "Read-only file system"), 2, "dynamic-kd: error: [Errno 30] Read-only file system"),
    ],
)
def test_a_run_that_ends_early_says_how_it_goes_on(here, capsys, monkeypatch, quick, end, status, message):
    from dynamic_kd.training import _checkpoint

    write = _checkpoint.save_checkpoint

    def ending(*arguments):
        if arguments[-1].stage == 2:
            raise end
        write(*arguments)

    words = ["train", "tiny.toml", "--cpu", "--out", "my run"]
    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "save_checkpoint", ending)
        assert main(words) == status
    hint, last = capsys.readouterr().err.splitlines()[-2:]
    words = "resume it: dynamic-kd train --resume 'my run' --cpu"
    assert hint == f"dynamic-kd: ended early; {words}"
    assert last == message
    assert main(["train", "--resume", "my run", "--cpu"]) == 0
    assert [row["epoch"] for row in rows(here / "my run" / "epochs.csv")] == ["1", "2", "1", "2", "3"]


@pytest.mark.parametrize(("words", "seconds"), [([], 30), (["--checkpoint-every", "0.5"], 0.5)])
def test_how_often_checkpoints_are_written(here, capsys, monkeypatch, words, seconds):
    asked = {}

    def ended(*arguments, **settings):
        asked.update(settings)
        raise ValueError("enough")

    default = inspect.signature(training.train).parameters["checkpoint_every"].default
    monkeypatch.setattr(training, "train", ended)
    assert main(["train", "tiny.toml", "--cpu", *words]) == 2
    assert (asked["checkpoint_every"], default) == (seconds, 30)


def test_a_time_between_checkpoints_that_there_is_not(here, capsys):
    assert main(["train", "tiny.toml", "--cpu", "--out", "run", "--checkpoint-every", "-1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "dynamic-kd: error: checkpoint_every: expected seconds from 0, got -1.0"
    assert not (here / "run").exists()


def test_an_interruption_before_the_first_epoch_promises_nothing(here, capsys, monkeypatch):
    from dynamic_kd.training import _train

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(_train, "read_recipe_data", interrupted)
    assert main(["train", "tiny.toml", "--cpu", "--out", "run"]) == 130
    assert capsys.readouterr().err.splitlines()[-1:] == ["dynamic-kd: interrupted"]
    assert not (here / "run").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_an_interruption_is_one_line_that_says_how_it_goes_on(here, capsys, monkeypatch, processes):
    from dynamic_kd.training import _checkpoint

    def interrupted(*arguments):
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        raise KeyboardInterrupt

    monkeypatch.setattr(_checkpoint, "save_checkpoint", interrupted)
    assert main(["train", "tiny.toml", "--cpu", "--out", "my run"]) == 130
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dynamic-kd")]
    how = "resume it: dynamic-kd train" if processes == 1 else "resume it with the same launcher and: train"
    way = f"{how} --resume 'my run' --cpu"
    assert said == [f"dynamic-kd: interrupted; {way}"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.95 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_want_of_the_gpus_memory_ends_in_words_and_the_run_goes_on(here, capsys, monkeypatch, quick, error):
    def full(*arguments):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("dynamic_kd.training._train.student_objective", full)
        assert main(["train", "tiny.toml", "--cpu", "--out", "run"]) == 2
    hint, last = capsys.readouterr().err.splitlines()[-2:]
    assert hint.endswith("resume it: dynamic-kd train --resume run --cpu")
    assert last == (
        "dynamic-kd: error: the GPU's memory is too small; lower training.batch_size or data.size, raise "
        "training.accumulation, set precision=bf16, or end other programs on the GPU"
    )
    assert main(["train", "--resume", "run", "--cpu"]) == 0
    assert [row["epoch"] for row in rows(here / "run" / "epochs.csv")] == ["1", "2", "1", "2", "3"]


def test_other_errors_of_torch_are_shown_as_they_are(here, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("dynamic_kd.training._train._run_stage", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        main(["train", "tiny.toml", "--cpu"])


def test_control_c_ends_in_words(here):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    words = ["train", "tiny.toml", "--cpu", "--out", "run", "--set", "training.epochs=500"]
    with started(*words, **pipes) as process:
        while not rows(here / "run" / "epochs.csv"):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    *steps, last = error.splitlines()
    assert not any("dynamic-kd" in line or "Traceback" in line for line in steps)
    assert last == ("dynamic-kd: interrupted; resume it: dynamic-kd train --resume run --cpu")
    done = rows(here / "run" / "epochs.csv")
    shortened = (here / "run" / "recipe.toml").read_text().replace("epochs = 500", f"epochs = {len(done) + 1}")
    (here / "run" / "recipe.toml").write_text(shortened)
    assert main(last.partition("resume it: dynamic-kd ")[2].split()) == 0
    assert rows(here / "run" / "epochs.csv")[: len(done)] == done


def test_a_run_goes_on_by_its_folder_alone(here, capsys, monkeypatch, quick):
    from dynamic_kd.training import _checkpoint

    assert main(["train", "tiny.toml", "--cpu", "--out", "whole"]) == 0
    write = _checkpoint.save_checkpoint

    def interrupted(*arguments):
        write(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "save_checkpoint", interrupted)
        for words in (["tiny.toml", "--out", "run"], ["--resume", "run"], ["--resume", "run"]):
            assert main(["train", "--cpu", *words]) == 130
    assert main(["train", "--resume", "run", "--cpu"]) == 0
    same_run(here / "run", here / "whole")
