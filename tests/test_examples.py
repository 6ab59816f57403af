"""Every example runs, at a tiny size where it has one."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("[0-9]*.py"))
TINY = {
    "01": ["--images", "2", "--size", "32"],
    "02": ["--steps", "2", "--size", "16"],
    "03": [],
    "04": ["--images", "16", "--epochs", "1"],
}
NEEDS = {"01": (), "02": ("torch",), "03": ("jax",), "04": ("accelerate", "safetensors", "tensorboard", "tomli_w")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    number = path.name[:2]
    for name in ("matplotlib", *NEEDS[number]):
        pytest.importorskip(name)
    command = [sys.executable, "-W", "error", str(path), *TINY[number]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout
