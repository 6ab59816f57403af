"""Reading image files, with one clear line for a file that is missing, empty, truncated or no image."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynamic_kd._extras import require
from dynamic_kd.data._image_header import check_header, essential

if TYPE_CHECKING:
    from numpy.typing import NDArray

# OpenCV's IMREAD_* flags, written out so that importing this module does not import OpenCV.
_GRAY, _COLOUR, _ANY_DEPTH, _IGNORE_ORIENTATION = 0, 1, 2, 128


def read_gray(path: str | Path) -> NDArray[np.uint8]:
    """Read a mask or a saliency map as 8-bit levels.

    One-bit images become 0 and 255, colour images their luma, 16-bit images their high byte; these are
    OpenCV's own conversions, so the numbers are those of ``cv2.imread(path, cv2.IMREAD_GRAYSCALE)``.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, BMP, TIFF or WebP file. Its content decides the format, not its suffix.

    Returns
    -------
    ndarray
        Shape (H, W), uint8, 0 to 255.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or not an image, if it declares more than 2**27 pixels, if it
        holds floats, or if it is a 16-bit image whose values all lie in 0 to 255, of which the high byte would
        keep nothing.

    Notes
    -----
    What declares its size and its parts wrongly is refused before it is decoded, and of a PNG also what differs from
    its checksums. JPEG, BMP, TIFF and WebP have none: damage within their pixels reads as other pixels.
    """
    return gray_levels(file_content(path), path)


def gray_levels(content: bytes, path: str | Path) -> NDArray[np.uint8]:
    """Decode a mask or a saliency map, as `read_gray`, from its file's bytes; errors name the path."""
    image = _decode(content, path, _GRAY | _ANY_DEPTH | _IGNORE_ORIENTATION)
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise ValueError(f"{path}: expected an 8-bit or 16-bit image, got {image.dtype}; save it with 8 bits")
    if 0 < image.max() <= 255:
        raise ValueError(
            f"{path}: expected 16-bit values up to 65535, got a maximum of {image.max()}; save it with 8 bits"
        )
    return (image >> 8).astype(np.uint8)


def read_rgb(path: str | Path) -> NDArray[np.uint8]:
    """Read a colour image as (H, W, 3) uint8, in the order red, green, blue; grey images are repeated.

    Raises
    ------
    ValueError
        If the file is missing, empty, truncated or not an image, or if it declares more than 2**27 pixels.
    """
    return rgb_levels(file_content(path), path)


def rgb_levels(content: bytes, path: str | Path) -> NDArray[np.uint8]:
    """Decode a colour image, as `read_rgb`, from its file's bytes; errors name the path."""
    return np.ascontiguousarray(_decode(content, path, _COLOUR | _IGNORE_ORIENTATION)[..., ::-1])


def read_depth(path: str | Path) -> NDArray[np.float32]:
    """Read a depth map of 8, 16 or 32 bits and stretch it to [0, 1], with the polarity it is stored with.

    Sensors share no unit, so each map is stretched from its minimum and maximum; a constant one becomes 0.

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
    return stretched(depth_levels(file_content(path), path))


def depth_levels(content: bytes, path: str | Path) -> NDArray[Any]:
    """Decode a depth map from its file's bytes, with the values it is stored with."""
    depth = _decode(content, path, _GRAY | _ANY_DEPTH | _IGNORE_ORIENTATION)
    if not np.isfinite(depth).all():
        raise ValueError(f"{path}: expected finite depth values, got NaN or infinities; fill the holes first")
    return depth


def stretched(depth: NDArray[Any]) -> NDArray[np.float32]:
    """Stretch values to [0, 1] from their minimum and maximum; all alike become 0."""
    low, high = float(depth.min()), float(depth.max())
    return np.asarray((depth.astype(np.float64) - low) / ((high - low) or 1), dtype=np.float32)


def file_content(path: str | Path) -> bytes:
    """Return the bytes of an image file.

    Raises
    ------
    ValueError
        If the file is missing or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: expected an image file, got no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: expected a readable image file, got: {error.strerror}") from None


def _decode(content: bytes, path: str | Path, flags: int) -> NDArray[Any]:
    if not content:
        raise ValueError(f"{path}: expected an image file, got an empty one")
    cv2 = opencv()
    width, height = check_header(content, path)
    with _silenced(cv2):
        try:
            image = cv2.imdecode(np.frombuffer(essential(content), np.uint8), flags)
        except cv2.error:
            image = None
    if image is None or image.shape[:2] != (height, width):
        raise ValueError(f"{path}: expected an image OpenCV can read, got a truncated or mislabelled file")
    return np.asarray(image)


class _Silence:
    """OpenCV's log level, which all threads share: what it was, and how many want it to be silent."""

    lock = threading.Lock()
    wanted = 0
    before = 0


@contextmanager
def _silenced(cv2: Any) -> Iterator[None]:
    """Keep OpenCV from writing on the standard error what an exception is about to say with the file's name."""
    log = getattr(cv2.utils, "logging", cv2)  # where OpenCV 4.12 and older keep it
    with _Silence.lock:
        if not _Silence.wanted:
            _Silence.before = log.setLogLevel(0)
        _Silence.wanted += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.wanted -= 1
            if not _Silence.wanted:
                log.setLogLevel(_Silence.before)


def opencv() -> Any:
    """Return OpenCV, or say how to get it."""
    require("cv2", extra="eval")
    import cv2

    return cv2
