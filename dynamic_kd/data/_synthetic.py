"""The synthetic RGB-D set: scenes whose salient object is the nearest one, with a share of depth maps spoilt."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._checks import check_number, check_whole
from dynamic_kd.data._sample import Sample

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Map = NDArray[np.float64]

SPOILT_KINDS = ("dominated", "low_contrast", "distorted")


class _Thing(NamedTuple):
    """One object of a scene: its pixels, its colours, and its relief towards the camera."""

    mask: NDArray[np.bool_]
    colour: Map
    relief: Map


def synthetic_rgbd(
    count: int, *, size: int = 96, seed: int = 0, spoilt_share: float = 0.3, first: int = 0
) -> list[Sample]:
    """Make RGB-D scenes in which depth shows what is salient, with a known share of the depth maps spoilt.

    Three or four textured objects stand before a wall and a floor. The salient one is the nearest. Colour only hints at
    it: the salient object tends to be more central, larger and in stronger contrast. Depth shows it by comparison with
    the other objects, because the floor comes near too, and scale and offset differ from scene to scene.

    A spoilt depth map fails in one of the three ways that the paper names. In ``"dominated"`` another object is the
    nearest. In ``"low_contrast"`` the objects fade into what is behind them, under noise. In ``"distorted"`` the map is
    shifted and warped against the image and has holes. Image and mask are always right.

    Parameters
    ----------
    count : int
        Number of samples, at least 1.
    size : int
        Height and width in pixels, at least 32.
    seed : int
        Seed of the set. A sample depends on the seed, the size and its index, not on the count. A larger share spoils
        more maps and does not change the scenes.
    spoilt_share : float
        Probability in [0, 1] that a depth map is spoilt.
    first : int
        Index of the first sample, so that a test set can follow a training set.

    Returns
    -------
    list of Sample
        With ``Sample.spoilt`` naming the kind, or None for a clean depth map.

    Raises
    ------
    TypeError, ValueError
        If a setting has the wrong type or is out of range.

    Examples
    --------
    >>> samples = synthetic_rgbd(20, size=32, seed=1, spoilt_share=0.5)
    >>> samples[0].image.shape, sum(sample.spoilt is not None for sample in samples)
    ((32, 32, 3), 8)
    """
    for name, value, low in (("count", count, 1), ("size", size, 32), ("seed", seed, 0), ("first", first, 0)):
        check_whole(name, value, low=low)
    check_number("spoilt_share", spoilt_share, low=0, high=1)
    return [_sample(index, size, seed, spoilt_share) for index in range(first, first + count)]


def _sample(index: int, size: int, seed: int, spoilt_share: float) -> Sample:
    rng, spoiler = np.random.default_rng([seed, index]), np.random.default_rng([seed, index, 1])
    ground = rng.uniform(0.2, 0.8, 3)
    things = _things(rng, size, ground)
    image = _image(rng, ground, things)
    floor, nearness = _floor(rng, size), _nearness(rng, len(things))
    spoilt = SPOILT_KINDS[spoiler.integers(len(SPOILT_KINDS))] if spoiler.random() < spoilt_share else None
    if spoilt == "dominated":
        nearness[[0, 1]] = nearness[[1, 0]]
    depth = _depth(floor, things, nearness)
    if spoilt == "low_contrast":
        depth = _low_contrast(spoiler, depth, floor)
    if spoilt == "distorted":
        depth = _distorted(spoiler, depth)
    sensed = rng.uniform(0, 0.1) + rng.uniform(0.6, 1.1) * depth + 0.015 * rng.standard_normal(depth.shape)
    sensed = np.clip(_ndimage().gaussian_filter(sensed, 0.6), 0, 1).astype(np.float32)
    return Sample(f"{index:05d}", image, sensed, things[0].mask, spoilt)


def _things(rng: Generator, size: int, ground: Map) -> list[_Thing]:
    """Objects of one scene, the salient one first."""
    things = []
    for rank, (cy, cx) in enumerate(_centres(rng, int(rng.integers(3, 5)))):
        salient = rank == 0
        radius = rng.uniform(0.13, 0.21) if salient else rng.uniform(0.10, 0.19)
        reach = _reach(rng, size, cy, cx) / radius
        contrast = rng.uniform(0.55, 1.0) if salient else rng.uniform(0.35, 0.9)
        colour = _texture(rng, size, _contrasting(rng, ground, contrast))
        things.append(_Thing(reach < 1, colour, 0.08 * np.clip(1 - reach**2, 0, 1)))
    return things


def _centres(rng: Generator, count: int) -> list[Map]:
    """Centres of the objects, apart from each other where that is possible. The first is rather central."""
    centres = [np.clip(rng.normal(0.5, 0.17, 2), 0.2, 0.8)]
    while len(centres) < count:
        centre = rng.uniform(0.08, 0.92, 2)
        if min(np.hypot(*(centre - other)) for other in centres) > 0.27 or rng.random() < 0.02:
            centres.append(centre)
    return centres


def _reach(rng: Generator, size: int, cy: float, cx: float) -> Map:
    """Distance from a centre in units of the outline of a random shape, a lobed and rotated superellipse."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    turn, aspect, power = rng.uniform(0, np.pi), rng.uniform(0.7, 1), rng.choice([1.5, 2, 4])
    u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
    v = ((y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)) / aspect
    lobes = rng.uniform(0, 0.2) * np.cos(rng.integers(2, 6) * np.arctan2(v, u) + rng.uniform(0, 2 * np.pi))
    reach: Map = (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) / (1 + lobes)
    return reach


def _contrasting(rng: Generator, ground: Map, contrast: float) -> Map:
    """Return a random colour at a given distance from the background's."""
    while True:
        way = rng.normal(size=3)
        colour: Map = ground + 0.45 * contrast * way / np.linalg.norm(way)
        if np.all((colour > 0.1) & (colour < 0.9)):
            return colour


def _texture(rng: Generator, size: int, base: Map) -> Map:
    """Return a surface (size, size, 3) of a colour, mottled at a coarse and a fine scale."""
    coarse, fine = _noise(rng, size, int(rng.integers(3, 8))), _noise(rng, size, int(rng.integers(12, 24)))
    mottle = (0.6 * coarse + 0.4 * fine)[..., None] * (0.7 + 0.3 * rng.normal(size=3))
    texture: Map = base + 0.09 * mottle
    return texture


def _noise(rng: Generator, size: int, bumps: int) -> Map:
    """Return smooth noise of mean 0 and variance 1, with about ``bumps`` bumps across."""
    spline = _spline(size, bumps)
    field = spline @ rng.standard_normal((bumps + 3, bumps + 3)) @ spline.T
    noise: Map = (field - field.mean()) / field.std()
    return noise


@cache
def _spline(size: int, cells: int) -> Map:
    """Cubic B-spline weights (size, cells + 3), which interpolate a coarse grid along one axis."""
    position = (np.arange(size) + 0.5) / size * cells
    away = np.abs(position[:, None] + 1 - np.arange(cells + 3))
    near, far = (4 - 6 * away**2 + 3 * away**3) / 6, np.clip(2 - away, 0, None) ** 3 / 6
    return np.where(away < 1, near, far)


def _image(rng: Generator, ground: Map, things: list[_Thing]) -> NDArray[np.uint8]:
    image = _texture(rng, len(things[0].mask), ground)
    for thing in reversed(things):
        image[thing.mask] = thing.colour[thing.mask]
    image = _ndimage().gaussian_filter(image, (0.6, 0.6, 0)) + 0.02 * rng.standard_normal(image.shape)
    levels: NDArray[np.uint8] = (255 * np.clip(image, 0, 1)).astype(np.uint8)
    return levels


def _floor(rng: Generator, size: int) -> Map:
    """Nearness of what is behind the objects: a slanted wall, and a floor that rises to the lower edge."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    wall = rng.uniform(0.05, 0.2) + rng.normal(0, 0.1) * (x - 0.5)
    horizon, rise = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.9)
    floor: Map = np.clip(wall + rise * np.clip(y - horizon, 0, None), 0, 1)
    return floor


def _nearness(rng: Generator, count: int) -> Map:
    """Nearness of each object, from near to far. The salient one is nearer than the others by a margin."""
    others = np.sort(rng.uniform(0.25, 0.6, count - 1))[::-1]
    return np.array([others[0] + rng.uniform(0.06, 0.25), *others])


def _depth(floor: Map, things: list[_Thing], nearness: Map) -> Map:
    depth = floor.copy()
    for rank in np.argsort(nearness):
        mask, _, relief = things[rank]
        depth[mask] = nearness[rank] + relief[mask]
    return depth


def _low_contrast(rng: Generator, depth: Map, floor: Map) -> Map:
    size = len(depth)
    faded: Map = floor + rng.uniform(0, 0.15) * (depth - floor)
    return faded + 0.05 * _noise(rng, size, 10) + 0.04 * rng.standard_normal(depth.shape)


def _distorted(rng: Generator, depth: Map) -> Map:
    size = len(depth)
    way, shift = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.2)
    y, x = np.mgrid[:size, :size].astype(np.float64)
    y += size * (shift * np.sin(way) + 0.04 * _noise(rng, size, 3))
    x += size * (shift * np.cos(way) + 0.04 * _noise(rng, size, 3))
    warped: Map = _ndimage().map_coordinates(depth, [y, x], order=1, mode="nearest")
    warped[_noise(rng, size, 6) > 1] = 0
    return warped


def _ndimage() -> Any:
    """Return SciPy's image filters, imported late because reading folders does not need them."""
    from scipy import ndimage

    return ndimage
