"""Two processes share each batch, and end as one process does; they talk by gloo, on the CPU."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("this torch has no gloo", allow_module_level=True)

import json  # noqa: E402

import numpy as np  # noqa: E402
from tiny_runs import environment, recipe_file, rows, tensors  # noqa: E402

# Ten images in batches of four leave two for the last step of an epoch, eleven leave three.
CASES = {
    "odd validation": ["data.validation_count=5"],
    "one to validate, in rounds": [
        "data.validation_count=1", "data.train_count=11", "training.accumulation=2", "training.clip_norm=0.5"
    ],
    "none to validate, stopped": ["data.validation_count=0", "data.train_count=9"],
}  # fmt: skip
STOPPED = "none to validate, stopped"
SCRIPT = """\
import json
import sys

from dynamic_kd.cli import main
from dynamic_kd.training import _train

def interrupted(run, model, epoch, epochs):
    if (epoch, epochs) == (3, 3):
        raise KeyboardInterrupt

_train.write_insight = lambda *arguments, **limit: None  # figures take longer than the training
report = _train._report
for expected, words in json.loads(sys.argv[1]):
    _train._report = interrupted if expected else report
    assert main(words) == expected, words
"""


def commands(folder, recipe):
    """Return commands with their exit status; that of an interruption goes on in another."""
    for name, settings in CASES.items():
        words = ["train", str(recipe), "--cpu", "--out", str(folder / name), "--set", *settings]
        yield 130 if name == STOPPED else 0, words
    yield 0, ["train", "--cpu", "--resume", str(folder / STOPPED)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of the same runs by one process and by two, and what the two printed."""
    folder = tmp_path_factory.mktemp("processes")
    recipe, script = recipe_file(folder), folder / "commands.py"
    script.write_text(SCRIPT)
    printed = {}
    for processes in (1, 2):
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes == 2 else []
        words = json.dumps(list(commands(folder / str(processes), recipe)))
        done = subprocess.run(
            [sys.executable, *launcher, str(script), words],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed[processes] = done.stdout
    return folder / "1", folder / "2", printed


@pytest.mark.parametrize("case", CASES)
def test_two_processes_train_to_the_weights_of_one(runs, case):
    one, two, _ = runs
    names = sorted(path.name for path in (one / case).glob("*.safetensors"))
    assert names == sorted(path.name for path in (two / case).glob("*.safetensors"))
    for name in names:
        found, expected = tensors(two / case / name), tensors(one / case / name)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5, err_msg=f"{name}: {key}")


@pytest.mark.parametrize("case", CASES)
def test_two_processes_log_what_one_does_once(runs, case):
    one, two, _ = runs
    for name, tolerance in (("epochs.csv", 1e-4), ("weights.csv", 1e-4)):
        found, expected = rows(two / case / name), rows(one / case / name)
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.keys() == theirs.keys()
            for column, cell in theirs.items():
                if column == "sample" or not cell:
                    assert ours[column] == cell
                else:
                    assert float(ours[column]) == pytest.approx(float(cell), abs=tolerance), column


def test_two_processes_score_as_one_does(runs):
    one, two, _ = runs
    for case in CASES:
        found, expected = (json.loads((run / case / "results.json").read_text())["results"] for run in (two, one))
        for who in ("teacher", "student"):
            assert set(found[who]) == ({"last"} if case == STOPPED else {"last", "best"})
            scores, wanted = (result[who]["last"].get("scores") for result in (found, expected))
            assert scores == (wanted and pytest.approx(wanted, abs=1e-4))
            assert (scores is None) == (case == STOPPED)
        assert json.loads((two / case / "environment.json").read_text())["sessions"][-1]["processes"] == 2


def test_two_processes_that_are_stopped_keep_every_epoch_that_they_finished(runs):
    for run in runs[:2]:
        _, second = json.loads((run / STOPPED / "environment.json").read_text())["sessions"]
        assert second["after"] == {"stage": 2, "epoch": 2}


def test_images_are_in_the_data_sets_order_whatever_the_number_of_processes(runs):
    for run in runs[:2]:
        with np.load(run / "odd validation" / "student-validation.npz") as file:
            assert file["names"].tolist() == [f"{number:05}" for number in range(10, 15)]


IMAGES = """\
import json
import sys

import torch

from dynamic_kd.data import synthetic_rgbd
from dynamic_kd.models import FPNStudent
from dynamic_kd.training._image_set import ImageSet
from dynamic_kd.training._processes import accelerator_of
from dynamic_kd.training._scoring import scores

torch.manual_seed(0)
accelerator = accelerator_of(cpu=True)
report = scores(FPNStudent("tiny"), ImageSet.from_samples(synthetic_rgbd(int(sys.argv[1]), size=32)), accelerator)
if accelerator.is_main_process:
    print(json.dumps([[row["name"], row["MAE"]] for row in report.per_image]))
"""


def test_scores_of_images_are_in_the_data_sets_order_too(tmp_path):
    (tmp_path / "images.py").write_text(IMAGES)
    found = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]):
        words = [sys.executable, *launcher, str(tmp_path / "images.py"), "5"]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120, check=True)
        found.append(json.loads(done.stdout))
    assert [name for name, _ in found[0]] == [f"{number:05}" for number in range(5)]
    assert [name for name, _ in found[1]] == [name for name, _ in found[0]]
    np.testing.assert_allclose(*([error for _, error in each] for each in found), atol=1e-6)


MISTAKES = """\
import json
import os
import sys

from dynamic_kd.cli import main
from dynamic_kd.training import _checkpoint, _train

failing = sys.argv[2]  # the process in which something goes wrong
for words in json.loads(sys.argv[1]):
    assert main(words) == 2, words
for module, name in ((_train, "read_recipe_data"), (_checkpoint, "save_checkpoint")):
    work = getattr(module, name)

    def full(*arguments):
        if os.environ["RANK"] == failing:
            raise OSError(28, "No space left on device", name)
        return work(*arguments)

    setattr(module, name, full)
    if name == "read_recipe_data" or failing == "0":  # the first process alone saves
        assert main(["train", "cpu", "--cpu", "--out", sys.argv[3] + "/" + name, *json.loads(sys.argv[4])]) == 2
    setattr(module, name, work)
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_mistake_is_told_once_and_ends_all_processes(tmp_path, rank):
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").touch()
    small = ["--set", "data.size=32", "data.train_count=8", "data.validation_count=0", "loss.weighting=none"]
    odd = ["training.batch_size=3", "training.clip_norm=5"]
    diverging = ["training.learning_rate=1e30", "training.clip_norm=", "training.schedule=constant"]
    run = ["train", "cpu", "--cpu", "--out"]
    words = [
        ["train", "cpu", "--cpu", "--set", "trainig.epochs=2"],
        ["train", "cpu", "--cpu", "--set", "precision=fp16"],
        [*run, str(full), *small],
        [*run, str(tmp_path / "odd"), *small, *odd],
        [*run, str(tmp_path / "diverging"), *small, *diverging],
    ]
    expected = [
        "did you mean training?",
        '"fp16" requires a GPU; choose "fp32" or "bf16"',
        "holds files that are not of a run",
        "batch_size: must be a multiple of 2 processes",
        "is nan; lower training.learning_rate (1e+30)",
        "read_recipe_data: No space left on device",
        *(["save_checkpoint: No space left on device"] if rank == 0 else []),
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    given = [json.dumps(words), str(rank), str(tmp_path), json.dumps(small)]
    done = subprocess.run(
        [sys.executable, *launcher, str(tmp_path / "mistakes.py"), *given],
        env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(said) == len(expected), said
    for line, words in zip(said, expected, strict=True):
        assert words in line
    [session] = json.loads((tmp_path / "diverging" / "environment.json").read_text())["sessions"]
    assert (session["processes"], session["diverged"]["stage"]) == (2, 2)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "read_recipe_data").exists()


def test_one_process_of_the_two_prints(runs):
    *_, printed = runs
    for processes in (1, 2):
        assert printed[processes].count("Next: dynamic-kd predict") == len(CASES)
        assert printed[processes].count("student, last") == len(CASES) - 1
