"""Files of several folders, matched by stem."""

import re

import pytest

from dynamic_kd.data import images_by_stem, match_by_stem


@pytest.fixture
def folder(tmp_path):
    """Make a folder of empty files."""

    def make(name, *files):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).touch()
        return tmp_path / name

    return make


def test_stems_match_whatever_the_suffix_and_its_case(folder):
    pred, target = folder("pred", "b.PNG", "a.x.jpeg"), folder("target", "a.x.bmp", "b.tiff")
    matching = match_by_stem(pred=pred, target=target)
    assert list(matching.files) == ["a.x", "b"]
    assert matching.files["b"] == {"pred": pred / "b.PNG", "target": target / "b.tiff"}
    assert matching.missing == {}


def test_hidden_files_other_files_and_folders_are_left_out(folder):
    images = folder("images", "a.png", ".b.png", "notes.txt", "Thumbs.db")
    (images / "c.png").mkdir()
    assert list(images_by_stem(images)) == ["a"]


def test_a_link_that_leads_nowhere_is_not_passed_over(folder, tmp_path):
    images = folder("RGB", "a.png")
    (images / "b.png").symlink_to(tmp_path / "unmounted" / "b.png")
    assert list(images_by_stem(images)) == ["a", "b"]


def test_two_files_with_one_stem_are_an_error_that_names_both(folder):
    images = folder("images", "a.png", "a.jpg")
    with pytest.raises(ValueError, match=r"images: expected one image per stem, got a\.jpg and a\.png; remove one"):
        images_by_stem(images)


@pytest.mark.parametrize(("made", "got"), [(False, "no such folder"), (True, "a file")])
def test_what_is_no_folder_is_an_error(tmp_path, made, got):
    if made:
        (tmp_path / "x").touch()
    with pytest.raises(ValueError, match=f"x: expected a folder of images, got {got}"):
        images_by_stem(tmp_path / "x")


def test_unmatched_files_are_listed(folder):
    pred, target = folder("pred", "a.png", "b.png"), folder("target", "b.png", "c.png", "d.png")
    with pytest.raises(ValueError, match=r"2 missing in pred: c, d; 1 missing in target: a") as caught:
        match_by_stem(pred=pred, target=target)
    assert f"pred {pred}, target {target}" in str(caught.value)


def test_unmatched_files_can_be_allowed_and_are_returned(folder):
    matching = match_by_stem(
        allow_missing=True, pred=folder("pred", "a.png", "b.png"), target=folder("target", "b.png", "c.png")
    )
    assert list(matching.files) == ["b"]
    assert matching.missing == {"pred": ["c"], "target": ["a"]}


def test_a_long_list_is_cut(folder):
    pred = folder("pred", *(f"{i:03d}.png" for i in range(50)))
    with pytest.raises(ValueError, match=r"49 missing in target: 001, .*, 020 and 29 more;"):
        match_by_stem(pred=pred, target=folder("target", "000.png"))


@pytest.mark.parametrize("allow", [True, False])
def test_no_match_at_all_is_an_error(folder, allow):
    pred, target = folder("pred", "a.png"), folder("target", "b.png")
    counts = r"1 in pred \(the first is a\), 1 in target \(the first is b\)"
    with pytest.raises(ValueError, match=rf"got no match among {counts}; rename them, or name the folders that belong"):
        match_by_stem(allow_missing=allow, pred=pred, target=target)


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize(
    ("folders", "files", "said"),
    [
        ((), (), "the folder is empty; images end in .png, .jpg, "),
        (("RGB", "GT", ".git"), (), "there are sub-folders: GT, RGB; name one of them"),
        ((), ("a.npy", "b.npy", ".DS_Store"), "there are 2 files .npy; images end in .png, .jpg, "),
        ((), ("a.npy",), "there is 1 file .npy; images end in .png"),
        (
            ("GT",),
            ("a.npy", "notes", "b.npy"),
            "there are sub-folders: GT; name one of them; there are 2 files .npy, 1 file without a suffix; images end",
        ),
    ],
)
def test_a_folder_without_images_is_said_to_have_what_it_has(folder, allow, folders, files, said):
    pred = folder("DES", *files)
    for name in folders:
        (pred / name).mkdir()
    with pytest.raises(ValueError, match=re.escape(f"{pred}: expected images, got none; {said}")):
        match_by_stem(allow_missing=allow, pred=pred, target=folder("target", "a.png"))
