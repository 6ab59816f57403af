"""The camouflage degree of the context measures: how well an object's surroundings can paint it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._statistics import Floats, Mask

Integers = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]

PATCH = 7
STEP = PATCH // 2
SURROUNDINGS = 20
# Distances held at once while patches are matched (32 MiB).
_CHUNK = 1 << 22
# ITU-R BT.709 primaries and the white D65 of the 2 degree observer, as IEC 61966-2-1 (sRGB) uses them.
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


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

    Matrix products are faster than a tree, which visits all places one by one in 149 dimensions. Products of 8-bit
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
        total[to] += image[origin]  # patches of the grid differ, so no pixel comes twice
        count[to] += 1
    return np.asarray(np.round(total / np.maximum(count, 1)[:, :, None]), np.uint8)


def _index(corners: Any) -> tuple[Any, Any]:
    return corners[:, 0], corners[:, 1]


def lab_from_rgb(rgb: npt.NDArray[np.uint8]) -> Floats:
    """CIE L*a*b* of 8-bit sRGB colours, shape (..., 3)."""
    encoded = np.arange(256) / 255
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    # Not @: BLAS would start threads of its own inside each worker.
    relative = np.einsum("...c,xc->...x", linear[rgb], XYZ_FROM_RGB) / WHITE
    x, y, z = np.moveaxis(np.where(relative > 0.008856, np.cbrt(relative), 7.787 * relative + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: Floats, second: Floats) -> Floats:
    """CIEDE2000 difference of L*a*b* colours, shape (..., 3), with all parametric factors 1.

    Equation numbers are those of Sharma, Wu and Dalal, Color Research and Application 30(1), 2005.
    """
    # Contiguous, because NumPy 1.26 rounds the arctan2 of strided arrays by where they lie in memory.
    (light, a, b), (light2, a2, b2) = (np.ascontiguousarray(np.moveaxis(each, -1, 0)) for each in (first, second))
    stretch = 1.5 - 0.5 * _weight((np.hypot(a, b) + np.hypot(a2, b2)) / 2)  # eq. 2 to 4: 1 + G
    chroma, chroma2 = np.hypot(stretch * a, b), np.hypot(stretch * a2, b2)  # eq. 6
    hue, hue2 = (np.arctan2(y, stretch * x) % (2 * np.pi) for x, y in ((a, b), (a2, b2)))  # eq. 7
    turn = hue2 - hue  # where one colour is grey any will do: nothing below depends on it, because there change is 0
    # eq. 10: the shorter way round; rounding does not decide which one that is between opposite hues.
    turn = turn - 2 * np.pi * (np.sign(turn) * (np.abs(turn) > np.pi + 1e-12))
    change = 2 * np.sqrt(chroma * chroma2) * np.sin(turn / 2)  # eq. 11
    mean_light, mean_chroma = (light + light2) / 2, (chroma + chroma2) / 2  # eq. 12, 13
    mean_hue = hue + turn / 2  # eq. 14
    offset = (mean_light - 50) ** 2
    lightness = (light2 - light) / (1 + 0.015 * offset / np.sqrt(20 + offset))  # eq. 8, 18
    saturation = (chroma2 - chroma) / (1 + 0.045 * mean_chroma)  # eq. 9, 19
    shift = change / (1 + 0.015 * mean_chroma * _hue_weight(mean_hue))  # eq. 15, 20
    rotation = -2 * _weight(mean_chroma) * np.sin(2 * _blue_rotation(mean_hue))  # eq. 17, 21
    return np.asarray(np.sqrt(lightness**2 + saturation**2 + shift**2 + rotation * saturation * shift))  # eq. 22


def _weight(chroma: Any) -> Any:
    return np.sqrt(chroma**7 / (chroma**7 + 25.0**7))


def _hue_weight(hue: Any) -> Any:
    """Equation 15."""
    terms = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    return 1 + sum(factor * np.cos(order * hue + np.deg2rad(phase)) for factor, order, phase in terms)


def _blue_rotation(hue: Any) -> Any:
    """Equation 16, in radians."""
    return np.deg2rad(30) * np.exp(-(((np.rad2deg(hue) % 360 - 275) / 25) ** 2))
