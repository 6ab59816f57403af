"""Padded batches: each image cut out of its padding."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, array_namespace, to_host
from dynamic_kd.metrics._inputs import Pairs, as_pairs, check_shapes

Box = tuple[int, int, int, int]


def batches(pred: Array, target: Array, valid: Array | None, **settings: Any) -> list[tuple[Pairs, Sequence[int]]]:
    """Return a batch as pairs, in parts if its images are cut out of padding, with the images of each part.

    Images in a row with one rectangle stay together.

    Raises
    ------
    ValueError, TypeError
        As `as_pairs`; shapes that differ, or valid pixels that fill no rectangle.
    """
    if valid is None:
        pairs = as_pairs(pred, target, **settings)
        return [(pairs, range(len(pairs)))]
    array_namespace(pred, target, valid)
    shapes = [tuple(each.shape) for each in (pred, target, valid)]
    check_shapes(*shapes[:2])
    if shapes[2] not in shapes[:2]:
        raise ValueError(f"valid: expected the shape of pred, {shapes[0]}, got {shapes[2]}")
    masks = to_host(_batched(valid))
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("valid: expected only 0 and 1 (or booleans), got other values; pass for example mask > 0")
    boxes = [_box(mask != 0, image) for image, mask in enumerate(masks)]
    parts: list[tuple[Pairs, Sequence[int]]] = []
    for (top, bottom, left, right), group in groupby(range(len(boxes)), key=boxes.__getitem__):
        images = list(group)
        here = slice(images[0], images[-1] + 1)
        cut = [_batched(each)[here, None, top:bottom, left:right] for each in (pred, target)]
        parts.append((as_pairs(*cut, **settings), images))
    return parts


def _batched(images: Array) -> Array:
    return array_namespace(images).reshape(images, (-1, *images.shape[-2:]))


def _box(mask: npt.NDArray[np.bool_], image: int) -> Box:
    """First and last valid rows and columns, the last excluded."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise ValueError(f"valid: expected some valid pixels in each image, got none in image {image} of the batch")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    if not mask[top:bottom, left:right].all():
        raise ValueError(
            f"valid: expected the valid pixels of each image to fill a rectangle, got gaps in image {image} of the "
            f"batch; around them, the distances and centroids of weighted F and S would be undefined"
        )
    return top, bottom, left, right
