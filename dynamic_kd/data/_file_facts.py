"""Facts about one file of a data set, also about one that cannot be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._files import read_whole
from dynamic_kd._mask import Levels, Meaning
from dynamic_kd.data._image_header import stored_as
from dynamic_kd.data._images import as_probabilities, is_colour, read_gray, read_rgb, stored_depth
from dynamic_kd.data._mask import Mask, read_mask
from dynamic_kd.data._sample import resized
from dynamic_kd.losses import soft_iou

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class FileFacts:
    """What is known of one file.

    Attributes
    ----------
    role : str
        ``"image"``, ``"depth"``, ``"mask"`` or ``"teacher"``.
    error : str or None
        Why the file cannot be used. The attributes found before the error are set.
    stored : str
        Its format and bits, such as ``"PNG, 16-bit grey"``.
    size : tuple of int
        Height and width in pixels.
    marks : tuple of str
        For a mask ``"empty"``, ``"full"``, ``"grey"`` (grey edges) and ``"void"`` (some pixels are), for a depth map
        ``"flat"`` and ``"colour"``, for a teacher's map ``"flat"``
        and ``"zero_one"`` (its largest level is 1).
    soft_iou : float or None
        For a teacher's map: its overlap with the mask.
    digest : bytes or None
        For an image: a hash of its pixels.
    levels : Levels or None
        For a mask: its levels.
    void : float
        For a mask: the share of its pixels that are void.
    """

    role: str
    error: str | None = None
    stored: str = ""
    size: tuple[int, int] = (0, 0)
    marks: tuple[str, ...] = ()
    soft_iou: float | None = None
    digest: bytes | None = None
    levels: Levels | None = None
    void: float = 0.0


def sample_facts(files: Mapping[str, Path], wanted: Meaning) -> list[FileFacts]:
    """Decode the files of one sample, by role; ``wanted`` is what the user says of masks."""
    facts, mask = [], None
    for role in ("image", "depth", "mask", "teacher"):
        if role not in files:
            continue
        stored = ""
        try:
            content = read_whole(files[role], "an image file")
            stored = stored_as(content)
            if role == "image":
                facts.append(_image(content, files[role], stored))
            elif role == "depth":
                facts.append(_depth(content, files[role], stored))
            elif role == "mask":
                mask = read_mask(files[role], content, **wanted._asdict())
                facts.append(_mask(mask))
            else:
                facts.append(_teacher(read_gray(files[role], content, channel=wanted.channel), mask, stored))
        except ValueError as error:
            facts.append(FileFacts(role, error=_naming(files[role], error), stored=stored))
    return facts


def _naming(path: Path, error: ValueError) -> str:
    """Return an error's message, preceded by the file's name unless it begins with it."""
    message = str(error)
    return message if message.startswith(str(path)) else f"{path}: {message}"


def _image(content: bytes, path: Path, stored: str) -> FileFacts:
    image = read_rgb(path, content)
    digest = hashlib.blake2b(image.tobytes(), digest_size=16, key=repr(image.shape).encode()).digest()
    return FileFacts("image", stored=stored, size=_size(image), digest=digest)


def _depth(content: bytes, path: Path, stored: str) -> FileFacts:
    levels = stored_depth(path, content)
    if levels.dtype.kind == "f":
        stored += ", float"
    elif stored == "TIFF":
        stored += f", {8 * levels.itemsize}-bit"
    marks = {"flat": levels.min() == levels.max(), "colour": levels.dtype == np.uint8 and is_colour(content)}
    return FileFacts("depth", stored=stored, size=_size(levels), marks=_true(marks))


def _mask(mask: Mask) -> FileFacts:
    inside, grey = mask.salient, np.any((mask.values > 0) & (mask.values < 255))
    valid = np.ones(inside.shape, bool) if mask.valid is None else mask.valid
    marks = {"empty": not inside.any(), "full": inside[valid].all(), "grey": grey, "void": mask.valid is not None}
    return FileFacts(
        "mask",
        stored=mask.stored,
        size=_size(inside),
        marks=_true(marks),
        levels=mask.found,
        void=float(1 - valid.mean()),
    )


def _teacher(levels: NDArray[Any], mask: Mask | None, stored: str) -> FileFacts:
    overlap = None
    if mask is not None:
        saliency = resized(as_probabilities(levels), _size(mask.values))
        valid = None if mask.valid is None else mask.valid[None]
        overlap = float(soft_iou(saliency[None], mask.salient[None], valid=valid)[0])
    marks = {"flat": levels.min() == levels.max(), "zero_one": levels.dtype == np.uint8 and levels.max() == 1}
    return FileFacts("teacher", stored=stored, size=_size(levels), marks=_true(marks), soft_iou=overlap)


def _true(marks: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(mark for mark, present in marks.items() if present)


def _size(array: NDArray[np.generic]) -> tuple[int, int]:
    return array.shape[0], array.shape[1]
