"""Folder layouts: which sub-folders hold the images, depth maps and masks of a data set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dynamic_kd._files import listing
from dynamic_kd.data._known_sets import known_name, split_word

ROLES = {
    "image": ("RGB", "RGB_left", "LR", "Image", "Images", "Imgs", "train_images", "test_images"),
    "depth": ("depth", "depths", "train_depth", "train_depth_negation", "test_depth"),
    "mask": ("GT", "Mask", "masks", "ground_truth_mask", "train_masks", "test_masks"),
}
"""Names of the sub-folders of each role, in upper or lower case."""

_ROLE_OF = {name.lower(): role for role, names in ROLES.items() for name in names}
_LEVELS = 2


@dataclass(frozen=True)
class Layout:
    """The folder of a data set, and the sub-folder of each role.

    Attributes
    ----------
    folder : Path
        The folder that holds the sub-folders.
    roles : dict
        Role -> sub-folder.
    name : str
        The canonical name of a known data set, else the folder's name.
    split : str or None
        ``"train"``, ``"test"`` or ``"val"`` where a folder is named so.
    """

    folder: Path
    roles: dict[str, Path]
    name: str
    split: str | None


def find_layouts(root: Path, needed: tuple[str, ...]) -> tuple[list[Layout], list[str]]:
    """Find the data sets in a folder and up to two levels below it.

    Returns
    -------
    list of Layout
        Those with all needed roles, in the order of their paths.
    list of str
        A note for each that has images and lacks another needed role.

    Raises
    ------
    ValueError
        If the root is not a folder, if two sub-folders have one role, or if there is no data set.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: expected a folder, got {'a file' if root.exists() else 'no such folder'}")
    found, notes = [], []
    for folder in _folders(root):
        for split, roles in _roles(folder):
            lacking = [role for role in needed if role not in roles]
            if not lacking:
                name, of_name = _named(folder, root)
                found.append(Layout(folder, roles, name, split or of_name))
            elif "image" in roles:
                notes.append(f"{folder} is left out: it has {roles['image'].name} but no folder of {_words(lacking)}")
    if not found:
        wanted = "; ".join(f"{role}: {', '.join(ROLES[role])}" for role in needed)
        alone = "images, or " if needed == ("image",) else ""
        got = f"none: {notes[0]}" if notes else _subfolder_names(root)
        raise ValueError(f"{root}: expected {alone}sub-folders of {_words(needed)} ({wanted}), got {got}")
    return found, notes


def _subfolder_names(folder: Path) -> str:
    """Return the names of the sub-folders as an error states them."""
    names = [path.name for path in _subfolders(folder)]
    return f"others: {listing(names)}" if names else "no sub-folders"


def _words(roles: tuple[str, ...] | list[str]) -> str:
    words = ["depth maps" if role == "depth" else f"{role}s" for role in roles]
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _folders(folder: Path, levels: int = _LEVELS) -> list[Path]:
    """Return a folder and those below it, without hidden ones and those of a role."""
    if not levels:
        return [folder]
    below = [path for path in _subfolders(folder) if path.name.lower() not in _ROLE_OF]
    return [folder, *(deeper for path in below for deeper in _folders(path, levels - 1))]


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _roles(folder: Path) -> list[tuple[str | None, dict[str, Path]]]:
    """Return the sub-folder of each role, for each split where training and test folders lie side by side."""
    found = [(_ROLE_OF.get(path.name.lower()), path) for path in _subfolders(folder)]
    by_role = {role: [path for other, path in found if other == role] for role in ROLES}
    present = {role: paths for role, paths in by_role.items() if paths}
    splits = {_split(path): None for paths in present.values() for path in paths}
    if all(len(paths) == 1 for paths in present.values()):
        return [(next(iter(splits)) if len(splits) == 1 else None, {role: each[0] for role, each in present.items()})]
    return [(split, _one_each(folder, present, split)) for split in splits if split or len(splits) == 1]


def _one_each(folder: Path, present: dict[str, list[Path]], split: str | None) -> dict[str, Path]:
    """Take for each role the sub-folder of the split, or the one without a split."""
    chosen = {}
    for role, paths in present.items():
        fitting = [path for path in paths if _split(path) in (split, None)]
        if len(fitting) > 1:
            names = ", ".join(path.name for path in fitting)
            raise ValueError(f"{folder}: expected one of the sub-folders {names}; move the others away")
        if fitting:
            chosen[role] = fitting[0]
    return chosen


def _split(path: Path) -> str | None:
    start = path.name.lower().split("_")[0]
    return start if start in ("train", "test") else None


def _named(folder: Path, root: Path) -> tuple[str, str | None]:
    """Return name and split of a data set from its folder, or from the one above if its folder only names a split."""
    # resolve() would replace the names of links.
    split, named, top = None, Path(os.path.abspath(folder)), Path(os.path.abspath(root))
    while (word := split_word(named.name)) and named.parent.name:
        split, named = split or word, named.parent
    name, of_name = known_name(named.name)
    above = split_word(named.parent.name) if named != top and top in named.parents else None
    return name or named.name or "data", split or of_name or above
