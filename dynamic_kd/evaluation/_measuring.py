"""The maps of a data set, measured image by image in threads, each kept in the cache as soon as it is done."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dynamic_kd.data._images import gray_levels
from dynamic_kd.data._reading import check_mask
from dynamic_kd.evaluation._cache import CachedRecord, HashedFile, RecordCache
from dynamic_kd.evaluation._fit import OTHER_SHAPE, RESIZED, Levels, decoded_map, marks_of_mask
from dynamic_kd.metrics._records import is_whole, measure_records
from dynamic_kd.metrics._statistics import warm_up

_WARMING = threading.Lock()


class ImageFiles(NamedTuple):
    """Files of one image: its mask, and the maps of the methods that have one."""

    stem: str
    target: Path
    preds: Mapping[str, Path]


class Measured(NamedTuple):
    """Where the record of each method's map lies in the cache, and how many were not there before."""

    stem: str
    keys: dict[str, bytes]
    fresh: int


@dataclass(frozen=True)
class Measurer:
    """What turns an image's files into cached records.

    Attributes
    ----------
    cache
        Where records are found and kept.
    strict_size
        Refuse a map whose size is not its mask's.
    inputs
        Settings of `measure_records`.
    """

    cache: RecordCache
    strict_size: bool
    inputs: Mapping[str, Any]

    def __call__(self, files: ImageFiles) -> Measured:
        """Measure what the cache lacks of an image; its mask is decoded once for all methods, if at all."""
        mask = _Mask(HashedFile(files.target, self.cache))
        keys: dict[str, bytes] = {}
        fresh = 0
        for method, path in files.preds.items():
            pred = HashedFile(path, self.cache)
            key = self.cache.key(pred.digest, mask.file.digest)
            found = self.cache.find(key)
            if found is None or not is_whole(found.record) or self._refused(found):
                found = self._measure(pred, mask)
                key = self.cache.key(pred.digest, mask.file.digest)  # of what was decoded, whatever it was before
                self.cache.store(key, found)
                fresh += 1
            keys[method] = key
        return Measured(files.stem, keys, fresh)

    def _refused(self, found: CachedRecord) -> bool:
        return self.strict_size and not {RESIZED, OTHER_SHAPE}.isdisjoint(found.marks)

    def _measure(self, file: HashedFile, mask: _Mask) -> CachedRecord:
        pred, marks = decoded_map(file.content, file.path, mask.levels, strict_size=self.strict_size)
        with _WARMING:
            _warm_up_once()
        records = measure_records(pred, mask.levels, **self.inputs)
        return CachedRecord(records.to_bytes(), (*marks, *mask.marks))


@cache
def _warm_up_once() -> None:
    """Compile, or load, what measuring needs, where anything is measured: a run from the cache needs none of it."""
    warm_up()


@dataclass(frozen=True)
class _Mask:
    """A mask, decoded when it is first needed."""

    file: HashedFile

    @cached_property
    def levels(self) -> Levels:
        levels = gray_levels(self.file.content, self.file.path)
        check_mask(levels, self.file.path)
        return levels

    @cached_property
    def marks(self) -> tuple[str, ...]:
        return marks_of_mask(self.levels)
