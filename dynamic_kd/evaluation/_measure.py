"""Maps measured image by image in threads; with a cache, each record is stored as soon as it is measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd._files import read_whole
from dynamic_kd._mask import Levels, Meaning
from dynamic_kd.data import Mask, is_colour, read_gray, read_mask
from dynamic_kd.evaluation._cache import CachedRecord, RecordCache, digest
from dynamic_kd.evaluation._matching import ImageFiles
from dynamic_kd.metrics import Records, SODMetrics

Grey = npt.NDArray[np.uint8]
Saliency = npt.NDArray[np.uint8] | npt.NDArray[np.float64]

# Marks of a pair, which reports count: maps of another size than their masks, with the same and with another aspect
# ratio; maps in colour; masks with many middle greys; maps with more than 8 bits; maps without normalisation whose
# folder holds 0 and 1, or 0 to 255 in 16 bits.
RESIZED, OTHER_SHAPE, COLOUR, GREY = "resized", "other_shape", "colour_pred", "grey_target"
DEEP, ZERO_ONE, OF_255 = "deep_pred", "zero_one_pred", "of_255_pred"
MARKS = (GREY, RESIZED, OTHER_SHAPE, COLOUR, DEEP, ZERO_ONE, OF_255)

# A mask with a larger share of middle greys is counted: it may be a photograph or a saliency map by mistake.
_GREY_SHARE = 0.1
# Aspect ratios that differ by more may belong to different images; smaller differences come from rounding.
_SAME_RATIO = 1.02


class MaskFacts(NamedTuple):
    """What a mask holds: its levels, its pixels and how many of them are void, and how its file is stored."""

    found: Levels
    pixels: int
    void: int
    stored: str

    def to_text(self) -> str:
        """Return the facts as a mark, a text without blanks."""
        return json.dumps(self, separators=(",", ":")).replace(" ", "_")

    @classmethod
    def from_text(cls, text: str) -> MaskFacts:
        """Read what `to_text` returned."""
        (levels, edges), pixels, void, stored = json.loads(text)
        return cls(Levels(tuple(levels), edges), pixels, void, stored.replace("_", " "))


class MeasuredMap(NamedTuple):
    """A measured map: what loads its records, its marks, its mask, and whether it was measured now."""

    records: Callable[[], Records]
    marks: tuple[str, ...]
    mask: MaskFacts
    fresh: bool


class MeasuredImage(NamedTuple):
    """The measured maps of one image, by method."""

    stem: str
    maps: Mapping[str, MeasuredMap]

    @property
    def mask(self) -> MaskFacts:
        """What its mask holds."""
        return next(iter(self.maps.values())).mask


@dataclass(frozen=True)
class Measurer:
    """Turns the files of an image into records.

    Attributes
    ----------
    metrics
        What is measured.
    strict_size
        Refuse a map whose size is not its mask's.
    meaning
        What the user says of masks.
    cache
        Where records are looked up and stored; None measures everything.
    tops
        Method -> the integer that stands for 1 in its maps, where that is not the largest of their files' depth.
    """

    metrics: SODMetrics
    strict_size: bool
    meaning: Meaning
    cache: RecordCache | None = None
    tops: Mapping[str, int] = field(default_factory=dict)

    def __call__(self, files: ImageFiles) -> MeasuredImage:
        """Measure the maps of an image that the cache lacks; its mask is decoded once for all methods, if at all."""
        mask = _Mask(files.target, self.meaning)
        return MeasuredImage(
            files.stem,
            {method: self._measured(path, mask, self.tops.get(method)) for method, path in files.preds.items()},
        )

    def _measured(self, path: Path, mask: _Mask, top: int | None) -> MeasuredMap:
        content = _read(path)
        if self.cache is None:
            records, marks = self._measure(path, content, mask, top)
            return MeasuredMap(lambda: records, marks, mask.facts, fresh=True)
        key = self.cache.key(digest(content), mask.digest, top)
        found = self.cache.find(key)
        fresh = found is None or not Records.is_whole(found.record) or self._refused(found)
        if found is None or fresh:
            records, marks = self._measure(path, content, mask, top)
            found = CachedRecord(records.to_bytes(), (mask.facts.to_text(), *marks))
            self.cache.store(key, found)
        about_mask, *others = found.marks
        return MeasuredMap(partial(self.cache.load, key), tuple(others), MaskFacts.from_text(about_mask), fresh)

    def _measure(self, path: Path, content: bytes, mask: _Mask, top: int | None) -> tuple[Records, tuple[str, ...]]:
        read = mask.read
        pred = read_gray(path, content, top=top, channel=self.meaning.channel)
        pred, marks = _fitted(pred, content, path, read.values, top, strict_size=self.strict_size)
        if read.valid is not None and not read.valid.any():
            raise ValueError(f"{mask.path}: expected some pixels that are not void, got none; leave the image out")
        return self.metrics.measure(pred, read.salient, valid=read.valid), (*marks, *mask.marks)

    def _refused(self, found: CachedRecord) -> bool:
        return self.strict_size and not {RESIZED, OTHER_SHAPE}.isdisjoint(found.marks)


@dataclass(frozen=True)
class _Mask:
    """A mask that is decoded when it is first needed."""

    path: Path
    meaning: Meaning

    @cached_property
    def content(self) -> bytes:
        return _read(self.path)

    @cached_property
    def digest(self) -> bytes:
        return digest(self.content)

    @cached_property
    def read(self) -> Mask:
        return read_mask(self.path, self.content, **self.meaning._asdict())

    @property
    def facts(self) -> MaskFacts:
        read = self.read
        void = 0 if read.valid is None else read.valid.size - int(np.count_nonzero(read.valid))
        return MaskFacts(read.found, read.values.size, void, read.stored)

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """A mark on a mask with more than 10% of middle greys."""
        levels = self.read.values
        greys = np.count_nonzero((levels > 25) & (levels < 230))
        return (GREY,) if greys > _GREY_SHARE * levels.size else ()


def _read(path: Path) -> bytes:
    return read_whole(path, "an image file")


def _fitted(
    pred: Saliency, content: bytes, path: Path, target: Grey, top: int | None, *, strict_size: bool
) -> tuple[Saliency, tuple[str, ...]]:
    """Resize a map to its mask's size; return it with its marks."""
    found = {COLOUR: is_colour(content), DEEP: pred.dtype != np.uint8, ZERO_ONE: top == 1, OF_255: top == 255}
    marks = tuple(mark for mark, present in found.items() if present)
    if pred.shape == target.shape:
        return pred, marks
    if strict_size:
        raise ValueError(
            f"{path}: expected the size of its mask, {_size(target)}, got {_size(pred)}; "
            f"save predictions at the masks' size, or evaluate without --strict-size (strict_size=False)"
        )
    import cv2

    (height, width), (map_height, map_width) = target.shape, pred.shape
    ratio = map_width * height / (width * map_height)
    resized = np.asarray(cv2.resize(pred, (width, height), interpolation=cv2.INTER_LINEAR))
    if pred.dtype != np.uint8:
        resized = resized.clip(pred.min(), pred.max())  # rounding would leave the range
    return resized, (*marks, RESIZED if 1 / _SAME_RATIO <= ratio <= _SAME_RATIO else OTHER_SHAPE)


def _size(image: npt.NDArray[Any]) -> str:
    height, width = image.shape
    return f"{width} x {height}"
