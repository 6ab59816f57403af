"""Image files of every kind of damage: one clear error or a right answer, never a crash, a hang or rubbish."""

import os
import re
import struct
import tempfile
import zlib
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from long_runs import examples

cv2 = pytest.importorskip("cv2")

from dynamic_kd.data import _image_header, _images, read_depth, read_gray, read_rgb  # noqa: E402
from dynamic_kd.data._image_header import MOST_PIXELS, check_header  # noqa: E402

LOG = getattr(cv2.utils, "logging", cv2)  # where OpenCV 4.12 and older keep it
READERS = (read_gray, read_rgb, read_depth)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
# libjpeg writes these itself, whatever OpenCV's log level.
COMPLAINTS = re.compile(
    r"Corrupt JPEG data: .*|Premature end of JPEG file|Invalid SOS parameters .*|Inconsistent progression .*"
    r"|Warning: unknown JFIF revision .*|Unknown Adobe color transform .*|libpng (error|warning): .*"
)


def picture(height=19, width=27):
    """A smooth picture with a noisy part."""
    rows, columns = np.indices((height, width))
    image = np.stack([9 * columns % 256, 12 * rows % 256, 7 * (rows + columns) % 256], axis=-1).astype(np.uint8)
    image[4:9, 5:20] = np.random.default_rng(0).integers(0, 256, (5, 15, 3))
    return image


def seeds():
    """Whole files of each format and kind by name, with what they hold where nothing is lost."""
    colour, grey = picture(), picture()[..., 1]
    kinds = {
        "png": (".png", colour, []),
        "grey.png": (".png", grey, []),
        "16.png": (".png", grey.astype(np.uint16) * 257, []),
        "jpg": (".jpg", colour, []),
        "grey.jpg": (".jpg", grey, []),
        "progressive.jpg": (".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "restarts.jpg": (".jpg", colour, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        "bmp": (".bmp", colour, []),
        "grey.bmp": (".bmp", grey, []),
        "tif": (".tif", colour, []),
        "plain.tif": (".tif", grey, [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
        "webp": (".webp", colour, [cv2.IMWRITE_WEBP_QUALITY, 80]),
        "lossless.webp": (".webp", colour, [cv2.IMWRITE_WEBP_QUALITY, 101]),
    }
    return {name: cv2.imencode(suffix, image, options)[1].tobytes() for name, (suffix, image, options) in kinds.items()}


SEEDS = seeds()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def resealed(content):
    """Give the chunks of a PNG the checksums of what they hold now, so that damage reaches the decoder."""
    parts, start = [content[:8]], 8
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        if start + 12 + length > len(content):
            break
        parts.append(chunk(content[start + 4 : start + 8], content[start + 8 : start + 8 + length]))
        start += 12 + length
    return b"".join([*parts, content[start:]])


INSERTED = st.one_of(
    st.builds(
        chunk,
        st.sampled_from([b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"gAMA", b"tRNS", b"PLTE", b"acTL", b"fcTL", b"IDAT",
                         b"IHDR", b"abCd"]),
        st.binary(max_size=40),
    ),
    st.binary(min_size=1, max_size=24),
    st.sampled_from([b"\xff\xd9", b"\xff\xda", b"\xff\xc0\x00\x11\x08\xff\xff\xff\xff", b"\xff\xe1\xff\xff", bytes(4)]),
)  # fmt: skip


@st.composite
def damaged(draw):
    """A file's name and its content after one to three kinds of damage."""
    name = draw(st.sampled_from(sorted(SEEDS)))
    content = bytearray(SEEDS[name])
    # Half of the places lie in the header, where there is most to break.
    place = st.floats(0, 1, exclude_max=True).map(lambda share: int(share * len(content)))
    place |= st.integers(0, 60).map(lambda where: min(where, len(content) - 1))
    for kind in draw(
        st.lists(st.sampled_from(["bit", "word", "cut", "insert", "drop", "repeat"]), min_size=1, max_size=3)
    ):
        if not content:
            break
        start = draw(place)
        if kind == "bit":
            content[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == "word":
            content[start : start + 4] = draw(
                st.sampled_from([bytes(4), b"\xff" * 4, b"\x7f" + b"\xff" * 3, b"\0\0\xff\xff"])
            )
        elif kind == "cut":
            del content[start:]
        elif kind == "insert":
            content[start:start] = draw(INSERTED)
        else:
            part = content[start : start + draw(st.integers(1, 64))]
            content[start : start + len(part)] = part * 2 if kind == "repeat" else b""
    whole = bytes(content)
    if draw(st.booleans()) and whole.startswith(SIGNATURE):
        return name, resealed(whole), False
    return name, whole, True


class Stderr:
    """What native code writes on the standard error meanwhile."""

    def __enter__(self):
        self._file = tempfile.TemporaryFile()
        self._before = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *_):
        os.dup2(self._before, 2)
        os.close(self._before)
        self._file.seek(0)
        self.lines = self._file.read().decode(errors="replace").splitlines()
        self._file.close()


def answer(read, content):
    """What a reader makes of a file: an image or the words of its error."""
    try:
        return read("maps/a.png", content)
    except ValueError as error:
        return str(error)


@settings(max_examples=examples(300), deadline=timedelta(seconds=5))
@given(damaged())
@example(("png", SEEDS["png"][:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + SEEDS["png"][33:], True))
def test_damage_is_one_clear_error_or_a_right_answer(case):
    name, content, sealed = case
    with Stderr() as stderr:
        answers = [(read, answer(read, content), answer(read, content)) for read in READERS]
    assert all(COMPLAINTS.fullmatch(line) for line in stderr.lines), stderr.lines
    for read, first, again in answers:
        if isinstance(first, str):
            assert first == again
            assert re.fullmatch(r"maps/a\.png: expected [^\n]*", first)
            continue
        np.testing.assert_array_equal(first, again)  # nothing that was in memory before
        assert first.shape[:2] == check_header(content, "")[::-1]
        if name.endswith("png") and sealed:
            np.testing.assert_array_equal(first, read("", SEEDS[name]))


def declaring(name, width, height):
    """A file that declares another size than it has, its checksums right."""
    content = bytearray(SEEDS[name])
    if name == "png":
        struct.pack_into(">II", content, 16, width, height)
        return resealed(bytes(content))
    if name == "jpg":
        struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, height, width)
    elif name == "bmp":
        struct.pack_into("<ii", content, 18, width, -height)
    elif name == "tif":
        for tag, size in ((256, width), (257, height)):
            struct.pack_into("<HHII", content, content.index(struct.pack("<HH", tag, 3)), tag, 4, 1, size)
    elif name == "webp":
        struct.pack_into("<HH", content, 26, width, height)
    else:
        struct.pack_into("<I", content, 21, width - 1 | height - 1 << 14)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "width", "height"),
    [
        ("png", 2**31 - 1, 2**31 - 1),
        ("png", 2**20, 129),
        ("jpg", 65535, 65535),
        ("tif", 2**32 - 1, 2**32 - 1),
        ("webp", 16383, 16383),
        ("lossless.webp", 16384, 16384),
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_a_bomb_is_refused_before_it_is_decoded(name, width, height, read, monkeypatch):
    monkeypatch.setattr(_images, "opencv", lambda: None)
    message = f"expected an image of at most 134217728 pixels, got {width} x {height}; resize it"
    with pytest.raises(ValueError, match=message):
        read("a.png", declaring(name, width, height))


@pytest.mark.parametrize("read", READERS)
def test_a_bmp_must_hold_the_rows_it_declares(read, monkeypatch):
    monkeypatch.setattr(_images, "opencv", lambda: None)
    with pytest.raises(ValueError, match=r"a\.bmp: expected a whole image, got a truncated or damaged one"):
        read("a.bmp", declaring("bmp", 2**15, 2**15))


def test_the_limit_is_the_last_size_taken():
    side = 2**13
    assert check_header(declaring("lossless.webp", 2 * side, side), "a") == (2 * side, side)
    assert 2 * side * side == MOST_PIXELS
    with pytest.raises(ValueError, match="at most 134217728 pixels, got 16384 x 8193"):
        check_header(declaring("lossless.webp", 2 * side, side + 1), "a")


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_the_header_tells_the_size(name):
    assert check_header(SEEDS[name], "a") == (27, 19)


def test_extended_webp_tells_the_size_of_its_canvas():
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (26).to_bytes(3, "little") + (18).to_bytes(3, "little")
    inner = SEEDS["webp"][12:]
    content = b"RIFF" + struct.pack("<I", 4 + len(body) + len(inner)) + b"WEBP" + body + inner
    assert check_header(content, "a") == (27, 19)
    np.testing.assert_array_equal(read_rgb("a", content), read_rgb("a", SEEDS["webp"]))


def test_old_bitmaps_tell_their_size():
    header = struct.pack("<IHHHH", 12, 2, 3, 1, 24)
    rows = bytes(range(24))
    content = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + header + rows
    assert check_header(content, "a") == (2, 3)
    assert read_rgb("a", content).shape == (3, 2, 3)


@pytest.mark.parametrize("content", [b"GIF89a" + bytes(40), b"P5 2 2 255 abcd", b"\0\0\0\x0cjP  \r\n\x87\n", b"{}"])
def test_formats_that_are_not_promised_reach_no_decoder(content, monkeypatch):
    monkeypatch.setattr(_images, "opencv", lambda: None)
    with pytest.raises(ValueError, match=r"a: expected an image \(PNG, JPEG, BMP, TIFF or WebP\), got something else"):
        read_gray("a", content)


def test_an_animated_png_is_its_image():
    """OpenCV by itself gives a black one: the animation has no frame."""
    content = SEEDS["grey.png"][:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + SEEDS["grey.png"][33:]
    np.testing.assert_array_equal(read_gray("a", content), picture()[..., 1])


def test_texts_and_profiles_are_not_decoded():
    bomb = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**7))) + chunk(
        b"zTXt", b"k\0\0" + zlib.compress(bytes(10**7))
    )
    content = SEEDS["grey.png"][:33] + bomb + SEEDS["grey.png"][33:]
    assert _image_header.essential(content) == SEEDS["grey.png"]
    with Stderr() as stderr:
        np.testing.assert_array_equal(read_gray("a", content), picture()[..., 1])
    assert stderr.lines == []


def test_bitmaps_from_the_top_down():
    content = bytearray(SEEDS["grey.bmp"])
    struct.pack_into("<i", content, 22, -19)
    np.testing.assert_array_equal(read_gray("a", bytes(content)), picture()[::-1, :, 1])


@pytest.mark.parametrize("name", ["webp", "lossless.webp"])
def test_a_webp_must_be_as_long_as_it_says(name, monkeypatch):
    monkeypatch.setattr(_images, "opencv", lambda: None)
    with pytest.raises(ValueError, match=r"a: expected a whole image, got a truncated or damaged one; copy it again"):
        read_gray("a", SEEDS[name][:-3])


def test_an_image_of_another_size_than_declared_is_refused(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((19, 26), np.uint8))
    with pytest.raises(ValueError, match="a: expected an image OpenCV can read, got a truncated or mislabelled file"):
        read_gray("a", SEEDS["png"])


@pytest.fixture
def log_level():
    """OpenCV's log level, set to what OpenCV sets it to."""
    warning = 3
    before = LOG.setLogLevel(warning)
    yield warning
    LOG.setLogLevel(before)


def test_opencv_is_silent_only_while_it_decodes(log_level):
    spoilt = bytearray(SEEDS["tif"])
    middle = len(spoilt) // 2
    spoilt[middle : middle + 8] = b"\xff" * 8
    with Stderr() as alone:
        cv2.imdecode(np.frombuffer(bytes(spoilt), np.uint8), cv2.IMREAD_GRAYSCALE)
    if not any("TIFF" in line for line in alone.lines):
        pytest.skip(f"OpenCV {cv2.__version__} says nothing of this image by itself")
    with Stderr() as ours:
        answer(read_gray, bytes(spoilt))
    assert ours.lines == []
    assert LOG.getLogLevel() == log_level


def test_threads_share_the_silence(log_level):
    with _images._silenced(cv2):
        with _images._silenced(cv2):
            pass
        assert LOG.getLogLevel() == 0
    assert LOG.getLogLevel() == log_level
