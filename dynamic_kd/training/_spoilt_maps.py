"""Teacher maps spoilt on purpose, a known share of them, to see how much they harm the student."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.training._sections import SPOIL_KINDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dynamic_kd.training._image_set import ImageSet

    Map = NDArray[np.float32]

_SALT = 0x5901  # separates these draws from all others of the same seed
_BLUR = 8  # the blur's standard deviation is the map's size over this


def with_spoilt_maps(data: ImageSet, kind: str, share: float, seed: int) -> ImageSet:
    """Replace a share of the teacher maps by wrong ones, in place where the arrays are mapped copy-on-write.

    ``"swapped"`` gives a sample the map of another, ``"blurred"`` a map blurred by a Gaussian of an eighth of its size,
    ``"inverted"`` one minus the map, and ``"half_missing"`` a map without the left, right, upper or lower half of the
    object's bounding box (of the whole image if the mask is empty).

    Parameters
    ----------
    data : ImageSet
        With teacher maps, in the computer's memory.
    kind : {"swapped", "blurred", "inverted", "half_missing"}
        What is wrong with the maps.
    share : float
        Share of the samples, in [0, 1]; their number is rounded.
    seed : int
        Chooses the samples and how each map is changed. A larger share spoils the same maps alike, and more.

    Returns
    -------
    ImageSet
        Its ``spoilt`` names the kind where the map is wrong.

    Raises
    ------
    ValueError
        If a setting is out of range, if the set has no teacher maps, or if there is no other map to swap with.
    """
    check_choice("spoil", kind, SPOIL_KINDS)
    check_number("spoil_share", share, low=0, high=1)
    if data.teacher_maps is None:
        raise ValueError("spoil: the training set has no teacher maps; name their folder in teacher.maps")
    rng = np.random.default_rng([seed, _SALT])
    order, halves = rng.permutation(len(data)), rng.integers(4, size=len(data))
    count = round(share * len(data))
    if kind == "swapped" and count and len(data) < 2:
        raise ValueError("spoil: there is only one sample, and no other map to swap with; choose another kind")
    maps: NDArray[np.float32] = data.teacher_maps.numpy()
    first, spoilt = maps[order[0], 0].copy(), list(data.spoilt)
    for place, position in enumerate(order[:count]):
        own = maps[position, 0]
        if kind == "swapped":  # one cycle through all samples, so no map keeps its place
            wrong = maps[order[place + 1], 0] if place + 1 < len(order) else first
        elif kind == "inverted":
            wrong = 1 - own
        elif kind == "blurred":
            wrong = _blurred(own)
        else:
            wrong = _without_half(own, data.targets[position, 0].numpy(), int(halves[position]))
        maps[position, 0] = wrong
        spoilt[position] = kind
    return replace(data, spoilt=tuple(spoilt))


def _blurred(values: Map) -> Map:
    from scipy.ndimage import gaussian_filter

    sigma = [size / _BLUR for size in values.shape]
    blurred: Map = np.clip(gaussian_filter(values, sigma, mode="nearest"), 0, 1)
    return blurred


def _without_half(values: Map, mask: NDArray[np.bool_], half: int) -> Map:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        rows, columns = (np.arange(size) for size in mask.shape)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    middle, centre = (top + bottom) // 2, (left + right) // 2
    box = (
        np.s_[top:bottom, left:centre],
        np.s_[top:bottom, centre:right],
        np.s_[top:middle, left:right],
        np.s_[middle:bottom, left:right],
    )[half]
    result = values.copy()
    result[box] = 0
    return result
