"""What is compared with what: the folders of methods and data sets, from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dynamic_kd.evaluation._compare_settings import CompareSettings

# The folder of results, beside the configuration or within the folder of methods.
OUTPUT = "comparison"
_TOP = ("output", "cache", "datasets", "methods", "settings")
_SETTINGS = tuple(field.name for field in fields(CompareSettings))
# What some file system does not take in a file's name, for every data set names files.
_FORBIDDEN = frozenset('/\\:*?"<>|')


@dataclass(frozen=True)
class DataSetFolders:
    """Folders of one data set: masks, and colour images for the visual comparison, if there are any."""

    target: Path
    image: Path | None = None


@dataclass(frozen=True)
class CompareConfig:
    """A comparison of methods over data sets.

    Attributes
    ----------
    datasets
        From name to folders, in the order of the tables.
    methods
        From name to data set to the folder of its maps.
    output
        Folder of the results.
    cache
        File of the measured images.
    settings
        What is scored, how, and what is made of it.
    source
        The file or folder this came from.
    """

    datasets: Mapping[str, DataSetFolders]
    methods: Mapping[str, Mapping[str, Path]]
    output: Path
    cache: Path
    settings: CompareSettings
    source: Path

    def __post_init__(self) -> None:
        for kind, names in (("datasets", self.datasets), ("methods", self.methods)):
            _check_names(f"{self.source}: {kind}", names)
        if self.settings.reference is not None and self.settings.reference not in self.methods:
            raise ValueError(
                f"{self.source}: reference: expected one of the methods {', '.join(self.methods)}, "
                f"got {self.settings.reference!r}{_hint(self.settings.reference, self.methods)}"
            )


def read_config(path: str | Path, *, output: str | Path | None = None, **settings: Any) -> CompareConfig:
    """Read what to compare from a TOML file, or from a folder laid out by method and data set.

    Parameters
    ----------
    path
        A ``.toml`` file, or a folder ``DIR/METHOD/DATASET/*.png`` with masks in ``DIR/GT/DATASET``.
    output
        Folder of the results instead of the configured one.
    **settings
        Fields of `CompareSettings` that take precedence over the file's.

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
    from dynamic_kd.evaluation._compare_layout import read_layout

    path = Path(path)
    if path.is_dir():
        config = read_layout(path)
    elif path.is_file():
        config = read_toml(path)
    else:
        raise ValueError(f"{path}: expected a .toml file or a folder of methods, got nothing there; check the path")
    if output is not None:
        default_cache = config.cache == cache_in(config.output)
        cache = cache_in(Path(output)) if default_cache else config.cache
        config = replace(config, output=Path(output), cache=cache)
    return replace(config, settings=replace(config.settings, **settings)) if settings else config


def cache_in(output: Path) -> Path:
    """Return where the cache lies unless it is configured."""
    return output / ".cache" / "records.sqlite"


def read_toml(path: Path) -> CompareConfig:
    """Read a configuration file; its relative paths start from its own folder."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}: expected a TOML file, got one that does not parse: {error}; mend that line"
        ) from None
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
    output = root / _text(f"{path}: output", content.get("output", OUTPUT), '"results"')
    cache = content.get("cache")
    return CompareConfig(
        datasets,
        methods,
        output=output,
        cache=root / _text(f"{path}: cache", cache, '"cache.sqlite"') if cache is not None else cache_in(output),
        settings=_settings(path, content.get("settings", {})),
        source=path,
    )


def _dataset(where: str, entry: Any, root: Path) -> DataSetFolders:
    _check_table(where, entry, 'target = "DES/GT"')
    _check_keys(where, entry, ("target", "image"))
    if "target" not in entry:
        raise ValueError(f'{where}: expected the folder of masks, got none; add target = "DES/GT"')
    target = root / _text(f"{where}.target", entry["target"], '"DES/GT"')
    image = entry.get("image")
    return DataSetFolders(target, None if image is None else root / _text(f"{where}.image", image, '"DES/RGB"'))


def _maps(where: str, entry: Any, root: Path, datasets: tuple[str, ...]) -> dict[str, Path]:
    """Return the folder of maps of each data set, from a pattern or one by one."""
    example = 'maps = "maps/ours/{dataset}"'
    _check_table(where, entry, example)
    _check_keys(where, entry, ("maps",))
    if "maps" not in entry:
        raise ValueError(f"{where}: expected folders of maps, got none; add {example}")
    maps, where = entry["maps"], f"{where}.maps"
    if isinstance(maps, Mapping):
        _check_keys(where, maps, datasets)
        return {name: root / _text(f"{where}.{name}", maps[name], '"DES/ours"') for name in datasets if name in maps}
    pattern = _text(where, maps, '"maps/ours/{dataset}"')
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
            raise ValueError(f"{where}: expected the keys {', '.join(known)}, got {key!r}{_hint(key, known)}")


def _hint(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "; remove or rename it"


def _text(where: str, value: Any, example: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{where}: expected a path as text, got {value!r}; write for example {example}")
    return value


def _check_names(where: str, names: Iterable[str]) -> None:
    """Refuse names that cannot be files' names, since each data set and method names some."""
    seen: dict[str, str] = {}
    for name in names:
        if not name.strip() or name.startswith(".") or set(name) & _FORBIDDEN or not name.isprintable():
            raise ValueError(
                f"{where}: expected names that can be files' names, got {name!r}; "
                f"rename it without any of {' '.join(sorted(_FORBIDDEN))} and without a leading dot"
            )
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(
                f"{where}: expected names that differ in more than capitals, got {other!r} and {name!r}; rename one"
            )
