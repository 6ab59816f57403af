"""RGB-D data sets from folders to samples."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_kd.data import decide_near, find_data, read_samples

MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


def read(root, *, near="auto", size=None):
    """Each data set with its samples."""
    folders = decide_near(find_data(root, depth=True, near=near))
    return [(folder, read_samples([folder], size=size)) for folder in folders]


def test_what_was_written_is_read(tmp_path, write_set):
    written = write_set(tmp_path, suffixes=(".png", ".png", ".bmp"))
    [(_, samples)] = read(tmp_path, near="bright")
    for before, after in zip(written, samples, strict=True):
        assert (after.name, after.spoilt) == (before.name, None)
        np.testing.assert_array_equal(after.image, before.image)
        np.testing.assert_array_equal(after.mask, before.mask)
        stretched = (before.depth - before.depth.min()) / np.ptp(before.depth)
        np.testing.assert_allclose(after.depth, stretched, atol=4 / 255)


@pytest.mark.parametrize("near", ["bright", "dark"])
def test_polarity_is_found_and_near_becomes_bright(tmp_path, write_set, near):
    write_set(tmp_path, near=near)
    [(automatic, samples)], [(told, others)] = read(tmp_path), read(tmp_path, near=near)
    assert automatic.near == told.near == near
    for sample, other in zip(samples, others, strict=True):
        np.testing.assert_array_equal(sample.depth, other.depth)
        assert sample.depth[sample.mask].mean() > sample.depth[~sample.mask].mean()


def test_several_data_sets_each_with_its_own_polarity(tmp_path, write_set):
    write_set(tmp_path / "b", near="dark")
    write_set(tmp_path / "a")
    (tmp_path / "notes").mkdir()
    found = read(tmp_path)
    assert [(folder.name, folder.near) for folder, _ in found] == [("a", "bright"), ("b", "dark")]
    assert found[1][1][0].name == "b/00000"


@pytest.mark.parametrize("size", [24, 80])
def test_resizing(tmp_path, write_set, size):
    write_set(tmp_path)
    cv2.imwrite(str(tmp_path / "depth" / "00000.bmp"), np.zeros((20, 30), np.uint8))  # sizes may differ then
    sample = read(tmp_path, size=size)[0][1][1]
    assert sample.image.shape == (size, size, 3)
    assert sample.depth.dtype == np.float32
    assert 0.02 < sample.mask.mean() < 0.3


class TestErrors:
    def test_unmatched_files_are_listed(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "depth" / "00002.bmp").unlink()
        with pytest.raises(ValueError, match="1 missing in depth: 00002"):
            read(tmp_path)

    def test_unreadable_files_are_named(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "RGB" / "00003.jpg").write_bytes(b"")
        with pytest.raises(ValueError, match=r"00003\.jpg: expected an image file, got an empty one"):
            read(tmp_path)

    def test_depth_is_required(self, tmp_path, write_set):
        write_set(tmp_path)
        (tmp_path / "depth").rename(tmp_path / "other")
        with pytest.raises(ValueError, match="it has RGB but no folder of depth maps"):
            read(tmp_path)

    def test_settings(self, tmp_path, write_set):
        write_set(tmp_path)
        with pytest.raises(ValueError, match="near: expected one of 'auto', 'bright', 'dark', got 'left'"):
            read(tmp_path, near="left")
        with pytest.raises(ValueError, match=r"size: expected a whole number of at least 1, got 0"):
            read(tmp_path, size=0)


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_data_of_three_sensors():
    found = read(MINI, size=64)
    assert [(folder.name, folder.near, len(samples)) for folder, samples in found] == [
        ("CROSS", "bright", 7),
        ("DES", "dark", 5),
        ("SSD", "dark", 3),
    ]
    samples = [sample for _, of_set in found for sample in of_set]
    assert all(0.01 < sample.mask.mean() < 0.6 for sample in samples)
    inside = [each.depth[each.mask].mean() > each.depth[~each.mask].mean() for each in samples]
    assert sum(inside) >= 14  # in CROSS/0086 the sign hangs as deep as the wall
