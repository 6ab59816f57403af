"""A map and its mask before scoring: decoding, resizing, and the marks that tell readers of a report about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.data import is_colour, read_gray

Levels = npt.NDArray[np.uint8]

# Marks of a pair, which reports count: maps of another size than their masks, with the same and with another aspect
# ratio; maps in colour; masks with many middle greys.
RESIZED, OTHER_SHAPE, COLOUR, GREY = "resized", "other_shape", "colour_pred", "grey_target"
MARKS = (GREY, RESIZED, OTHER_SHAPE, COLOUR)

# A mask with a larger share of middle greys is counted: it may be a photograph or a saliency map by mistake.
_GREY_SHARE = 0.1
# Aspect ratios that differ by more may belong to different images; smaller differences come from rounding.
_SAME_RATIO = 1.02


def decode_map(content: bytes, path: Path, target: Levels, *, strict_size: bool) -> tuple[Levels, tuple[str, ...]]:
    """Decode a map and resize it to its mask's size; return it with its marks."""
    pred = read_gray(path, content)
    marks = (COLOUR,) if is_colour(content) else ()
    if pred.shape == target.shape:
        return pred, marks
    if strict_size:
        raise ValueError(
            f"{path}: expected the size of its mask, {_size(target)}, got {_size(pred)}; "
            f"save predictions at the masks' size, or evaluate without --strict-size (strict_size=False)"
        )
    import cv2

    size = target.shape[::-1]
    resized = np.asarray(cv2.resize(pred, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return resized, (*marks, RESIZED if _same_ratio(pred, target) else OTHER_SHAPE)


def marks_of_mask(target: Levels) -> tuple[str, ...]:
    """Mark a mask with more than 10% of middle greys."""
    greys = np.count_nonzero((target > 25) & (target < 230))
    return (GREY,) if greys > _GREY_SHARE * target.size else ()


def _same_ratio(pred: Levels, target: Levels) -> bool:
    (height, width), (map_height, map_width) = target.shape, pred.shape
    ratio = map_width * height / (width * map_height)
    return bool(1 / _SAME_RATIO <= ratio <= _SAME_RATIO)


def _size(image: npt.NDArray[Any]) -> str:
    height, width = image.shape
    return f"{width} x {height}"
