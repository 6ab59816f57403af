"""Folders of `predict_folder`: images, depth maps and masks, and the maps with a record of their settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import opencv
from dynamic_kd._files import ESCAPED, write_whole
from dynamic_kd._version import __version__
from dynamic_kd.data import DataFolder, SampleFiles, decide_near, find_data, images_by_stem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

_SETTINGS = "predict.json"


@dataclass(frozen=True)
class PredictedFolder:
    """The maps of one data set.

    Attributes
    ----------
    name : str
        The data set.
    maps : Path
        The folder of its maps.
    masks : Path or None
        The folder of its masks, if it has one.
    near : str or None
        Whether ``"bright"`` or ``"dark"`` means near in its depth files; None without depth.
    """

    name: str
    maps: Path
    masks: Path | None
    near: str | None


def find_inputs(data: Path, depth: str | Path | None, near: str, channels: int) -> list[DataFolder]:
    """Find images, and their depth maps for a network of four channels, and decide the polarity of depth.

    Raises
    ------
    ValueError
        If there are no images, if images and depth maps do not match, or if a network of three channels is given depth.
    """
    if depth is None:
        return decide_near(_find(data, near, with_depth=channels == 4))
    if channels == 3:
        raise ValueError(f"depth {depth}: this network takes colour alone (in_channels=3); leave depth out")
    images, maps = images_by_stem(data), images_by_stem(depth)
    lacking = [stem for stem in images if stem not in maps]
    if not images:
        raise ValueError(f"{data}: has no images")
    if lacking:
        raise ValueError(
            f"{depth}: has no depth map for {len(lacking)} of the images in {data}, the first is {lacking[0]}"
        )
    files = tuple(SampleFiles(stem, image, maps[stem]) for stem, image in images.items())
    return decide_near([DataFolder(data.resolve().name, data, files, near)])


def _find(data: Path, near: str, *, with_depth: bool) -> list[DataFolder]:
    try:
        return find_data(data, depth=with_depth, masks=False, near=near)
    except ValueError:
        if with_depth and data.is_dir() and images_by_stem(data):
            raise ValueError(
                f"{data}: this network takes depth, and there are no depth maps beside the images; name their folder "
                "by depth=DIR (--depth DIR)"
            ) from None
        raise


def predicted_folders(
    found: list[DataFolder], data: Path, out: Path, *, masks_needed: bool
) -> tuple[PredictedFolder, ...]:
    """Return the folders of each data set's maps and masks.

    Raises
    ------
    ValueError
        If the maps would lie among the data, or if a data set lacks masks that are needed.
    """
    files = [path for each in found for sample in each.files for path in (sample.image, sample.depth) if path]
    masks = _mask_folders(data, needed=masks_needed)
    used = {path.parent.resolve() for path in files} | {path.resolve() for path in masks.values()}
    folders = tuple(
        PredictedFolder(
            each.name,
            out / each.name if len(found) > 1 else out,
            masks.get((each.root, each.split)),
            each.near if each.files[0].depth else None,
        )
        for each in found
    )
    for path in (out, *(folder.maps for folder in folders)):
        if path.resolve() in used:
            raise ValueError(f"{path}: is a folder of the data; name another folder for the maps")
    for folder in folders:
        if masks_needed and folder.masks is None:
            raise ValueError(f"{folder.name}: has no masks beside the images; predict without evaluate (--evaluate)")
    return folders


def _mask_folders(data: Path, *, needed: bool) -> dict[tuple[Path, str | None], Path]:
    try:
        found = find_data(data, depth=False)
    except ValueError as error:
        if needed:
            raise ValueError(f"{error}; or predict without evaluate (--evaluate)") from None
        return {}
    return {(each.root, each.split): each.files[0].mask.parent for each in found if each.files[0].mask}


def map_path(folder: Path, name: str) -> Path:
    """Return the file of a sample's map."""
    return folder / f"{name}.png"


def kept_maps(folder: Path, settings: Mapping[str, Any], names: Iterable[str], *, overwrite: bool) -> set[str]:
    """Return the names of the maps that exist and are kept.

    Raises
    ------
    ValueError
        If the folder is a file, or if its maps have other settings or unknown ones and ``overwrite`` is off.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; name a folder for the maps")
    present = set() if overwrite else {name for name in names if map_path(folder, name).exists()}
    if present:
        _check_same(folder, settings)
    return present


def begin_map_folder(folder: Path, settings: Mapping[str, Any], replaced: Iterable[str]) -> None:
    """Remove the maps to replace, then record the settings of the new ones."""
    for name in replaced:  # first, so that an interrupt never leaves an old map under new settings
        map_path(folder, name).unlink(missing_ok=True)
    text = json.dumps({"dynamic_kd": __version__, **settings}, indent=1, ensure_ascii=False)
    write_whole(folder / _SETTINGS, f"{text}\n".encode("utf-8", ESCAPED))


def write_map(path: Path, probabilities: NDArray[np.float32], shape: tuple[int, int]) -> None:
    """Write a map as an 8-bit PNG of its image's size, completely or not at all."""
    cv2 = opencv()
    height, width = shape
    sized = cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR)
    levels = np.rint(255 * sized).astype(np.uint8)
    write_whole(path, cv2.imencode(".png", levels)[1].tobytes())


def _check_same(folder: Path, settings: Mapping[str, Any]) -> None:
    fix = "name another folder, or replace the maps by overwrite=True (--overwrite)"
    try:
        before = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{folder}: has maps, but no {_SETTINGS} that tells their network; {fix}") from None
    except ValueError:
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{folder / _SETTINGS}: is damaged; {fix}")
    for name, value in settings.items():
        if before.get(name) != value:
            old, new = _short(before.get(name)), _short(value)
            raise ValueError(f"{folder}: its maps are of {name} {old}, not {new}; {fix}")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{word} ({key})" for key, word in value.items()) or "none"
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
