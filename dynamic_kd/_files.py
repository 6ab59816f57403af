"""Reading files with one clear error, and writing files that are complete or absent, also after a crash."""

from __future__ import annotations

import codecs
import os
import secrets
import unicodedata
from collections.abc import Iterable
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


def printable(text: str) -> str:
    """Return a name as every file, terminal and figure can hold it.

    Bytes that are not UTF-8, which Python keeps as lone surrogates, and control characters become ``%E9``, which can be
    part of a file's name everywhere.
    """
    return text if text.isprintable() else "".join(map(_printable_character, text))


def plain_name(text: str) -> str:
    """Return a file's name `printable` and in Unicode's composed form (NFC), so that equal names are equal strings.

    macOS writes an accented letter as two characters where others write one.
    """
    return printable(text if text.isascii() else unicodedata.normalize("NFC", text))


def respelt(files: Iterable[Iterable[Path]]) -> int:
    """Return how many samples have files whose stems differ; they match, so Unicode normalisation is the difference."""
    return sum(len({path.stem for path in sample}) > 1 for sample in files)


def _printable_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"%{code - 0xDC00:02X}"
    kind = unicodedata.category(character)
    return f"%{code:02X}" if kind == "Cc" else f"%u{code:04X}" if kind == "Cs" else character


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Escape what an encoding cannot hold, bytes that are not UTF-8 as in `printable`."""
    assert isinstance(error, UnicodeEncodeError)
    text = printable(error.object[error.start : error.end])
    return text.encode("ascii", "backslashreplace").decode(), error.end


ESCAPED = "dynamic_kd.escaped"
"""How text with such bytes is encoded: ``text.encode("utf-8", ESCAPED)``."""
codecs.register_error(ESCAPED, _escaped)


def listing(names: list[str], most: int = 20) -> str:
    """Join names by commas; more than ``most`` are counted."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
