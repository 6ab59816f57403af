"""Headers of image files: format, size, and whether the file is complete, before anything is decoded.

Decoders fill what a truncated JPEG lacks with grey, and allocate whatever size a few bytes declare.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

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
_TIFF_KIND = 254
_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_COLOURS, _TIFF_ORIENTATION, _TIFF_SAMPLES = 256, 257, 258, 262, 274, 277
_TIFF_PALETTE = 320
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I"}  # of an entry's type
_WEBP_ALPHA = 0x10


class Indexed(NamedTuple):
    """A file with a palette, as a grey file that decodes to its indexes.

    Attributes
    ----------
    content : bytes
        The grey file.
    scale : int
        Decoders stretch samples of fewer than eight bits to 255; an index is the level over this.
    palette : list of tuple of int
        Red, green and blue of each index.
    """

    content: bytes
    scale: int
    palette: list[tuple[int, int, int]]


def check_header(content: bytes, path: str | Path) -> Size:
    """Return the size that an image file declares.

    Raises
    ------
    ValueError
        If the format is unknown, if a part is missing or visibly damaged, if the file declares more than `MOST_PIXELS`,
        or if it is a TIFF of several pages, of which decoders read the first.
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
    if (pages := _tiff_pages(content)) > 1:
        raise ValueError(
            f"{path}: expected one image, got a TIFF of {pages} pages; save each page in a file of its own"
        )
    return size


def white_is_zero(content: bytes) -> bool:
    """Whether a TIFF stores white as 0. OpenCV turns 8 bits around, and no others."""
    order = _TIFF_ORDERS.get(content[:4])
    return order is not None and _tiff_value(content, order, _TIFF_COLOURS) == 0


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
    if content.startswith((b"\x93NUMPY", b"PK")):
        return "NumPy"
    return "WebP" if content.startswith(b"RIFF") else "other"


def has_alpha(content: bytes) -> bool:
    """Whether a whole image file declares an alpha channel. The transparent entries of a palette are none."""
    if content.startswith(_PNG):
        return content[25] in (4, 6)
    if content.startswith(b"RIFF"):
        extended, lossless = content[12:16] == b"VP8X", content[12:16] == b"VP8L"
        return bool(extended and content[20] & _WEBP_ALPHA) or bool(lossless and content[24] & _WEBP_ALPHA)
    order = _TIFF_ORDERS.get(content[:4])
    return order is not None and _tiff_value(content, order, _TIFF_SAMPLES) in (2, 4)


def as_indexes(content: bytes) -> Indexed | None:
    """Return a whole file with a palette as a grey one of its indexes; None for a file without a palette.

    Decoders replace an index by its colour. Only the header differs between a file of indexes and one of grey levels.
    """
    if content.startswith(_PNG):
        return _png_indexes(content) if content[25] == 3 else None
    if content.startswith(b"BM"):
        return _bmp_indexes(content)
    order = _TIFF_ORDERS.get(content[:4])
    if order is not None and _tiff_value(content, order, _TIFF_COLOURS) == 3:
        return _tiff_indexes(content, order)
    return None


def _png_indexes(content: bytes) -> Indexed:
    chunks, colours = [], b""
    for name, start, end in _png_chunks(content):
        if name == b"PLTE":
            colours = content[start + 8 : end - 4]
        elif name == b"IHDR":
            header = content[start + 4 : start + 17] + b"\0" + content[start + 18 : end - 4]
            chunks.append(content[start : start + 4] + header + struct.pack(">I", zlib.crc32(header)))
        elif name != b"tRNS":
            chunks.append(content[start:end])
    scale = 255 // ((1 << content[24]) - 1)
    triples = [colours[place : place + 3] for place in range(0, len(colours) - 2, 3)]
    return Indexed(b"".join([_PNG, *chunks]), scale, [(red, green, blue) for red, green, blue in triples])


def _bmp_indexes(content: bytes) -> Indexed | None:
    """Replace the colours of the palette, which follows the header, by the indexes."""
    start, header = struct.unpack_from("<II", content, 10)
    bits, entry = struct.unpack_from("<H", content, 24 if header == 12 else 28)[0], 3 if header == 12 else 4
    if bits > 8:
        return None
    first = 14 + header
    count = min(1 << bits, max(0, start - first) // entry)
    places = [first + entry * index for index in range(count)]
    palette = [(content[place + 2], content[place + 1], content[place]) for place in places]
    levels = b"".join(bytes([index] * 3 + [0] * (entry - 3)) for index in range(count))
    return Indexed(content[:first] + levels + content[first + len(levels) :], 1, palette)


def _tiff_indexes(content: bytes, order: str) -> Indexed:
    entries = _tiff_entries(content, order)
    place, bits = entries[_TIFF_COLOURS] + 8, _tiff_value(content, order, _TIFF_BITS) or 1
    count = 1 << bits
    (start,) = struct.unpack_from(f"{order}I", content, entries[_TIFF_PALETTE] + 8)
    colours = struct.unpack_from(f"{order}{3 * count}H", content, start)
    palette = [tuple(colours[index + count * channel] >> 8 for channel in range(3)) for index in range(count)]
    grey = content[:place] + struct.pack(f"{order}H", 1) + content[place + 2 :]
    return Indexed(grey, 255 // (count - 1), palette)


def _tiff_value(content: bytes, order: str, tag: int) -> int | None:
    """Return the first value of a tag of the first image, if it has the tag."""
    entries = _tiff_entries(content, order)
    if tag not in entries:
        return None
    kind, count = struct.unpack_from(f"{order}HI", content, entries[tag] + 2)
    place = entries[tag] + 8
    if kind not in _TIFF_FORMATS:
        return None
    if struct.calcsize(_TIFF_FORMATS[kind]) * count > 4:  # the values stand elsewhere
        (place,) = struct.unpack_from(f"{order}I", content, place)
    value: int = struct.unpack_from(f"{order}{_TIFF_FORMATS[kind]}", content, place)[0]
    return value


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


def _tiff_pages(content: bytes) -> int:
    """Return the number of images in a TIFF, without previews of a lower resolution and masks of transparency."""
    order = _TIFF_ORDERS.get(content[:4])
    if order is None:
        return 1
    pages, seen, link = 0, set[int](), 4
    with suppress(struct.error):  # the last directory is cut off
        while (start := struct.unpack_from(f"{order}I", content, link)[0]) and start not in seen:
            seen.add(start)
            (count,) = struct.unpack_from(f"{order}H", content, start)
            kind = _tiff_entries(content, order, start).get(_TIFF_KIND)
            (bits,) = (0,) if kind is None else struct.unpack_from(f"{order}I", content, kind + 8)
            pages += not bits & 0b101
            link = start + 2 + 12 * count
    return pages


def _tiff_entries(content: bytes, order: str, start: int | None = None) -> dict[int, int]:
    """Return where each tag of an image, by default the first, is described, the first time it is."""
    try:
        if start is None:
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
