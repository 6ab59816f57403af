"""What a run was: the code, Python, packages, and how much was tried."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ["hypothesis", "numpy", "scipy", "numba", "opencv-python-headless", "torch", "jax", "triton"]
TOOLS = ["cosmic-ray", "coverage", "pytest"]


def about(budgets: list[float]) -> dict[str, Any]:
    """Describe a run that starts here and now."""
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: found for name in (*TOOLS, *LIBRARIES) if (found := _version(name))},
        "cores": os.cpu_count(),
        "budgets": budgets,
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
