"""Reading files with one clear error, and writing files that are complete or absent, also after a crash."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file under a temporary name beside its place, flush it to the disk and move it there.

    A reader finds the old file or the new one, never a part. Missing folders are made. A link stays a link, and what is
    not a file, such as ``/dev/stdout``, is written to directly.

    Raises
    ------
    OSError
        If the file cannot be written. The error names it, and no part of it is left.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            place = path.resolve()
            place.parent.mkdir(parents=True, exist_ok=True)
            _replace(place, content)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name that the caller passed


def _replace(place: Path, content: bytes) -> None:
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, place)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_whole(path: str | os.PathLike[str], what: str) -> bytes:
    """Return the bytes of a file that is named ``what`` in errors, such as "an image file".

    Raises
    ------
    ValueError
        If the file is missing or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise ValueError(f"{path}: expected {what}, got no such file") from None
    except OSError as error:
        raise ValueError(f"{path}: expected {what}, got an unreadable one: {error.strerror}") from None


def listing(names: list[str], most: int = 20) -> str:
    """Join names by commas; more than ``most`` are counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
