"""What is near in depth files: bright or dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from dynamic_kd.data._images import read_depth

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dynamic_kd.data._sources import DataFolder

LOOKED_AT = 50
"""How many files of a data set say what is to be known of all."""
_SURE = 0.75
# A smaller rise is rounding.
_NOTHING = 1e-6

Item = TypeVar("Item")


@dataclass(frozen=True)
class Polarity:
    """What is near in the depth files of a data set, and what speaks for it.

    Attributes
    ----------
    near : str
        ``"bright"`` or ``"dark"``.
    agreeing, maps : int
        How many depth maps say so, of those looked at; flat ones say nothing.
    sure : bool
        Whether three quarters of them say so.
    """

    near: str
    agreeing: int
    maps: int
    sure: bool


def depth_polarity(depths: Iterable[NDArray[np.float32]]) -> Polarity:
    """Tell whether near is bright or dark in the depth maps of one data set.

    What a picture shows at its top is mostly farther away than what it shows in the middle and below. So if the top
    quarter is the darker in the median over the maps, near is bright. Masks are not looked at.

    Parameters
    ----------
    depths : iterable of ndarray
        Depth maps, each of shape (H, W).

    Returns
    -------
    Polarity
        Bright, without being sure, if the maps tell nothing.

    Examples
    --------
    >>> import numpy as np
    >>> depth_polarity([np.array([[0.9], [0.5], [0.1]])])
    Polarity(near='dark', agreeing=1, maps=1, sure=True)
    """
    telling = [value for value in map(_rise, depths) if abs(value) > _NOTHING]
    bright = not telling or bool(np.median(telling) >= 0)
    agreeing = sum((value > 0) == bright for value in telling)
    sure = bool(telling) and agreeing >= _SURE * len(telling)
    return Polarity("bright" if bright else "dark", agreeing, len(telling), sure)


def polarity_of_files(paths: Sequence[Path]) -> Polarity:
    """Tell the polarity of depth files by fifty of them at most, evenly spread; unreadable ones tell nothing."""
    depths = (_readable(path) for path in spread(paths))
    return depth_polarity(depth for depth in depths if depth is not None)


def doubt(polarity: Polarity) -> str | None:
    """Say that a decision is not sure, and what to do about it; None where it is."""
    if polarity.sure:
        return None
    agree = f"only {polarity.agreeing} of {polarity.maps} depth maps say so"
    return f"near seems {polarity.near}, but {agree}: look at some, and say which it is by near"


def decide_near(folders: Iterable[DataFolder]) -> list[DataFolder]:
    """Decide ``near="auto"`` for each data set by `depth_polarity` of its depth maps, of fifty at most.

    The fifty are spread evenly over all depth files that lie in the data set's folder, whichever of them a list file
    names: training and validation lists of one data set get one answer. A doubtful answer is noted. A set without depth
    is left as it is.
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
    """Return so many of the items, evenly spaced; all if there are fewer."""
    step = max(1, len(items) / count)
    return [items[int(index * step)] for index in range(min(count, len(items)))]


def _readable(path: Path) -> NDArray[np.float32] | None:
    try:
        return read_depth(path)
    except ValueError:  # whoever needs it will say so
        return None


def _rise(depth: NDArray[np.float32]) -> float:
    """Return how much brighter the lower three quarters are than the top quarter."""
    quarter = -(-len(depth) // 4)
    return float(depth[quarter:].mean() - depth[:quarter].mean()) if len(depth) > 1 else 0.0
