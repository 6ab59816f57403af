"""Map files keep all of their digits: 16 bits, floats, NumPy's files; each right value is computed by hand."""

import io
import struct
import zipfile

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from dynamic_kd.data import find_data, is_colour, read_gray, read_samples, top_of_maps  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402

LEVELS = np.array([[0, 1, 128, 255], [254, 3, 77, 200]], np.uint8)
DEEP = np.array([[0, 300, 33000, 65535], [1, 65534, 1000, 2000]], np.uint16)


def saved(path, array):
    if path.suffix == ".npz":
        np.savez_compressed(path, saliency=array)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        assert cv2.imwrite(str(path), array)
    return path


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".png", ".tif"])
def test_8_and_16_bits(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    assert np.array_equal(read_gray(saved(path, LEVELS)), LEVELS)
    found = read_gray(saved(path, DEEP))
    assert found.dtype == np.float64
    assert np.array_equal(found, DEEP / np.float64(65535))
    for same in (LEVELS.astype(np.uint16) * 257, LEVELS.astype(np.uint16) << 8):
        found = read_gray(saved(path, same))
        assert found.dtype == np.uint8
        assert np.array_equal(found, LEVELS)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".tif"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_values(tmp_path, suffix, dtype):
    if suffix == ".tif" and dtype == np.float16:
        pytest.skip("OpenCV does not write it")
    values = (LEVELS / 255).astype(dtype)
    found = read_gray(saved(tmp_path / f"a{suffix}", values))
    assert found.dtype == np.float64
    assert np.array_equal(found, values.astype(np.float64))
    values[0] += 4 * np.finfo(dtype).eps
    assert read_gray(saved(tmp_path / f"a{suffix}", values)).max() == 1
    assert not is_colour((tmp_path / f"a{suffix}").read_bytes())


@pytest.mark.parametrize("shape", [(2, 4), (1, 2, 4), (1, 1, 2, 4), (2, 4, 1)])
def test_axes_of_length_1_are_dropped(tmp_path, shape):
    assert np.array_equal(read_gray(saved(tmp_path / "a.npy", LEVELS.reshape(shape))), LEVELS)


def test_booleans(tmp_path):
    assert np.array_equal(read_gray(saved(tmp_path / "a.npy", LEVELS > 99)), 255 * (LEVELS > 99))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            LEVELS.astype(np.int64),
            "of 8 or 16 bits or of floating values in [0, 1], got int64; save it as uint8 (0 to 2",
        ),
        (LEVELS / 254, "floating values in [0, 1], got 0 to 1.00394; divide maps of 0 to 255 by 255 or save"),
        (np.full((2, 2), 1 + 5 * 2.0**-52), "got 1.000000000000001 to 1.000000000000001; divide"),
        (np.array([[0.5, np.nan]]), "expected finite values in [0, 1], got NaN or infinity"),
        (np.array([[0.5, np.inf]]), "expected finite values in [0, 1], got NaN or infinity"),
        (LEVELS * 1j, "expected an array of numbers, got complex128; save uint8 levels, or floats in [0, 1]"),
        (np.array([{}], object), "expected an array of numbers, got Python objects; save uint8 levels"),
        (
            np.zeros((3, 2, 4)),
            "expected one map of shape (H, W) and at most 134217728 pixels, got (3, 2, 4); save each",
        ),
        (np.zeros(4), "expected one map of shape (H, W) and at most 134217728 pixels, got (4,); save each map"),
        (np.zeros((0, 4)), "expected one map of shape (H, W) and at most 134217728 pixels, got (0, 4); save each map"),
    ],
)
def test_arrays_that_are_no_map(tmp_path, array, message):
    with pytest.raises(ValueError, match=r"^.*a\.npy: expected ") as error:
        read_gray(saved(tmp_path / "a.npy", array))
    assert message in str(error.value)


def test_archives_and_damaged_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=LEVELS, second=LEVELS)
    with pytest.raises(ValueError, match=r"a\.npz: expected one array, got 2 \(first, second\); save each map in a fi"):
        read_gray(path)
    np.savez_compressed(path, LEVELS)
    whole = {".npz": path.read_bytes(), ".npy": saved(tmp_path / "a.npy", DEEP).read_bytes()}
    for suffix, content in whole.items():
        for damaged in (content[:-9], content[:20], content[:8]):
            (tmp_path / f"b{suffix}").write_bytes(damaged)
            with pytest.raises(ValueError, match=rf"b\{suffix}: expected a whole NumPy file, got a truncated or dam"):
                read_gray(tmp_path / f"b{suffix}")


def test_a_small_file_that_declares_a_large_array(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 20, 1 << 20)})
    (tmp_path / "a.npy").write_bytes(header.getvalue())
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", header.getvalue())
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match=r"at most 134217728 pixels, got \(1048576, 1048576\); save each map"):
            read_gray(tmp_path / name)


@pytest.fixture
def scored(tmp_path):
    """Return a function that scores arrays as the files of a folder."""
    masks = [np.tile(LEVELS > 99, (8, 8)), np.tile(LEVELS > 50, (8, 8))]

    def scores(arrays, suffix=".png", **settings):
        for name, mask, array in zip("ab", masks, arrays, strict=True):
            for folder in ("masks", "maps"):
                (tmp_path / folder).mkdir(exist_ok=True)
            saved(tmp_path / "masks" / f"{name}.png", 255 * mask.astype(np.uint8))
            saved(tmp_path / "maps" / f"{name}{suffix}", np.tile(array, (8, 8)))
        report = evaluate_folders(tmp_path / "maps", tmp_path / "masks", **settings)
        return report["MAE"], {name: count for name, count in report.counts.items() if name.endswith("_pred") and count}

    expected = [mask[:2, :4] for mask in masks]
    return scores, expected


def mean_error(arrays, masks, *, normalize, top):
    """MAE as the original computes it: im2double, then mapminmax."""
    errors = []
    for array, mask in zip(arrays, masks, strict=True):
        x = array.astype(np.float64) / top
        if normalize and x.max() > x.min():
            x = (x - x.min()) / (x.max() - x.min())
        errors.append(np.abs(x - mask).mean())
    return np.mean(errors)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz"])
def test_16_bit_maps_that_use_a_part_of_the_range(scored, normalize, suffix):
    score, masks = scored
    arrays = [DEEP // 60 + 400, DEEP // 200]  # the second is dark: all of it below 328
    mae, counts = score(arrays, suffix, normalize=normalize)
    assert mae == pytest.approx(mean_error(arrays, masks, normalize=normalize, top=65535), abs=1e-14)
    assert counts == {"deep_pred": 2}


def test_a_dark_map_in_a_folder_of_16_bits_does_not_stop_the_run(scored):
    score, masks = scored
    for dark in (np.uint16(LEVELS > 99), LEVELS.astype(np.uint16)):
        for normalize in (True, False):
            mae, _ = score([DEEP, dark], normalize=normalize)
            assert mae == pytest.approx(mean_error([DEEP, dark], masks, normalize=normalize, top=65535), abs=1e-14)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_of_0_and_1_without_normalisation(scored, dtype):
    score, masks = scored
    perfect = [mask.astype(dtype) for mask in masks]
    assert score(perfect, normalize=False) == (0, {"zero_one_pred": 2})
    assert score(perfect, normalize=True) == (0, {"deep_pred": 2} if dtype == np.uint16 else {})
    one_empty = [perfect[0], 0 * perfect[1]]
    assert score(one_empty, normalize=False)[0] == pytest.approx(masks[1].mean() / 2, abs=1e-14)


def test_a_dark_map_in_a_folder_of_8_bits_is_dark(scored):
    score, masks = scored
    arrays = [np.uint8(masks[0]), LEVELS]
    mae, counts = score(arrays, normalize=False)
    assert mae == pytest.approx(mean_error(arrays, masks, normalize=False, top=255), abs=1e-14)
    assert counts == {}


def test_maps_of_0_to_255_in_16_bits_without_normalisation(scored):
    score, masks = scored
    arrays = [LEVELS.astype(np.uint16), LEVELS.astype(np.uint16) // 2]
    mae, counts = score(arrays, normalize=False)
    assert mae == pytest.approx(mean_error(arrays, masks, normalize=False, top=255), abs=1e-14)
    assert counts == {"of_255_pred": 2}


def test_what_stands_for_1_in_a_folder(tmp_path):
    def top(*arrays):
        return top_of_maps([saved(tmp_path / f"{number}.npy", array) for number, array in enumerate(arrays)])

    ones = LEVELS > 99
    assert top(np.uint8(ones), np.uint8(0 * ones), np.uint16(ones)) == 1
    assert top(np.uint16(ones), LEVELS.astype(np.uint16)) == 255
    for others in ([], [LEVELS], [DEEP], [ones], [ones / 1], [0 * LEVELS], [np.uint8(ones), LEVELS.astype(np.uint16)]):
        assert top(*others) is None


def test_arrays_count_only_in_a_folder_without_images(scored, tmp_path):
    score, masks = scored
    perfect = [255 * mask.astype(np.uint8) for mask in masks]
    assert score(perfect) == (0, {})
    for name in "ab":
        saved(tmp_path / "maps" / f"{name}.npy", np.zeros((16, 32)))
    assert evaluate_folders(tmp_path / "maps", tmp_path / "masks")["MAE"] == 0


def test_a_map_of_another_size_is_resized_with_its_digits(tmp_path):
    for folder in ("masks", "maps"):
        (tmp_path / folder).mkdir()
    saved(tmp_path / "masks" / "a.png", np.full((1, 3), 255, np.uint8))
    saved(tmp_path / "maps" / "a.npy", np.array([[0.25, 0.75]]))
    report = evaluate_folders(tmp_path / "maps", tmp_path / "masks", normalize=False)
    assert report["MAE"] == pytest.approx(1 - (0.25 + 0.5 + 0.75) / 3, abs=1e-7)
    assert report.counts["other_shape"] == 1


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".png"])
def test_a_teachers_maps(tmp_path, suffix):
    values = DEEP if suffix == ".png" else (DEEP / 65535).astype(np.float32)
    for folder, picture in {"RGB": LEVELS, "GT": 255 * np.uint8(LEVELS > 99)}.items():
        (tmp_path / folder).mkdir()
        saved(tmp_path / folder / "a.png", picture)
    (tmp_path / "teacher").mkdir()
    saved(tmp_path / "teacher" / f"a{suffix}", values)
    [sample] = read_samples(find_data(tmp_path, teacher="teacher"))
    assert np.allclose(sample.teacher, DEEP / 65535, rtol=0, atol=1e-7)


def tiff(array, *, white_is_zero=False, kinds=(0,)):
    """Return an uncompressed TIFF with a page for each kind: 0 an image, 1 a preview, 4 a mask of transparency."""
    (height, width), data = array.shape, array.tobytes()
    sample = 3 if array.dtype.kind == "f" else 1
    content = b"II*\0" + struct.pack("<I", 8)
    for number, kind in enumerate(kinds):
        tags = [(254, kind), (256, width), (257, height), (258, 8 * array.itemsize), (259, 1), (262, not white_is_zero)]
        tags += [(273, len(content) + 2 + 12 * 11 + 4), (277, 1), (278, height), (279, len(data)), (339, sample)]
        after = len(content) + 2 + 12 * len(tags) + 4 + len(data)
        content += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags)
        content += struct.pack("<I", after if number + 1 < len(kinds) else 0) + data
    return content


@pytest.mark.parametrize("array", [LEVELS, DEEP])
def test_a_tiff_that_stores_white_as_0(tmp_path, array):
    """OpenCV reads 16 bits as they are stored, that is inverted."""
    (tmp_path / "a.tif").write_bytes(tiff(array))
    expected = read_gray(tmp_path / "a.tif")
    (tmp_path / "a.tif").write_bytes(tiff(np.iinfo(array.dtype).max - array, white_is_zero=True))
    assert np.array_equal(read_gray(tmp_path / "a.tif"), expected)


def test_a_tiff_that_stores_white_as_0_in_floats_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff((LEVELS / 255).astype(np.float32), white_is_zero=True))
    with pytest.raises(ValueError, match=r"a\.tif: the TIFF stores white as 0 in float32; save it with black as 0"):
        read_gray(tmp_path / "a.tif")


def test_a_tiff_of_several_pages_is_refused_unless_they_are_previews(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(LEVELS, kinds=(0, 1, 4)))
    assert np.array_equal(read_gray(tmp_path / "a.tif"), LEVELS)
    (tmp_path / "a.tif").write_bytes(tiff(LEVELS, kinds=(0, 1, 0, 0)))
    with pytest.raises(
        ValueError, match=r"a\.tif: expected one image, got a TIFF of 3 pages; save each page in a file"
    ):
        read_gray(tmp_path / "a.tif")


def test_images_of_a_few_pixels_are_looked_at_for_colours():
    """OpenCV cannot decode an eighth of them."""
    colours = np.zeros((3, 5, 3), np.uint8)
    assert not is_colour(cv2.imencode(".tif", colours)[1].tobytes())
    colours[..., 2] = 200
    assert is_colour(cv2.imencode(".tif", colours)[1].tobytes())
