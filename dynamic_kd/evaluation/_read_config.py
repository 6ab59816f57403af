"""A comparison read from a TOML file, or from a folder laid out by method and data set."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dynamic_kd._files import plain_name
from dynamic_kd.data import images_by_stem
from dynamic_kd.evaluation._config import (
    OUTPUT,
    CompareConfig,
    CompareSettings,
    DataSetFolders,
    cache_in,
    suggestion,
)

# Names of the folder of masks, and of images, in a laid-out folder.
_TARGETS = ("GT", "gt", "Mask", "mask", "masks", "target")
_IMAGES = ("RGB", "rgb", "Image", "image", "images")
_TOP = ("output", "cache", "datasets", "methods", "settings")
_SETTINGS = tuple(field.name for field in fields(CompareSettings))


def read_config(path: str | Path, *, output: str | Path | None = None, **settings: Any) -> CompareConfig:
    """Read what to compare from a TOML file, or from a folder laid out by method and data set.

    Parameters
    ----------
    path
        A ``.toml`` file, or a folder ``DIR/METHOD/DATASET/*.png`` with masks in ``DIR/GT/DATASET``.
    output
        Folder of the results, instead of the configured one.
    **settings
        Fields of `CompareSettings`, which take precedence over the file.

    Returns
    -------
    CompareConfig

    Raises
    ------
    ValueError
        What is wrong with the file or the folder, in one line.

    Examples
    --------
    >>> config = read_config("compare.toml", reference="ours")  # doctest: +SKIP
    >>> list(config.methods), config.settings.resamples  # doctest: +SKIP
    (['ours', 'JLDCF'], 2000)
    """
    path = Path(path)
    if path.is_dir():
        config = _read_layout(path)
    elif path.is_file():
        config = _read_toml(path)
    else:
        raise ValueError(f"{path}: no such file or folder; name a .toml file or a folder of methods")
    if output is not None:
        default_cache = config.cache == cache_in(config.output)
        cache = cache_in(Path(output)) if default_cache else config.cache
        config = replace(config, output=Path(output), cache=cache)
    return replace(config, settings=replace(config.settings, **settings)) if settings else config


def _read_toml(path: Path) -> CompareConfig:
    """Read a configuration file; its relative paths start from its own folder."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a valid TOML file: {error}; fix that line") from None
    _check_keys(str(path), content, _TOP)
    root = path.parent
    datasets = {
        name: _dataset(f"{path}: datasets.{name}", entry, root)
        for name, entry in _table(path, content, "datasets", '[datasets.DES] with target = "DES/GT"').items()
    }
    methods = {
        name: _maps(f"{path}: methods.{name}", entry, root, tuple(datasets))
        for name, entry in _table(path, content, "methods", '[methods.ours] with maps = "maps/ours/{dataset}"').items()
    }
    output = root / _path(f"{path}: output", content.get("output", OUTPUT), '"results"')
    cache = content.get("cache")
    return CompareConfig(
        datasets,
        methods,
        output=output,
        cache=root / _path(f"{path}: cache", cache, '"cache.sqlite"') if cache is not None else cache_in(output),
        settings=_settings(path, content.get("settings", {})),
        source=path,
    )


def _dataset(where: str, entry: Any, root: Path) -> DataSetFolders:
    _check_table(where, entry, 'target = "DES/GT"')
    _check_keys(where, entry, ("target", "image"))
    if "target" not in entry:
        raise ValueError(f'{where}: the folder of masks is missing; add target = "DES/GT"')
    target = root / _path(f"{where}.target", entry["target"], '"DES/GT"')
    image = entry.get("image")
    return DataSetFolders(target, None if image is None else root / _path(f"{where}.image", image, '"DES/RGB"'))


def _maps(where: str, entry: Any, root: Path, datasets: tuple[str, ...]) -> dict[str, Path]:
    """Return the folder of maps for each data set, from a pattern or a table."""
    example = 'maps = "maps/ours/{dataset}"'
    _check_table(where, entry, example)
    _check_keys(where, entry, ("maps",))
    if "maps" not in entry:
        raise ValueError(f"{where}: the folders of maps are missing; add {example}")
    maps, where = entry["maps"], f"{where}.maps"
    if isinstance(maps, Mapping):
        _check_keys(where, maps, datasets)
        return {name: root / _path(f"{where}.{name}", maps[name], '"DES/ours"') for name in datasets if name in maps}
    pattern = _path(where, maps, '"maps/ours/{dataset}"')
    if "{dataset}" not in pattern and len(datasets) > 1:
        raise ValueError(
            f"{where}: expected {{dataset}} in a pattern for {len(datasets)} data sets, got {pattern!r}; "
            f"write {example}, or one folder for each: maps = {{ {datasets[0]} = {pattern!r} }}"
        )
    return {name: root / pattern.replace("{dataset}", name) for name in datasets}


def _settings(path: Path, entry: Any) -> CompareSettings:
    where = f"{path}: settings"
    _check_table(where, entry, "strict = true")
    _check_keys(where, entry, _SETTINGS)
    try:
        return CompareSettings(**entry)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}.{error}") from None


def _table(path: Path, content: Mapping[str, Any], key: str, example: str) -> Mapping[str, Any]:
    entry = content.get(key)
    if not isinstance(entry, Mapping) or not entry:
        got = "none" if not entry else repr(entry)
        raise ValueError(f"{path}: {key}: expected at least one table, got {got}; add {example}")
    return entry


def _check_table(where: str, entry: Any, example: str) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected a table, got {entry!r}; write {example} in [{where.rpartition(': ')[2]}]")


def _check_keys(where: str, entry: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f"{where}: expected the keys {', '.join(known)}, got {key!r}{suggestion(key, known)}")


def _path(where: str, value: Any, example: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}: expected a path as text, got {value!r}; write for example {example}")
    return value


def _read_layout(root: Path) -> CompareConfig:
    """Read ``root/METHOD/DATASET/*.png``, with masks in ``root/GT/DATASET`` and images in ``root/RGB/DATASET``."""
    masks = _only(root, _TARGETS)
    if masks is None:
        raise ValueError(
            f"{root}: no folder of masks; make {root / 'GT'}/DATASET (or one of {', '.join(_TARGETS[1:])}), "
            f"or name the folders in a .toml file"
        )
    images = _only(root, _IMAGES)
    masks_of = {plain_name(path.name): path for path in _folders(masks)}
    names = list(masks_of)
    if not names:
        found = "it contains images itself" if _has_images(masks) else "it is empty"
        raise ValueError(f"{masks}: expected a folder for each data set, but {found}; move the masks to {masks}/NAME")
    datasets = {name: DataSetFolders(path, _image(images, name)) for name, path in masks_of.items()}
    of_methods = {
        plain_name(path.name): path
        for path in _folders(root)
        if path not in (masks, images, root / OUTPUT) and not cache_in(path).exists()  # a folder of results
    }
    methods = {
        name: {plain_name(folder.name): folder for folder in _folders(path)} for name, path in of_methods.items()
    }
    if not methods:
        raise ValueError(f"{root}: no folder of a method beside {masks.name}; add METHOD/{names[0]} with its maps")
    for method, folders in methods.items():
        _check_method(of_methods[method], sorted(folders), names)
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
    folders = [] if images is None else _folders(images)
    return next((path for path in folders if plain_name(path.name) == dataset), None)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))


def _has_images(folder: Path) -> bool:
    return bool(images_by_stem(folder, arrays=True))
