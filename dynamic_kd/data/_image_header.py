"""Headers of image files: format, size, and whether the file is complete, before anything is decoded.

Decoders fill what a truncated JPEG lacks with grey, and allocate whatever size a few bytes declare.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

# The most pixels an image may have, such as 11585 x 11585. A few bytes can declare more than fits into memory.
MOST_PIXELS = 2**27

Size = tuple[int, int]
"""Width and height."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey + alpha", 6: "RGBA"}
# In a JPEG's pixels a marker is what does not stand for the byte 255 (00), a restart (d0 to d7) or padding (ff).
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END = 0xD9
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_ORIENTATION = 256, 257, 274
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I"}  # of an entry's type


def check_header(content: bytes, path: str | Path) -> Size:
    """Return the size that an image file declares.

    Raises
    ------
    ValueError
        If the format is unknown, if a part is missing or visibly damaged, or if the file declares more than
        `MOST_PIXELS`.
    """
    read = next((read for start, read in _READERS if content.startswith(start)), None)
    if read is None:
        raise ValueError(f"{path}: expected an image (PNG, JPEG, BMP, TIFF or WebP), got something else")
    try:
        size = read(content)
    except (struct.error, IndexError):  # the file ends within the header
        size = None
    if size is None or not min(size) > 0:
        raise ValueError(f"{path}: expected a whole image, got a truncated or damaged one; copy it again")
    width, height = size
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{path}: expected an image of at most {MOST_PIXELS} pixels, got {width} x {height}; "
            "resize it, or copy it again if it is not that large"
        )
    return size


def essential(content: bytes) -> bytes:
    """Return a file that passed `check_header` without the parts that rotate, animate or describe its pixels.

    OpenCV rotates a TIFF by its orientation tag even when told not to, and reads the animation of a PNG instead of its
    image. The texts and profiles of a PNG only make its decoder print warnings.
    """
    if content.startswith(_PNG):
        kept = [content[start:end] for name, start, end in _png_chunks(content) if _shapes_pixels(name)]
        return b"".join([_PNG, *kept])
    order = _TIFF_ORDERS.get(content[:4])
    entry = None if order is None else _tiff_entries(content, order).get(_TIFF_ORIENTATION)
    if order is None or entry is None:
        return content
    return content[: entry + 8] + struct.pack(f"{order}H", 1) + content[entry + 10 :]


def stored_as(content: bytes) -> str:
    """Return the format of an image file by its first bytes, with the bits of a pixel where they hold them."""
    if content.startswith(_PNG) and len(content) >= 26:
        bits, colour = content[24], _PNG_COLOURS.get(content[25], "unknown")
        return f"PNG, {bits}-bit {colour}"
    if content.startswith(b"BM") and len(content) >= 30:
        return f"BMP, {struct.unpack_from('<H', content, 28)[0]} bits a pixel"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(tuple(_TIFF_ORDERS)):
        return "TIFF"
    return "WebP" if content.startswith(b"RIFF") else "other"


def _png(content: bytes) -> Size | None:
    """Walk the chunks to the last one; the checksums of those that shape pixels must agree."""
    size = None
    for name, start, end in _png_chunks(content):
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if _shapes_pixels(name) and zlib.crc32(memoryview(content)[start + 4 : end - 4]) != checksum:
            return None
        if (size is None) != (name == b"IHDR"):  # the first one, and no other
            return None
        if size is None:
            size = struct.unpack_from(">II", content, start + 8)
        if name == b"IEND":
            return size
    return None


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, the start and the end of each chunk that is whole."""
    start = len(_PNG)
    while start + 12 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if end > len(content):
            return
        yield name, start, end
        start = end


def _shapes_pixels(name: bytes) -> bool:
    return name[:1].isupper() or name == b"tRNS"


def _jpeg(content: bytes) -> Size | None:
    """Walk the segments to the end marker, over bytes between them that belong to none, as every decoder does."""
    size = None
    position = 2
    while (marker := _JPEG_MARKER.search(content, position)) is not None:
        kind, position = content[marker.end() - 1], marker.end()
        if kind == _JPEG_END:
            return size
        if kind in _JPEG_FRAMES and size is None:
            height, width = struct.unpack_from(">HH", content, position + 3)
            size = width, height
        if kind > 1:  # 1 stands alone
            position += struct.unpack_from(">H", content, position)[0]
    return None


def _bmp(content: bytes) -> Size | None:
    """Read the header; a file without compression must hold all its rows, whatever length it claims."""
    length, start, header = struct.unpack_from("<I4xII", content, 2)
    if header == 12:
        width, height, bits = struct.unpack_from("<HH2xH", content, 18)
        compression = 0
    else:
        width, height, bits, compression = struct.unpack_from("<ii2xHI", content, 18)
    height = abs(height)  # below 0: from the top down
    rows = (width * bits + 31) // 32 * 4 * height if compression in (0, 3) else 0
    return None if len(content) < max(length, start + rows) else (width, height)


def _tiff(content: bytes) -> Size | None:
    order = _TIFF_ORDERS[content[:4]]
    entries = _tiff_entries(content, order)
    sizes = []
    for tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
        if tag not in entries:
            return None
        (kind,) = struct.unpack_from(f"{order}H", content, entries[tag] + 2)
        if kind not in _TIFF_FORMATS:
            return None
        sizes.append(struct.unpack_from(f"{order}{_TIFF_FORMATS[kind]}", content, entries[tag] + 8)[0])
    return sizes[0], sizes[1]


def _tiff_entries(content: bytes, order: str) -> dict[int, int]:
    """Return where each tag of the first image is described, the first time it is."""
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (count,) = struct.unpack_from(f"{order}H", content, start)
        places = range(start + 2, start + 2 + 12 * count, 12)
        return {struct.unpack_from(f"{order}H", content, place)[0]: place for place in reversed(places)}
    except struct.error:  # the directory is cut off
        return {}


def _webp(content: bytes) -> Size | None:
    """Read the first chunk; the container must have the length that it states."""
    length, form, name = struct.unpack_from("<I4s4s", content, 4)
    if form != b"WEBP" or len(content) < 8 + length:
        return None
    if name == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if name == b"VP8X":
        words = content[24:30]
        return 1 + int.from_bytes(words[:3], "little"), 1 + int.from_bytes(words[3:], "little")
    return None


_READERS: tuple[tuple[bytes, Callable[[bytes], Size | None]], ...] = (
    (_PNG, _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"BM", _bmp),
    (b"II*\0", _tiff),
    (b"MM\0*", _tiff),
    (b"RIFF", _webp),
)
