"""Files to write: whether they can be is found out before the work, and after it each is whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from dynamic_kd._files import write_whole

PICTURES = (".png", ".pdf", ".svg")


def check_output(option: str, path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """Raise unless a file that an option names, if it names one, can be written; a picture's name says its format."""
    if path is None:
        return
    place = Path(path)
    if not place.resolve().parent.is_dir():
        raise ValueError(f"{option} {path}: expected a file in a folder that exists; make {place.parent} first")
    if place.is_dir():
        raise ValueError(f"{option} {path}: expected a file to write, got a folder; name a file in it")
    if suffixes and place.suffix.lower() not in suffixes:
        raise ValueError(f"{option} {path}: expected a name ending in {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    if not os.access(place if place.exists() else place.resolve().parent, os.W_OK):
        raise ValueError(f"{option} {path}: expected a place where you may write, got no permission; name another")


def write_text(path: str, text: str) -> None:
    """Write a text."""
    write_whole(path, text.encode())
