"""Saliency maps in NumPy's files: one array in a ``.npy`` file, or in an ``.npz`` archive."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dynamic_kd.data._image_header import MOST_PIXELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAY_SUFFIXES = (".npy", ".npz")
_NPY, _ZIP = b"\x93NUMPY", b"PK"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What NumPy and zipfile raise for files that are cut off or damaged.
_DAMAGED = (
    EOFError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class _UnfitError(Exception):
    """A file that is whole, but does not hold one map."""


def is_array_file(content: bytes) -> bool:
    """Whether these are the bytes of a ``.npy`` or ``.npz`` file."""
    return content.startswith((_NPY, _ZIP))


def read_array(path: str | Path, content: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` or ``.npz`` file, shape (H, W), without leading and trailing axes of length 1.

    Raises
    ------
    ValueError
        If the file is damaged, or if it does not hold one array of numbers of shape (H, W) and at most `MOST_PIXELS`.
    """
    try:
        if content.startswith(_NPY):
            return _map_in(io.BytesIO(content))
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        with loaded as archive, archive.zip.open(_only_name(archive.zip)) as file:  # a file, whose header comes first
            return _map_in(file)
    except _UnfitError as error:
        raise ValueError(f"{path}: {error}") from None
    except _DAMAGED:
        raise ValueError(
            f"{path}: expected a whole NumPy file, got a truncated or damaged one; save it again"
        ) from None


def _only_name(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    if len(names) != 1:
        listed = ", ".join(name.removesuffix(".npy") for name in names[:5])
        raise _UnfitError(f"expected one array, got {len(names)} ({listed}); save each map in a file of its own")
    return names[0]


def _map_in(file: IO[bytes]) -> NDArray[Any]:
    read_header = _HEADERS.get(np.lib.format.read_magic(file))  # type: ignore[no-untyped-call]
    shape, _, dtype = read_header(file) if read_header else ((), False, np.dtype(object))  # type: ignore[no-untyped-call]
    if dtype.kind not in "biuf":
        kind = "Python objects" if dtype.hasobject else f"{dtype}"
        raise _UnfitError(f"expected an array of numbers, got {kind}; save uint8 levels, or floats in [0, 1]")
    inner: tuple[int, ...] = shape
    while len(inner) > 2 and inner[0] == 1:
        inner = inner[1:]
    while len(inner) > 2 and inner[-1] == 1:
        inner = inner[:-1]
    if len(inner) != 2 or not 0 < math.prod(inner) <= MOST_PIXELS:
        raise _UnfitError(
            f"expected one map of shape (H, W) and at most {MOST_PIXELS} pixels, got {shape}; save each map in a file "
            "of its own"
        )
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False).reshape(inner))  # type: ignore[no-untyped-call]
