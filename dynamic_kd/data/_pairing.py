"""Image files of a folder by stem, and files of several folders matched by stem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from dynamic_kd._files import listing, plain_name, printable
from dynamic_kd.data._array_file import ARRAY_SUFFIXES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
_READ = f"images end in {', '.join(IMAGE_SUFFIXES)}"


class Matching(NamedTuple):
    """What `match_by_stem` found.

    Attributes
    ----------
    files : dict
        Stem -> folder's name -> path, in the order of the stems, for every stem that all folders hold.
    missing : dict
        Folder's name -> stems that another folder holds and this one lacks; only folders that lack some.
    """

    files: dict[str, dict[str, Path]]
    missing: dict[str, list[str]]


def images_by_stem(folder: str | Path, *, arrays: bool = False) -> dict[str, Path]:
    """Index the images of one folder by stem. Hidden files, other files and sub-folders are left out.

    Stems are in Unicode's composed form (NFC), with bytes that are not UTF-8 and control characters as ``%E9``.
    With ``arrays``, a folder without images is indexed by its ``.npy`` and ``.npz`` files.

    A broken link counts as an image, so that reading it raises.

    Raises
    ------
    ValueError
        If the folder does not exist, or if two of its images share a stem, naming both.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a folder of images, got {'a file' if folder.exists() else 'no such folder'}"
        )
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and not path.is_dir()]
    images = [path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES]
    if arrays and not images:
        images = [path for path in paths if path.suffix.lower() in ARRAY_SUFFIXES]
    found: dict[str, Path] = {}
    for path in images:
        stem = plain_name(path.stem)
        if stem in found:
            both = f"{_spelt(found[stem].name)} and {_spelt(path.name)}"
            raise ValueError(f"{folder}: expected one image per stem, got {both}; remove one of them")
        found[stem] = path
    return found


def _spelt(name: str) -> str:
    """Return a name and, as two that look alike can differ, the code points of letters beyond ASCII."""
    return name if name.isascii() else f"{printable(name)} ({ascii(name)[1:-1]})"


def other_files(folder: Path) -> list[str]:
    """Return the names of the files of a folder that `images_by_stem` leaves out, without hidden ones."""
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    return [path.name for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES and not path.name.startswith(".")]


def match_by_stem(*, allow_missing: bool = False, arrays: Collection[str] = (), **folders: str | Path) -> Matching:
    """Match the images of several folders by stem, whatever their suffixes.

    Parameters
    ----------
    allow_missing : bool
        Return unmatched stems in ``Matching.missing`` instead of raising.
    arrays : collection of str
        Names of folders that may hold ``.npy`` or ``.npz`` files instead of images.
    **folders : str or Path
        The folders, each under the name for it in errors and the result, such as ``pred=`` and ``target=``.

    Returns
    -------
    Matching
        The matched files by stem, and the stems each folder lacks.

    Raises
    ------
    ValueError
        If a folder is missing, has no images, holds two images with one stem, or, unless ``allow_missing``, lacks a
        stem that another folder has. Also if no stem matches.

    Examples
    --------
    >>> match_by_stem(pred="maps", target="masks")  # doctest: +SKIP
    Matching(files={'0001': {'pred': Path('maps/0001.png'), 'target': Path('masks/0001.bmp')}}, missing={})
    """
    indexed = {name: images_by_stem(folder, arrays=name in arrays) for name, folder in folders.items()}
    for name, folder in folders.items():
        if not indexed[name]:
            raise ValueError(f"{folder}: expected images, got none; {_contents(Path(folder))}")
    stems = sorted(set().union(*indexed.values()))
    lacking = {name: [stem for stem in stems if stem not in found] for name, found in indexed.items()}
    missing = {name: absent for name, absent in lacking.items() if absent}
    where = ", ".join(f"{name} {folder}" for name, folder in folders.items())
    files = {
        stem: {name: found[stem] for name, found in indexed.items()}
        for stem in stems
        if all(stem in found for found in indexed.values())
    }
    if not files:
        counts = ", ".join(
            f"{len(found)} in {name} (the first is {_spelt(next(iter(found)))})" for name, found in indexed.items()
        )
        raise ValueError(
            f"expected images with the same stems ({where}), got no match among {counts}; "
            f"rename them, or name the folders that belong together"
        )
    if missing and not allow_missing:
        lists = "; ".join(f"{len(absent)} missing in {name}: {listing(absent)}" for name, absent in missing.items())
        raise ValueError(
            f"expected the same file stems in every folder ({where}), got {lists}; "
            f"add them, or skip them with allow_missing=True (--allow-missing)"
        )
    return Matching(files, missing)


def _contents(folder: Path) -> str:
    """Describe a folder without images."""
    folders = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    suffixes = Counter(Path(name).suffix or "without a suffix" for name in other_files(folder))
    parts = [f"there are sub-folders: {listing(folders)}; name one of them"] if folders else []
    if suffixes:
        files = ", ".join(f"{count} file{'s' if count > 1 else ''} {suffix}" for suffix, count in suffixes.items())
        parts.append(f"there {'are' if suffixes.total() > 1 else 'is'} {files}; {_READ}")
    return "; ".join(parts) or f"the folder is empty; {_READ}"
