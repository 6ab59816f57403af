"""What the scores of images are computed from: a few kilobytes an image, which can be kept instead of it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import to_host
from dynamic_kd.metrics._inputs import LEVEL
from dynamic_kd.metrics._measured import Measured
from dynamic_kd.metrics._pixels import pixel_values
from dynamic_kd.metrics._statistics import DeferredStatistics, Floats, recorded, warm_up
from dynamic_kd.metrics._statistics._recorded import COUNTS, ERRORS, FLAGS, PEAK, SIZE, STRICT_COUNTS

_MAGIC = b"dkd3"
_NUMBER = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Records:
    """What the scores of images are computed from; the images may differ in size.

    Attributes
    ----------
    values
        Shape (B, SIZE), float64: statistics, then hits and false alarms at 256 thresholds, then the same for strict
        cuts, or NaN without these.
    pixels
        Pixels of each image, shape (B,), int64.
    backend
        What computed them.
    normalize, quantize
        How predictions were read.
    from_pixels
        Names of the metrics from pixels that were computed as well.
    pixel_curves, pixel_numbers
        Their curves, one after another, and their numbers, shape (B, ...), float64.
    """

    values: Floats
    pixels: npt.NDArray[np.int64]
    backend: str
    normalize: bool
    quantize: bool
    from_pixels: tuple[str, ...]
    pixel_curves: Floats
    pixel_numbers: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def strict(self) -> bool:
        """Whether strict cuts were counted too."""
        return not np.isnan(self.values[:, STRICT_COUNTS:]).any()

    @property
    def partial(self) -> bool:
        """Whether void pixels of some image were left out."""
        return bool(np.isnan(self.values[:, ERRORS]).any())

    @property
    def levels(self) -> Floats:
        """The salient levels of integer targets, as ``Pairs.level_flags`` returns them."""
        return self.values[:, PEAK]

    def select(self, images: npt.NDArray[np.bool_]) -> Records:
        """Return some of the images."""
        return replace(self, **{name: getattr(self, name)[images] for name in _ARRAYS})

    def to_bytes(self) -> bytes:
        """Return the records as bytes with a checksum: about 2.7 KB an image, 4.7 KB with strict cuts."""
        counts = self.values[:, COUNTS : SIZE if self.strict else STRICT_COUNTS].astype("<u4")
        scalars = (self.pixels, self.values[:, :COUNTS], self.pixel_curves, self.pixel_numbers)
        parts = [*(array.astype("<f8").tobytes() for array in scalars), counts.tobytes()]
        widths = [1, COUNTS, self.pixel_curves.shape[1], self.pixel_numbers.shape[1]]
        header = {"images": len(self), "widths": widths, "strict": self.strict}
        kind = {name: getattr(self, name) for name in _KIND}
        about = json.dumps(header | kind).encode()
        body = b"".join([_MAGIC, _NUMBER.pack(len(about)), about, *parts])
        return body + _NUMBER.pack(zlib.crc32(body))

    @classmethod
    def from_bytes(cls, content: bytes) -> Records:
        """Read what `to_bytes` wrote.

        Raises
        ------
        ValueError, TypeError
            For other or damaged bytes, and for other types.
        """
        if not isinstance(content, bytes):
            raise TypeError(f"content: expected bytes, got {type(content).__name__}")
        try:
            if not cls.is_whole(content):
                raise ValueError
            return cls._parsed(content[: -_NUMBER.size])
        except (ValueError, KeyError, TypeError, struct.error):
            message = "records: expected the bytes of measured records, got others; measure the images again"
            raise ValueError(message) from None

    @classmethod
    def _parsed(cls, content: bytes) -> Records:
        start = len(_MAGIC) + _NUMBER.size
        end = start + _NUMBER.unpack_from(content, len(_MAGIC))[0]
        about = json.loads(content[start:end])
        images, tables = about["images"], []
        stop = SIZE if about["strict"] else STRICT_COUNTS
        if len(content) != end + images * (8 * sum(about["widths"]) + 4 * (stop - COUNTS)):
            raise ValueError  # before memory is allocated for images that are not there
        for width in about["widths"]:
            start, end = end, end + 8 * images * width
            tables.append(np.frombuffer(content[start:end], "<f8").reshape(images, width))
        pixels, scalars, curves, numbers = tables
        if not ((pixels >= 1) & (pixels < 2**53)).all():  # NaN too
            raise ValueError
        values = np.full((images, SIZE), np.nan)
        values[:, :COUNTS] = scalars
        values[:, COUNTS:stop] = np.frombuffer(content[end:], "<u4").reshape(images, stop - COUNTS)
        kind = {name: about[name] for name in _KIND} | {"from_pixels": tuple(about["from_pixels"])}
        return cls(values, pixels[:, 0].astype(np.int64), pixel_curves=curves, pixel_numbers=numbers, **kind)

    @staticmethod
    def is_whole(content: bytes) -> bool:
        """Whether bytes are those of records and their checksum is right."""
        body, checksum = content[: -_NUMBER.size], content[-_NUMBER.size :]
        return body.startswith(_MAGIC) and checksum == _NUMBER.pack(zlib.crc32(body))

    @classmethod
    def join(cls, parts: Sequence[Records]) -> Records:
        """Return records of the same kind as one; ``backend`` is that of the first."""
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return replace(parts[0], **joined)


_ARRAYS = ("values", "pixels", "pixel_curves", "pixel_numbers")
_KIND = ("backend", "normalize", "quantize", "from_pixels")


def measure_records(measured: Measured, *, quantize: bool, strict: bool, from_pixels: tuple[str, ...]) -> Records:
    """Compute all statistics of a checked batch, and the metrics ``from_pixels``.

    With ``strict``, cuts with ``>`` are counted too.
    """
    if not measured.pairs.on_kernels:
        warm_up()
    statistics = measured.statistics
    if isinstance(statistics, DeferredStatistics):
        statistics.check()
    size = len(measured.pairs)
    curves, numbers = pixel_values(from_pixels, measured.images) if from_pixels else (np.zeros((size, 0)),) * 2
    values = recorded(statistics, strict=strict, whole=measured.pairs.valid is None)
    found = to_host(statistics._read(FLAGS)) if isinstance(statistics, DeferredStatistics) else None
    values[:, PEAK] = measured.pairs.level_flags() if found is None else found - found % LEVEL
    pixels = np.full(size, statistics.pixels)
    return Records(values, pixels, statistics.backend, measured.pairs.normalize, quantize, from_pixels, curves, numbers)


def check_records(records: object, measured: Mapping[str, object], *, whole: bool) -> None:
    """Raise unless these are records with the contents that `SODMetrics.measured` lists; ``whole`` without void."""
    if not isinstance(records, Records):
        raise TypeError(f"records: expected Records, as measure() returns them, got {type(records).__name__}")
    for name in ("normalize", "quantize"):
        if getattr(records, name) != measured[name]:
            raise ValueError(f"records: expected {name}={measured[name]}, got others; measure the images again")
    if measured["from_pixels"] != records.from_pixels:
        expected, there = (", ".join(names) or "none" for names in (measured["from_pixels"], records.from_pixels))  # type: ignore[arg-type]
        raise ValueError(
            f"records: expected these metrics from pixels: {expected}, got {there}; measure the images with them"
        )
    if measured["strict"] and not records.strict:
        raise ValueError("records: expected strict cuts, got none; measure the images with strict=True")
    if whole and records.partial:
        raise ValueError(
            "records: expected those of whole images, got some without their void pixels; leave out wF and S"
        )
