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
from dynamic_kd.training import _stage, _train

def interrupted(run, model, epoch, epochs):
    if (epoch, epochs) == (3, 3):
        raise KeyboardInterrupt

_train.write_insight = lambda *arguments: None  # figures take longer than the training
report = _stage._report
for expected, words in json.loads(sys.argv[1]):
    _stage._report = interrupted if expected else report
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
        assert json.loads((two / case / "environment.json").read_text())["processes"] == 2


def test_one_process_of_the_two_prints(runs):
    *_, printed = runs
    for processes in (1, 2):
        assert printed[processes].count("Next: dynamic-kd predict") == len(CASES)
        assert printed[processes].count("student, last") == len(CASES) - 1
