"""The public names' types, as a user's mypy sees them: what is right passes, and what is wrong is an error."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
USES = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))
NOT_WRONG = "from dynamic_kd import DynamicKDLoss\n\nDynamicKDLoss(p=0.5)  # type: ignore[arg-type]\n"


def test_right_uses_pass_and_wrong_ones_are_errors(tmp_path):
    """Wrong uses are lines whose error is expected; one without an error is found, as the added one shows."""
    pytest.importorskip("mypy", reason="mypy is in the extra 'test'")
    pytest.importorskip("torch", reason="torch's types are those of torch")
    (tmp_path / "not_wrong.py").write_text(NOT_WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", ROOT / "pyproject.toml"]
    result = subprocess.run([*command, *USES, tmp_path / "not_wrong.py"], cwd=ROOT, capture_output=True, text=True)
    said = result.stdout.splitlines() + result.stderr.splitlines()
    assert len(said) == 1, said
    assert 'not_wrong.py:3: error: Unused "type: ignore" comment' in said[0]
