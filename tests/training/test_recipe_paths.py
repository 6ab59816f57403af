"""Paths in recipes: as the file that names them sees them, and whole in a run folder."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tomli_w", reason="tomli_w is not installed")

from dynamic_kd.training import Data, Recipe, Student, Teacher, read_recipe  # noqa: E402

RECIPE = """\
[data]
source = "folders"
root = "../sets"
train = ["NJUD", { folder = "NLPR", list = "lists/train.txt" }]

[teacher]
weights = "weights/vgg16.pth"
checkpoint = "teacher.safetensors"

[student]
weights = "/weights/vgg16.pth"
"""


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Work beside the folder ``recipes`` that recipes are written into."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path.resolve()


def written(folder, text, name="mine"):
    path = folder / "recipes" / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_files_paths_are_relative_to_it(elsewhere):
    recipe = read_recipe(written(elsewhere, RECIPE))
    recipes = elsewhere / "recipes"
    assert recipe.data.root == str(elsewhere / "sets")
    assert recipe.data.train == ("NJUD", {"folder": "NLPR", "list": str(recipes / "lists" / "train.txt")})
    assert recipe.teacher.weights == str(recipes / "weights" / "vgg16.pth")
    assert recipe.teacher.checkpoint == str(recipes / "teacher.safetensors")
    assert recipe.student.weights == "/weights/vgg16.pth"
    assert recipe.with_whole_paths() == recipe


def test_of_recipes_that_extend_others_each_has_its_own_place(elsewhere):
    written(elsewhere, RECIPE)
    (elsewhere / "work" / "top.toml").write_text('extends = "../recipes/mine.toml"\nstudent.weights = "own.pth"\n')
    recipe = read_recipe("top.toml")
    assert recipe.data.root == str(elsewhere / "sets")
    assert recipe.student.weights == str(elsewhere / "work" / "own.pth")


def test_what_is_no_path_stays(elsewhere):
    text = 'data.root = "~/sets"\ndata.source = "folders"\ndata.train = ["a"]\nteacher.weights = "torchvision"\n'
    recipe = read_recipe(written(elsewhere, text), ["student.weights=torchvision"])
    assert recipe.data.root == str(elsewhere / "home" / "sets")
    assert (recipe.teacher.weights, recipe.student.weights) == ("torchvision", "torchvision")
    assert recipe.with_whole_paths() == recipe
    for wrong, message in (("data.root = 5", r"data\.root: expected text, got 5"), ("data = 5", "must be a section")):
        with pytest.raises(ValueError, match=message):
            read_recipe(written(elsewhere, wrong))


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        ("DANet", "DANet"),
        ("./DANet", "{recipes}/DANet"),
        ("maps/DANet", "maps/DANet"),
        ("../recipes/DANet", "{recipes}/DANet"),
        ("~/maps/", "{home}/maps"),
    ],
)
def test_maps_are_a_sub_folders_name_or_a_path_of_a_folder(elsewhere, maps, expected):
    for folder in ("recipes/DANet", "home/maps"):
        (elsewhere / folder).mkdir(parents=True)
    text = f'data.source = "folders"\ndata.train = ["a"]\nteacher.model = "maps"\nteacher.maps = "{maps}"\n'
    expected = expected.format(recipes=elsewhere / "recipes", home=elsewhere / "home")
    assert read_recipe(written(elsewhere, text)).teacher.maps == expected


def test_on_the_command_line_and_in_python_paths_are_seen_from_where_it_runs(elsewhere):
    (elsewhere / "work" / "maps").mkdir()
    settings = ["data.root=sets", "teacher.weights=w.pth"]
    recipe = read_recipe(written(elsewhere, RECIPE), settings)
    assert (recipe.data.root, recipe.teacher.weights) == ("sets", "w.pth")
    here = elsewhere / "work"
    made = recipe.with_whole_paths()
    assert (made.data.root, made.teacher.weights) == (str(here / "sets"), str(here / "w.pth"))
    recipe = Recipe(
        data=Data(source="folders", train=["a"]),
        teacher=Teacher(model="maps", maps="./maps"),
        student=Student(weights="w.pth"),
    )
    made = recipe.with_whole_paths()
    assert (made.data.root, made.teacher.maps, made.student.weights) == (
        str(here), str(here / "maps"), str(here / "w.pth")
    )  # fmt: skip
    assert made.data.train == ("a",)
    made = Recipe(teacher=Teacher(checkpoint="../t.safetensors")).with_whole_paths()
    assert made.teacher.checkpoint == str(elsewhere / "t.safetensors")
    assert made.data == Data()


def test_a_bundled_recipes_data_lies_where_the_command_runs(elsewhere):
    recipe = read_recipe("paper-vgg16")
    assert recipe.data.root is None
    assert Path(recipe.with_whole_paths().data.root) == elsewhere / "work"
