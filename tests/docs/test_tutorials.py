"""The tutorials followed to the letter: files saved under the names they carry, commands typed, output compared."""

import doctest
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = sorted(path for path in TUTORIALS.glob("*.md") if path.stem != "index")
NEEDS = {
    "first-evaluation": ("cv2", "matplotlib", "openpyxl", "rich"),
    "frameworks": ("accelerate", "pytorch_lightning", "torchmetrics"),
    "own-teacher": ("accelerate", "cv2", "matplotlib", "rich", "safetensors", "tensorboard", "tomli_w"),
}
BLOCK = re.compile(r"^```(?P<kind>\S.*?)\n(?::caption: (?P<name>\S+)\n\n)?(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
# What the output leaves open is written as "...".
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def steps(page):
    """Yield what the reader is told to do: a file and its text, or a command and what it prints."""
    for block in BLOCK.finditer(page):
        if block["name"]:
            yield block["name"], block["text"]
        elif block["kind"] == "console":
            for step in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, printed = re.split(r"(?<!\\)\n", step, maxsplit=1)
                yield f"$ {command}", printed


@pytest.fixture
def environment():
    """Return an environment in which this Python's commands come first, on one thread and at 80 columns."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DYNAMIC_KD"))}
    return kept | {"PATH": path, "COLUMNS": "80", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_tutorial(page, environment, tmp_path):
    missing = [name for name in NEEDS[page.stem] if not find_spec(name)]
    if missing:
        pytest.skip(f"this tutorial uses {', '.join(missing)}, which cannot be imported here")
    checker, count = doctest.OutputChecker(), 0
    for step, text in steps(page.read_text("utf-8")):
        if not step.startswith("$ "):
            (tmp_path / step).write_text(text, encoding="utf-8")
            continue
        done = subprocess.run(
            step[2:], shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8",
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
        assert not text or checker.check_output(text, done.stdout, SAME), f"{step} printed\n{done.stdout}"
        count += 1
    assert count


def test_the_steps_of_a_page():
    page = (
        "```{code-block} python\n:caption: a.py\n\nprint(1)\n```\n\ntext\n\n```python\nnot a file\n```\n\n"
        "```console\n$ python a.py\n1\n$ ls \\\n    -a\n```\n"
    )
    assert list(steps(page)) == [("a.py", "print(1)\n"), ("$ python a.py", "1\n"), ("$ ls \\\n    -a", "")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_line_of_code_is_wider_than_the_page(page):
    blocks = BLOCK.finditer(page.read_text("utf-8"))
    assert [line for block in blocks for line in block["text"].splitlines() if len(line) > 77] == []
