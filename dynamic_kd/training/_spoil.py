"""Teacher's maps made wrong on purpose, a known share of them, to see whom it harms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.training._sections import SPOIL_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dynamic_kd.data import Sample

    Map = NDArray[np.float32]

_SALT = 0x5901  # keeps what is drawn here apart from all else that is drawn from the same seed
_BLUR = 8  # the blur's standard deviation is the map's size over this


def spoil_maps(samples: Sequence[Sample], kind: str, share: float, seed: int) -> list[Sample]:
    """Replace a share of the teacher's maps by wrong ones.

    ``"swapped"`` gives a sample the map of another, ``"blurred"`` a map blurred by a Gaussian of an eighth of its size,
    ``"inverted"`` one minus the map, and ``"half_missing"`` a map without the left, right, upper or lower half of the
    object's bounding box (of the whole image where there is no object).

    Parameters
    ----------
    samples : sequence of Sample
        With teacher's maps.
    kind : {"swapped", "blurred", "inverted", "half_missing"}
        What is wrong with the maps.
    share : float
        Of all samples, in [0, 1]; their number is rounded.
    seed : int
        Chooses the samples, and what becomes of each. A larger share spoils further maps, and the same ones alike.

    Returns
    -------
    list of Sample
        In the same order; ``Sample.spoilt`` names the kind where the map is wrong.

    Raises
    ------
    ValueError
        If a setting is out of range, if a sample has no teacher's map, or if there is no other map to swap with.

    Examples
    --------
    >>> from dynamic_kd.data import synthetic_rgbd
    >>> from dataclasses import replace
    >>> right = [replace(s, teacher=s.mask.astype("float32")) for s in synthetic_rgbd(10, size=32, spoilt_share=0)]
    >>> sum(sample.spoilt == "inverted" for sample in spoil_maps(right, "inverted", 0.3, seed=0))
    3
    """
    check_choice("spoil", kind, SPOIL_KINDS)
    check_number("spoil_share", share, low=0, high=1)
    maps = _maps(samples)
    rng = np.random.default_rng([seed, _SALT])
    order, halves = rng.permutation(len(samples)), rng.integers(4, size=len(samples))
    spoilt = list(samples)
    count = round(share * len(samples))
    if kind == "swapped" and count and len(samples) < 2:
        raise ValueError("spoil: expected at least two samples to swap maps, got one; choose another kind")
    for place, position in enumerate(order[:count]):
        sample = samples[position]
        if kind == "swapped":
            wrong = maps[order[(place + 1) % len(order)]]  # one cycle through all samples: nobody keeps his own
        elif kind == "inverted":
            wrong = 1 - maps[position]
        elif kind == "blurred":
            wrong = _blurred(maps[position])
        else:
            wrong = _without_half(maps[position], sample.mask, int(halves[position]))
        spoilt[position] = replace(sample, teacher=wrong, spoilt=kind)
    return spoilt


def _maps(samples: Sequence[Sample]) -> list[Map]:
    for sample in samples:
        if sample.teacher is None:
            raise ValueError(f"spoil: expected a teacher's map of every sample, got none of {sample.name}")
    return [sample.teacher for sample in samples if sample.teacher is not None]


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
