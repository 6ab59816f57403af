"""The shell loop of the how-to page, at a tiny size: it trains every run, skips finished ones and resumes others."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "grid.md").read_text("utf-8")
NEEDS = ("accelerate", "matplotlib", "rich", "safetensors", "tensorboard", "tomli_w")
TINY = """\
extends = "cpu"
data = { size = 32, train_count = 8, validation_count = 4 }
teacher.training.epochs = 1
training.epochs = 1
"""

pytestmark = [
    pytest.mark.skipif(not shutil.which("bash"), reason="the loop is written for bash"),
    pytest.mark.skipif(not all(map(find_spec, NEEDS)), reason="the extra `train` is not installed"),
]


def block(kind):
    return re.search(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[1]


def test_the_loop_trains_skips_and_resumes_and_the_scores_are_summarised(tmp_path):
    loop = block("bash").replace("grid cpu runs/grid", "grid tiny.toml runs/grid")
    loop = loop.replace("0 1 2", "0 1").replace("fixed loss.weighting=0.5 loss.noise_elimination=none\n", "")
    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONUTF8": "1"}

    def call(*command):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "failed" not in done.stderr
        return done.stdout

    call("bash", "-c", loop)
    runs = {path.name: path for path in (tmp_path / "runs/grid").iterdir()}
    assert sorted(runs) == ["cross-entropy-seed0", "cross-entropy-seed1", "paper-seed0", "paper-seed1"]
    finished = {name: (path / "results.json").stat().st_mtime_ns for name, path in runs.items()}
    (runs["paper-seed1"] / "results.json").unlink()
    call("bash", "-c", loop)
    again = {name: (path / "results.json").stat().st_mtime_ns for name, path in runs.items()}
    assert [name for name in finished if again[name] != finished[name]] == ["paper-seed1"]
    lines = call(sys.executable, "-c", block("python")).splitlines()
    assert [line.split()[0] for line in lines] == ["cross-entropy", "paper"]
    assert all("(2 seeds)" in line for line in lines)
