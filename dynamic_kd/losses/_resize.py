"""The setting ``resize="bilinear"``: maps of any size brought to the target's."""

from __future__ import annotations

import operator
from functools import reduce

from dynamic_kd._array import Array, Namespace, device_of


def resized(maps: Array, size: tuple[int, int], xp: Namespace) -> Array:
    r"""Return maps (..., h, w) at the size (H, W), each axis by weighted means of the pixels around a point.

    The centre of the output's pixel X lies at c = (X + 1/2) w / W - 1/2 among the input's pixels, each of which weighs

    .. math:: \max(0, 1 - |x - c| / \max(1, w / W))

    divided by the sum of all weights. On an axis that grows these are the two nearest pixels: half-pixel bilinear
    interpolation (``align_corners=False``), at the edges the outermost pixel alone. On one that shrinks the triangle
    covers every pixel (antialiasing). Both equal PyTorch's ``interpolate(mode="bilinear", antialias=True)``.
    """
    for axis, length in zip((-2, -1), size, strict=True):
        if maps.shape[axis] != length:
            maps = _along(maps, axis, length, xp)
    return maps


def _along(maps: Array, axis: int, length: int, xp: Namespace) -> Array:
    """Return maps with one axis, -1 or -2, at another length.

    Positions are whole numbers, in units of 1 / (2 * length) of an input pixel, so that no weight loses digits.
    """
    given = maps.shape[axis]
    reach = 2 * max(given, length)
    centre = (2 * xp.arange(length, device=device_of(maps)) + 1) * given - length
    first = (centre - reach) // (2 * length) + 1
    places = [first + step for step in range(-(-reach // length))]
    weights = []
    for place in places:
        inside = xp.astype((place >= 0) & (place < given), place.dtype)
        weight = inside * xp.clip(reach - xp.abs(centre - 2 * length * place), 0)
        weights.append(xp.astype(weight, maps.dtype))
    total = reduce(operator.add, weights)
    shape = (length, 1) if axis == -2 else (length,)
    last = xp.full_like(first, given - 1)  # torch.compile has no `clip` by a size that it does not know
    parts = [
        xp.take(maps, xp.minimum(xp.clip(place, 0), last), axis=axis) * xp.reshape(weight / total, shape)
        for place, weight in zip(places, weights, strict=True)
    ]
    return reduce(operator.add, parts)
