"""What a mask file means: which of its levels are salient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd.data._images import read_gray

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As in the metrics.
_SALIENT_ABOVE = 128


def read_mask(path: str | Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Read a mask as 8-bit levels, of which those above 128 are salient.

    Parameters
    ----------
    path, content
        As for `read_gray`.

    Returns
    -------
    ndarray
        Shape (H, W), uint8, 0 to 255, as the metrics take it.

    Raises
    ------
    ValueError
        As `read_gray`, and if the mask has levels above 0 but none above 128: it would read as empty.
    """
    levels = read_gray(path, content)
    if levels.any() and not salient(levels).any():
        raise ValueError(
            f"{path}: expected a mask whose salient level is over {_SALIENT_ABOVE}, got a maximum of {levels.max()}; "
            "save it with the levels 0 and 255"
        )
    return levels


def salient(levels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which pixels of a mask of levels from 0 to 255 are salient."""
    return np.asarray(levels > _SALIENT_ABOVE)
