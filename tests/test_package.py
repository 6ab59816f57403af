"""The package as a whole: what importing it costs, what it exports, what its documents promise."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import dynamic_kd

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "cv2", "matplotlib", "jax", "numba", "rich", "scipy.ndimage")


@pytest.mark.parametrize("module", ["dynamic_kd", "dynamic_kd.losses", "dynamic_kd.metrics", "dynamic_kd.cli"])
def test_importing_loads_no_framework(module):
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_public_names_exist_and_are_listed_once():
    assert len(set(dynamic_kd.__all__)) == len(dynamic_kd.__all__)
    for name in dynamic_kd.__all__:
        assert getattr(dynamic_kd, name) is not None


def test_the_version_is_the_distributions():
    assert dynamic_kd.__version__ == metadata.version("dynamic-kd")


def test_continuous_integration_runs_the_readmes_commands():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text().splitlines()
    commands = re.search(r"<!-- commands -->\s*```console\n(.*?)```", readme, re.DOTALL)[1].splitlines()
    demo, tests = [line.removeprefix("$ ").split(" && ") for line in commands]
    assert demo == [tests[0], "dynamic-kd demo"]
    assert set(tests) <= {*script}


def test_the_readmes_table_is_the_tutorials():
    """The tutorial's commands are run by a test, and what they print is compared."""
    readme, tutorial = ((ROOT / name).read_text() for name in ("README.md", "docs/tutorials/first-evaluation.md"))
    printed = re.search(r"\$ dynamic-kd compare maps\n(.*?)```", readme, re.DOTALL)[1]
    assert f"$ dynamic-kd compare maps --grid worst:3\n{printed}" in tutorial


def test_the_chinese_readme_has_the_same_code_and_numbers():
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    blocks, others = (re.findall(r"```.*?```", text, re.DOTALL) for text in (chinese, english))
    assert len(blocks) == 3
    assert blocks == others[:3]
    scores, others = (re.findall(r"\| (\.\d{3}) \| (\.\d{3}) \|", text) for text in (chinese, english))
    assert scores == others


CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", CODE, ids=range(len(CODE)))
def test_the_readmes_code_runs(code):
    if "import torch" in code:
        pytest.importorskip("torch")
    assert len(code.splitlines()) <= 15
    exec(compile(code, "README.md", "exec"), {})


def test_the_typing_marker_is_shipped():
    assert (Path(dynamic_kd.__file__).parent / "py.typed").is_file()
