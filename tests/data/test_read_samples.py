"""Files decoded into samples: modes, sizes, masks, teacher's maps, depth polarity."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from dynamic_kd.data import (
    DataFolder,
    SampleFiles,
    check_data,
    decide_near,
    find_data,
    read_inputs,
    read_samples,
    synthetic_rgbd,
)
from dynamic_kd.data._polarity import Polarity, depth_polarity
from dynamic_kd.losses import logits_from_probabilities, soft_iou

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


@pytest.fixture
def read(tmp_path, picture):
    """Write arrays as the files of one sample and read it; without an image, it is random and 12 x 20."""

    def one(near="bright", size=None, suffix=".png", **arrays):
        files = {}
        for role, array in {"image": picture, "mask": np.zeros((12, 20), np.uint8), **arrays}.items():
            path = tmp_path / f"{role}{suffix}"
            cv2.imwrite(str(path), array)
            files[role] = path
        [sample] = read_samples([DataFolder("set", tmp_path, (SampleFiles("a", **files),), near)], size=size)
        return sample

    return one


class TestMasks:
    @pytest.mark.parametrize(
        ("top", "kind"), [(255, np.uint8), (200, np.uint8), (65535, np.uint16), (51400, np.uint16)]
    )
    def test_levels(self, read, top, kind):
        mask = np.random.default_rng(1).random((12, 20)) < 0.5
        np.testing.assert_array_equal(read(mask=(mask * top).astype(kind)).mask, mask)

    def test_colour(self, read):
        mask = np.random.default_rng(1).random((12, 20)) < 0.5
        np.testing.assert_array_equal(read(mask=np.dstack(3 * [255 * mask.astype(np.uint8)])).mask, mask)

    def test_palette(self, tmp_path, read):
        mask = np.random.default_rng(1).random((12, 20)) < 0.5
        path = palette_png(tmp_path / "palette.png", mask.astype(np.uint8), [(0, 0, 0), (255, 255, 255)])
        read()
        files = SampleFiles("a", tmp_path / "image.png", mask=path)
        [sample] = read_samples([DataFolder("set", tmp_path, (files,), "bright")])
        np.testing.assert_array_equal(sample.mask, mask)

    def test_grey_edges_are_cut_where_the_metrics_cut_them(self, read):
        levels = np.arange(240, dtype=np.uint8).reshape(12, 20)
        np.testing.assert_array_equal(read(mask=levels).mask, levels > 128)

    @pytest.mark.parametrize("top", [1, 2, 128])
    def test_a_level_of_every_pixel_may_be_anything(self, read, top):
        with pytest.raises(
            ValueError, match=rf"got {top} in 1 mask \(a\); if that is the object's, say --salient {top} "
        ):
            read(mask=np.full((12, 20), top, np.uint8))

    @pytest.mark.parametrize("top", [1, 2, 128, 255])
    def test_any_level_beside_0_is_salient(self, read, top):
        mask = np.random.default_rng(1).random((12, 20)) < 0.5
        np.testing.assert_array_equal(read(mask=top * mask.astype(np.uint8)).mask, mask)

    def test_empty_and_full(self, read):
        assert not read(mask=np.zeros((12, 20), np.uint8)).mask.any()
        assert read(mask=np.full((12, 20), 255, np.uint8)).mask.all()

    def test_another_size_than_the_image_needs_a_size(self, read):
        mask = np.zeros((24, 40), np.uint8)
        mask[:, :20] = 255
        with pytest.raises(
            ValueError, match=r"mask\.png: expected a mask of its image's size \(12, 20\), got \(24, 40\); give a size"
        ):
            read(mask=mask)
        assert read(mask=mask, size=8).mask[:, :4].all()

    @given(mask=st_numpy.arrays(np.bool_, (8, 12)), size=st.sampled_from([1, 2, 4]))
    def test_shrinking_takes_the_majority(self, tmp_path_factory, mask, size):
        """The reference: the share of each block by counting; a tie is not salient."""
        folder = tmp_path_factory.mktemp("set")
        cv2.imwrite(str(folder / "mask.png"), 255 * mask.astype(np.uint8))
        cv2.imwrite(str(folder / "image.png"), np.zeros((8, 12, 3), np.uint8))
        files = SampleFiles("a", folder / "image.png", mask=folder / "mask.png")
        [sample] = read_samples([DataFolder("set", folder, (files,), "auto")], size=size)
        counts = mask.reshape(size, 8 // size, size, 12 // size).sum(axis=(1, 3))
        np.testing.assert_array_equal(sample.mask, 2 * counts > 96 // size**2)

    def test_none(self, tmp_path, read):
        read()
        files = SampleFiles("a", tmp_path / "image.png")
        with pytest.raises(ValueError, match="sample a: expected a mask, got none; find the data with masks=True"):
            read_samples([DataFolder("set", tmp_path, (files,), "auto")])


def palette_png(path, indices, colours):
    """Write an 8-bit palette PNG by hand; OpenCV writes none."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    content = chunk(b"IHDR", header) + chunk(b"PLTE", bytes(np.ravel(colours).tolist()))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


class TestDepth:
    @pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
    def test_bits(self, read, kind):
        depth = np.linspace(10, 110, 240).reshape(12, 20).astype(kind)
        found = read(depth=depth, suffix=".tiff").depth
        np.testing.assert_allclose(found, (depth - 10.0) / 100, atol=1e-6)

    def test_near_becomes_bright(self, read):
        depth = np.linspace(0, 255, 240).reshape(12, 20).astype(np.uint8)
        np.testing.assert_allclose(read(depth=depth, near="dark").depth, 1 - depth / 255.0, atol=1e-6)

    @pytest.mark.parametrize("shape", [(6, 10), (24, 40), (13, 7)])
    @pytest.mark.parametrize("near", ["bright", "dark"])
    def test_another_size_is_resized_to_the_image(self, read, shape, near):
        depth = np.tile(np.linspace(0, 255, shape[0]), (shape[1], 1)).T.astype(np.uint8)
        found = read(depth=depth, near=near).depth
        assert found.shape == (12, 20)
        expected = np.clip((np.arange(12) + 0.5) / 12, 0, 1)
        np.testing.assert_allclose(found[:, 0], expected if near == "bright" else 1 - expected, atol=0.1)

    def test_sets_without(self, read):
        assert read(near="auto").depth is None


class TestTeacher:
    def test_values(self, read):
        teacher = np.arange(240, dtype=np.uint8).reshape(12, 20)
        found = read(teacher=teacher).teacher
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, teacher / 255.0, rtol=1e-6)

    def test_resized_as_probabilities(self, read):
        teacher = np.kron(np.array([[255, 0], [0, 255]], np.uint8), np.ones((3, 5), np.uint8))
        assert read(teacher=teacher).teacher.shape == (12, 20)
        np.testing.assert_allclose(read(teacher=teacher, size=1).teacher, [[0.5]], atol=1e-6)

    @pytest.mark.parametrize("near", ["bright", "dark"])
    @pytest.mark.parametrize("size", [8, 16])
    def test_resized_values_stay_probabilities(self, read, size, near):
        """The sums of a resize round: of ones alone, OpenCV makes 1 + 2**-23 at these sizes."""
        ones = np.full((30, 40), 255, np.uint8)
        half = np.where(np.arange(40) < 20, ones, 0).astype(np.uint8)
        sample = read(depth=half, teacher=ones, near=near, size=size)
        assert sample.depth.dtype == sample.teacher.dtype == np.float32
        assert (sample.depth.min(), sample.depth.max(), sample.teacher.max()) == (0, 1, 1)
        assert soft_iou(sample.teacher[None], sample.mask[None]) == 0
        assert np.isfinite(logits_from_probabilities(sample.teacher[None])).all()


def test_orientation_marks_are_ignored_in_all_files_alike(tmp_path):
    shape = (24, 40)
    tiff = b"MM\0*\0\0\0\x08" + b"\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    files = {}
    for role, picture in {"image": (*shape, 3), "depth": shape, "mask": shape, "teacher": shape}.items():
        jpeg = cv2.imencode(".jpg", np.full(picture, 255, np.uint8))[1].tobytes()
        files[role] = tmp_path / f"{role}.jpg"
        files[role].write_bytes(jpeg[:2] + (exif if role != "depth" else b"") + jpeg[2:])
    assert cv2.imread(str(files["mask"])).shape[:2] == (40, 24)  # OpenCV by default turns it
    [sample] = read_samples([DataFolder("set", tmp_path, (SampleFiles("a", **files),), "bright")])
    assert sample.image.shape[:2] == sample.depth.shape == sample.mask.shape == sample.teacher.shape == shape


class TestReadInputs:
    def test_image_and_depth(self, tmp_path, read, picture):
        depth = np.linspace(0, 255, 60).reshape(6, 10).astype(np.uint8)
        sample = read(depth=depth, near="dark")
        files = SampleFiles("a", tmp_path / "image.png", tmp_path / "depth.png")
        image, found, size = read_inputs(files, near="dark")
        assert size == picture.shape[:2]
        np.testing.assert_array_equal(image, picture[..., ::-1])
        np.testing.assert_array_equal(found, sample.depth)
        assert [array.shape for array in read_inputs(files, size=7)[:2]] == [(7, 7, 3), (7, 7)]

    def test_image_alone(self, tmp_path, read):
        read()
        assert read_inputs(SampleFiles("a", tmp_path / "image.png"), near="auto")[1] is None

    def test_an_open_polarity_is_an_error(self, tmp_path, read):
        read(depth=np.eye(12, dtype=np.uint8))
        with pytest.raises(ValueError, match="near: expected 'bright' or 'dark', got 'auto'; see decide_near"):
            read_inputs(SampleFiles("a", tmp_path / "image.png", tmp_path / "depth.png"), near="auto")


class TestManySamples:
    @pytest.mark.parametrize("workers", [None, 1, 3])
    def test_order_and_progress(self, tmp_path, write_set, workers):
        write_set(tmp_path / "b", near="dark")
        write_set(tmp_path / "a")
        seen = []
        samples = read_samples(find_data(tmp_path), workers=workers, progress=lambda *done: seen.append(done))
        assert [sample.name for sample in samples] == [f"{name}/0000{number}" for name in "ab" for number in range(4)]
        assert seen == [(done, 8) for done in range(1, 9)]
        for one, other in zip(samples[:4], samples[4:], strict=True):
            np.testing.assert_allclose(one.depth, other.depth, atol=2 / 255)  # stretched a little

    def test_the_first_file_that_cannot_be_read_is_named(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "GT" / "00001.png").write_bytes(b"")
        with pytest.raises(ValueError, match=r"00001\.png: expected an image file, got an empty one"):
            read_samples(find_data(tmp_path))

    @pytest.mark.parametrize("setting", ["size", "workers"])
    def test_settings(self, setting):
        with pytest.raises(TypeError, match=rf"{setting}: expected a whole number, got 1\.5"):
            read_samples([], **{setting: 1.5})
        with pytest.raises(ValueError, match=rf"{setting}: expected a whole number of at least 1, got 0"):
            read_samples([], **{setting: 0})


class TestPolarity:
    def test_what_is_darker_at_the_top_is_near_when_bright(self):
        ramp = np.linspace(0, 1, 9, dtype=np.float32)[:, None]
        assert depth_polarity([ramp] * 3 + [1 - ramp]) == Polarity("bright", agreeing=3, maps=4, sure=True)
        assert depth_polarity([1 - ramp] * 2 + [ramp]) == Polarity("dark", agreeing=2, maps=3, sure=False)

    def test_the_top_is_a_quarter_rounded_up(self):
        """Of five rows two are the top: brighter than the rest, though the first row is not."""
        rows = np.array([0.0, 1.0, 0.4, 0.4, 0.4], np.float32)[:, None]
        assert depth_polarity([rows]).near == "dark"
        assert depth_polarity([np.array([[0.0], [1.0]], np.float32)]).near == "bright"

    def test_maps_that_tell_nothing(self):
        flat = [np.zeros((4, 4), np.float32), np.eye(1, 8, dtype=np.float32)]
        assert depth_polarity(flat) == Polarity("bright", agreeing=0, maps=0, sure=False)
        assert depth_polarity([np.full((7, 3), 116 / 255, np.float32)]).maps == 0  # its means differ by rounding
        assert depth_polarity([np.array([[0.5], [0.501]], np.float32)]).maps == 1

    @given(st_numpy.arrays(np.float32, (7, 3), elements=st.integers(0, 255)), st.integers(1, 3))
    def test_turning_the_levels_turns_the_answer(self, levels, count):
        found, turned = (depth_polarity([each] * count) for each in (levels / 255, 1 - levels / 255))
        if found.maps and turned.maps and found.sure:
            assert (found.near, found.maps) != (turned.near, turned.maps)

    def test_fifty_maps_at_most_spread_over_the_set(self, tmp_path):
        up, down = (np.tile(np.arange(8, dtype=np.uint8)[::way, None], (1, 8)) for way in (1, -1))
        for name, picture in (("up", up), ("down", down)):
            cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
        # Of 150 files, every third is looked at; the others do not even exist.
        paths = [
            tmp_path / ("none.png" if number % 3 else "up.png" if number < 45 else "down.png") for number in range(150)
        ]
        files = tuple(SampleFiles(str(number), path, path) for number, path in enumerate(paths))
        [decided] = decide_near([DataFolder("set", tmp_path, files, "auto")])
        assert decided.near == "dark"

    def test_every_list_of_a_data_set_gets_the_answer_of_the_whole(self, tmp_path, write_set):
        """Of ten depth maps two are spoilt: lists of these alone would turn the others' polarity round."""
        samples = synthetic_rgbd(10, size=32, seed=1, spoilt_share=0)
        turned = [replace(each, depth=1 - each.depth) if number < 2 else each for number, each in enumerate(samples)]
        write_set(tmp_path / "set", turned)
        lists = {"train": turned[2:], "validation": turned[:2]}
        decided = {}
        for name, listed in lists.items():
            path = tmp_path / f"{name}.txt"
            path.write_text("\n".join(sample.name for sample in listed))
            [folder] = decide_near(find_data(tmp_path / "set", list_file=path))
            assert len(folder.depths) == 10
            decided[name] = folder.near
            [report] = check_data(tmp_path / "set", list_file=path).sets
            assert (report.polarity.near, report.polarity.maps) == (folder.near, 10)
        assert decided == {"train": "bright", "validation": "bright"}

    def test_what_cannot_be_read_tells_nothing_until_it_is_needed(self, tmp_path, write_set):
        samples = write_set(tmp_path / "set")
        (tmp_path / "set" / "depth" / f"{samples[0].name}.bmp").write_bytes(b"")
        [folder] = decide_near(find_data(tmp_path / "set"))
        assert folder.near == "bright"
        with pytest.raises(ValueError, match=f"{samples[0].name}.bmp: expected an image file, got an empty one"):
            read_samples([folder])

    def test_a_doubtful_answer_is_noted(self, tmp_path, write_set):
        ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32)[:, None], (1, 32))
        depths = [ramp, ramp, 1 - ramp, 1 - ramp]
        samples = synthetic_rgbd(4, size=32, seed=1, spoilt_share=0)
        write_set(tmp_path / "a", [replace(each, depth=own) for each, own in zip(samples, depths, strict=True)])
        [folder] = decide_near(find_data(tmp_path / "a"))
        message = "only 2 of 4 depth maps agree; look at some of them and set near"
        assert folder.notes == (f"{tmp_path / 'a'}: near seems to be {folder.near}, but {message}",)
        [told] = decide_near(find_data(tmp_path / "a", near="dark"))
        assert told.notes == ()

    def test_what_is_decided_or_without_depth_stays(self, tmp_path):
        told = DataFolder("set", tmp_path, (SampleFiles("a", tmp_path, tmp_path / "none.png"),), "dark")
        without = DataFolder("set", tmp_path, (SampleFiles("a", tmp_path),), "auto")
        assert decide_near([told, without]) == [told, without]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not beside the project")
class TestRealData:
    def test_three_sensors(self):
        folders = decide_near(find_data(SHARED / "rgbd-sod-mini", depth=True))
        assert {each.name: each.near for each in folders} == {"CROSS": "bright", "DES": "dark", "SSD": "dark"}
        assert len(read_samples(folders)) == 15

    def test_a_teacher_of_colour_images(self, tmp_path):
        (tmp_path / "list.txt").write_text("0005\n0010\n0015\n")
        folders = find_data(SHARED / "ecssd", teacher="pred_ISNet", list_file=tmp_path / "list.txt")
        for sample in read_samples(folders, size=96):
            assert sample.depth is None
            inside, outside = sample.teacher[sample.mask].mean(), sample.teacher[~sample.mask].mean()
            assert inside > 0.7 > 0.2 > outside
