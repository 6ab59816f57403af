"""Masks as files: the pixels that say what is salient, whatever the file's colours, palette and channels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._mask import COLOUR, SALIENT_ABOVE, Levels, interpreted, meaning
from dynamic_kd.data._images import Pixels, chosen_channel, stored_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Channels of a pixel that differ by no more are noise of a lossy format; no label's colour is as grey.
_COLOURLESS = 8
_LOSSY = ("JPEG", "WebP")


class Mask(NamedTuple):
    """A mask that was read.

    Attributes
    ----------
    values : ndarray
        Shape (H, W), uint8: more than 128 is salient. Grey edges keep their levels.
    valid : ndarray or None
        Shape (H, W), bool: False where the mask is void. None if it is nowhere void.
    found : Levels
        The levels that the file holds.
    stored : str
        Format and bits of the file.
    """

    values: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None
    found: Levels
    stored: str

    @property
    def salient(self) -> NDArray[np.bool_]:
        """Which pixels are salient, shape (H, W), bool."""
        return np.asarray(self.values > SALIENT_ABOVE)


def read_mask(
    path: str | Path, content: bytes | None = None, *, salient: Any = None, void: Any = None, channel: str = "auto"
) -> Mask:
    """Read a mask: binary by any two levels, 0 and 255 with grey edges, or with chosen levels.

    What the levels mean is decided for a data set, not for a file: `check_data`, `read_samples` and the functions that
    score folders raise if it is unclear. This function does not.

    Parameters
    ----------
    path, content
        As for `read_gray`.
    salient : int, sequence of int or str, optional
        The salient levels: ``1``, ``[1, 15]``, ``range(129, 256)``, ``"1,15"``, ``"129-255"`` or a colour
        (``"#800000"``). By default the only level beside 0, or what is above 128 in masks with grey edges. The levels
        of a palette in colours are its indexes.
    void : int, sequence of int or str, optional
        Levels that are not labelled.
    channel : {"auto", "grey", "alpha"}
        What holds the mask. By default that is not the alpha channel, and one with content of its own is an error.

    Returns
    -------
    Mask

    Raises
    ------
    ValueError
        As `read_gray`; if the file holds floats, or if it is unclear whether its alpha channel is the mask.
    """
    wanted = meaning(salient, void, channel)
    pixels = stored_pixels(path, content)
    values = _levels(path, pixels, channel)
    if values.dtype.kind == "f":
        raise ValueError(f"{path}: expected a mask of whole numbers, got {values.dtype}; save it with 8 bits")
    return Mask(*interpreted(values, wanted, lossy=pixels.stored in _LOSSY), pixels.stored)


def _levels(path: str | Path, pixels: Pixels, channel: str) -> NDArray[Any]:
    """Return the levels of the channel that holds the mask."""
    values = chosen_channel(path, pixels, channel)
    if pixels.palette is not None:
        return _of_palette(path, values, pixels.palette, channel)
    return values if values.ndim == 2 else _of_colours(path, values)


def _of_palette(path: str | Path, indexes: NDArray[Any], palette: NDArray[np.uint8], channel: str) -> NDArray[Any]:
    """Return the indexes of a palette with colours, which are labels; of a grey palette, the grey levels."""
    there = np.flatnonzero(np.bincount(indexes.ravel(), minlength=len(palette)))
    if there[-1] >= len(palette):
        raise ValueError(f"{path}: expected indexes below the {len(palette)} of the palette, got {there[-1]}")
    colours = palette[there] if channel == "grey" else palette
    if not np.array_equal(colours.min(axis=1), colours.max(axis=1)):
        return indexes
    grey = palette[:, 0]
    if channel == "auto" and len(there) > 1 and not (np.diff(grey[there].astype(int)) > 0).all():
        listed = ", ".join(f"{index}: {grey[index]}" for index in there[:8])
        raise ValueError(
            f"{path}: the indexes of the palette and its greys have another order ({listed}); say --channel grey "
            '(channel="grey") for masks that look right, or save the indexes as grey levels'
        )
    return np.asarray(grey[indexes])


def _of_colours(path: str | Path, image: NDArray[Any]) -> NDArray[Any]:
    """Return each colour as a level of its own; greys as grey levels, also with a lossy format's noise."""
    spread = image.max(axis=2) - image.min(axis=2)
    if spread.max() <= _COLOURLESS:
        return np.asarray(image[..., 1])
    if image.dtype != np.uint8:
        raise ValueError(f"{path}: expected a mask in grey or in 8-bit colours, got {image.dtype} colours")
    packed = np.dot(image.astype(np.int64), (1 << 16, 1 << 8, 1))
    return np.asarray(np.where(spread == 0, image[..., 1], COLOUR | packed))
