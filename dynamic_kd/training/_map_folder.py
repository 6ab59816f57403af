"""A folder of predicted maps: where they came from, which are there already, and writing one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import opencv
from dynamic_kd._files import write_whole
from dynamic_kd._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SETTINGS = "predict.json"


def map_path(folder: Path, name: str) -> Path:
    """Return where the map of a sample lies."""
    return folder / f"{name}.png"


def kept_maps(folder: Path, settings: Mapping[str, Any], names: Iterable[str], *, overwrite: bool) -> set[str]:
    """Return the names of the maps that are there already and stay.

    Raises
    ------
    ValueError
        If the folder is a file, or if the maps there are of other settings, or nobody knows of which, unless
        ``overwrite`` is to replace them.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder for the maps, got a file")
    present = set() if overwrite else {name for name in names if map_path(folder, name).exists()}
    if present:
        _check_same(folder, settings)
    return present


def begin(folder: Path, settings: Mapping[str, Any], replaced: Iterable[str]) -> None:
    """Remove the maps that are to be replaced, and remember where the new ones come from."""
    for name in replaced:  # first: what is interrupted here leaves no map of the old settings under the new ones
        map_path(folder, name).unlink(missing_ok=True)
    text = json.dumps({"dynamic_kd": __version__, **settings}, indent=1, ensure_ascii=False)
    write_whole(folder / SETTINGS, f"{text}\n".encode())


def write_map(path: Path, probabilities: NDArray[np.float32], shape: tuple[int, int]) -> None:
    """Write a map at its image's size, with 8 bits; the file is whole or not there."""
    cv2 = opencv()
    height, width = shape
    sized = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * sized).astype(np.uint8)
    write_whole(path, cv2.imencode(".png", levels)[1].tobytes())


def _check_same(folder: Path, settings: Mapping[str, Any]) -> None:
    mend = "name another folder, or replace them by overwrite=True (--overwrite)"
    try:
        before = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: expected no maps, or those of predict with its {SETTINGS}; {mend}") from None
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{folder / SETTINGS}: expected what predict wrote, got a damaged file; {mend}")
    for name, value in settings.items():
        if before.get(name) != value:
            was, now = _short(before.get(name)), _short(value)
            raise ValueError(f"{folder}: expected {name} {was}, of which the maps there are, got {now}; {mend}")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{word} ({key})" for key, word in value.items()) or "none"
    text = "unknown" if value is None else str(value)  # versions before did not note all
    return f"{text[:12]}…" if len(text) == 64 else text
