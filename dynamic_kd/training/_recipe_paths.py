"""Paths in recipes: relative to the file that names them, and absolute in a run folder, so a run resumes anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FILES = {"data": ("root",), "teacher": ("weights", "checkpoint"), "student": ("weights",)}
_PARTS = ("train", "validation", "report")
_NO_FILE = "torchvision"  # weights by name


def resolve_paths(content: dict[str, Any], folder: Path) -> None:
    """Make the paths in a recipe file's content absolute; relative ones start from the file's folder."""
    for section, names in _FILES.items():
        settings = content.get(section)
        if not isinstance(settings, dict):
            continue
        for name in names:
            settings |= {name: absolute_path(settings[name], folder)} if name in settings else {}
    data, teacher = content.get("data"), content.get("teacher")
    for part in (data.get(name) for name in _PARTS) if isinstance(data, dict) else ():
        for each in part if isinstance(part, list) else ():
            if isinstance(each, dict) and "list" in each:
                each["list"] = absolute_path(each["list"], folder)
    if isinstance(teacher, dict) and "maps" in teacher:
        teacher["maps"] = absolute_maps(teacher["maps"], folder)


def absolute_path(path: Any, folder: Path) -> Any:
    """Return a path as seen from a folder. Anything but a path is returned as it is, and its section reports it."""
    if not isinstance(path, str) or path == _NO_FILE:
        return path
    return str((folder / Path(path).expanduser()).resolve())


def absolute_maps(maps: Any, folder: Path) -> Any:
    """Return the place of teacher maps: a word names a sub-folder of each data set, text with a slash can be a path."""
    if isinstance(maps, str) and ("/" in maps or "\\" in maps):
        path = absolute_path(maps, folder)
        return path if Path(path).is_dir() else maps
    return maps
