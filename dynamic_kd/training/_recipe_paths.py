"""Paths in recipes: relative to the file that names them, and whole in a run folder, so that a run goes on anywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamic_kd.training._recipe import Recipe

_FILES = {"data": ("root",), "teacher": ("weights", "checkpoint"), "student": ("weights",)}
_PARTS = ("train", "validation", "report")
_NO_FILE = "torchvision"  # weights by name


def place_paths(content: dict[str, Any], folder: Path) -> None:
    """Make the paths in a recipe file's content whole, as seen from the folder that the file lies in."""
    for section, names in _FILES.items():
        settings = content.get(section)
        if not isinstance(settings, dict):
            continue
        for name in names:
            settings |= {name: whole(settings[name], folder)} if name in settings else {}
    data, teacher = content.get("data"), content.get("teacher")
    for part in (data.get(name) for name in _PARTS) if isinstance(data, dict) else ():
        for each in part if isinstance(part, list) else ():
            if isinstance(each, dict) and "list" in each:
                each["list"] = whole(each["list"], folder)
    if isinstance(teacher, dict) and "maps" in teacher:
        teacher["maps"] = whole_maps(teacher["maps"], folder)


def with_whole_paths(recipe: Recipe) -> Recipe:
    """Return a recipe whose paths do not depend on where the command runs."""
    here, data, teacher = Path.cwd(), recipe.data, recipe.teacher
    root = whole(data.root or ".", here) if data.source == "folders" else None
    return replace(
        recipe,
        data=replace(data, root=root),
        teacher=replace(
            teacher,
            weights=whole(teacher.weights, here),
            checkpoint=whole(teacher.checkpoint, here),
            maps=whole_maps(teacher.maps, here),
        ),
        student=replace(recipe.student, weights=whole(recipe.student.weights, here)),
    )


def whole(path: Any, folder: Path) -> Any:
    """Return a path as seen from a folder, or what is none as it is: its section will name it."""
    if not isinstance(path, str) or path == _NO_FILE:
        return path
    return str((folder / Path(path).expanduser()).resolve())


def whole_maps(maps: Any, folder: Path) -> Any:
    """Return where a teacher's maps lie: a word names a sub-folder of each data set, what has a slash may be a path."""
    if isinstance(maps, str) and ("/" in maps or "\\" in maps):
        path = whole(maps, folder)
        return path if Path(path).is_dir() else maps
    return maps
