"""An installation without any extra: losses and metrics work on NumPy, and the rest says what to install."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from dynamic_kd import DynamicKDLoss, SODMetrics
from dynamic_kd.cli import main

EXTRAS = ("torch", "cv2", "numba", "rich", "matplotlib", "jax", "safetensors", "onnx", "torchmetrics")
pytestmark = pytest.mark.skipif(
    any(map(find_spec, EXTRAS)), reason="extras are installed; `nox -s minimal` runs these tests without"
)


def test_losses_and_metrics_work():
    generator = np.random.default_rng(0)
    target = generator.random((2, 20, 30)) > 0.6
    logits = generator.normal(size=target.shape)
    assert 0 < DynamicKDLoss()(logits, np.where(target, 4.0, -4.0), target) < 10
    metrics = SODMetrics()
    metrics.update(1 / (1 + np.exp(-logits)), target)
    assert {"MAE", "maxF", "wF", "Sm", "maxE"} <= set(metrics.compute())


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("models", "torch"), ("training", "train")])
def test_packages_that_need_torch_name_their_extra(package, extra):
    code = f"import dynamic_kd.{package}"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    wanted = f"ModuleNotFoundError: torch is not installed; get it with: pip install 'dynamic-kd[{extra}]'"
    assert result.stderr.splitlines()[-1] == wanted


def test_reading_images_names_its_extra(tmp_path):
    from dynamic_kd.data import read_gray
    from dynamic_kd.evaluation import evaluate_folders

    (tmp_path / "0.png").write_bytes(b"\x89PNG")
    for call in (lambda: read_gray(tmp_path / "0.png"), lambda: evaluate_folders(tmp_path, tmp_path)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'dynamic-kd\[eval\]'"):
            call()


COMMANDS = {
    "compare": (".",), "data": ("check", "."), "demo": (), "evaluate": ("--pred", ".", "--target", "."),
    "export": ("student.safetensors", "--out", "x.onnx"), "info": (), "inspect": (".",),
    "predict": ("student.safetensors", ".", "--out", "maps"), "train": ("cpu",),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_say_in_one_line_what_to_install(command, capsys, monkeypatch, tmp_path):
    for folder in ("GT/DES", "ours/DES"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.png").touch()
    monkeypatch.chdir(tmp_path)
    assert main([command, *COMMANDS[command]]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is not installed; get it with: pip install 'dynamic-kd[" in said


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_needs_nothing(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*([command] if command else []), "--help"])
    assert end.value.code == 0
    assert "usage: dynamic-kd" in capsys.readouterr().out
