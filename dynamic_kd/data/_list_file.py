"""List files, which name the samples to take from the data sets below a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from dynamic_kd._files import listing, plain_name
from dynamic_kd.data._pairing import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dynamic_kd.data._layouts import Layout

Key = tuple[int, str]
"""A sample, by the index of its data set and its stem."""


def read_list(
    path: str | Path, root: Path, layouts: Sequence[Layout], names: Sequence[str], images: Sequence[Iterable[str]]
) -> list[list[str]]:
    """Read which samples a list file names.

    A line names one sample by its stem, its file name or its path from the root or from its data set's folder. It may
    also name the sample's image, depth map and mask in columns. Blank lines and comments after a ``#`` are ignored.

    Parameters
    ----------
    path : str or Path
        The list file.
    root : Path
        The folder that holds the data sets.
    layouts, names : sequences of Layout and str
        The data sets, and the unique name of each.
    images : sequence of iterables of str
        The stems of the images of each.

    Returns
    -------
    list of list of str
        The stems of each data set, in the order of the list.

    Raises
    ------
    ValueError
        If the file cannot be read or names nothing, or if entries leave the root, are unknown, fit several data sets,
        name several samples, or come twice. The message lists them.
    """
    entries = _entries(Path(path))
    stems = [frozenset(files) for files in images]
    places = [{name, *_places(layout, root)} for layout, name in zip(layouts, names, strict=True)]
    chosen: dict[Key, str] = {}
    wrong: dict[str, list[str]] = {}
    for entry in entries:
        keys, problem = _resolved(entry, root, places, stems)
        if problem or keys[0] in chosen:
            wrong.setdefault(problem or "repeated", []).append(entry)
        else:
            chosen[keys[0]] = entry
    if wrong or not chosen:
        got = "; ".join(f"{len(lines)} {what}: {listing(lines)}" for what, lines in wrong.items()) or "nothing"
        raise ValueError(f"{path}: expected each line to name one sample below {root}, once, got {got}")
    return [[stem for index, stem in chosen if index == number] for number in range(len(layouts))]


def _entries(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"{path}: expected a list file, got no such file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a list file of text (UTF-8), got something else") from None
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [unicodedata.normalize("NFC", line) for line in lines if line]


def _places(layout: Layout, root: Path) -> set[str]:
    """Return what may precede a stem: nothing, or a folder of the data set as seen from it, the root or its parent."""
    folders = [layout.folder, *layout.roles.values()]
    from_root = [folder.relative_to(root) for folder in folders]
    from_set = [folder.relative_to(layout.folder) for folder in folders]
    above = Path(os.path.abspath(root)).name
    from_here_or_above = [folder for below in from_root for folder in (root / below, above / below)]
    return {plain_name(folder.as_posix()) for folder in (*from_root, *from_set, *from_here_or_above)}


def _resolved(
    entry: str, root: Path, places: list[set[str]], stems: list[frozenset[str]]
) -> tuple[list[Key], str | None]:
    """Return the sample that an entry names, or its mistake."""
    keys: list[Key] = []
    for column in dict.fromkeys((entry, *re.findall(r"[^\s,;]+", entry))):
        relative = _below(column, root)
        if relative is None:
            return [], "that leave the folder"
        fitting = [
            (index, stem)
            for stem in dict.fromkeys((relative.name, _stem(relative.name)))
            for index in range(len(stems))
            if stem in stems[index] and str(relative.parent) in places[index]
        ]
        if len(fitting) > 1:
            return [], "that several data sets have (write SET/NAME)"
        if column == entry and fitting:
            return fitting, None
        if column != entry and not fitting:
            return [], "unknown"
        keys += fitting
    if len(set(keys)) > 1:
        return [], "whose columns name different samples"
    return keys, None if keys else "unknown"


def _below(column: str, root: Path) -> PurePosixPath | None:
    """Return a path relative to the root, or None if it leads elsewhere."""
    path = PurePosixPath(column.replace("\\", "/"))
    if path.is_absolute() or Path(column).is_absolute():
        tops = (PurePosixPath(plain_name(Path(top).as_posix())) for top in (os.path.abspath(root), root.resolve()))
        path = next((path.relative_to(top) for top in tops if path.is_relative_to(top)), PurePosixPath(".."))
    return None if ".." in path.parts else path


def _stem(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else name
