"""Maps measured image by image in threads; with a cache, each record is stored as soon as it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

from dynamic_kd.data import read_mask
from dynamic_kd.evaluation._cache import CachedRecord, HashedFile, RecordCache
from dynamic_kd.evaluation._decoding import OTHER_SHAPE, RESIZED, Levels, decode_map, marks_of_mask
from dynamic_kd.evaluation._matching import ImageFiles
from dynamic_kd.metrics import Records, SODMetrics


class MeasuredMap(NamedTuple):
    """A measured map: what loads its records, its marks, and whether it was measured now."""

    records: Callable[[], Records]
    marks: tuple[str, ...]
    fresh: bool


class MeasuredImage(NamedTuple):
    """The measured maps of one image, by method."""

    stem: str
    maps: Mapping[str, MeasuredMap]


@dataclass(frozen=True)
class Measurer:
    """Turns the files of an image into records.

    Attributes
    ----------
    metrics
        What is measured.
    strict_size
        Refuse a map whose size is not its mask's.
    cache
        Where records are looked up and stored; None measures everything.
    """

    metrics: SODMetrics
    strict_size: bool
    cache: RecordCache | None = None

    def __call__(self, files: ImageFiles) -> MeasuredImage:
        """Measure the maps of an image that the cache lacks; its mask is decoded once for all methods, if at all."""
        mask = _Mask(HashedFile(files.target, self.cache))
        maps = {
            method: self._measured(HashedFile(path, self.cache), mask)
            if self.cache is None
            else self._cached(HashedFile(path, self.cache), mask, self.cache)
            for method, path in files.preds.items()
        }
        return MeasuredImage(files.stem, maps)

    def _measured(self, file: HashedFile, mask: _Mask) -> MeasuredMap:
        pred, marks = decode_map(file.content, file.path, mask.levels, strict_size=self.strict_size)
        records = self.metrics.measure(pred, mask.levels)
        return MeasuredMap(lambda: records, (*marks, *mask.marks), fresh=True)

    def _cached(self, file: HashedFile, mask: _Mask, records: RecordCache) -> MeasuredMap:
        key = records.key(file.digest, mask.file.digest)
        found = records.find(key)
        fresh = found is None or not Records.is_whole(found.record) or self._refused(found)
        if found is None or fresh:
            measured = self._measured(file, mask)
            found = CachedRecord(measured.records().to_bytes(), measured.marks)
            key = records.key(file.digest, mask.file.digest)  # of what was decoded: the file may have changed
            records.store(key, found)
        return MeasuredMap(partial(records.load, key), found.marks, fresh)

    def _refused(self, found: CachedRecord) -> bool:
        return self.strict_size and not {RESIZED, OTHER_SHAPE}.isdisjoint(found.marks)


@dataclass(frozen=True)
class _Mask:
    """A mask that is decoded when it is first needed."""

    file: HashedFile

    @cached_property
    def levels(self) -> Levels:
        return read_mask(self.file.path, self.file.content)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        return marks_of_mask(self.levels)
