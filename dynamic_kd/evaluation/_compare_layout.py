"""A folder laid out by method and data set, as a comparison."""

from __future__ import annotations

from pathlib import Path

from dynamic_kd.data._pairing import IMAGE_SUFFIXES
from dynamic_kd.evaluation._compare_config import OUTPUT, CompareConfig, DataSetFolders, cache_in
from dynamic_kd.evaluation._compare_settings import CompareSettings

TARGETS = ("GT", "gt", "Mask", "mask", "masks", "target")
IMAGES = ("RGB", "rgb", "Image", "image", "images")


def read_layout(root: Path) -> CompareConfig:
    """Read ``root/METHOD/DATASET/*.png``, with masks in ``root/GT/DATASET`` and images in ``root/RGB/DATASET``."""
    masks = _only(root, TARGETS)
    if masks is None:
        raise ValueError(
            f"{root}: expected the masks' folder {root / 'GT'}/DATASET (or one of {', '.join(TARGETS[1:])}), got none; "
            f"make it, or say in a .toml file where the masks are"
        )
    images = _only(root, IMAGES)
    names = [path.name for path in _folders(masks)]
    if not names:
        got = "images in it directly" if _has_images(masks) else "none"
        raise ValueError(f"{masks}: expected a folder for each data set, got {got}; move them to {masks}/NAME")
    datasets = {name: DataSetFolders(masks / name, _image(images, name)) for name in names}
    methods = {
        path.name: {folder.name: folder for folder in _folders(path)}
        for path in _folders(root)
        if path not in (masks, images, root / OUTPUT) and not cache_in(path).exists()  # that is: results
    }
    if not methods:
        raise ValueError(f"{root}: expected a folder for each method, got none but {masks.name}; add METHOD/{names[0]}")
    for method, folders in methods.items():
        _check_method(root / method, sorted(folders), names)
    return CompareConfig(
        datasets, methods, output=root / OUTPUT, cache=cache_in(root / OUTPUT), settings=CompareSettings(), source=root
    )


def _check_method(method: Path, folders: list[str], names: list[str]) -> None:
    """Refuse what would be left out by mistake: maps outside a data set's folder, or of one without masks."""
    if not set(folders) & set(names):
        got = "images in it directly" if _has_images(method) else ", ".join(folders) or "an empty folder"
        raise ValueError(
            f"{method}: expected folders of maps named as the masks' ({', '.join(names)}), got {got}; "
            f"move the maps to {method}/{names[0]}, or move {method.name} away if it is no method"
        )
    strange = [name for name in folders if name not in names]
    if strange:
        raise ValueError(
            f"{method}: expected data sets that have masks ({', '.join(names)}), got also {', '.join(strange)}; "
            f"add their masks, or move them away"
        )


def _only(root: Path, names: tuple[str, ...]) -> Path | None:
    """Return the folder with one of the names; on disks that ignore case two names may be one folder."""
    found = [path for path in _folders(root) if path.name in names]
    if len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise ValueError(f"{root}: expected one folder of the kind, got {listed}; move the others away")
    return found[0] if found else None


def _image(images: Path | None, dataset: str) -> Path | None:
    return images / dataset if images is not None and (images / dataset).is_dir() else None


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())
