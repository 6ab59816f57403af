"""Data sets looked over: everything that is wrong is listed, and nothing raises."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_kd.data import _file_facts, check_data, contact_sheet, find_data, read_samples
from dynamic_kd.data._image_header import stored_as

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def data(tmp_path, write_set):
    """Write a data set of four samples, with a perfect teacher's maps."""
    write_set(tmp_path / "a")
    shutil.copytree(tmp_path / "a" / "GT", tmp_path / "a" / "maps")
    return tmp_path / "a"


def write(path, picture):
    cv2.imwrite(str(path), picture)


def reported(root, **settings):
    """Check a folder; what is a problem is refused when it is read, and nothing else is."""
    report = check_data(root, **settings)
    try:
        for each in find_data(root, **settings):
            read_samples([each], size=16)
        refused = False
    except ValueError:
        refused = True
    assert refused == bool(report.problems)
    json.dumps(report.as_dict())
    return report


def test_a_set_with_which_nothing_is_wrong(data):
    report = reported(data, teacher="maps")
    [found] = report.sets
    assert report.problems == report.warnings == report.duplicates == ()
    assert (found.name, found.split, found.samples, found.looked_at) == ("a", None, 4, 4)
    assert [(role.role, role.folder, role.files, role.looked_at) for role in found.roles] == [
        ("image", "RGB", 4, 4),
        ("depth", "depth", 4, 4),
        ("mask", "GT", 4, 4),
        ("teacher", "maps", 4, 4),
    ]
    assert [role.stored for role in found.roles] == [
        {"JPEG": 4},
        {"BMP, 8 bits a pixel": 4},
        {"PNG, 8-bit grey": 4},
        {"PNG, 8-bit grey": 4},
    ]
    assert all(role.sizes == {"48x48": 4} and role.marks == {} for role in found.roles)
    assert (found.polarity.near, found.polarity.maps) == ("bright", 4)
    assert found.teacher_iou == 1


class TestProblems:
    def test_unmatched_files(self, data):
        (data / "GT" / "00001.png").unlink()
        (data / "RGB" / "00002.jpg").unlink()
        (data / "maps" / "00003.png").unlink()
        assert reported(data, teacher="maps").problems == (
            "a: 1 missing in RGB: 00002; 1 missing in GT: 00001; 1 missing in maps: 00003",
        )

    @pytest.mark.parametrize("content", [b"", b"<html>", None])
    @pytest.mark.parametrize("role", ["RGB", "depth", "GT", "maps"])
    def test_unreadable_files_are_all_listed(self, data, role, content):
        for path in sorted((data / role).iterdir())[1:3]:
            path.write_bytes(path.read_bytes()[:60] if content is None else content)
        report = reported(data, teacher="maps")
        assert [problem.split(": expected")[0].split("/")[-2:] for problem in report.problems] == [
            [role, path.name] for path in sorted((data / role).iterdir())[1:3]
        ]

    def test_masks_of_other_levels_than_the_others(self, data):
        write(data / "GT" / "00001.png", np.eye(48, dtype=np.uint8))
        [problem] = reported(data).problems
        assert "a: GT: expected masks of two levels, 0 and a salient one, got " in problem
        assert "0, 1 in 1 mask (00001.png)" in problem
        assert "0, 255 in 3 masks (the first is 00000.png)" in problem

    def test_teachers_maps_of_another_size_than_the_masks(self, data):
        """A map of ones that shrinks by area stays one of probabilities, whatever the rounding."""
        for path in (data / "maps").iterdir():
            write(path, np.full((96, 128), 255, np.uint8))
        for path in (data / "GT").iterdir():
            write(path, np.full((32, 32), 255, np.uint8))
        write(data / "maps" / "00001.png", np.full((60, 80), 255, np.uint8))
        report = reported(data, teacher="maps")
        assert report.problems == ()
        assert report.sets[0].teacher_iou == 1

    def test_a_problem_names_its_file_whoever_finds_it(self, data, monkeypatch):
        def fail(*arguments, **settings):
            raise ValueError("probabilities: expected other values")

        monkeypatch.setattr(_file_facts, "soft_iou", fail)
        problems = check_data(data, teacher="maps").problems
        assert problems == tuple(
            f"a: {data / 'maps' / f'0000{number}.png'}: probabilities: expected other values" for number in range(4)
        )

    def test_depth_of_some_images(self, data):
        (data / "depth" / "00001.bmp").unlink()
        assert check_data(data).problems == ("a: 1 missing in depth: 00001",)

    def test_no_masks(self, data):
        shutil.rmtree(data / "GT")
        [problem] = reported(data).problems
        assert problem.startswith("a: no folder of masks (GT, Mask, masks,")

    def test_no_images(self, tmp_path):
        (tmp_path / "a" / "RGB").mkdir(parents=True)
        (tmp_path / "a" / "GT").mkdir()
        assert reported(tmp_path / "a").problems == ("a: no images",)
        with pytest.raises(ValueError, match="a: expected images to show, got none"):
            contact_sheet(tmp_path / "a")

    def test_a_list_leaves_out_what_is_wrong(self, data, tmp_path):
        (data / "GT" / "00001.png").unlink()
        (tmp_path / "list.txt").write_text("00003\n00000\n")
        report = reported(data, list_file=tmp_path / "list.txt")
        assert report.problems == ()
        assert report.sets[0].samples == 2


class TestWarnings:
    def test_empty_full_and_grey_masks(self, data):
        write(data / "GT" / "00000.png", np.zeros((48, 48), np.uint8))
        write(data / "GT" / "00001.png", np.full((48, 48), 255, np.uint8))
        write(data / "GT" / "00002.png", np.full((48, 48), 200, np.uint8))
        report = reported(data)
        assert report.sets[0].roles[2].marks == {"empty": 1, "full": 2, "grey": 1}
        assert report.warnings == (
            "a: masks without a salient pixel: 1 of 4",
            "a: masks that are salient everywhere: 2 of 4",
        )

    def test_other_sizes(self, data):
        write(data / "GT" / "00000.png", np.eye(50, dtype=np.uint8) * 255)
        write(data / "depth" / "00001.bmp", np.eye(24, dtype=np.uint8))
        write(data / "depth" / "00002.bmp", np.eye(24, dtype=np.uint8))
        write(data / "maps" / "00003.png", np.eye(60, dtype=np.uint8))
        report = reported(data, teacher="maps")
        assert [sum("another size than" in each for each in report.warnings)] == [3]
        assert "a: depth maps of another size than their image, which are resized to it: 2 of 4" in report.warnings
        assert report.sets[0].roles[1].sizes == {"48x48": 2, "24x24": 2}

    def test_flat_depth_says_nothing_of_near(self, data):
        for path in (data / "depth").iterdir():
            write(path, np.full((48, 48), 9, np.uint8))
        report = reported(data)
        assert (report.sets[0].polarity.maps, report.sets[0].polarity.sure) == (0, False)
        assert report.warnings == (
            "a: flat depth maps: 4 of 4",
            "a: near seems to be bright, but only 0 of 0 depth maps agree; look at some of them and set near",
        )

    def test_depth_in_colour(self, data):
        levels = np.tile(np.arange(48, dtype=np.uint8)[:, None] * 5, (1, 48))
        write(data / "depth" / "00000.bmp", cv2.applyColorMap(levels, cv2.COLORMAP_JET))
        write(data / "depth" / "00001.bmp", np.dstack([levels] * 3))
        (data / "depth" / "00002.bmp").write_bytes(cv2.imencode(".jpg", np.dstack([levels] * 3))[1].tobytes())
        write(data / "depth" / "00003.bmp", np.dstack([levels, levels, np.maximum(levels, 20) - 20]))
        report = reported(data)
        assert report.sets[0].roles[1].marks == {"colour": 2}
        assert report.warnings == ("a: depth maps in colour, read as their luma (store distances as grey): 2 of 4",)

    def test_a_polarity_that_contradicts_the_maps(self, data):
        assert reported(data, near="bright").warnings == ()
        [warning] = reported(data, near="dark").warnings
        assert warning.startswith("a: near is set to dark, but ")
        assert warning.endswith("of 4 depth maps look as if it were bright")

    def test_an_inverted_teacher(self, data):
        for path in (data / "maps").iterdir():
            write(path, 255 - cv2.imread(str(path), 0))
        report = reported(data, teacher="maps")
        assert report.sets[0].teacher_iou == 0
        assert report.warnings == (
            "a: the teacher's maps have a soft IoU of only 0.00 with the masks; are they inverted or swapped?",
        )

    def test_a_flat_teacher(self, data):
        write(data / "maps" / "00002.png", np.zeros((48, 48), np.uint8))
        assert reported(data, teacher="maps").warnings == ("a: flat maps of the teacher: 1 of 4",)

    def test_images_that_come_twice_in_any_set_and_format(self, data, write_set):
        write_set(data.parent / "b", suffixes=(".png", ".bmp", ".png"))
        picture = cv2.imread(str(data / "RGB" / "00001.jpg"))
        write(data.parent / "b" / "RGB" / "00002.png", picture)
        report = reported(data.parent)
        assert report.duplicates == (("a/00001", "b/00002"),)
        assert report.warnings == ("the same image: a/00001, b/00002",)

    def test_black_images_of_other_shapes_are_not_the_same(self, data):
        for number, shape in enumerate([(48, 24), (24, 48)]):
            write(data / "RGB" / f"0000{number}.jpg", np.zeros((*shape, 3), np.uint8))
        assert reported(data).duplicates == ()

    def test_files_that_are_no_images_are_named(self, data):
        for name in ("notes.txt", "00009.gif", ".hidden"):
            (data / "RGB" / name).touch()
        (data / "maps" / "00001.npy").touch()
        (data / "maps" / "predict.json").touch()
        assert reported(data, teacher="maps").warnings == (
            "a: ignored in RGB, as their suffixes are not those of images: 00009.gif, notes.txt",
            "a: ignored in maps, as their suffixes are not those of images: 00001.npy",
        )

    def test_counts_and_what_was_left_out(self, data):
        data.rename(data.parent / "LFSD")
        (data.parent / "other" / "images").mkdir(parents=True)
        assert reported(data.parent).warnings == (
            f"{data.parent}/other is left out: it has images but no folder of masks",
            "LFSD: expected 100 images of LFSD, found 4; this is a part of them, or files are missing",
        )


def test_the_overlap_is_that_of_equation_1(data):
    teacher = np.random.default_rng(0).integers(0, 256, (4, 48, 48)).astype(np.uint8)
    overlaps = []
    for number, levels in enumerate(teacher):
        write(data / "maps" / f"0000{number}.png", levels)
        p = levels / 255.0
        g = (cv2.imread(str(data / "GT" / f"0000{number}.png"), 0) > 128).astype(float)
        overlaps.append((p * g).sum() / (p + g - p * g).sum())
    assert check_data(data, teacher="maps").sets[0].teacher_iou == pytest.approx(np.mean(overlaps), rel=1e-5)


def test_a_quick_look_takes_fifty(tmp_path):
    for folder in ("RGB", "GT"):
        (tmp_path / folder).mkdir()
        for number in range(120):
            write(tmp_path / folder / f"{number:03d}.png", np.full((4, 4), number % 2 * 255, np.uint8))
    seen = []
    report = check_data(tmp_path, quick=True, progress=lambda *done: seen.append(done))
    assert (report.sets[0].samples, report.sets[0].looked_at, seen[-1]) == (120, 50, (50, 50))
    assert report.sets[0].table().title.endswith(f"{tmp_path}: 120 samples, 50 of them looked at")


def test_mistakes_of_the_caller_raise(data):
    with pytest.raises(ValueError, match="near: expected one of 'auto', 'bright', 'dark', got 'left'"):
        check_data(data, near="left")
    with pytest.raises(TypeError, match="quick: expected True or False, got 1"):
        check_data(data, quick=1)
    with pytest.raises(TypeError, match=r"workers: expected a whole number, got 1\.5"):
        check_data(data, workers=1.5)
    with pytest.raises(ValueError, match="teacher none: expected a sub-folder of each data set"):
        check_data(data, teacher="none")
    with pytest.raises(ValueError, match="none: expected a folder, got no such folder"):
        check_data(data / "none")


@given(
    content=st.binary(max_size=40), start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"BM", b"\xff\xd8\xff", b"II*\0"])
)
def test_any_bytes_have_a_format(content, start):
    assert stored_as(start + content)


@pytest.mark.parametrize(
    ("suffix", "picture", "stored"),
    [
        (".png", np.zeros((4, 4), np.uint16), "PNG, 16-bit grey"),
        (".png", np.zeros((4, 4, 3), np.uint8), "PNG, 8-bit RGB"),
        (".png", np.zeros((4, 4, 4), np.uint8), "PNG, 8-bit RGBA"),
        (".bmp", np.zeros((4, 4, 3), np.uint8), "BMP, 24 bits a pixel"),
        (".jpg", np.zeros((4, 4), np.uint8), "JPEG"),
        (".tif", np.zeros((4, 4), np.uint8), "TIFF"),
        (".webp", np.zeros((4, 4, 3), np.uint8), "WebP"),
    ],
)
def test_formats(suffix, picture, stored):
    assert stored_as(cv2.imencode(suffix, picture)[1].tobytes()) == stored


@pytest.mark.parametrize(("kind", "stored"), [("u1", "TIFF, 8-bit"), ("u2", "TIFF, 16-bit"), ("f4", "TIFF, float")])
def test_bits_of_depth(data, kind, stored):
    for path in (data / "depth").iterdir():
        write(path.with_suffix(".tif"), np.arange(48 * 48).reshape(48, 48).astype(kind))
        path.unlink()
    assert reported(data).sets[0].roles[1].stored == {stored: 4}


class TestWords:
    def test_a_report(self, data):
        write(data / "depth" / "00001.bmp", np.eye(24, 30, dtype=np.uint8))
        [found] = check_data(data, teacher="maps").sets
        table = found.table()
        assert table.title == f"a in {data}: 4 samples, all looked at"
        assert table.rows[:2] == [
            ("images", "RGB", 4, "JPEG", "48x48", "-"),
            ("depth maps", "depth", 4, "BMP, 8 bits a pixel", "48x48 and 1 more", "1 of another size"),
        ]
        assert table.notes[0] == "Near is bright in the depth files: 3 of 3 maps agree."
        assert table.notes[1] == "Levels of the masks: 0, 255; salient: 255."
        assert table.notes[2] == "Soft IoU of the teacher's maps and the masks: 1.000, mean over images."

    def test_no_depth(self, data):
        shutil.rmtree(data / "depth")
        [found] = check_data(data).sets
        assert found.table().notes == [
            "No depth maps: only networks that take colour alone can use it (data.depth = false).",
            "Levels of the masks: 0, 255; salient: 255.",
        ]

    def test_a_doubtful_polarity(self, data):
        for path in list((data / "depth").iterdir())[:2]:
            write(path, 255 - cv2.imread(str(path), 0))
        [found] = check_data(data).sets
        note, _ = found.table().notes
        assert note.endswith(" (uncertain) in the depth files: 2 of 4 maps agree.")

    def test_a_split_that_the_name_does_not_state(self, data):
        (data.parent / "train").mkdir()
        data.rename(data.parent / "train" / "a")
        [found] = check_data(data.parent).sets
        assert found.table().title.startswith("a (train) in ")

    def test_a_split_that_the_name_states(self, data):
        for split in ("train", "test"):
            shutil.copytree(data, data.parent / "NJUD" / split)
        titles = [found.table().title for found in check_data(data.parent / "NJUD").sets]
        assert [title.split(" in ")[0] for title in titles] == ["NJUD/test", "NJUD/train"]

    @pytest.mark.parametrize(
        ("problems", "warnings", "verdict"),
        [
            ((), (), "Nothing is wrong."),
            (("a",), ("b", "c"), "1 problem that training would refuse, 2 warnings."),
            ((), ("b",), "No problems that training would refuse, 1 warning."),
        ],
    )
    def test_the_verdict(self, data, problems, warnings, verdict):
        report = check_data(data)
        sets = (replace(report.sets[0], problems=problems, warnings=warnings),)
        assert replace(report, sets=sets).verdict == verdict


class TestContactSheet:
    def test_rows_and_columns(self, data, write_set):
        write_set(data.parent / "b", near="dark")
        (data / "RGB" / "00000.jpg").write_bytes(b"")
        (data / "GT" / "00001.png").unlink()
        figure = contact_sheet(data.parent, count=2)
        axes = np.array(figure.axes).reshape(4, 3)
        assert [axis.get_title() for axis in axes[0]] == ["", "depth, near = bright", "mask"]
        assert [axis.get_title(loc="left") for axis in axes[:, 0]] == ["a/00000", "a/00002", "b/00000", "b/00002"]
        assert axes[0, 0].texts[0].get_text() == "unreadable"
        for above, below in zip(axes[0, 1:], axes[2, 1:], strict=True):
            np.testing.assert_allclose(above.images[0].get_array(), below.images[0].get_array(), atol=2 / 255)

    def test_what_is_missing_is_blank(self, data):
        (data / "GT" / "00000.png").unlink()
        figure = contact_sheet(data, teacher="maps", count=1)
        assert [[text.get_text() for text in axis.texts] for axis in figure.axes] == [[], [], ["none"], []]

    def test_depth_that_cannot_be_read_does_not_tell_what_is_near(self, data):
        for path in (data / "depth").iterdir():
            path.write_bytes(b"")
        assert [axis.texts[0].get_text() for axis in contact_sheet(data, near="auto").axes[1::3]] == ["unreadable"] * 4


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"{SHARED} is not beside the project")
def test_real_data():
    report = check_data(SHARED / "rgbd-sod-mini")
    assert report.problems == ()
    assert {each.name: (each.polarity.near, each.polarity.sure) for each in report.sets} == {
        "CROSS": ("bright", True),
        "DES": ("dark", True),
        "SSD": ("dark", True),
    }
    [quick] = check_data(SHARED / "ecssd", teacher="pred_ISNet", quick=True).sets
    assert quick.teacher_iou == pytest.approx(0.883, abs=0.001)
    assert quick.warnings == quick.problems == ()


def test_a_teachers_maps_of_0_and_1_are_counted(data):
    for path in (data / "maps").glob("*.png"):
        write(path, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) // 255)
    report = reported(data, teacher="maps")
    texts = "\n".join(report.warnings)
    assert "maps of the teacher whose largest level is 1 of 255 (if 1 is salient, save 0 and 255): 4 of 4" in texts
    assert "the teacher's maps have a soft IoU of only 0.00 with the masks" in texts
    assert report.sets[0].roles[-1].marks == {"zero_one": 4}
    assert "4 of 0 and 1" in report.sets[0].table().to_markdown()
