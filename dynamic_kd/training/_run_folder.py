"""The folder of a run: its files, its lock, what it may hold before a run begins, and the record of its sessions."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._files import printable, write_whole
from dynamic_kd._version import __version__
from dynamic_kd.training._checkpoint import read_place
from dynamic_kd.training._recipe import FREE_SETTINGS, flat_settings
from dynamic_kd.training._recipe_file import RECIPE, read_recipe, recipe_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from accelerate import Accelerator

    from dynamic_kd.training._checkpoint import Place
    from dynamic_kd.training._recipe import Recipe

STAGES = {1: "teacher", 2: "student"}
CHECKPOINT, SESSIONS, RESULTS, LOCK = "checkpoint.safetensors", "environment.json", "results.json", ".lock"
_PACKAGES = ("accelerate", "numpy", "safetensors", "torch")


def weights_file(folder: Path, stage: int, which: str) -> Path:
    """Return the file of a stage's ``"last"`` or ``"best"`` weights, or of those after ``"epoch2"``."""
    return folder / f"{STAGES[stage]}-{which}.safetensors"


def records_file(folder: Path, stage: int, images: str) -> Path:
    """Return the file of a stage's records of the ``"validation"`` or the ``"report"`` images."""
    return folder / f"{STAGES[stage]}-{images}.npz"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other processes from training in it; remove it again if it stays empty.

    Raises
    ------
    ValueError
        If the path is a file, or another process trains in the folder.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; name a folder for the run")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"{folder}: another process trains in this folder; wait for it, or stop it") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows does not remove a file that is open
            (folder / LOCK).unlink()
        lock.release()
        for path in made:
            with suppress(OSError):  # it is not empty
                path.rmdir()


def check_run_folder(folder: Path, recipe: Recipe, *, resume: bool, overwrite: bool) -> None:
    """Raise unless a run of a recipe can begin in a folder, or be resumed there."""
    if resume:
        if not (folder / RECIPE).is_file():
            raise ValueError(f"{folder}: holds no run ({RECIPE} is missing); name a run folder to resume")
        if read_recipe(folder) != recipe:
            raise ValueError(f"{folder}: holds a run of another recipe; resume it without changes")
        if (folder / CHECKPOINT).exists():
            _check_unchanged(folder / RECIPE, read_place(folder / CHECKPOINT).recipe, recipe.as_dict())
        return
    recipe_toml(recipe)  # raises for what a file cannot hold
    if all(path.name == LOCK for path in folder.iterdir()):
        return
    if not (folder / RECIPE).is_file():
        raise ValueError(f"{folder}: holds files that are not of a run; name a new or empty folder")
    if not overwrite:
        raise ValueError(
            f"{folder}: holds a run; resume it (--resume), replace it (--overwrite), or name another folder"
        )


def _check_unchanged(path: Path, began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise if a recipe file was edited since its run began, except for `FREE_SETTINGS`."""
    before, after = flat_settings(began), flat_settings(now)
    changed = [
        f"{name} (it was {before.get(name, 'not set')!r}, now {after.get(name, 'not set')!r})"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and name not in FREE_SETTINGS
    ]
    if changed:
        raise ValueError(
            f"{path}: expected the settings that the run began with, got others for {', '.join(changed)}; restore "
            f"them, or begin another run in a new folder; only these may change: {', '.join(FREE_SETTINGS)}"
        )


def begin_run_folder(folder: Path, recipe: Recipe) -> None:
    """Remove everything but the lock from a folder, and write the recipe there."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
    write_whole(folder / RECIPE, recipe_toml(recipe).encode())


def record_session(folder: Path, accelerator: Accelerator, place: Place) -> None:
    """Add a session that begins at a place, with its command, device and versions."""
    device = accelerator.device
    session = {
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
        "after": {"stage": place.stage, "epoch": place.epoch},
        "command": [printable(word) for word in sys.argv],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or device.type,
        "processes": accelerator.num_processes,
        "platform": platform.platform(),
        "versions": {"dynamic-kd": __version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in _PACKAGES},
    }
    _write_sessions(folder, [*_sessions(folder), session])


def record_divergence(folder: Path, stage: int, epoch: int) -> None:
    """Note in the last session the epoch whose loss was no longer finite."""
    *before, last = _sessions(folder)
    _write_sessions(folder, [*before, last | {"diverged": {"stage": stage, "epoch": epoch}}])


def _sessions(folder: Path) -> list[dict[str, Any]]:
    path = folder / SESSIONS
    sessions: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["sessions"] if path.exists() else []
    return sessions


def _write_sessions(folder: Path, sessions: list[dict[str, Any]]) -> None:
    write_whole(folder / SESSIONS, (json.dumps({"sessions": sessions}, indent=1) + "\n").encode())
