"""What can be said of one file of a data set, whatever is wrong with it."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynamic_kd.data._images import depth_levels, file_content, gray_levels, rgb_levels
from dynamic_kd.data._reading import check_mask, resized, salient
from dynamic_kd.losses import soft_iou

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey + alpha", 6: "RGBA"}
# Levels between a pixel's channels, in the mean: grey maps saved as colour JPEG stay far below.
COLOURFUL = 8


@dataclass(frozen=True)
class FileFacts:
    """What one file is.

    Attributes
    ----------
    role : str
        ``"image"``, ``"depth"``, ``"mask"`` or ``"teacher"``.
    error : str or None
        Why it cannot be used; then only what came before is known.
    stored : str
        Its format and bits, such as ``"PNG, 16-bit grey"``.
    size : tuple of int
        Height and width in pixels.
    marks : tuple of str
        Of a mask ``"empty"``, ``"full"`` and ``"grey"`` (it has levels besides 0 and 255), of a depth or a teacher's
        map ``"flat"``, of depth ``"colour"``.
    soft_iou : float or None
        Of a teacher's map: its overlap with the mask.
    digest : bytes or None
        Of an image: a hash of its pixels.
    """

    role: str
    error: str | None = None
    stored: str = ""
    size: tuple[int, int] = (0, 0)
    marks: tuple[str, ...] = ()
    soft_iou: float | None = None
    digest: bytes | None = None


def sample_facts(files: Mapping[str, Path]) -> list[FileFacts]:
    """Look at the files of one sample, by role."""
    facts, mask = [], None
    for role in ("image", "depth", "mask", "teacher"):
        if role not in files:
            continue
        stored = ""
        try:
            content = file_content(files[role])
            stored = stored_as(content)
            if role == "image":
                facts.append(_image(content, files[role], stored))
            elif role == "depth":
                facts.append(_depth(content, files[role], stored))
            elif role == "mask":
                mask = gray_levels(content, files[role])
                facts.append(_mask(mask, files[role], stored))
            else:
                facts.append(_teacher(gray_levels(content, files[role]), mask, stored))
        except ValueError as error:
            facts.append(FileFacts(role, error=_naming(files[role], error), stored=stored))
    return facts


def _naming(path: Path, error: ValueError) -> str:
    """Return what an error says, behind the file's name unless it begins with that."""
    said = str(error)
    return said if said.startswith(str(path)) else f"{path}: {said}"


def _image(content: bytes, path: Path, stored: str) -> FileFacts:
    image = rgb_levels(content, path)
    digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.shape).encode()).digest()
    return FileFacts("image", stored=stored, size=_size(image), digest=digest)


def _depth(content: bytes, path: Path, stored: str) -> FileFacts:
    levels = depth_levels(content, path)
    if levels.dtype.kind == "f":
        stored += ", float"
    elif stored == "TIFF":
        stored += f", {8 * levels.itemsize}-bit"
    colours = rgb_levels(content, path).astype(np.int16) if levels.dtype == np.uint8 else np.zeros((1, 1, 3))
    marks = {"flat": levels.min() == levels.max(), "colour": np.ptp(colours, axis=2).mean() > COLOURFUL}
    return FileFacts("depth", stored=stored, size=_size(levels), marks=_true(marks))


def _mask(levels: NDArray[np.uint8], path: Path, stored: str) -> FileFacts:
    check_mask(levels, path)
    inside = salient(levels)
    marks = {"empty": not inside.any(), "full": inside.all(), "grey": np.any((levels > 0) & (levels < 255))}
    return FileFacts("mask", stored=stored, size=_size(levels), marks=_true(marks))


def _teacher(levels: NDArray[np.uint8], mask: NDArray[np.uint8] | None, stored: str) -> FileFacts:
    overlap = None
    if mask is not None:
        saliency = resized(levels.astype(np.float32) / 255, _size(mask))
        overlap = float(soft_iou(saliency[None], salient(mask)[None])[0])
    marks = () if levels.min() < levels.max() else ("flat",)
    return FileFacts("teacher", stored=stored, size=_size(levels), marks=marks, soft_iou=overlap)


def _true(marks: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(mark for mark, present in marks.items() if present)


def _size(array: NDArray[np.generic]) -> tuple[int, int]:
    return array.shape[0], array.shape[1]


def stored_as(content: bytes) -> str:
    """Tell the format of an image file by its first bytes, and the bits of a pixel where they say it."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) >= 26:
        bits, colour = content[24], _PNG_COLOURS.get(content[25], "unknown")
        return f"PNG, {bits}-bit {colour}"
    if content.startswith(b"BM") and len(content) >= 30:
        return f"BMP, {struct.unpack_from('<H', content, 28)[0]} bits a pixel"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    return "other"
