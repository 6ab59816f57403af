"""Data sets by folder: layouts, modes, polarity and errors."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_kd.data import read_folders

MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


@pytest.mark.parametrize("image", ["RGB", "RGB_left", "LR", "Image", "train_images", "test_images"])
def test_image_folders(tmp_path, write_set, image):
    write_set(tmp_path, names=(image, "depth", "GT"))
    assert len(read_folders(tmp_path)[0].samples) == 4


@pytest.mark.parametrize("depth", ["depth", "Depth", "train_depth", "train_depth_negation", "test_depth"])
def test_depth_folders(tmp_path, write_set, depth):
    write_set(tmp_path, names=("RGB", depth, "GT"))
    assert len(read_folders(tmp_path)[0].samples) == 4


@pytest.mark.parametrize("mask", ["GT", "Mask", "masks", "train_masks", "test_masks"])
def test_mask_folders(tmp_path, write_set, mask):
    write_set(tmp_path, names=("RGB", "depth", mask))
    assert len(read_folders(tmp_path)[0].samples) == 4


def test_what_was_written_is_read(tmp_path, write_set):
    written = write_set(tmp_path, suffixes=(".png", ".png", ".bmp"))
    [data_set] = read_folders(tmp_path, near="bright")
    for before, after in zip(written, data_set.samples, strict=True):
        assert (after.name, after.spoilt) == (before.name, None)
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.mask, before.mask)
        stretched = (before.depth - before.depth.min()) / np.ptp(before.depth)
        np.testing.assert_allclose(after.depth, stretched, atol=4 / 255)


@pytest.mark.parametrize("near", ["bright", "dark"])
def test_polarity_is_found_and_near_becomes_bright(tmp_path, write_set, near):
    write_set(tmp_path, near=near)
    [automatic], [told] = read_folders(tmp_path), read_folders(tmp_path, near=near)
    assert automatic.near == told.near == near
    for sample, other in zip(automatic.samples, told.samples, strict=True):
        np.testing.assert_array_equal(sample.depth, other.depth)
        assert sample.depth[sample.mask].mean() > sample.depth[~sample.mask].mean()


def test_several_data_sets_each_with_its_own_polarity(tmp_path, write_set):
    write_set(tmp_path / "b", near="dark")
    write_set(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    found = read_folders(tmp_path)
    assert [(each.name, each.near) for each in found] == [("a", "bright"), ("b", "dark")]
    assert found[1].samples[0].name == "b/00000"


@pytest.mark.parametrize("size", [24, 80])
def test_resizing(tmp_path, write_set, size):
    write_set(tmp_path)
    cv2.imwrite(str(tmp_path / "depth" / "00000.bmp"), np.zeros((20, 30), np.uint8))  # sizes may differ then
    sample = read_folders(tmp_path, size=size)[0].samples[1]
    assert sample.image.shape == (size, size, 3)
    assert sample.depth.dtype == np.float32
    assert 0.02 < sample.mask.mean() < 0.3


class TestErrors:
    def test_no_folder(self, tmp_path):
        with pytest.raises(ValueError, match="none: expected a folder, got nothing there"):
            read_folders(tmp_path / "none")

    def test_no_data_set(self, tmp_path):
        (tmp_path / "RGB").mkdir()
        with pytest.raises(ValueError, match=r"expected sub-folders of images, .*mask: GT, Mask.*got none of each"):
            read_folders(tmp_path)

    def test_two_folders_for_one_role(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "Mask").mkdir()
        with pytest.raises(ValueError, match="expected one of the sub-folders GT, Mask; move the others away"):
            read_folders(tmp_path)

    def test_unmatched_files_are_listed(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "depth" / "00002.bmp").unlink()
        with pytest.raises(ValueError, match="1 missing in depth: 00002"):
            read_folders(tmp_path)

    @pytest.mark.parametrize("top", [1, 128])
    def test_masks_that_would_read_as_empty(self, tmp_path, write_set, top):
        write_set(tmp_path)
        cv2.imwrite(str(tmp_path / "GT" / "00001.png"), np.full((48, 48), top, np.uint8))
        with pytest.raises(
            ValueError, match=f"00001.png: expected a mask whose salient level is over 128, .* of {top}"
        ):
            read_folders(tmp_path)

    def test_an_empty_mask_is_none_of_our_business(self, tmp_path, write_set):
        write_set(tmp_path)
        cv2.imwrite(str(tmp_path / "GT" / "00001.png"), np.zeros((48, 48), np.uint8))
        assert not read_folders(tmp_path)[0].samples[1].mask.any()

    def test_sizes_that_differ(self, tmp_path, write_set):
        write_set(tmp_path)
        cv2.imwrite(str(tmp_path / "depth" / "00001.bmp"), np.eye(30, dtype=np.uint8))
        with pytest.raises(ValueError, match=r"sample 00001: expected image .* resize them to one size"):
            read_folders(tmp_path)

    def test_unreadable_files_are_named(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "RGB" / "00003.jpg").write_bytes(b"")
        with pytest.raises(ValueError, match=r"00003\.jpg: expected an image file, got an empty one"):
            read_folders(tmp_path)

    def test_settings(self, tmp_path):
        with pytest.raises(ValueError, match="near: expected one of 'auto', 'bright', 'dark', got 'left'"):
            read_folders(tmp_path, near="left")
        with pytest.raises(ValueError, match=r"size: expected a number in \[1, inf\), got 0"):
            read_folders(tmp_path, size=0)


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_data_of_three_sensors():
    found = read_folders(MINI, size=64)
    assert [(each.name, each.near, len(each.samples)) for each in found] == [
        ("CROSS", "bright", 7),
        ("DES", "dark", 5),
        ("SSD", "dark", 3),
    ]
    for data_set in found:
        for sample in data_set.samples:
            assert 0.01 < sample.mask.mean() < 0.6
    inside = [s.depth[s.mask].mean() > s.depth[~s.mask].mean() for each in found for s in each.samples]
    assert sum(inside) >= 14  # in CROSS/0086 the sign hangs as deep as the wall
