"""How well an object's surroundings could paint it: the camouflage degree of the context measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._color_difference import ciede2000, lab_from_rgb

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.uint8]

PATCH = 7
STEP = PATCH // 2
SURROUNDINGS = 20
# Distances held at once while patches are matched (32 MiB).
_CHUNK = 1 << 22


def camouflage_degree(image: Image, target: Mask, *, gamma: float, spatial_weight: float) -> Floats:
    """Similarity of each foreground pixel to the surroundings' paint, in [0, 1]; 0 on the background.

    Patches of the foreground are replaced by the nearest ones of its surroundings, near in colour and place.
    """
    degree = np.zeros(target.shape)
    surroundings = _dilated(target) & ~target
    objects, places = _patches(target), _patches(surroundings)
    if len(objects) == 0 or len(places) == 0:
        return degree
    nearest = places[_nearest(image, objects, places, spatial_weight)]
    painted = _painted(image, objects, nearest)
    difference = ciede2000(lab_from_rgb(painted[target]), lab_from_rgb(image[target]))
    similarity = 1 - np.minimum(difference / 100, 1)
    # (exp(gamma * similarity) - 1) / (exp(gamma) - 1), where nothing overflows.
    degree[target] = np.exp(gamma * (similarity - 1)) * np.expm1(-gamma * similarity) / np.expm1(-gamma)
    return degree


def _dilated(target: Mask) -> Mask:
    """Widen a mask by a square, which reaches one pixel farther to the lower right than to the upper left."""
    from scipy import ndimage

    return np.asarray(ndimage.maximum_filter(target, SURROUNDINGS, mode="constant"))


def _patches(mask: Mask) -> Integers:
    """Top left corners, (n, 2), of the grid's patches that lie in the mask."""
    if min(mask.shape) < PATCH:
        return np.zeros((0, 2), np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(mask, (PATCH, PATCH))[::STEP, ::STEP]
    return STEP * np.argwhere(windows.all(axis=(2, 3)))


def _nearest(image: Image, objects: Integers, places: Integers, spatial_weight: float) -> Integers:
    """Index of each object patch's nearest place; of several the first.

    In 149 dimensions a tree visits all places, one by one, so that products of matrices are faster. Those of 8-bit
    colours are whole numbers below 2 ** 24, which float32 adds exactly.
    """
    import cv2

    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    corners = np.concatenate([places, objects])
    spread = corners.std(axis=0)
    scaled = spatial_weight * (corners - corners.mean(axis=0)) / np.where(spread > 0, spread, 1)
    scaled = scaled.astype(np.float32).astype(float)
    place_colors, place_points = _colors(lab, places), scaled[: len(places)]
    place_squares = np.square(place_colors, dtype=float).sum(axis=1)
    step = max(1, _CHUNK // len(places))
    found = []
    for start in range(0, len(objects), step):
        part = slice(start, start + step)
        colors, points = _colors(lab, objects[part]), scaled[len(places) :][part]
        distance = place_squares - 2.0 * (colors @ place_colors.T)
        for axis in range(2):
            distance += (points[:, axis, None] - place_points[:, axis]) ** 2
        found.append(distance.argmin(axis=1))
    return np.concatenate(found)


def _colors(lab: Image, corners: Integers) -> npt.NDArray[np.float32]:
    """Colours of patches, shape (n, 147)."""
    windows = np.lib.stride_tricks.sliding_window_view(lab, (PATCH, PATCH, 3))[:, :, 0]
    return np.asarray(windows[corners[:, 0], corners[:, 1]], np.float32).reshape(len(corners), -1)


def _painted(image: Image, objects: Integers, sources: Integers) -> Image:
    """Mean of the patches laid over each pixel, rounded half to even; black where there is none."""
    total, count = np.zeros(image.shape), np.zeros(image.shape[:2])
    for offset in np.ndindex(PATCH, PATCH):
        to, origin = _index(objects + offset), _index(sources + offset)
        total[to] += image[origin]  # patches of the grid differ, so that no pixel comes twice
        count[to] += 1
    return np.asarray(np.round(total / np.maximum(count, 1)[:, :, None]), np.uint8)


def _index(corners: Any) -> tuple[Any, Any]:
    return corners[:, 0], corners[:, 1]
