"""Recipes as files: those that come with the package, one's own on top of them, and single settings on top of those."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("tomli_w", reason="tomli_w is not installed")

from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.models import FPNStudent  # noqa: E402
from dynamic_kd.training import Data, Recipe, Teacher, Training, bundled_recipes, read_recipe, recipe_toml  # noqa: E402

BUNDLED = sorted(bundled_recipes())


@pytest.fixture
def written(tmp_path):
    """Return a function that writes recipes, and returns the path of the first."""

    def write(text, **others):
        for name, content in {"mine": text, **others}.items():
            (tmp_path / f"{name}.toml").write_text(content, encoding="utf-8")
        return tmp_path / "mine.toml"

    return write


@pytest.mark.parametrize("setting", ["loss.temperature=5", "training.learning_rate=1"])
def test_a_whole_number_is_the_same_setting_as_a_fraction(setting):
    assert recipe_toml(read_recipe("cpu", [setting])) == recipe_toml(read_recipe("cpu", [f"{setting}.0"]))


def test_noise_may_be_relative_in_a_file(written):
    recipe = read_recipe("cpu", ["loss.weighting=0.5", "loss.noise_elimination=relative"])
    assert recipe.loss.noise_elimination == "relative"
    assert read_recipe(written(recipe_toml(recipe))) == recipe


@pytest.mark.parametrize("name", BUNDLED)
def test_a_recipe_written_down_is_the_same_when_read_again(name, written):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert read_recipe(written(recipe_toml(recipe))) == recipe
    assert bundled_recipes()[name].endswith(".")


def test_every_setting_survives_being_written_down(written):
    recipe = Recipe(
        seed=7,
        data=Data(source="folders", train=["a", {"folder": "b", "list": "c.txt"}], validation=["d"], depth=False),
        teacher=Teacher(model="maps", maps="DANet", clip=1e-3, training=Training(epochs=2, clip_norm=3.0)),
        precision="bf16",
        best_by="MAE",
        loss=DynamicKDLoss(weighting=0.3),
    )
    assert read_recipe(written(recipe_toml(recipe))) == recipe


def test_none_survives_where_a_setting_left_out_is_inherited(written):
    recipe = Recipe(training=Training(clip_norm=5.0), teacher=Teacher(training=Training(clip_norm=None)))
    assert read_recipe(written(recipe_toml(recipe))) == recipe
    other = read_recipe("cpu", ["training.clip_norm=5", "teacher.training.clip_norm=none"])
    assert (other.training.clip_norm, other.teacher_training.clip_norm) == (5, None)
    assert read_recipe("cpu", ["training.clip_norm=none"]).training.clip_norm is None


@pytest.mark.parametrize(
    ("name", "backbone", "depth", "temperature", "mebibytes"),
    [
        ("paper-vgg16", "vgg16", True, 5, 57.9),
        ("paper-vgg19", "vgg19", True, 5, 78.2),
        ("paper-table3", "vgg19", True, 5, 78.2),
        ("paper-table4", "vgg19", True, 5, 78.2),
        ("paper-table5", "vgg16", False, 10, 57.9),
    ],
)
def test_the_papers_recipes_say_what_the_paper_says(name, backbone, depth, temperature, mebibytes):
    recipe = read_recipe(name)
    loss, training, data = recipe.loss, recipe.training, recipe.data
    assert (loss.p, loss.noise_threshold, loss.noise_weight, loss.weighting) == (0.7, 0.5, 0.01, "dynamic")
    assert (loss.temperature, loss.temperature_squared, loss.granularity) == (temperature, True, "image")
    assert (training.epochs, training.batch_size, training.learning_rate) == (40, 4, 1e-3)
    assert (training.momentum, training.weight_decay, training.flip) == (0.9, 5e-4, True)
    assert training.rotation > 0
    assert (training.schedule, training.clip_norm) == ("constant", None)
    assert recipe.teacher_training == training
    assert (data.size, data.depth, data.train) == (256, depth, ("NJUD/train", "NLPR/train"))
    assert (recipe.student.backbone, recipe.student.weights) == (backbone, "torchvision")
    with torch.device("meta"):
        student = FPNStudent(recipe.student.backbone, data.channels)
    size = sum(parameter.numel() for parameter in student.parameters()) * 4 / 2**20
    assert size == pytest.approx(mebibytes, abs=0.05)
    if name == "paper-table4":
        assert (recipe.teacher.model, recipe.teacher.maps) == ("maps", "DANet")
    else:
        assert (recipe.teacher.model, recipe.teacher.backbone, recipe.teacher.weights) == (
            "rfb",
            backbone,
            "torchvision",
        )


@pytest.mark.parametrize("weighting", ["none", "0.3", "0.5", "0.7", "dynamic", "a2dele"])
def test_the_columns_of_table_3_are_two_settings_apart(weighting, written):
    recipe = read_recipe("paper-table3", [f"loss.weighting={weighting}", "loss.noise_elimination=none"])
    assert (str(recipe.loss.weighting), recipe.loss.noise_elimination) == (weighting, None)
    assert read_recipe(written(recipe_toml(recipe))) == recipe
    loss = replace(recipe.loss, weighting="dynamic", noise_elimination="absolute")
    assert replace(recipe, loss=loss) == read_recipe("paper-table3")


def test_the_processors_recipe_needs_nothing_but_a_processor():
    recipe = read_recipe("cpu")
    assert (recipe.data.source, recipe.student.backbone, recipe.teacher.backbone) == ("synthetic", "tiny", "tiny")
    assert (recipe.student.weights, recipe.teacher.weights) == (None, None)


def test_list_files_of_bundled_recipes_lie_beside_them_and_have_no_sample_in_common():
    data = read_recipe("ecssd").data
    names = []
    for part in (*data.train, *data.validation):
        with open(part["list"], encoding="utf-8") as file:
            names.append([line.strip() for line in file if line.strip() and not line.startswith("#")])
    assert [len(each) for each in names] == [800, 200]
    assert not set(names[0]) & set(names[1])


def test_the_teachers_stage_inherits_what_it_does_not_say(written):
    path = written("[training]\nepochs = 5\nlearning_rate = 0.1\n[teacher.training]\nepochs = 9\n")
    own = read_recipe(path).teacher_training
    assert (own.epochs, own.learning_rate) == (9, 0.1)
    own = read_recipe(path, ["training.learning_rate=0.2", "teacher.training.batch_size=8"]).teacher_training
    assert (own.epochs, own.learning_rate, own.batch_size) == (9, 0.2, 8)
    with pytest.raises(ValueError, match=r"teacher\.training: must be a section \[teacher\.training\], got 5"):
        read_recipe(written("[teacher]\ntraining = 5"))


def test_recipes_extend_others_beside_them_or_of_the_package(written):
    path = written(
        'extends = "base.toml"\nseed = 2\n[training]\nepochs = 7',
        base='extends = "cpu"\nseed = 1\nname = "base"\n[training]\nbatch_size = 2',
    )
    recipe, cpu = read_recipe(path), read_recipe("cpu")
    assert (recipe.seed, recipe.name, recipe.training.epochs, recipe.training.batch_size) == (2, "base", 7, 2)
    assert (recipe.training.learning_rate, recipe.data) == (cpu.training.learning_rate, cpu.data)


def test_list_files_are_relative_to_the_recipe_that_names_them(written, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    path = written(
        'extends = "elsewhere/base.toml"\n[data]\nvalidation = [{ folder = "a", list = "val.txt" }]',
        **{"elsewhere/base": '[data]\nsource = "folders"\ntrain = ["x", { folder = "b", list = "../train.txt" }]'},
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = read_recipe(path).data
    here = tmp_path.resolve()
    assert data.train == ("x", {"folder": "b", "list": str(here / "train.txt")})
    assert data.validation == ({"folder": "a", "list": str(here / "val.txt")},)
    data = read_recipe("../mine.toml", ['data.train=[{folder="b", list="c.txt"}]']).data
    assert data.train == ({"folder": "b", "list": str(here / "elsewhere" / "c.txt")},)


def test_single_settings_are_toml_or_plain_text_or_back_to_the_default():
    changes = [
        "seed=3", "name=a run's name", "loss.weighting=0.5", "training.schedule=cosine", "training.clip_norm=3",
        "training.flip=false", 'student.weights="w.pth"', "teacher.training=", "data.size = 64",
    ]  # fmt: skip
    recipe = read_recipe("cpu", changes)
    assert (recipe.seed, recipe.name, recipe.loss.weighting) == (3, "a run's name", 0.5)
    assert (recipe.training.schedule, recipe.training.clip_norm, recipe.training.flip) == ("cosine", 3, False)
    assert (recipe.student.weights, recipe.teacher.training, recipe.data.size) == ("w.pth", None, 64)
    assert read_recipe("cpu", ["training.clip_norm=", "name="]).training.clip_norm is None
    assert read_recipe("cpu", ["data.near="]).data.near == "auto"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed = ", r"mine\.toml: not valid TOML: Invalid value"),
        ("sed = 1", r"mine\.toml: sed: unknown setting; did you mean seed\?"),
        (
            "[training]\nepoch = 1",
            r"training\.epoch: unknown setting; did you mean training\.ep",
        ),
        (
            "[teacher.training]\nx = 1",
            r"teacher\.training\.x: unknown setting; the settings are epochs, batch_size, .*rotation",
        ),
        ("[teacher]\nmodle = 1", r"did you mean teacher\.model\?"),
        ("[loss]\ntemprature = 1", r"did you mean loss\.temperature\?"),
        ("[los]\np = 1", r"los: unknown setting; did you mean loss\?"),
        ("training = 5", r"training: must be a section \[training\], got 5"),
        ("[training]\nepochs = 0", r"mine\.toml: training\.epochs: expected a whole number of at least 1, got 0"),
        ("[training]\nepochs = 1.5", r"training\.epochs: expected a whole number, got 1\.5"),
        ("[loss]\np = 2", r"loss\.p: expected a number in \[0, 1\], got 2"),
        ("[data]\nsize = 8", r"data\.size: expected"),
        ("[student]\nbackbone = 'x'", r"student\.backbone: expected one of"),
        ("[data]\ntrain = 'x'", r"data\.train: expected a list"),
        ('extends = "none"', r"none: no such recipe; name a TOML file, a run folder, or one of the recipes cpu, "),
        ('extends = "mine.toml"', r"mine\.toml: extends itself, through other recipes or directly"),
        ('extends = "other.toml"', r"mine\.toml: extends itself, through other recipes or directly"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_setting(written, text, message):
    path = written(text, other='extends = "mine.toml"')
    with pytest.raises(ValueError, match=message):
        read_recipe(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", r"seed: expected SETTING=VALUE, such as training\.epochs=2"),
        ("=3", r"=3: expected SETTING=VALUE"),
        ("seed=x", r"^--set: seed: expected a whole number, got 'x'"),
        ("sed=1", r"^--set: sed: .*did you mean seed\?"),
        ("training.epoch=3", r"^--set: training\.epoch: .*did you mean training\.epochs\?"),
        ("training={epochs=0}", r"^--set: training\.epochs: expected a whole number of at least 1, got 0"),
        ("loss.weighting=5", r"^--set: loss\.weighting .*: expected a number in \[0, 1\], got 5"),
        ("training.accumulation=3", r"^--set: training\.accumulation: must divide the batch size"),
        ("data.root=a", r"^cpu: data\.root: the synthetic set takes no folders, got 'a'"),
        ("name.first=x", r"name\.first=x: name is not a section"),
        ("data.train=NJUD", r"data\.train: expected a list such as .*got 'NJUD'"),
        ("training=5", r"training: must be a section"),
        ("extends=cpu", r"extends: unknown setting"),
    ],
)
def test_a_wrong_setting_on_top(override, message):
    with pytest.raises(ValueError, match=message):
        read_recipe("cpu", [override])


def test_what_is_wrong_in_the_file_is_not_blamed_on_other_settings(written):
    path = written("[data]\ntrain_cout = 3\n[training]\nepochs = 0")
    with pytest.raises(ValueError, match=r"mine\.toml: data\.train_cout: .*did you mean data\.train_count\?"):
        read_recipe(path, ["data.train=", "training.epochs=3"])
    with pytest.raises(ValueError, match=r"mine\.toml: training\.epochs: expected a whole number of at least 1, got 0"):
        read_recipe(path, ["data.train_cout=", "training.epoch_count="])


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_as_editors_of_windows_write_them(tmp_path, start, end):
    text = end.join(['extends = "base.toml"', "seed = 3", "[training]", "epochs = 2", ""])
    (tmp_path / "mine.toml").write_bytes(start + text.encode())
    (tmp_path / "base.toml").write_bytes(start + f'extends = "cpu"{end}name = "base"{end}'.encode())
    recipe = read_recipe(tmp_path / "mine.toml")
    assert (recipe.name, recipe.seed, recipe.training.epochs) == ("base", 3, 2)


@pytest.mark.parametrize("name", ["../../evil", "/evil", "a/b", "a\\\\b", ".", "..", ".hidden"])
def test_a_name_is_no_path(written, name):
    message = r"mine\.toml: name: '.*' cannot name a folder"
    with pytest.raises(ValueError, match=message):
        read_recipe(written(f'name = "{name}"'))


def test_names_may_have_dots_and_spaces(written):
    assert read_recipe(written('name = "lr 0.1.."')).name == "lr 0.1.."


def test_no_recipe_of_this_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cpu").mkdir()  # a folder is no recipe
    assert read_recipe("cpu").name == "cpu"
    with pytest.raises(ValueError, match=r"gpu: no such recipe; name a TOML file, a run folder, or one of "):
        read_recipe("gpu")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary\.toml: not valid TOML"):
        read_recipe("binary.toml")


def test_what_only_python_can_hold_cannot_be_written_down():
    with pytest.raises(ValueError, match=r"loss\.weighting: a file cannot hold the function <function"):
        recipe_toml(Recipe(loss=DynamicKDLoss(weighting=lambda *arguments: arguments[0])))


def test_a_weight_is_named_by_where_it_is_imported_from(tmp_path, monkeypatch):
    (tmp_path / "own_weights.py").write_text(
        "def certain(alpha, beta, cross_entropy):\n    return alpha * (1 - beta)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    name = "own_weights:certain"
    recipe = read_recipe("cpu", [f"loss.weighting={name}"])
    assert recipe.loss.weighting(0.5, 0.2, 0.9) == 0.4
    assert recipe == read_recipe("cpu", [f"loss.weighting={name}"]) != read_recipe("cpu")
    assert len({recipe.loss.weighting, read_recipe("cpu", [f"loss.weighting={name}"]).loss.weighting}) == 1
    assert f'weighting = "{name}"' in recipe_toml(recipe)
    assert recipe.needs_teacher


@pytest.mark.parametrize(
    ("name", "got"),
    [
        ("nowhere:weight", "nowhere:weight cannot be imported: No module named 'nowhere'"),
        ("json:weight", "json:weight cannot be imported: module 'json' has no attribute 'weight'"),
        ("json:__doc__", "json:__doc__ must be a function of α, β and the teacher's cross-entropy, got str"),
    ],
)
def test_weights_that_cannot_be_imported(name, got):
    with pytest.raises(ValueError, match=f"--set: loss.weighting: {got}"):
        read_recipe("cpu", [f"loss.weighting={name}"])


def test_settings_as_values():
    changed = read_recipe("cpu", {"training.epochs": 3, "loss.weighting": "none", "teacher.training": None})
    assert changed == read_recipe("cpu", ["training.epochs=3", "loss.weighting=none", "teacher.training="])
    with pytest.raises(ValueError, match=r"^--set: training\.epochs: "):
        read_recipe("cpu", {"training.epochs": 0})


def test_the_recipe_of_a_run_folder(tmp_path):
    recipe = read_recipe("cpu", {"seed": 5})
    (tmp_path / "recipe.toml").write_text(recipe_toml(recipe), encoding="utf-8")
    assert read_recipe(tmp_path) == recipe


def test_a_path_that_no_file_can_hold():
    root = "/data/caf\udce9"
    recipe = read_recipe("cpu", {"data.source": "folders", "data.root": root, "data.train": ["set"]})
    with pytest.raises(
        ValueError, match=r"^data\.root: a file cannot hold .*/caf%E9, which is not UTF-8; rename the fold"
    ):
        recipe_toml(recipe)
