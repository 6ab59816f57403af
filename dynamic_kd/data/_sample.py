"""One RGB-D sample: what every data source hands over and all training code takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its depth map and its mask.

    Attributes
    ----------
    name : str
        Unique within a data set; used as file stem.
    image : ndarray
        Shape (H, W, 3), uint8, red, green, blue.
    depth : ndarray
        Shape (H, W), float32 in [0, 1], near = bright.
    mask : ndarray
        Shape (H, W), bool, True where salient.
    spoilt : str or None
        How the depth map was spoilt, where that is known and it was (see `synthetic_rgbd`); training never sees it.
    """

    name: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32]
    mask: NDArray[np.bool_]
    spoilt: str | None = None

    def __post_init__(self) -> None:
        _check_array(self.name, "image", self.image, 3, np.uint8)
        _check_array(self.name, "depth", self.depth, 2, np.float32)
        _check_array(self.name, "mask", self.mask, 2, np.bool_)
        shapes = {self.image.shape[:2], self.depth.shape, self.mask.shape}
        if len(shapes) > 1 or self.image.shape[2] != 3:
            raise ValueError(
                f"sample {self.name}: expected image (H, W, 3), depth (H, W) and mask (H, W), "
                f"got {self.image.shape}, {self.depth.shape} and {self.mask.shape}; resize them to one size"
            )


def _check_array(sample: str, field: str, array: Any, ndim: int, dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype != dtype:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"sample {sample}: expected {field} as {np.dtype(dtype)} with {ndim} axes, got {got}")
