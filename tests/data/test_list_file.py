"""List files: every way to name a sample, and every mistake listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_kd.data import find_data


def make(root, *sets):
    for name in sets:
        for folder, suffix in (("RGB", ".jpg"), ("depth", ".bmp"), ("GT", ".png")):
            (root / name / folder).mkdir(parents=True)
            for stem in ("1", "2", "a b", "v1.5"):
                (root / name / folder / f"{stem}{suffix}").touch()


@pytest.fixture
def chosen(tmp_path):
    """Return a function that writes a list file and returns the names of the samples it chooses."""
    make(tmp_path / "data", "RGBD135", "SIP")

    def choose(text, below="."):
        (tmp_path / "list.txt").write_bytes(text.encode() if isinstance(text, str) else text)
        found = find_data(tmp_path / "data" / below, list_file=tmp_path / "list.txt")
        return [files.name for each in found for files in each.files]

    return choose


@pytest.mark.parametrize(
    "entry",
    [
        "DES/1",
        "RGBD135/1",
        "RGBD135/RGB/1.jpg",
        "RGBD135/GT/1.png",
        "./RGBD135/depth/1.bmp",
        "RGBD135\\RGB\\1.jpg",
        "data/RGBD135/RGB/1.jpg",
        "DES/1.jpg",
    ],
)
def test_one_of_several_sets(chosen, entry):
    assert chosen(entry) == ["DES/1"]


@pytest.mark.parametrize(
    "entry", ["1", "1.jpg", "1.png", "1.JPEG", "RGB/1", "RGB/1.jpg", "GT/1.png", "DES/1", "RGBD135/RGB/1.jpg"]
)
def test_one_of_a_single_set(chosen, entry):
    assert chosen(entry, "RGBD135") == ["1"]


def test_paths_from_where_one_stands(tmp_path, monkeypatch):
    make(tmp_path / "data", "SIP")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("data/SIP/RGB/2.jpg")
    assert [files.name for files in find_data("data/SIP", list_file="list.txt")[0].files] == ["2"]


@pytest.mark.parametrize(
    "columns",
    [
        "RGB/1.jpg depth/1.bmp GT/1.png",
        "RGB/1.jpg\tGT/1.png",
        "RGB/1.jpg, depth/1.bmp, GT/1.png,",
        "1.jpg;1.png",
        "1 1",
    ],
)
def test_columns(chosen, columns):
    assert chosen(columns, "SIP") == ["1"]


def test_absolute_paths_below_the_root(chosen, tmp_path):
    folder = (tmp_path / "data" / "SIP").resolve()
    assert chosen(f"{folder}/RGB/1.jpg\n{folder}/RGB/2.jpg {folder}/GT/2.png") == ["SIP/1", "SIP/2"]


def test_absolute_paths_through_a_link(tmp_path):
    make(tmp_path / "data", "SIP")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/link/SIP/RGB/1.jpg\n{(tmp_path / 'data').resolve()}/SIP/RGB/2.jpg")
    assert [files.name for files in find_data(tmp_path / "link", list_file=tmp_path / "list.txt")[0].files] == [
        "1",
        "2",
    ]


def test_order_comments_blank_lines_and_marks_of_windows(chosen):
    assert chosen(b"\xef\xbb\xbf# first\r\n\r\n2 # second\r\n  1.jpg\t\r\n", "SIP") == ["2", "1"]


def test_names_with_spaces_and_dots(chosen):
    assert chosen("a b\nv1.5\n", "SIP") == ["a b", "v1.5"]
    assert chosen("a b.jpg\nv1.5.png\n", "SIP") == ["a b", "v1.5"]


def test_sets_of_which_nothing_is_named_are_left_out(chosen):
    assert chosen("SIP/1") == ["SIP/1"]


def test_splits_of_one_set_by_their_names(tmp_path):
    make(tmp_path / "NJUD", "train", "test")
    (tmp_path / "list.txt").write_text("NJUD/train/1\nNJUD/test/2\n")
    found = find_data(tmp_path, list_file=tmp_path / "list.txt")
    assert [files.name for each in found for files in each.files] == ["NJUD/test/2", "NJUD/train/1"]


def test_what_is_not_listed_need_not_match(chosen, tmp_path):
    (tmp_path / "data" / "SIP" / "GT" / "2.png").unlink()
    assert chosen("1", "SIP") == ["1"]
    with pytest.raises(ValueError, match="1 missing in GT: 2"):
        chosen("1\n2", "SIP")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7\n8 # gone\n1", "got 2 unknown: 7, 8"),
        ("1 7", "got 1 unknown: 1 7"),
        ("1\nRGB/1.jpg", "got 1 repeated: RGB/1.jpg"),
        ("../SIP/RGB/1.jpg", r"got 1 that leave the folder: \.\./SIP/RGB/1\.jpg"),
        ("/etc/1.jpg", "got 1 that leave the folder: /etc/1.jpg"),
        ("1.jpg 2.png", "got 1 whose columns name different samples: 1.jpg 2.png"),
        ("7\n1\n1", "got 1 unknown: 7; 1 repeated: 1"),
        ("# nothing\n", "got nothing"),
    ],
)
def test_mistakes_are_listed(chosen, text, message):
    with pytest.raises(
        ValueError, match=rf"list\.txt: expected each line to name one sample below \S+, once, {message}$"
    ):
        chosen(text, "SIP")


def test_absolute_paths_that_come_back_are_refused(chosen, tmp_path):
    with pytest.raises(ValueError, match="got 1 that leave the folder"):
        chosen(f"{(tmp_path / 'data').resolve()}/SIP/../SIP/RGB/1.jpg", "SIP")


def test_a_stem_of_several_sets(chosen):
    with pytest.raises(ValueError, match=r"got 1 that several data sets have \(write SET/NAME\): 1$"):
        chosen("1")


def test_files_that_are_no_lists(chosen, tmp_path):
    with pytest.raises(ValueError, match=r"list\.txt: expected a list file of text \(UTF-8\), got something else"):
        chosen(b"\xff\xfe\x80")
    with pytest.raises(ValueError, match=r"none\.txt: expected a list file, got no such file"):
        find_data(tmp_path / "data", list_file=tmp_path / "none.txt")


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    root = tmp_path_factory.mktemp("forest")
    make(root, "SIP", "x/LFSD")
    return root


ENTRIES = st.builds("{}{}{}".format, st.sampled_from(["SIP/", "LFSD/RGB/", "x/LFSD/GT/"]), st.integers(1, 2),
                    st.sampled_from(["", ".png"]))  # fmt: skip


@given(st.lists(st.one_of(ENTRIES, st.text(max_size=12)), max_size=5))
def test_whatever_is_in_it_the_samples_are_those_named_or_it_is_one_error(forest, lines):
    (forest / "list.txt").write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")
    try:
        found = find_data(forest, list_file=forest / "list.txt")
    except ValueError as error:
        found, said = [], str(error)
    names = [files.name for each in found for files in each.files]
    assert names or said.startswith(f"{forest / 'list.txt'}: expected")
    assert len(set(names)) == len(names) <= len(lines)
    assert all(files.image.is_file() for each in found for files in each.files)
