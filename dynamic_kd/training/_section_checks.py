"""Checks that several sections of a recipe share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._checks import check_whole

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_text(name: str, value: Any, *, optional: bool = False) -> None:
    """Raise unless a setting is text."""
    if not isinstance(value, str) and not (optional and value is None):
        raise TypeError(f"{name}: expected text, got {value!r}")


def check_name(name: Any) -> None:
    """Raise unless a name can name a folder, which then lies where all of its kind do."""
    check_text("name", name)
    if name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError(f"name: expected one that can name a folder, without / and \\ and no dot first, got {name!r}")


def checked_epochs(epochs: Any, last: int) -> tuple[int, ...]:
    """Return epochs as a tuple; raise unless they are among those of the training."""
    if not isinstance(epochs, (list, tuple)):
        raise ValueError(f"keep_epochs: expected a list, as [2, 5], got {epochs!r}")
    for epoch in epochs:
        check_whole("keep_epochs", epoch, low=1)
        if epoch > last:
            raise ValueError(f"keep_epochs: expected some of the {last} epochs, got {epoch}; leave it out")
    return tuple(epochs)


def _all_text(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def checked_parts(name: str, parts: Any) -> tuple[Any, ...]:
    """Return folders and tables as a tuple; raise for anything else."""
    if not isinstance(parts, (list, tuple)):
        raise ValueError(f'{name}: expected a list, as ["NJUD/train", "NLPR/train"], got {parts!r}')
    return tuple(_checked_part(name, part) for part in parts)


def _checked_part(name: str, part: Any) -> Any:
    """Return a folder, or a table whose list file has its whole path, so that a saved recipe finds it anywhere."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and {"folder"} <= part.keys() <= {"folder", "list"} and _all_text(part.values()):
        return part | {"list": str(Path(part["list"]).resolve())} if "list" in part else part
    raise ValueError(
        f'{name}: expected folders, or tables like {{ folder = "NJUD", list = "train.txt" }}, got {part!r}'
    )
