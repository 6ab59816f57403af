"""A comparison read from a TOML file, or from a folder laid out by method and data set."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dynamic_kd.evaluation._config import (
    OUTPUT,
    CompareConfig,
    CompareSettings,
    DataSetFolders,
    cache_in,
    suggestion,
)
from dynamic_kd.evaluation._layout import read_layout

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
        config = read_layout(path)
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
