"""What others may rely on changes only on purpose, and every public name is in the reference."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = "python tests/package/public_api.py > tests/package/public_api.txt"


@pytest.fixture(scope="module")
def declared():
    return (HERE / "public_api.txt").read_text(encoding="utf-8").splitlines()


def test_the_public_api_is_the_declared_one(declared):
    pytest.importorskip("griffe")
    if not (ROOT / "dynamic_kd").is_dir():
        pytest.skip("it is read from the source, which is not here")
    printed = subprocess.run(
        [sys.executable, HERE / "public_api.py"], capture_output=True, encoding="utf-8", check=True
    ).stdout.splitlines()
    gone, new = [line for line in declared if line not in printed], [line for line in printed if line not in declared]
    said = f"no longer there: {gone}; new: {new}; if that is meant, tell users in CHANGELOG.md and run: {COMMAND}"
    assert printed == declared, said


def test_every_declared_name_is_in_the_reference(declared):
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    names = {re.match(r"(?:class )?(\w+)(?=[(:]|$)", line) for line in declared if not line.startswith("[")}
    missing = sorted({name[1] for name in names if name} - set(re.findall(r"\w+", pages)))
    assert missing == []


def test_the_command_to_update_is_documented():
    assert COMMAND in (HERE / "public_api.py").read_text(encoding="utf-8")
    assert COMMAND in (ROOT / "RELEASING.md").read_text(encoding="utf-8")
