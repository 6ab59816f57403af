"""Image files, and NumPy's files of maps, as arrays, with one clear error for a file that cannot be used."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._array import unit_tolerance
from dynamic_kd._checks import digits
from dynamic_kd._extras import opencv
from dynamic_kd._files import read_whole
from dynamic_kd.data._array_file import is_array_file, read_array
from dynamic_kd.data._image_header import as_indexes, check_header, essential, has_alpha, stored_as, white_is_zero

if TYPE_CHECKING:
    from numpy.typing import NDArray

# OpenCV's IMREAD_* flags, written out so that importing this module does not import OpenCV.
_GRAY, _COLOUR, _ANY_DEPTH, _COLOUR_EIGHTH, _IGNORE_ORIENTATION, _UNCHANGED = 0, 1, 2, 65, 128, -1
# Mean range of a pixel's channels in levels. Grey maps saved as colour JPEG stay far below.
_COLOURFUL = 8


class Pixels(NamedTuple):
    """The pixels of an image file as they are stored, before it is decided what they mean.

    Attributes
    ----------
    values : ndarray
        Shape (H, W), in the file's own dtype: grey levels, or the indexes of a palette. Shape (H, W, 3), red, green,
        blue, for a file whose channels differ.
    palette : ndarray or None
        The colours of the indexes, shape (n, 3), uint8; None for a file without a palette.
    alpha : ndarray or None
        The alpha channel, shape (H, W); None for a file without one.
    stored : str
        Format and bits, as `stored_as` returns them.
    """

    values: NDArray[Any]
    palette: NDArray[np.uint8] | None
    alpha: NDArray[Any] | None
    stored: str


def stored_pixels(path: str | Path, content: bytes | None = None) -> Pixels:
    """Read the pixels of an image file without giving any up: no bits, no index and no channel.

    JPEG files give their luma. Raises as `read_gray`, but for dtypes and values.
    """
    if content is None:
        content = read_whole(path, "an image file")
    stored = stored_as(content)
    if ("grey" in stored and "alpha" not in stored) or stored == "JPEG":  # nearly all masks
        return Pixels(_decoded(path, content, _GRAY | _ANY_DEPTH), None, None, stored)
    if content:
        check_header(content, path)
    if (indexed := as_indexes(content)) is not None:
        levels = _decoded(path, indexed.content, _GRAY | _ANY_DEPTH)
        palette = np.array(indexed.palette, np.uint8).reshape(-1, 3)
        return Pixels(levels // indexed.scale if indexed.scale > 1 else levels, palette, None, stored)
    image = _decoded(path, content, _UNCHANGED)
    if image.ndim == 2:
        if has_alpha(content):  # OpenCV drops that of a grey TIFF
            raise ValueError(f"{path}: the alpha channel of a grey TIFF cannot be read; save it as PNG")
        return Pixels(image, None, None, stored)
    alpha = np.ascontiguousarray(image[..., 3]) if image.shape[2] == 4 else None
    blue, green, red = opencv().split(image)[:3]
    if np.array_equal(blue, green) and np.array_equal(green, red):
        return Pixels(blue, None, alpha, stored)
    return Pixels(np.ascontiguousarray(image[..., 2::-1]), None, alpha, stored)


def chosen_channel(path: str | Path, pixels: Pixels, channel: str) -> NDArray[Any]:
    """Return the values of a file's pixels, or its alpha channel.

    With ``channel="alpha"`` that is the alpha channel, unless it is constant and the others are not; with ``"grey"`` it
    never is. With ``"auto"``, an alpha channel with content of its own is an error.
    """
    alpha, values = pixels.alpha, pixels.values
    if alpha is None or channel == "grey":
        return values
    constant, varies = bool(values.min() == values.max()), bool(alpha.min() < alpha.max())
    if channel == "alpha":
        return alpha if varies or constant else values
    if varies and constant:
        raise ValueError(
            f"{path}: the content is in the alpha channel, everything else is constant; "
            'say --channel alpha (channel="alpha") to read that'
        )
    if varies and (values.ndim == 3 or not np.array_equal(values > 0, alpha > 0)):
        raise ValueError(
            f"{path}: the alpha channel and the levels differ, and both could be the content; say "
            '--channel alpha (channel="alpha") or --channel grey (channel="grey")'
        )
    return values


def read_gray(
    path: str | Path, content: bytes | None = None, *, top: int | None = None, channel: str = "auto"
) -> NDArray[np.uint8] | NDArray[np.float64]:
    """Read a saliency map with all of its digits.

    The file's own depth decides which integer stands for 1: 255 for 8 bits, 65535 for 16. One-bit images and arrays of
    booleans become 0 and 255, colour images their luma.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, BMP, TIFF or WebP image, or a ``.npy`` or ``.npz`` file with one array of shape (H, W): booleans,
        uint8, uint16, or floating values in [0, 1]. Its content decides the format, not its suffix.
    content : bytes, optional
        The file's content, if it has been read already. The path then only names the file in errors.
    top : {1, 255}, optional
        The integer that stands for 1 instead; see `top_of_maps`.
    channel : {"auto", "grey", "alpha"}
        What holds the map. By default that is not the alpha channel, and one with content of its own is an error.

    Returns
    -------
    ndarray
        Shape (H, W). Levels from 0 to 255, uint8, of files with 8 bits, and with 16 bits whose low bytes add nothing
        (all 0, or equal to the high ones); for 8-bit images these are those of ``cv2.imread(path,
        cv2.IMREAD_GRAYSCALE)``. Other files give values in [0, 1], float64.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or neither an image nor one array, if it declares more than 2**27
        pixels, or if its values are of another dtype, not finite, or beyond [0, 1] by more than rounding (four units in
        the last place of their dtype).

    Notes
    -----
    A file whose size or parts contradict its header is refused before it is decoded, and so is a PNG whose checksums
    do not match. JPEG, BMP, TIFF and WebP have no checksums: damage within their pixels reads as other pixels.
    """
    image = _stored_map(path, content, channel)
    if image.dtype == np.bool_:
        return image * np.uint8(255)
    if top is not None and image.dtype.kind == "u":
        return (image * (255 // top)).astype(np.uint8)
    if image.dtype == np.uint8:
        return image
    if image.dtype == np.uint16:
        return _of_16_bits(image)
    if image.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected a map of 8 or 16 bits or of floating values in [0, 1], got {image.dtype}; save it as "
            "uint8 (0 to 255) or as floats"
        )
    return _probabilities(path, image)


def top_of_maps(paths: Iterable[Path]) -> int | None:
    """Return which integer stands for 1 in a folder of maps; None if that is the largest of each file's depth.

    A single map can be dark, so the folder decides: 1 if all of its maps hold 0 and 1, and 255 if all have 16 bits and
    hold 0 to 255. Files are decoded up to the first one that decides, which usually is the first.
    """
    tops: dict[str, int] = {}
    for path in paths:
        image = _stored_map(path, None, "grey")
        top, most = int(image.max()), {"uint8": 1, "uint16": 255}.get(image.dtype.name, 0)
        if top > most or not most:
            return None
        tops[image.dtype.name] = max(top, tops.get(image.dtype.name, 0))
    largest = max(tops.values(), default=0)
    if largest == 1:
        return 1
    return 255 if largest > 1 and "uint8" not in tops else None


def _stored_map(path: str | Path, content: bytes | None, channel: str) -> NDArray[Any]:
    if content is None:
        content = read_whole(path, "an image file")
    if is_array_file(content):
        return read_array(path, content)
    grey = _decoded(path, content, _GRAY | _ANY_DEPTH)
    if channel != "grey" and has_alpha(content):
        pixels = stored_pixels(path, content)
        chosen = chosen_channel(path, pixels, channel)
        return grey if chosen is pixels.values else chosen
    return grey


def as_probabilities(saliency: NDArray[Any]) -> NDArray[np.float32]:
    """Return what `read_gray` returned as values in [0, 1]."""
    values: NDArray[np.float32] = saliency.astype(np.float32)
    return values / np.float32(255) if saliency.dtype == np.uint8 else values


def _of_16_bits(image: NDArray[np.uint16]) -> NDArray[np.uint8] | NDArray[np.float64]:
    high, low = image >> 8, image & 255
    if not low.any() or np.array_equal(low, high):
        return high.astype(np.uint8)
    return image / 65535


def _probabilities(path: str | Path, values: NDArray[Any]) -> NDArray[np.float64]:
    low, high, tolerance = float(values.min()), float(values.max()), unit_tolerance(np, values.dtype)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: expected finite values in [0, 1], got NaN or infinity")
    if low < -tolerance or high > 1 + tolerance:
        raise ValueError(
            f"{path}: expected floating values in [0, 1], got {digits(low, 0, 1)} to {digits(high, 0, 1)}; divide maps "
            "of 0 to 255 by 255 or save them as uint8, apply the sigmoid to logits"
        )
    return values.astype(np.float64).clip(0, 1)


def read_rgb(path: str | Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Read a colour image as (H, W, 3) uint8, in the order red, green, blue. Grey images are repeated.

    Parameters
    ----------
    path, content
        As for `read_gray`.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or not an image, or if it declares more than 2**27 pixels.
    """
    return np.ascontiguousarray(_decoded(path, content, _COLOUR)[..., ::-1])


def read_depth(path: str | Path, content: bytes | None = None) -> NDArray[np.float32]:
    """Read a depth map of 8, 16 or 32 bits and stretch it to [0, 1], with the polarity it is stored with.

    Sensors have no common unit, so each map is stretched from its own minimum and maximum. A constant map becomes 0.

    Parameters
    ----------
    path, content
        As for `read_gray`.

    Returns
    -------
    ndarray
        Shape (H, W), float32, 0 to 1.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or not an image, if it declares more than 2**27 pixels, or if it
        holds NaN or infinities.
    """
    depth = stored_depth(path, content)
    low, high = float(depth.min()), float(depth.max())
    return np.asarray((depth.astype(np.float64) - low) / ((high - low) or 1), dtype=np.float32)


def stored_depth(path: str | Path, content: bytes | None = None) -> NDArray[Any]:
    """Read a depth map as `read_depth`, with the values it is stored with."""
    depth = _decoded(path, content, _GRAY | _ANY_DEPTH)
    if not np.isfinite(depth).all():
        raise ValueError(f"{path}: expected finite depth values, got NaN or infinities; fill the holes first")
    return depth


def is_colour(content: bytes) -> bool:
    """Whether an image file holds colours, of which `read_gray` and `read_depth` keep the luma alone.

    Parameters
    ----------
    content : bytes
        A file that decodes. The first bytes of a grey PNG settle it; other files are decoded at an eighth of their
        size, which is fast for JPEG.
    """
    if is_array_file(content) or "grey" in stored_as(content):
        return False
    for flags in (_COLOUR_EIGHTH, _COLOUR):  # images of a few pixels have no eighth
        image = _imdecode(content, flags)
        if image is not None:
            return float(np.ptp(np.asarray(image, np.int16), axis=2).mean()) > _COLOURFUL
    return False  # floating values, of which OpenCV reads a single channel only


def _decoded(path: str | Path, content: bytes | None, flags: int) -> NDArray[Any]:
    if content is None:
        content = read_whole(path, "an image file")
    if not content:
        raise ValueError(f"{path}: expected an image file, got an empty one")
    opencv()  # first, because without it nothing that the file holds matters
    width, height = check_header(content, path)
    image = _imdecode(content, flags | _IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != (height, width):
        raise ValueError(f"{path}: expected an image OpenCV can read, got a truncated or mislabelled file")
    if image.dtype != np.uint8 and white_is_zero(content):
        if image.dtype != np.uint16:
            raise ValueError(f"{path}: the TIFF stores white as 0 in {image.dtype}; save it with black as 0")
        return np.asarray(65535 - image)
    return image


def _imdecode(content: bytes, flags: int) -> NDArray[Any] | None:
    """Return what OpenCV decodes, or None if it cannot."""
    cv2 = opencv()
    with _silenced(cv2):
        try:
            image = cv2.imdecode(np.frombuffer(essential(content), np.uint8), flags)
        except cv2.error:
            return None
    return None if image is None else np.asarray(image)


class _Silence:
    """OpenCV's log level, which all threads share: its value before, and how many threads keep it silent."""

    lock = threading.Lock()
    threads = 0
    before = 0


@contextmanager
def _silenced(cv2: Any) -> Iterator[None]:
    """Keep OpenCV from printing what an exception reports with the file's name."""
    log = getattr(cv2.utils, "logging", cv2)  # OpenCV 4.12 and older
    with _Silence.lock:
        if not _Silence.threads:
            _Silence.before = log.setLogLevel(0)
        _Silence.threads += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.threads -= 1
            if not _Silence.threads:
                log.setLogLevel(_Silence.before)
