"""Runs of training that take a second or two, as their users start them, and what is compared of them."""

import csv
import json
import os
import subprocess
import sys
import time

RECIPE = """\
name = "tiny"
evaluate_every = 2

[data]
size = 32
train_count = 10
validation_count = 5

[teacher]
backbone = "tiny"

[teacher.training]
epochs = 2

[student]
backbone = "tiny"

[training]
epochs = 3
batch_size = 4
learning_rate = 0.05
schedule = "one_cycle"
"""
TIMES = ("seconds", "images_per_second")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def saliency(model, data):
    """Predict saliency maps in [0, 1], shape (N, 1, H, W), with a network in evaluation mode."""
    import torch

    training = model.training
    model.eval()
    with torch.no_grad():
        maps = torch.sigmoid(model(data.batch(torch.arange(len(data))).inputs)).numpy()
    model.train(training)
    return maps


def recipe_file(folder, text=RECIPE):
    path = folder / "tiny.toml"
    path.write_text(text, encoding="utf-8")
    return path


def environment():
    """Return the environment of a process with one thread."""
    return os.environ | ONE_THREAD


def started(*words, processes=1, **settings):
    """Start ``dynamic-kd`` in a process of its own, or in several by torch's launcher."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), "-m", "dynamic_kd.cli", *map(str, words)]
    return subprocess.Popen(command, env=environment(), **settings)


def finished(*words, processes=1):
    """Run ``dynamic-kd`` to its end, and return what it printed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with started(*words, processes=processes, **pipes) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def killed_when(process, happened, limit=60):
    """Kill a process, which has no chance to tidy up, as soon as something has happened."""
    end = time.monotonic() + limit
    try:
        while not happened():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < end, "what was waited for did not happen"
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()


def place(path):
    """Return the stage and epoch of a checkpoint, in one look: the run may replace it at any time."""
    if not path.exists():
        return 0, 0
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    found = json.loads(header["__metadata__"]["place"])
    return found["stage"], found["epoch"]


def rows(path):
    """Return a log without the times."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: cell for key, cell in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def tensors(path):
    """Return the tensors of a safetensors file as arrays."""
    from safetensors.numpy import load_file

    return load_file(path)


def same_run(one, other):
    """Compare what two runs leave, bit by bit, but for times."""
    weights = sorted(path.name for path in one.glob("*.safetensors"))
    assert weights == sorted(path.name for path in other.glob("*.safetensors"))
    for name in weights:
        found, expected = tensors(one / name), tensors(other / name)
        assert found.keys() == expected.keys()
        for key in expected:
            assert found[key].tobytes() == expected[key].tobytes(), f"{name}: {key}"
    for name in ("epochs.csv", "weights.csv"):
        assert rows(one / name) == rows(other / name), name
