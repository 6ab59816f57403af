"""Depth polarity: whether near is bright or dark in depth files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dynamic_kd.data._images import read_depth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dynamic_kd.data._find_data import DataFolder

LOOKED_AT = 50
"""How many files of a data set are decoded to judge all of them."""
_SURE = 0.75
# A smaller rise is rounding.
_FLAT = 1e-6

Item = TypeVar("Item")


@dataclass(frozen=True)
class Polarity:
    """What is near in the depth files of a data set, and how many of them agree.

    Attributes
    ----------
    near : str
        ``"bright"`` or ``"dark"``.
    agreeing, maps : int
        How many depth maps agree, and how many were decoded, without flat ones.
    sure : bool
        Whether three quarters of them agree.
    """

    near: str
    agreeing: int
    maps: int
    sure: bool


def depth_polarity(depths: Iterable[NDArray[np.float32]]) -> Polarity:
    """Decide whether near is bright or dark in the depth maps of one data set.

    The top of a picture mostly shows what is farther away than the middle and the bottom. So near is bright if the top
    quarter is darker than the rest, in the median over the maps. Masks are not used.

    Parameters
    ----------
    depths : iterable of ndarray
        Depth maps, each of shape (H, W).

    Returns
    -------
    Polarity
        Bright, and not sure, if all maps are flat.

    Examples
    --------
    >>> import numpy as np
    >>> depth_polarity([np.array([[0.9], [0.5], [0.1]])])
    Polarity(near='dark', agreeing=1, maps=1, sure=True)
    """
    telling = [value for value in map(_rise, depths) if abs(value) > _FLAT]
    bright = not telling or bool(np.median(telling) >= 0)
    agreeing = sum((value > 0) == bright for value in telling)
    sure = bool(telling) and agreeing >= _SURE * len(telling)
    return Polarity("bright" if bright else "dark", agreeing, len(telling), sure)


def polarity_of_files(paths: Sequence[Path]) -> Polarity:
    """Decide the polarity of depth files from at most fifty of them, evenly spread. Unreadable ones are skipped."""
    depths = (_readable(path) for path in spread(paths))
    return depth_polarity(depth for depth in depths if depth is not None)


def doubt(polarity: Polarity) -> str | None:
    """Return a warning if a decision is not sure, else None."""
    if polarity.sure:
        return None
    agree = f"only {polarity.agreeing} of {polarity.maps} depth maps agree"
    return f"near seems to be {polarity.near}, but {agree}; look at some of them and set near"


def decide_near(folders: Iterable[DataFolder]) -> list[DataFolder]:
    """Decide ``near="auto"`` for each data set from at most fifty of its depth maps.

    The top of a picture mostly shows what is farther away than the rest. So near is bright if the top quarter of the
    depth maps is darker than the rest, in the median over them. The fifty are spread evenly over all depth files in the
    data set's folder, also those that a list file leaves out: training and validation lists of one data set get one
    answer. If less than three quarters of the maps agree, a note says so. A set without depth stays as it is.
    """
    decided = []
    for folder in folders:
        depths = folder.depths or [files.depth for files in folder.files if files.depth]
        if folder.near == "auto" and depths and folder.has_depth:
            polarity = polarity_of_files(depths)
            doubtful = doubt(polarity)
            notes = (*folder.notes, *([f"{folder.root}: {doubtful}"] if doubtful else []))
            folder = replace(folder, near=polarity.near, notes=notes)
        decided.append(folder)
    return decided


def spread(items: Sequence[Item], count: int = LOOKED_AT) -> list[Item]:
    """Return up to ``count`` of the items, evenly spaced."""
    step = max(1, len(items) / count)
    return [items[int(index * step)] for index in range(min(count, len(items)))]


def _readable(path: Path) -> NDArray[np.float32] | None:
    try:
        return read_depth(path)
    except ValueError:  # reading the sample raises it again
        return None


def _rise(depth: NDArray[np.float32]) -> float:
    """Return how much brighter the lower three quarters are than the top quarter."""
    quarter = -(-len(depth) // 4)
    return float(depth[quarter:].mean() - depth[:quarter].mean()) if len(depth) > 1 else 0.0
