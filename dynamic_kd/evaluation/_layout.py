"""A folder laid out by method and data set, as a comparison."""

from __future__ import annotations

from pathlib import Path

from dynamic_kd.data import images_by_stem
from dynamic_kd.evaluation._config import OUTPUT, CompareConfig, CompareSettings, DataSetFolders, cache_in

TARGETS = ("GT", "gt", "Mask", "mask", "masks", "target")
IMAGES = ("RGB", "rgb", "Image", "image", "images")


def read_layout(root: Path) -> CompareConfig:
    """Read ``root/METHOD/DATASET/*.png``, with masks in ``root/GT/DATASET`` and images in ``root/RGB/DATASET``."""
    masks = _only(root, TARGETS)
    if masks is None:
        raise ValueError(
            f"{root}: no folder of masks; make {root / 'GT'}/DATASET (or one of {', '.join(TARGETS[1:])}), "
            f"or name the folders in a .toml file"
        )
    images = _only(root, IMAGES)
    names = [path.name for path in _folders(masks)]
    if not names:
        found = "it contains images itself" if _has_images(masks) else "it is empty"
        raise ValueError(f"{masks}: expected a folder for each data set, but {found}; move the masks to {masks}/NAME")
    datasets = {name: DataSetFolders(masks / name, _image(images, name)) for name in names}
    methods = {
        path.name: {folder.name: folder for folder in _folders(path)}
        for path in _folders(root)
        if path not in (masks, images, root / OUTPUT) and not cache_in(path).exists()  # a folder of results
    }
    if not methods:
        raise ValueError(f"{root}: no folder of a method beside {masks.name}; add METHOD/{names[0]} with its maps")
    for method, folders in methods.items():
        _check_method(root / method, sorted(folders), names)
    return CompareConfig(
        datasets, methods, output=root / OUTPUT, cache=cache_in(root / OUTPUT), settings=CompareSettings(), source=root
    )


def _check_method(method: Path, folders: list[str], names: list[str]) -> None:
    """Refuse what would be left out by mistake: maps outside the folder of a data set, or without masks."""
    if not set(folders) & set(names):
        found = "images" if _has_images(method) else ", ".join(folders) or "nothing"
        raise ValueError(
            f"{method}: expected folders named after the data sets ({', '.join(names)}), found {found}; "
            f"move the maps to {method}/{names[0]}, or move {method.name} away if it is not a method"
        )
    strange = [name for name in folders if name not in names]
    if strange:
        raise ValueError(
            f"{method}: there are no masks for {', '.join(strange)}, only for {', '.join(names)}; "
            f"add the masks, or move the folder away"
        )


def _only(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder with one of the names; on disks that ignore case, two names may be one folder."""
    found = [path for path in _folders(root) if path.name in names]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise ValueError(f"{root}: only one of the folders {listed} can be used; move the others away")
    return found[0] if found else None


def _image(images: Path | None, dataset: str) -> Path | None:
    return images / dataset if images is not None and (images / dataset).is_dir() else None


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def _has_images(folder: Path) -> bool:
    return bool(images_by_stem(folder))
