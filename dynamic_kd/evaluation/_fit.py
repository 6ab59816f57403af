"""What is done to a map, and said of a mask, before they are scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]

# A mask with a larger share of middle greys is counted: a photograph or a saliency map by mistake, perhaps.
_GREY_SHARE = 0.1


def fitted(pred: Levels, target: Levels, path: Path, *, strict_size: bool) -> tuple[Levels, bool]:
    """Return the map at its mask's size, and whether it had to be resized for that."""
    if pred.shape == target.shape:
        return pred, False
    if strict_size:
        raise ValueError(
            f"{path}: expected the size of its mask, {_size(target)}, got {_size(pred)}; "
            f"save predictions at the masks' size, or evaluate without --strict-size (strict_size=False)"
        )
    import cv2

    return np.asarray(cv2.resize(pred, target.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8), True


def looks_grey(target: Levels) -> bool:
    """Whether a mask has more than 10% of middle greys."""
    greys = np.count_nonzero((target > 25) & (target < 230))
    return bool(greys > _GREY_SHARE * target.size)


def _size(image: npt.NDArray[Any]) -> str:
    height, width = image.shape
    return f"{width} x {height}"
