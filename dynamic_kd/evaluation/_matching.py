"""The files of each data set, found and checked before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dynamic_kd._files import respelt
from dynamic_kd.data import match_by_stem, top_of_maps
from dynamic_kd.evaluation._config import CompareConfig, grid_request, suggestion


class ImageFiles(NamedTuple):
    """Files of one image: its mask, and the maps of the methods that have one."""

    stem: str
    target: Path
    preds: Mapping[str, Path]


@dataclass(frozen=True)
class DataSetFiles:
    """Files of one data set.

    Attributes
    ----------
    name
        Name of the data set.
    target
        Folder of masks.
    folders
        Method -> folder of maps, for the methods that have one, in the order of the tables.
    images
        Files of each image, in the order of the stems.
    missing
        Method -> how many maps, and how many masks, were missing and left out, and how many pairs have names that
        differ by Unicode normalisation only.
    """

    name: str
    target: Path
    folders: Mapping[str, Path]
    images: tuple[ImageFiles, ...]
    missing: Mapping[str, Mapping[str, int]]

    def tops(self) -> dict[str, int]:
        """Return method -> what stands for 1 in its maps, where that is not the largest integer of their files' depth.

        Only scores without normalisation depend on it.
        """
        found = {}
        for method in self.folders:
            paths = (image.preds[method] for image in self.images if method in image.preds)
            if (top := top_of_maps(paths)) is not None:
                found[method] = top
        return found

    @property
    def maps(self) -> int:
        """Number of maps to measure."""
        return sum(len(image.preds) for image in self.images)


def match_comparison(config: CompareConfig) -> list[DataSetFiles]:
    """Find the files of every data set; missing ones are an error unless they are allowed."""
    for name, folders in config.datasets.items():
        _check_folder(f"{config.source}: datasets.{name}.target", folders.target)
        if folders.image is not None:
            _check_folder(f"{config.source}: datasets.{name}.image", folders.image)
    if config.output.exists() and not config.output.is_dir():
        raise ValueError(f"{config.source}: output: expected a folder, got a file: {config.output}; choose another")
    present = _present(config)
    found = []
    for name, maps in present.items():
        if maps:
            target = config.datasets[name].target
            found.append(match_data_set(name, target, maps, allow_missing=config.settings.allow_missing))
    if config.settings.grid is not None:
        _check_grid(grid_request(config.settings.grid), found)
    return found


def match_data_set(name: str, target: Path, folders: Mapping[str, Path], *, allow_missing: bool) -> DataSetFiles:
    """Match the maps of methods with the masks of one data set by stem; errors name method and data set, if named."""
    preds: dict[str, dict[str, Path]] = {}
    targets: dict[str, Path] = {}
    missing: dict[str, dict[str, int]] = {}
    for method, folder in folders.items():
        try:
            matching = match_by_stem(pred=folder, target=target, allow_missing=allow_missing, arrays=("pred",))
        except ValueError as error:
            raise ValueError(f"{method} on {name}: {error}" if name else str(error)) from None
        missing[method] = {f"missing_{role}": len(matching.missing.get(role, ())) for role in ("pred", "target")}
        missing[method]["other_spelling"] = respelt(files.values() for files in matching.files.values())
        for stem, files in matching.files.items():
            preds.setdefault(stem, {})[method] = files["pred"]
            targets[stem] = files["target"]
    images = tuple(ImageFiles(stem, targets[stem], preds[stem]) for stem in sorted(preds))
    return DataSetFiles(name, target, folders, images, missing)


def _check_grid(request: int | tuple[str, ...], found: Sequence[DataSetFiles]) -> None:
    """Refuse names of images that no data set has, before the work."""
    known = {image.stem for files in found for image in files.images}
    for stem in () if isinstance(request, int) else request:
        if stem not in known:
            raise ValueError(
                f"grid: expected names of images without their suffixes, got {stem!r}{suggestion(stem, known)}"
            )


def _present(config: CompareConfig) -> dict[str, dict[str, Path]]:
    """Return data set -> method -> folder of maps, for the folders that exist."""
    present: dict[str, dict[str, Path]] = {name: {} for name in config.datasets}
    for method, maps in config.methods.items():
        for name in config.datasets:
            folder = maps.get(name)
            if folder is not None and folder.is_dir():
                present[name][method] = folder
            elif not config.settings.allow_missing:
                found = "none is configured" if folder is None else f"{folder} does not exist"
                raise ValueError(
                    f"{config.source}: methods.{method}: no folder of maps for {name}, {found}; "
                    f"add it, or leave it out with allow_missing = true (--allow-missing)"
                )
        if not any(method in folders for folders in present.values()):
            raise ValueError(f"{config.source}: methods.{method}: none of its folders of maps exists; check the paths")
    return present


def _check_folder(where: str, path: Path) -> None:
    if not path.is_dir():
        problem = "is a file, not a folder" if path.exists() else "no such folder"
        raise ValueError(f"{where}: {path}: {problem}; check the path")
