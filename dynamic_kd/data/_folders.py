"""Folders of images, depth maps and masks, under the layouts in use, as samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.data._images import read_depth, read_gray, read_rgb
from dynamic_kd.data._pairing import match_by_stem
from dynamic_kd.data._sample import Sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

LAYOUTS = {
    "image": ("RGB", "RGB_left", "LR", "Image", "train_images", "test_images"),
    "depth": ("depth", "Depth", "train_depth", "train_depth_negation", "test_depth"),
    "mask": ("GT", "Mask", "masks", "train_masks", "test_masks"),
}
POLARITIES = ("auto", "bright", "dark")


class DataSet(NamedTuple):
    """Samples of one folder, and whether ``"bright"`` or ``"dark"`` meant near in its depth files."""

    name: str
    near: str
    samples: list[Sample]


def read_folders(root: str | Path, *, near: str = "auto", size: int | None = None) -> list[DataSet]:
    """Read RGB-D data sets: a folder that holds images, depth maps and masks, or a folder of such folders.

    The images lie in a sub-folder RGB, RGB_left, LR, Image, train_images or test_images; the depth maps in depth,
    Depth, train_depth, train_depth_negation or test_depth; the masks in GT, Mask, masks, train_masks or test_masks.
    Files belong together by stem, whatever their suffixes.

    Parameters
    ----------
    root : str or Path
        The folder.
    near : {"auto", "bright", "dark"}
        What is near in the depth files. ``"auto"`` decides for each data set: what a picture shows at its top is
        mostly farther away than what it shows in the middle and below, so if the top quarter is the darker in the
        median over the data set, near is bright. Masks are not looked at.
    size : int, optional
        Resize all to this height and width. Without it, the files of a sample must agree in size.

    Returns
    -------
    list of DataSet
        In the order of their names; in their samples, near is always bright.

    Raises
    ------
    ValueError
        If there is no data set, if two sub-folders serve one role, if files are unmatched (they are listed) or cannot
        be read, if a mask has no level over 128 but is not empty, or if sizes differ and none is given.

    Examples
    --------
    >>> [data] = read_folders("NJU2K", near="bright", size=256)  # doctest: +SKIP
    >>> data.samples[0].depth.shape  # doctest: +SKIP
    (256, 256)
    """
    check_choice("near", near, POLARITIES)
    if size is not None:
        check_number("size", size, low=1)
    root = Path(root)
    if not root.is_dir():
        raise ValueError(f"{root}: expected a folder, got {'a file' if root.exists() else 'nothing there'}")
    found = {}
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        roles = {role: _only(folder, names) for role, names in LAYOUTS.items()}
        if all(roles.values()):
            found[folder] = {role: path for role, path in roles.items() if path}
    if not found:
        wanted = "; ".join(f"{role}: {', '.join(names)}" for role, names in LAYOUTS.items())
        raise ValueError(f"{root}: expected sub-folders of images, depth maps and masks ({wanted}), got none of each")
    return [_data_set(folder, roles, near, size, prefixed=len(found) > 1) for folder, roles in found.items()]


def _only(folder: Path, names: tuple[str, ...]) -> Path | None:
    """Return the sub-folder with one of the names; on disks that ignore case two names may be one folder."""
    present = {path.name: path for path in folder.iterdir() if path.name in names and path.is_dir()}
    if len(present) > 1:
        raise ValueError(
            f"{folder}: expected one of the sub-folders {', '.join(sorted(present))}; move the others away"
        )
    return next(iter(present.values()), None)


def _data_set(folder: Path, roles: dict[str, Path], near: str, size: int | None, prefixed: bool) -> DataSet:
    files = match_by_stem(image=roles["image"], depth=roles["depth"], mask=roles["mask"]).files
    depths = {stem: read_depth(paths["depth"]) for stem, paths in files.items()}
    if near == "auto":
        near = _polarity(depths.values())
    samples = []
    for stem, paths in files.items():
        depth = depths[stem] if near == "bright" else 1 - depths[stem]
        image, mask = read_rgb(paths["image"]), _mask(paths["mask"])
        if size is not None:
            image, depth = _resized(image, size), _resized(depth, size)
            mask = _resized(mask.astype(np.float32), size) > 0.5
        samples.append(Sample(f"{folder.name}/{stem}" if prefixed else stem, image, depth, mask))
    return DataSet(folder.name, near, samples)


def _polarity(depths: Iterable[NDArray[np.float32]]) -> str:
    """What is near by the rule of `read_folders`; bright if the tops tell nothing."""
    rises = []
    for depth in depths:
        quarter = -(-len(depth) // 4)
        rises.append(depth[quarter:].mean() - depth[:quarter].mean() if len(depth) > 1 else 0)
    return "bright" if np.median(rises) >= 0 else "dark"


def _mask(path: Path) -> NDArray[np.bool_]:
    levels = read_gray(path)
    if 0 < levels.max() <= 128:
        raise ValueError(
            f"{path}: expected a mask whose salient level is over 128, got a maximum of {levels.max()}; "
            "save it with the levels 0 and 255"
        )
    return levels > 128


def _resized(array: NDArray[Any], size: int) -> NDArray[Any]:
    import cv2

    shrinks = size < min(array.shape[:2])
    resized = cv2.resize(array, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized)
