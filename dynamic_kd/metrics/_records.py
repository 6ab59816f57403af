"""What the scores of images are computed from, in a few kilobytes each that can be kept instead of the image."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array
from dynamic_kd._checks import check_flag
from dynamic_kd.metrics._host_measures import host_values
from dynamic_kd.metrics._inputs import as_pairs
from dynamic_kd.metrics._statistics import DeferredStatistics, recorded, statistics
from dynamic_kd.metrics._statistics._recorded import COUNTS, SIZE, STRICT_COUNTS

Floats = npt.NDArray[np.float64]
_MAGIC = b"dkd2"
_NUMBER = struct.Struct("<I")


@dataclass(frozen=True, eq=False)
class Records:
    """Records of images, which may differ in size.

    Attributes
    ----------
    values
        Shape (B, SIZE), float64: statistics, then hits and false alarms at 256 thresholds, then the same for strict
        cuts, NaN where these were not asked for.
    pixels
        Pixels of each image, shape (B,), int64.
    backend
        What measured them.
    normalize, quantize
        How predictions were read.
    host
        Metrics from pixels that were measured as well, names in ``HOST_MEASURES``.
    host_curves, host_numbers
        Their curves, one after another, and their numbers, shape (B, ...), float64.
    """

    values: Floats
    pixels: npt.NDArray[np.int64]
    backend: str
    normalize: bool
    quantize: bool
    host: tuple[str, ...]
    host_curves: Floats
    host_numbers: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def strict(self) -> bool:
        """Whether strict cuts were counted too."""
        return not np.isnan(self.values[:, STRICT_COUNTS:]).any()

    def select(self, images: npt.NDArray[np.bool_]) -> Records:
        """Return some of the images."""
        return replace(self, **{name: getattr(self, name)[images] for name in _ARRAYS})

    def to_bytes(self) -> bytes:
        """Return the records as bytes with a checksum, 32 bits a count: about 2.7 KB for an image, strict 4.7."""
        counts = self.values[:, COUNTS : SIZE if self.strict else STRICT_COUNTS].astype("<u4")
        scalars = (self.pixels, self.values[:, :COUNTS], self.host_curves, self.host_numbers)
        parts = [*(each.astype("<f8").tobytes() for each in scalars), counts.tobytes()]
        widths = [1, COUNTS, self.host_curves.shape[1], self.host_numbers.shape[1]]
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
            Other bytes, damaged ones, or none.
        """
        if not isinstance(content, bytes):
            raise TypeError(f"content: expected bytes, got {type(content).__name__}")
        try:
            if not is_whole(content):
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
            raise ValueError  # before memory is taken for images that are not there
        for width in about["widths"]:
            start, end = end, end + 8 * images * width
            tables.append(np.frombuffer(content[start:end], "<f8").reshape(images, width))
        pixels, scalars, curves, numbers = tables
        if not ((pixels >= 1) & (pixels < 2**53)).all():  # NaN too
            raise ValueError
        values = np.full((images, SIZE), np.nan)
        values[:, :COUNTS] = scalars
        values[:, COUNTS:stop] = np.frombuffer(content[end:], "<u4").reshape(images, stop - COUNTS)
        kind = {name: about[name] for name in _KIND} | {"host": tuple(about["host"])}
        return cls(values, pixels[:, 0].astype(np.int64), host_curves=curves, host_numbers=numbers, **kind)

    @classmethod
    def join(cls, parts: Sequence[Records]) -> Records:
        """Return the images of records of the same kind, one after another; ``backend`` is the first one's."""
        joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
        return replace(parts[0], **joined)


_ARRAYS = ("values", "pixels", "host_curves", "host_numbers")
_KIND = ("backend", "normalize", "quantize", "host")


def is_whole(content: bytes) -> bool:
    """Whether bytes are those of records, and their checksum is right."""
    body, checksum = content[: -_NUMBER.size], content[-_NUMBER.size :]
    return body.startswith(_MAGIC) and checksum == _NUMBER.pack(zlib.crc32(body))


def measure_records(
    pred: Array,
    target: Array,
    *,
    normalize: bool = True,
    quantize: bool = False,
    strict: bool = False,
    check: str = "auto",
    host: tuple[str, ...] = (),
) -> Records:
    """Measure predictions against their targets, once for all scores.

    Arguments are those of `mean_absolute_error`; with ``strict``, cuts with ``>`` are counted too, and ``host`` names
    metrics from pixels to be measured as well.
    """
    check_flag("strict", strict)
    pairs = as_pairs(pred, target, normalize=normalize, quantize=quantize, check=check)
    measured = statistics(pairs)
    if isinstance(measured, DeferredStatistics):
        measured.check()
    curves, numbers = host_values(host, pairs) if host else (np.zeros((len(pairs), 0)),) * 2
    values = recorded(measured, strict=strict)
    pixels = np.full(len(pairs), measured.pixels)
    return Records(values, pixels, measured.backend, normalize, quantize, host, curves, numbers)


def check_records(records: object, inputs: Mapping[str, object], *, strict: bool, host: tuple[str, ...]) -> None:
    """Raise if these are no records, or none of these conventions for inputs, cuts and metrics from pixels."""
    if not isinstance(records, Records):
        raise TypeError(f"records: expected Records, as measure() returns them, got {type(records).__name__}")
    for name in ("normalize", "quantize"):
        if getattr(records, name) != inputs[name]:
            raise ValueError(f"records: expected {name}={inputs[name]}, got others; measure the images again")
    if host != records.host:
        missing, there = (", ".join(each) or "none" for each in (host, records.host))
        raise ValueError(
            f"records: expected these metrics from pixels: {missing}, got {there}; measure the images with them"
        )
    if strict and not records.strict:
        raise ValueError("records: expected strict cuts, got none; measure the images with strict=True")
