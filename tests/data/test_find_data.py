"""Finding data sets: layouts, names, matching, depth on demand, teachers; nothing is decoded."""

from pathlib import Path

import pytest

from dynamic_kd.data import find_data

ECSSD = Path(__file__).parents[3] / "shared" / "data" / "ecssd"


@pytest.fixture
def touch(tmp_path):
    """Make empty files, given as paths below the test's folder; nothing is decoded."""

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return make


@pytest.fixture
def plant(touch):
    """Make a data set of empty files under a layout of one's choice."""

    def make(folder=".", stems=("1", "2"), image="RGB", depth="depth", mask="GT"):
        kinds = {image: ".jpg", depth: ".png", mask: ".png"}
        return touch(*(f"{folder}/{name}/{stem}{kinds[name]}" for name in kinds if name for stem in stems))

    return make


IMAGES = ["RGB", "RGB_left", "LR", "Image", "Images", "images", "train_images", "test_images", "Imgs", "rgb", "IMAGES"]
DEPTHS = ["depth", "Depth", "depths", "train_depth", "train_depth_negation", "test_depth", "DEPTH"]
MASKS = ["GT", "gt", "Mask", "mask", "masks", "ground_truth_mask", "train_masks", "test_masks", "Masks"]


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("mask", MASKS)
def test_every_pair_of_names(plant, image, mask):
    [data] = find_data(plant(image=image, depth=None, mask=mask))
    assert [files.name for files in data.files] == ["1", "2"]
    assert data.files[0].image.parent.name == image
    assert data.files[0].mask.parent.name == mask
    assert data.files[0].depth is None


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_name_of_depth(plant, depth):
    [data] = find_data(plant(depth=depth), depth=True)
    assert data.files[1].depth.parent.name == depth


@pytest.mark.parametrize("suffix", ["jpg", "JPG", "jpeg", "png", "bmp", "tif", "TIFF"])
def test_suffixes(touch, suffix):
    [data] = find_data(touch(f"RGB/a.{suffix}", "GT/a.bmp", "RGB/Thumbs.db"))
    assert data.files[0].image.suffix == f".{suffix}"


class TestWhereAndWhatName:
    @pytest.mark.parametrize(
        "nested", ["NJU2K", "NJUD/train", "train/NJUD", "TrainingSet/NJU2K", "NJU2K_TRAIN", "train_njud", "x/NJUD"]
    )
    def test_one_or_two_levels_below(self, plant, nested):
        [data] = find_data(plant(nested))
        assert data.name == "NJUD"
        assert data.split == ("train" if "rain" in nested.lower() else None)
        assert data.files[0].name == "1"

    def test_not_three_levels_below(self, plant):
        with pytest.raises(ValueError, match=r"train_masks, test_masks\), got others: a$"):
            find_data(plant("a/b/c"))

    def test_a_split_given_as_the_root_takes_its_name_from_above(self, plant):
        [data] = find_data(plant("RGBD135/test") / "RGBD135" / "test")
        assert (data.name, data.split) == ("DES", "test")

    def test_several_sets_prefix_the_names_of_their_samples(self, plant):
        plant("SIP", ["1"])
        plant("rgbd-135", ["1"])
        sets = find_data(plant("kitchen", ["2"]))
        assert [each.name for each in sets] == ["SIP", "kitchen", "DES"]
        assert [files.name for each in sets for files in each.files] == ["SIP/1", "kitchen/2", "DES/1"]

    def test_splits_of_one_set_are_told_apart(self, plant):
        plant("NJUD/test", ["1"])
        sets = find_data(plant("NJUD/train", ["1"]))
        assert [(each.name, each.split) for each in sets] == [("NJUD/test", "test"), ("NJUD/train", "train")]
        assert sets[0].files[0].name == "NJUD/test/1"

    def test_sets_of_one_name_are_told_apart_by_their_paths(self, plant):
        plant("one/NJUD", ["1"])
        assert [each.name for each in find_data(plant("two/NJU2K", ["1"]))] == ["one/NJUD", "two/NJU2K"]

    def test_training_and_test_folders_side_by_side(self, plant):
        plant("DUT-RGBD", ["1"], "train_images", "train_depth", "train_masks")
        sets = find_data(plant("DUT-RGBD", ["1", "3"], "test_images", "test_depth", "test_masks"))
        assert {each.name: len(each.files) for each in sets} == {"DUT-RGBD/test": 2, "DUT-RGBD/train": 1}
        assert sets[1].files[0].depth.parent.name == "train_depth"

    def test_a_split_that_the_folders_names_tell(self, plant):
        [data] = find_data(plant("a", image="train_images", depth="train_depth", mask="train_masks"))
        assert data.split == "train"

    def test_depth_that_training_and_test_images_share(self, plant):
        plant(".", ["1"], "train_images", None, "train_masks")
        sets = find_data(plant(".", ["1"], "test_images", "depth", "test_masks"))
        assert [each.files[0].depth.parent.name for each in sets] == ["depth", "depth"]

    def test_a_link_keeps_its_name(self, plant, tmp_path):
        plant("archive/v2")
        (tmp_path / "sets").mkdir()
        (tmp_path / "sets" / "NJU2K").symlink_to(tmp_path / "archive" / "v2")
        assert find_data(tmp_path / "sets")[0].name == find_data(tmp_path / "sets" / "NJU2K")[0].name == "NJUD"

    def test_what_lies_in_folders_of_images_and_hidden_folders_is_not_looked_at(self, plant):
        plant("RGB/deeper")
        plant(".hidden")
        assert len(find_data(plant())) == 1


class TestCounts:
    def found(self, plant, folder, count):
        [data] = find_data(plant(folder, [str(number) for number in range(count)], depth=None) / folder.split("/")[0])
        return data.notes

    @pytest.mark.parametrize(("folder", "count"), [("DES", 135), ("LFSD", 100), ("SSD100", 80), ("test/DES", 135)])
    def test_as_expected(self, plant, folder, count):
        assert self.found(plant, folder, count) == ()

    def test_other_counts_are_noted(self, plant):
        assert self.found(plant, "NLPR/test", 9) == (
            "expected 300 images of NLPR test, found 9; this is a part of them, or files are missing",
        )
        assert self.found(plant, "DUT-RGBD", 9) == (
            "expected 1200, 800 or 400 images of DUT-RGBD, found 9; this is a part of them, or files are missing",
        )

    def test_a_set_without_splits_is_a_test_set_as_a_whole(self, plant):
        assert self.found(plant, "test/LFSD", 9) == (
            "expected 100 images of LFSD test, found 9; this is a part of them, or files are missing",
        )
        assert self.found(plant, "train/LFSD", 9) == ()

    def test_nobody_knows_how_many_a_foreign_set_has(self, plant):
        assert self.found(plant, "kitchen", 9) == ()
        assert self.found(plant, "SIP/val", 9) == ()


class TestUnmatched:
    @pytest.mark.parametrize(
        ("gone", "message"),
        [
            ("GT/1.png", "expected the same file stems in RGB, depth, GT, got 1 missing in GT: 1; add or remove files"),
            ("RGB/2.jpg", "got 1 missing in RGB: 2;"),
            ("depth/2.png", "got 1 missing in depth: 2; .* list file"),
        ],
    )
    def test_files_are_listed_with_the_folder_that_lacks_them(self, plant, gone, message):
        root = plant()
        (root / gone).unlink()
        with pytest.raises(ValueError, match=message):
            find_data(root, depth=True)

    def test_long_lists_are_cut(self, plant):
        root = plant(stems=[f"{number:02d}" for number in range(30)], depth=None)
        for path in sorted(root.glob("GT/*"))[:25]:
            path.unlink()
        with pytest.raises(ValueError, match=r"25 missing in GT: 00, .*, 19 and 5 more;"):
            find_data(root)

    def test_no_images(self, tmp_path):
        (tmp_path / "RGB").mkdir()
        (tmp_path / "GT").mkdir()
        with pytest.raises(ValueError, match=r"RGB: expected images \(\.png, .*\), got none"):
            find_data(tmp_path)


class TestDepthAndMasksOnDemand:
    def test_depth_of_all_images_is_taken(self, plant):
        assert all(files.depth for files in find_data(plant())[0].files)

    def test_depth_of_some_images_is_left_out_with_a_note(self, plant):
        root = plant()
        (root / "depth/2.png").unlink()
        [data] = find_data(root)
        assert [files.depth for files in data.files] == [None, None]
        assert data.notes[0].endswith("depth is left out: 1 missing in depth: 2")

    def test_depth_without_an_image_is_an_error(self, touch, plant):
        plant()
        with pytest.raises(ValueError, match="1 missing in RGB: 3; 1 missing in GT: 3"):
            find_data(touch("depth/3.png"))

    def test_depth_that_is_ignored_need_not_match(self, touch, plant):
        plant()
        [data] = find_data(touch("depth/3.png", "depth/3.jpg"), depth=False)
        assert [files.depth for files in data.files] == [None, None]

    def test_depth_that_is_required(self, plant):
        with pytest.raises(ValueError, match=r"images, depth maps and masks .* it has RGB but no folder of depth"):
            find_data(plant(depth=None), depth=True)

    def test_masks_that_are_ignored_need_not_be(self, plant):
        root = plant(mask=None)
        [data] = find_data(root, masks=False)
        assert data.files[0].mask is None
        assert data.files[0].depth
        with pytest.raises(ValueError, match=r"expected sub-folders of images and masks .* no folder of masks"):
            find_data(root)

    def test_a_folder_of_images_will_do_without_masks(self, touch):
        [data] = find_data(touch("holiday/a.jpg", "holiday/b.jpg") / "holiday", masks=False)
        assert (data.name, [files.name for files in data.files]) == ("holiday", ["a", "b"])
        with pytest.raises(ValueError, match="got no sub-folders"):
            find_data(data.root)
        (data.root / "empty").mkdir()
        with pytest.raises(ValueError, match=r"empty: expected images, or sub-folders of images \(image: RGB, "):
            find_data(data.root / "empty", masks=False)

    def test_what_lacks_a_folder_beside_whole_sets_is_noted(self, plant):
        plant("a", mask=None)
        [data] = find_data(plant("b"))
        assert data.name == "b"
        assert data.notes[0].endswith("a is left out: it has RGB but no folder of masks")


class TestTeacher:
    def test_a_folder_in_the_set_may_hold_more_maps(self, touch, plant):
        plant(depth=None)
        [data] = find_data(touch("maps/1.png", "maps/2.jpg", "maps/3.png"), teacher="maps")
        assert [files.teacher.name for files in data.files] == ["1.png", "2.jpg"]

    def test_missing_maps_are_listed(self, touch, plant):
        plant()
        with pytest.raises(ValueError, match="1 missing in maps: 2"):
            find_data(touch("maps/1.png"), teacher="maps")

    def test_a_folder_elsewhere(self, touch, plant):
        plant("set")
        root = touch("elsewhere/1.png", "elsewhere/2.png")
        [data] = find_data(root / "set", teacher=root / "elsewhere")
        assert data.files[0].teacher == root / "elsewhere" / "1.png"

    @pytest.mark.parametrize("below", ["RGBD135", "DES", "rgbd-135"])
    def test_a_folder_elsewhere_for_each_of_several_sets(self, touch, plant, below):
        plant("sets/SIP", ["1"])
        plant("sets/RGBD135", ["1"])
        root = touch("maps/SIP/1.png", f"maps/{below}/1.png")
        found = find_data(root / "sets", teacher=root / "maps")
        assert [each.files[0].teacher.parent.name for each in found] == [below, "SIP"]

    def test_a_folder_elsewhere_with_the_same_paths(self, touch, plant):
        plant("sets/x/kitchen", ["1"])
        plant("sets/y/kitchen", ["1"])
        root = touch("maps/x/kitchen/1.png", "maps/y/kitchen/1.png")
        found = find_data(root / "sets", teacher=root / "maps")
        assert [each.files[0].teacher.parent.parent.name for each in found] == ["x", "y"]

    def test_sets_without_one_are_named(self, touch, plant):
        plant("a")
        plant("b")
        root = touch("a/maps/1.png", "a/maps/2.png")
        with pytest.raises(ValueError, match=r"teacher maps: expected a sub-folder of each .* got none for \S*b$"):
            find_data(root, teacher="maps")
        with pytest.raises(ValueError, match=r"with a folder for each data set .* got none for \S*a, \S*b$"):
            find_data(root, teacher=root / "a" / "maps")


class TestMistakes:
    def test_no_folder(self, tmp_path):
        with pytest.raises(ValueError, match="none: expected a folder, got no such folder"):
            find_data(tmp_path / "none")
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="file: expected a folder, got a file"):
            find_data(tmp_path / "file")

    @pytest.mark.parametrize("more", ["GT", "Mask"])
    def test_two_folders_for_one_role(self, plant, more):
        root = plant()
        (root / ("gt" if more == "GT" else more)).mkdir()
        with pytest.raises(ValueError, match=rf"expected one of the sub-folders GT, {more}|gt; move the others away"):
            find_data(root)

    def test_a_folder_of_a_split_beside_one_of_none(self, plant):
        root = plant()
        (root / "train_masks").mkdir()
        with pytest.raises(ValueError, match="expected one of the sub-folders GT, train_masks; move the others away"):
            find_data(root)

    def test_two_folders_for_one_role_of_a_split(self, plant):
        plant(image="train_images", depth=None, mask="train_masks")
        root = plant(image="test_images", mask="test_masks", depth="train_depth")
        (root / "train_depth_negation").mkdir()
        with pytest.raises(ValueError, match="expected one of the sub-folders train_depth, train_depth_negation"):
            find_data(root)

    def test_settings(self, tmp_path):
        with pytest.raises(ValueError, match="near: expected one of 'auto', 'bright', 'dark', got 'left'"):
            find_data(tmp_path, near="left")
        with pytest.raises(TypeError, match="depth: expected True or False, got 1"):
            find_data(tmp_path, depth=1)
        with pytest.raises(TypeError, match="masks: expected True or False, got None"):
            find_data(tmp_path, masks=None)


@pytest.mark.skipif(not ECSSD.is_dir(), reason=f"{ECSSD.name} is not beside the project")
def test_a_real_set_with_maps_and_a_list(tmp_path):
    names = [f"{number:04d}" for number in range(5, 1001, 5)]
    (tmp_path / "val.txt").write_text("\n".join(names))
    [whole], [part] = find_data(ECSSD, teacher="pred_ISNet"), find_data(ECSSD, list_file=tmp_path / "val.txt")
    assert (whole.name, len(whole.files), whole.notes) == ("ECSSD", 1000, ())
    assert all(files.teacher.stem == files.mask.stem == files.name for files in whole.files)
    assert [files.name for files in part.files] == names
    assert part.notes == ("expected 1000 images of ECSSD, found 200; this is a part of them, or files are missing",)
