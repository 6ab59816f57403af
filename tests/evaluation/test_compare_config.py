"""What is compared, from a TOML file or from folders; every mistake is one line that says how to mend it."""

import re

import pytest
from comparison_folders import write_layout

from dynamic_kd.evaluation import CompareSettings, compare, read_config

GOOD = """
output = "results"
[datasets.DES]
target = "GT/DES"
image = "GT/DES"
[datasets.SIP]
target = "GT/SIP"
[methods.ours]
maps = "good/{dataset}"
[methods.other]
maps = { DES = "fair/DES", SIP = "fair/SIP" }
[settings]
strict = true
scores = ["maxF", "MAE"]
resamples = 10
"""


@pytest.fixture
def toml(tmp_path):
    """Return a function that writes a configuration and gives its path."""

    def write(text):
        path = tmp_path / "compare.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_paths_start_from_the_files_folder(toml, tmp_path):
    config = read_config(toml(GOOD))
    assert list(config.datasets) == ["DES", "SIP"]
    assert config.datasets["DES"].target == tmp_path / "GT" / "DES"
    assert config.datasets["DES"].image == tmp_path / "GT" / "DES"
    assert config.datasets["SIP"].image is None
    assert config.methods["ours"] == {"DES": tmp_path / "good" / "DES", "SIP": tmp_path / "good" / "SIP"}
    assert config.methods["other"]["SIP"] == tmp_path / "fair" / "SIP"
    assert config.output == tmp_path / "results"
    assert config.cache == tmp_path / "results" / ".cache" / "records.sqlite"
    assert config.settings == CompareSettings(strict=True, scores=["maxF", "MAE"], resamples=10)


def test_what_is_given_beside_the_file_takes_precedence(toml, tmp_path):
    config = read_config(toml(GOOD), output=tmp_path / "other", strict=False, resamples=0)
    assert config.settings == CompareSettings(scores=("maxF", "MAE"), resamples=0)
    assert config.output == tmp_path / "other"
    assert config.cache == tmp_path / "other" / ".cache" / "records.sqlite"
    shared = read_config(toml('cache = "shared.sqlite"' + GOOD), output=tmp_path / "other")
    assert shared.cache == tmp_path / "shared.sqlite"


def test_without_an_output_the_results_lie_beside_the_file(toml, tmp_path):
    assert read_config(toml(GOOD.replace('output = "results"', ""))).output == tmp_path / "comparison"


def test_a_folder_is_read_by_method_and_data_set(tmp_path):
    write_layout(tmp_path, methods=("b", "a"))
    (tmp_path / "RGB" / "SIP").mkdir(parents=True)
    (tmp_path / "comparison").mkdir()
    (tmp_path / ".hidden").mkdir()
    config = read_config(tmp_path)
    assert list(config.datasets) == ["DES", "SIP"]
    assert config.datasets["DES"].target == tmp_path / "GT" / "DES"
    assert config.datasets["DES"].image is None
    assert config.datasets["SIP"].image == tmp_path / "RGB" / "SIP"
    assert list(config.methods) == ["a", "b"]
    assert config.methods["a"]["SIP"] == tmp_path / "a" / "SIP"
    assert config.output == tmp_path / "comparison"


@pytest.mark.parametrize("name", ["gt", "Mask", "mask", "masks", "target"])
def test_other_names_of_the_masks_folder(tmp_path, name):
    write_layout(tmp_path)
    (tmp_path / "GT").rename(tmp_path / name)
    assert read_config(tmp_path).datasets["DES"].target == tmp_path / name / "DES"


MISTAKES = [
    ("x = [", "not a valid TOML file: .*; fix that line"),
    (GOOD.replace("output", "outptu"), "expected the keys output, .*, got 'outptu'; did you mean 'output'"),
    ("x = 1\n" + GOOD, "expected the keys .*, got 'x'; remove or rename it"),
    (
        GOOD.replace("image", "imgae"),
        "datasets.DES: expected the keys target, image, got 'imgae'; did you mean 'image'",
    ),
    (GOOD.replace("target =", "image ="), "not a valid TOML file"),
    (
        GOOD.replace('target = "GT/SIP"', ""),
        'datasets.SIP: the folder of masks is missing; add target = "DES/GT"',
    ),
    (GOOD.replace('"GT/SIP"', "3"), 'datasets.SIP.target: expected a path as text, got 3; write for example "DES/GT"'),
    (GOOD.replace('"results"', "3"), "output: expected a path as text, got 3"),
    ("cache = 1\n" + GOOD, "cache: expected a path as text, got 1"),
    ("[methods.a]\nmaps='x'", r"datasets: expected at least one table, got none; add \[datasets.DES\] with target"),
    ("datasets = 3", "datasets: expected at least one table, got 3"),
    ("[datasets.A]\ntarget='x'", r"methods: expected at least one table, got none; add \[methods.ours\] with maps"),
    ("[datasets]\nA = 'x'", r"datasets.A: expected a table, got 'x'; write target = \"DES/GT\" in \[datasets.A\]"),
    (GOOD.replace("maps = {", "map = {"), "methods.other: expected the keys maps, got 'map'; did you mean 'maps'"),
    (GOOD.replace('maps = "good/{dataset}"', ""), "methods.ours: the folders of maps are missing; add maps = "),
    (
        GOOD.replace("{dataset}", "DES"),
        r"methods.ours.maps: expected {dataset} in a pattern for 2 data sets, got 'good/DES'",
    ),
    (GOOD.replace("{ DES", "{ DSE"), "methods.other.maps: expected the keys DES, SIP, got 'DSE'; did you mean 'DES'"),
    (
        GOOD.replace("strict", "strcit"),
        "settings: expected the keys normalize, .*, got 'strcit'; did you mean 'strict'",
    ),
    (GOOD.replace("true", "1"), "settings.strict: expected True or False, got 1"),
    (GOOD.replace("= 10", "= -1"), "settings.resamples: expected a whole number from 0 to 1000000, got -1"),
    (GOOD.replace("resamples = 10", "seed = 0.5"), "settings.seed: expected a whole number, got 0.5"),
    (GOOD.replace('["maxF", "MAE"]', '"maxF"'), "settings.scores: expected a list of names, got 'maxF'"),
    (GOOD.replace('["maxF", "MAE"]', "[]"), r"settings.scores: expected at least one name and none empty, got \[\]"),
    (GOOD + 'empty_target = "drop"', "settings.empty_target: expected one of 'count', 'skip', 'refuse', got 'drop'"),
    (GOOD + "reference = 1", "settings.reference: expected the name of a method, got 1"),
    (GOOD + 'reference = "our"', "reference: expected one of the methods ours, other, got 'our'; did you mean 'ours'"),
    (GOOD + 'grid = "worst:0"', "settings.grid: expected worst:N with N from 1 to 9999, got 'worst:0'"),
    (GOOD + 'grid = "a,,b"', "settings.grid: expected at least one name and none empty"),
    (GOOD.replace("methods.ours", 'methods."a/b"'), "methods: 'a/b' cannot be the name of a file"),
    (GOOD.replace("methods.other", "methods.Ours"), "methods: 'ours' and 'Ours' differ in capitals alone"),
    ("settings = 1\n" + GOOD.partition("[settings]")[0], "settings: expected a table, got 1"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_in_the_file(toml, text, message):
    path = toml(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match=r"no such file or folder; name a .toml file or a folder of methods"):
        read_config(tmp_path / "compare.toml")


def test_mistakes_in_the_layout(tmp_path):
    with pytest.raises(ValueError, match=r"no folder of masks; make .*GT.DATASET \(or one of gt, .*\), or name"):
        read_config(tmp_path)
    masks = tmp_path / "GT"
    masks.mkdir()
    with pytest.raises(
        ValueError, match=r"expected a folder for each data set, but it is empty; move the masks to .*NAME"
    ):
        read_config(tmp_path)
    (masks / "0.png").touch()
    with pytest.raises(ValueError, match="expected a folder for each data set, but it contains images itself"):
        read_config(tmp_path)
    (masks / "DES").mkdir()
    with pytest.raises(ValueError, match="no folder of a method beside GT; add METHOD/DES"):
        read_config(tmp_path)
    ours = tmp_path / "ours"
    ours.mkdir()
    with pytest.raises(ValueError, match=r"named after the data sets \(DES\), found nothing; move the maps to .*DES"):
        read_config(tmp_path)
    (ours / "0.png").touch()
    with pytest.raises(ValueError, match=r"expected folders named after the data sets .*, found images"):
        read_config(tmp_path)
    (ours / "DES").mkdir()
    (ours / "LFSD").mkdir()
    with pytest.raises(ValueError, match=r"there are no masks for LFSD, only for DES; add the masks"):
        read_config(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(ValueError, match="only one of the folders GT, masks can be used; move the others away"):
        read_config(tmp_path)


def test_folders_are_checked_before_the_work(toml, tmp_path):
    write_layout(tmp_path)
    with pytest.raises(ValueError, match=r"datasets.DES.target: .*DSE: no such folder; check the path"):
        compare(read_config(toml(GOOD.replace('target = "GT/DES"', 'target = "GT/DSE"'))))
    with pytest.raises(ValueError, match=r"datasets.DES.image: .*: no such folder"):
        compare(read_config(toml(GOOD.replace('image = "GT/DES"', 'image = "RGB"'))))
    with pytest.raises(ValueError, match=r"methods.ours: no folder of maps for DES, .*gud.DES does not exist; add it"):
        compare(read_config(toml(GOOD.replace("good", "gud"))))
    with pytest.raises(ValueError, match=r"methods.ours: none of its folders of maps exists; check the paths"):
        compare(read_config(toml(GOOD.replace("good", "gud")), allow_missing=True))
    with pytest.raises(ValueError, match=r"methods.other: no folder of maps for DES, none is configured; add it"):
        compare(read_config(toml(GOOD.replace('DES = "fair/DES", ', ""))))
    (tmp_path / "results").touch()
    with pytest.raises(ValueError, match=r"output: expected a folder, got a file: .*results; choose another"):
        compare(read_config(toml(GOOD)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scores": ["maxf"]}, "scores: expected some of MAE, maxF, .*, got 'maxf'; choose others, or add metrics"),
        ({"scores": ["maxIoU"]}, "scores: expected some of .*, got 'maxIoU'"),
        ({"metrics": ["f"]}, "metrics: expected one of 'MAE', 'F'"),
        ({"grid": "00l"}, "grid: expected names of images without their suffixes, got '00l'; did you mean '00"),
        ({"grid": ["x"]}, "grid: expected names of images without their suffixes, got 'x'; remove or rename it"),
    ],
)
def test_settings_are_checked_before_the_work(tmp_path, settings, message):
    write_layout(tmp_path)
    with pytest.raises(ValueError, match=message):
        compare(read_config(tmp_path, **settings))
    assert not (tmp_path / "comparison").exists()


def test_a_layouts_messages_name_the_folder(tmp_path):
    write_layout(tmp_path)
    with pytest.raises(
        ValueError, match=re.escape(f"{tmp_path}: reference: expected one of the methods fair, good, poor")
    ):
        read_config(tmp_path, reference="best")
