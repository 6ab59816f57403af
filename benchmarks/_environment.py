"""Where and with what a benchmark ran, for its rows, and the file that these go to."""

import csv
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import dynamic_kd


def environment(*packages):
    """Return processor, Python, package versions and commit as one flat dictionary."""
    versions = " ".join(f"{name} {metadata.version(name)}" for name in packages)
    return {"processor": _processor(), "python": platform.python_version(), "packages": versions, "commit": _commit()}


def write_rows(path, rows):
    """Write dictionaries as CSV, in place of what is there; the last one's keys are the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def require_gpus(parser, least=1):
    """End the command unless torch sees as many NVIDIA GPUs."""
    import torch

    found = torch.cuda.device_count()
    if found < least:
        parser.error(f"requires {least} NVIDIA GPU{'s' if least > 1 else ''}, and torch sees {found}")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit():
    root = Path(__file__).parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or f"dynamic-kd {dynamic_kd.__version__}"
