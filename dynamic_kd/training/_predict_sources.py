"""The images to predict maps of, their depth maps, and the masks that may lie beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dynamic_kd._files import listing
from dynamic_kd.data import DataFolder, SampleFiles, decide_near, find_data, images_by_stem


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
        The folder of its masks, where it has one.
    near : str or None
        What was near in its depth files, ``"bright"`` or ``"dark"``; None without depth.
    """

    name: str
    maps: Path
    masks: Path | None
    near: str | None


def find_sources(data: Path, depth: str | Path | None, near: str, channels: int) -> list[DataFolder]:
    """Find images, and depth maps if the network takes four channels; what is near in them is decided.

    Raises
    ------
    ValueError
        If there are none, or not for each other, or if depth is given to a network that takes colour alone.
    """
    if depth is None:
        return decide_near(_found(data, near, with_depth=channels == 4))
    if channels == 3:
        raise ValueError(f"depth {depth}: this network takes colour alone (in_channels=3); leave the depth maps out")
    images, maps = images_by_stem(data), images_by_stem(depth)
    lacking = [stem for stem in images if stem not in maps]
    if not images:
        raise ValueError(f"{data}: expected images, got none")
    if lacking:
        raise ValueError(
            f"{depth}: expected a depth map for each image of {data}, got none for {len(lacking)}: {listing(lacking)}"
        )
    files = tuple(SampleFiles(stem, image, maps[stem]) for stem, image in images.items())
    return decide_near([DataFolder(data.resolve().name, data, files, near)])


def _found(data: Path, near: str, *, with_depth: bool) -> list[DataFolder]:
    try:
        return find_data(data, depth=with_depth, masks=False, near=near)
    except ValueError:
        if with_depth and data.is_dir() and images_by_stem(data):
            raise ValueError(
                f"{data}: this network takes depth too, expected a data set or a folder of depth maps beside these "
                "images; name it: depth=DIR (--depth DIR)"
            ) from None
        raise


def predicted_folders(
    found: list[DataFolder], data: Path, out: Path, *, masks_needed: bool
) -> tuple[PredictedFolder, ...]:
    """Return where the maps of each data set go, and where its masks are.

    Raises
    ------
    ValueError
        If the maps would lie among the data, or if masks are needed and a data set has none.
    """
    used = {
        path.parent.resolve() for each in found for files in each.files for path in (files.image, files.depth) if path
    }
    masks = _mask_folders(data, needed=masks_needed)
    used |= {path.resolve() for path in masks.values()}
    folders = tuple(
        PredictedFolder(
            each.name,
            out / each.name if len(found) > 1 else out,
            masks.get((each.root, each.split)),
            each.near if each.files[0].depth else None,
        )
        for each in found
    )
    if out.resolve() in used:
        raise ValueError(_among_data(out))
    for folder in folders:
        if masks_needed and folder.masks is None:
            raise ValueError(f"{folder.name}: expected masks beside the images, got none; predict without evaluating")
        if folder.maps.resolve() in used:
            raise ValueError(_among_data(folder.maps))
    return folders


def _among_data(folder: Path) -> str:
    return f"{folder}: expected a folder of their own for the maps, got one of the data; name another"


def _mask_folders(data: Path, *, needed: bool) -> dict[tuple[Path, str | None], Path]:
    try:
        found = find_data(data, depth=False)
    except ValueError as error:
        if needed:
            raise ValueError(f"masks to evaluate against: {error}; or predict without evaluating") from None
        return {}
    return {(each.root, each.split): each.files[0].mask.parent for each in found if each.files[0].mask}
