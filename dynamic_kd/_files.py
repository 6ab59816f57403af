"""Writing files that are whole or not there, whatever happens meanwhile."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file beside its place, bring it to the disk and move it there; its folder is made if it is not there.

    Whoever looks finds the old file or the new one. A link stays one; what is no file, such as ``/dev/stdout``, is
    written to as it is.

    Raises
    ------
    OSError
        If it cannot be written; the error names the file, and nothing of it is left.
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
        raise OSError(error.errno, error.strerror, str(path)) from error  # the file that the caller knows


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
