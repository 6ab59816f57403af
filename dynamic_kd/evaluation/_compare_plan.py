"""Which files a comparison is about, found and checked before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dynamic_kd.data import match_by_stem
from dynamic_kd.evaluation._compare_config import CompareConfig
from dynamic_kd.evaluation._compare_settings import grid_request
from dynamic_kd.evaluation._measuring import ImageFiles


@dataclass(frozen=True)
class DataSetPlan:
    """Files of one data set.

    Attributes
    ----------
    name
        Of the data set.
    methods
        Methods that have maps for it, in the order of the tables.
    images
        Files of each image, in the order of the stems.
    missing
        Method -> how many maps, and how many masks, were missing and left out.
    """

    name: str
    methods: tuple[str, ...]
    images: tuple[ImageFiles, ...]
    missing: Mapping[str, Mapping[str, int]]

    @property
    def maps(self) -> int:
        """Maps to be measured."""
        return sum(len(image.preds) for image in self.images)


def plan(config: CompareConfig) -> list[DataSetPlan]:
    """Find the files of every data set, refusing what is missing unless that is allowed."""
    for name, folders in config.datasets.items():
        _check_folder(f"{config.source}: datasets.{name}.target", folders.target)
        if folders.image is not None:
            _check_folder(f"{config.source}: datasets.{name}.image", folders.image)
    if config.output.exists() and not config.output.is_dir():
        raise ValueError(f"{config.source}: output: expected a folder, got a file: {config.output}; choose another")
    present = _present(config)
    plans = [_plan_one(config, name, present[name]) for name in config.datasets if present[name]]
    if config.settings.grid is not None:
        _check_grid(grid_request(config.settings.grid), plans)
    return plans


def _check_grid(request: int | tuple[str, ...], plans: Sequence[DataSetPlan]) -> None:
    """Refuse, before the work, names of images that no data set has."""
    known = {image.stem for each in plans for image in each.images}
    for stem in () if isinstance(request, int) else request:
        if stem not in known:
            close = get_close_matches(stem, known, n=1)
            fix = f"did you mean {close[0]!r}?" if close else "write names without their suffixes, or worst:8"
            raise ValueError(f"grid: expected names of images that are scored, got {stem!r}; {fix}")


def _present(config: CompareConfig) -> dict[str, dict[str, Path]]:
    """Return data set -> method -> folder of maps, for the folders that exist."""
    present: dict[str, dict[str, Path]] = {name: {} for name in config.datasets}
    for method, maps in config.methods.items():
        for name in config.datasets:
            folder = maps.get(name)
            if folder is not None and folder.is_dir():
                present[name][method] = folder
            elif not config.settings.allow_missing:
                got = "none" if folder is None else f"{folder}, where there is no folder"
                raise ValueError(
                    f"{config.source}: methods.{method}: expected a folder of maps for {name}, got {got}; "
                    f"add it, or go on without it by allow_missing = true (--allow-missing)"
                )
        if not any(method in folders for folders in present.values()):
            raise ValueError(f"{config.source}: methods.{method}: expected a folder of maps, got none; check its paths")
    return present


def _plan_one(config: CompareConfig, name: str, folders: Mapping[str, Path]) -> DataSetPlan:
    target = config.datasets[name].target
    preds: dict[str, dict[str, Path]] = {}
    targets: dict[str, Path] = {}
    missing: dict[str, dict[str, int]] = {}
    for method, folder in folders.items():
        try:
            matching = match_by_stem(pred=folder, target=target, allow_missing=config.settings.allow_missing)
        except ValueError as error:
            raise ValueError(f"{method} on {name}: {error}") from None
        missing[method] = {f"missing_{role}": len(matching.missing.get(role, ())) for role in ("pred", "target")}
        for stem, files in matching.files.items():
            preds.setdefault(stem, {})[method] = files["pred"]
            targets[stem] = files["target"]
    images = tuple(ImageFiles(stem, targets[stem], preds[stem]) for stem in sorted(preds))
    return DataSetPlan(name, tuple(folders), images, missing)


def _check_folder(where: str, path: Path) -> None:
    if not path.is_dir():
        got = "a file" if path.exists() else "nothing there"
        raise ValueError(f"{where}: expected a folder, got {got}: {path}; check the path")
