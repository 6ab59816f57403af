"""One sample: what every data source hands over and all training code takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """An image with its mask and, where there are, its depth map and a teacher's map.

    Attributes
    ----------
    name : str
        Unique within a data set; used as file stem.
    image : ndarray
        Shape (H, W, 3), uint8, red, green, blue.
    depth : ndarray or None
        Shape (H, W), float32 in [0, 1], near = bright; None in sets of colour images alone.
    mask : ndarray
        Shape (H, W), bool, True where salient.
    spoilt : str or None
        How the depth map was spoilt, where that is known and it was (see `synthetic_rgbd`); training never sees it.
    teacher : ndarray or None
        A teacher's saliency map, shape (H, W), float32 in [0, 1].
    """

    name: str
    image: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    mask: NDArray[np.bool_]
    spoilt: str | None = None
    teacher: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_array(self.name, "image", self.image, 3, np.uint8)
        _check_array(self.name, "mask", self.mask, 2, np.bool_)
        maps = {"depth": self.depth, "teacher": self.teacher}
        for field, values in maps.items():
            if values is not None:
                _check_array(self.name, field, values, 2, np.float32)
        shapes = {"image": self.image.shape, "mask": self.mask.shape}
        shapes |= {field: values.shape for field, values in maps.items() if values is not None}
        if len({shape[:2] for shape in shapes.values()}) > 1 or self.image.shape[2] != 3:
            raise ValueError(
                f"sample {self.name}: expected image (H, W, 3), and depth, mask and teacher's map (H, W), "
                f"got {', '.join(f'{field} {shape}' for field, shape in shapes.items())}; resize them to one size"
            )


def _check_array(sample: str, field: str, array: Any, ndim: int, dtype: type) -> None:
    if not isinstance(array, np.ndarray) or array.ndim != ndim or array.dtype != dtype:
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"sample {sample}: expected {field} as {np.dtype(dtype)} with {ndim} axes, got {got}")
