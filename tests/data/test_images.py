"""Reading images: what comes back, and one clear line for every kind of bad file."""

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from dynamic_kd.data import read_depth, read_gray, read_rgb


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)


def one_bit_png(path, bits):
    """Write a 1-bit greyscale PNG by hand; OpenCV writes none."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = bits.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_colours_come_in_the_order_red_green_blue(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    image = read_rgb(tmp_path / "a.png")
    np.testing.assert_array_equal(image, picture)
    assert image.flags.c_contiguous


def test_a_grey_file_is_repeated_in_three_channels(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.bmp"), picture[..., 0])
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.bmp"), np.repeat(picture[..., :1], 3, axis=2))


def test_masks_of_1_8_and_16_bits_and_of_three_and_four_channels_read_the_same(tmp_path):
    bits = np.random.default_rng(1).random((13, 17)) < 0.5
    levels = 255 * bits.astype(np.uint8)
    one_bit_png(tmp_path / "1.png", bits)
    cv2.imwrite(str(tmp_path / "8.bmp"), levels)
    cv2.imwrite(str(tmp_path / "16.png"), levels.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "rgb.png"), np.dstack([levels] * 3))
    cv2.imwrite(str(tmp_path / "rgba.png"), np.dstack([levels] * 3 + [np.full_like(levels, 255)]))
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_gray(path), levels, err_msg=path.name)


def test_grey_levels_are_those_of_opencv(tmp_path, picture):
    cv2.imwrite(str(tmp_path / "a.jpg"), picture)
    np.testing.assert_array_equal(
        read_gray(tmp_path / "a.jpg"), cv2.imread(str(tmp_path / "a.jpg"), cv2.IMREAD_GRAYSCALE)
    )


def test_the_content_decides_the_format(tmp_path, picture):
    (tmp_path / "a.png").write_bytes(cv2.imencode(".bmp", picture)[1].tobytes())
    assert read_rgb(tmp_path / "a.png").shape == picture.shape


def test_rotation_marks_of_cameras_are_ignored(tmp_path, picture):
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    (tmp_path / "a.jpg").write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert cv2.imread(str(tmp_path / "a.jpg")).shape == (34, 21, 3)  # OpenCV by default turns it
    assert read_rgb(tmp_path / "a.jpg").shape == (21, 34, 3)
    assert read_gray(tmp_path / "a.jpg").shape == (21, 34)


@pytest.mark.parametrize("order", ["<", ">"])
def test_rotation_marks_of_tiff_files_are_ignored_too(tmp_path, order):
    """A TIFF by hand: eight bytes of header, the levels, the directory with tag 274, the orientation, as 6."""
    levels = np.arange(16, dtype=np.uint8).reshape(2, 8)
    tags = [(256, 8), (257, 2), (258, 8), (259, 1), (262, 1), (273, 8), (274, 6), (277, 1), (278, 2), (279, 16)]
    directory = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 24)
    content = head + levels.tobytes() + struct.pack(f"{order}H", len(tags)) + directory + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(content)
    turned = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    assert turned.shape == (8, 2)  # OpenCV turns it all the same
    np.testing.assert_array_equal(read_gray(tmp_path / "a.tif"), levels)
    assert read_depth(tmp_path / "a.tif").shape == read_rgb(tmp_path / "a.tif").shape[:2] == (2, 8)
    for length in (5, 20, 25, 60, 120):
        (tmp_path / "b.tif").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"b\.tif: expected a whole image, got a truncated"):
            read_gray(tmp_path / "b.tif")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_depth_is_stretched_to_the_unit_interval_whatever_its_bits(tmp_path, dtype):
    stored = np.array([[10, 20], [30, 110]], dtype)
    cv2.imwrite(str(tmp_path / "a.tif"), stored)
    depth = read_depth(tmp_path / "a.tif")
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, [[0, 0.1], [0.2, 1]], rtol=1e-6)


def test_a_constant_depth_map_becomes_zero(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4), 99, np.uint8))
    assert not read_depth(tmp_path / "a.png").any()


def test_depth_that_is_not_finite_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.array([[0, np.nan], [1, 2]], np.float32))
    with pytest.raises(ValueError, match=r"a\.tif: expected finite depth values, got NaN or infinities"):
        read_depth(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [read_gray, read_rgb, read_depth])
class TestBadFiles:
    def test_missing(self, read, tmp_path):
        with pytest.raises(ValueError, match=r"none\.png: expected an image file, got no such file"):
            read(tmp_path / "none.png")

    def test_a_folder(self, read, tmp_path):
        with pytest.raises(ValueError, match="expected an image file, got an unreadable one: Is a directory"):
            read(tmp_path)

    def test_empty(self, read, tmp_path):
        (tmp_path / "a.png").touch()
        with pytest.raises(ValueError, match=r"a\.png: expected an image file, got an empty one"):
            read(tmp_path / "a.png")

    def test_mislabelled(self, read, tmp_path):
        (tmp_path / "a.png").write_text("<html>404</html>")
        with pytest.raises(ValueError, match=r"a\.png: expected an image \(PNG, JPEG, BMP, TIFF or WebP\), got"):
            read(tmp_path / "a.png")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
    @pytest.mark.parametrize("share", [0.05, 0.5, 0.97, 0.999])
    def test_truncated(self, read, tmp_path, picture, suffix, share):
        whole = cv2.imencode(suffix, np.tile(picture, (4, 4, 1)))[1].tobytes()
        (tmp_path / f"a{suffix}").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=rf"a\{suffix}: expected a whole image, got a truncated or damaged one"):
            read(tmp_path / f"a{suffix}")


def test_a_damaged_png_is_refused(tmp_path, picture):
    content = bytearray(cv2.imencode(".png", picture)[1].tobytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="expected a whole image, got a truncated or damaged one"):
        read_rgb(tmp_path / "a.png")


def test_bytes_after_the_end_do_no_harm(tmp_path, picture):
    for suffix in (".png", ".jpg", ".bmp"):
        path = tmp_path / f"a{suffix}"
        path.write_bytes(cv2.imencode(suffix, picture)[1].tobytes() + b"trailer")
        assert read_rgb(path).shape == picture.shape


def test_without_opencv_the_error_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['cv2'] = None\n"
        "from dynamic_kd.data import read_gray\n"
        f"open({str(tmp_path / 'a.png')!r}, 'wb').write(b'x')\n"
        f"read_gray({str(tmp_path / 'a.png')!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "cv2 is not installed; get it with: pip install 'dynamic-kd[eval]'" in run.stderr
