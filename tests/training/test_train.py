"""Whole runs: what they leave, who teaches, and what they refuse."""

import json
import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from safetensors.torch import save_file  # noqa: E402
from tiny_runs import rows, same_run, tensors  # noqa: E402

from dynamic_kd.data import _polarity, find_data, read_samples, synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, model_metadata, save_model  # noqa: E402
from dynamic_kd.training import (  # noqa: E402
    _loop,
    _recipe_data,
    _train,
    noise_report_from_maps,
    read_recipe,
    train,
)

SCORES = ("MAE", "maxF", "meanF", "adpF", "wF", "Sm", "maxE", "meanE", "adpE")


@pytest.fixture
def folders(tmp_path):
    """A data set of twelve samples with a teacher's maps, and lists that split it."""
    for sample in synthetic_rgbd(12, size=40, seed=3, spoilt_share=0):
        pictures = {
            "RGB": sample.image[..., ::-1],
            "depth": np.rint(255 * sample.depth).astype(np.uint8),
            "GT": 255 * sample.mask.astype(np.uint8),
            "DANet": np.rint(255 * cv2.GaussianBlur(sample.mask.astype(np.float32), (5, 5), 0)).astype(np.uint8),
        }
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture)
    (tmp_path / "train.txt").write_text("".join(f"{number:05}\n" for number in range(9)))
    (tmp_path / "val.txt").write_text("".join(f"{number:05}\n" for number in range(9, 12)))
    return tmp_path


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A cache folder without the arrays of other tests."""
    monkeypatch.setenv("DYNAMIC_KD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def from_folders(folders, tiny):
    """Return a function that makes the recipe of a tiny run on the folders."""

    def part(name):
        return f"data.{name}=[{{folder='set', list='{folders}/{'val' if name == 'validation' else name}.txt'}}]"

    def make(*settings):
        return tiny("data.source=folders", f"data.root={folders}", part("train"), part("validation"), *settings)

    return make


def test_a_run_leaves_all_that_was_promised(whole, tiny):
    names = {path.name for path in whole.iterdir()}
    weights = {f"{who}-{which}.safetensors" for who in ("teacher", "student") for which in ("best", "last")}
    logs = {"epochs.csv", "weights.csv", "tensorboard", "noise.csv", "noise.png", "scatter.png", "weight.png"}
    records = {"teacher-validation.npz", "student-validation.npz"}
    others = {"recipe.toml", "environment.json", "results.json", "checkpoint.safetensors"}
    assert names == weights | logs | records | others
    assert read_recipe(whole) == tiny()
    epochs = rows(whole / "epochs.csv")
    assert [(int(row["stage"]), int(row["epoch"])) for row in epochs] == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    assert [bool(row["maxF"]) for row in epochs] == [False, True, False, True, True]
    samples = rows(whole / "weights.csv")
    assert [row["sample"] for row in samples] == [f"{number:05}" for number in range(10)] * 3
    [session] = json.loads((whole / "environment.json").read_text())["sessions"]
    assert session["processes"] == 1
    assert session["versions"]["torch"] == torch.__version__
    assert session["after"] == {"stage": 1, "epoch": 0}
    assert abs(datetime.now(UTC) - datetime.fromisoformat(session["start"])) < timedelta(minutes=10)


def test_results_are_those_of_the_logs_and_of_the_weights(whole):
    results = json.loads((whole / "results.json").read_text())
    assert results["name"] == "tiny"
    assert results["seconds"] > 0
    epochs = rows(whole / "epochs.csv")
    for stage, name in ((1, "teacher"), (2, "student")):
        scored = [row for row in epochs if int(row["stage"]) == stage and row["maxF"]]
        best = max(scored, key=lambda row: float(row["maxF"]))
        for which, row in (("last", scored[-1]), ("best", best)):
            facts = model_metadata(whole / f"{name}-{which}.safetensors")
            assert facts["epoch"] == results["results"][name][which]["epoch"] == int(row["epoch"])
            assert facts["scores"] == results["results"][name][which]["scores"]
            assert facts["scores"]["maxF"] == pytest.approx(float(row["maxF"]), abs=1e-6)
            assert (facts["stage"], facts["recipe"]["name"]) == (name, "tiny")
    assert isinstance(load_model(whole / "teacher-last.safetensors"), RFBTeacher)
    assert isinstance(load_model(whole / "student-last.safetensors"), FPNStudent)


def test_the_best_by_an_error_is_the_smallest(tiny, tmp_path, no_figures):
    results = train(tiny("best_by=MAE", "evaluate_every=1"), tmp_path / "run")["results"]
    errors = [float(row["MAE"]) for row in rows(tmp_path / "run" / "epochs.csv") if row["stage"] == "2"]
    assert results["student"]["best"]["scores"]["MAE"] == pytest.approx(min(errors), abs=1e-6)


class Report(dict):
    """Scores that are all one number."""

    def __init__(self, number):
        super().__init__(dict.fromkeys(SCORES, number))

    def as_dict(self):
        return dict(self)


@pytest.mark.parametrize("stopped", [None, 1, 2, 3, 4])
def test_each_stage_keeps_its_own_best_even_if_it_was_stopped(tiny, tmp_path, monkeypatch, no_figures, stopped):
    all_numbers = [0.8, 0.9, 0.6, 0.4, 0.5]
    numbers = iter(all_numbers if stopped is None else [*all_numbers[:stopped], None, *all_numbers[stopped:]])

    def scores(*arguments):
        number = next(numbers)
        if number is None:
            raise KeyboardInterrupt
        return Report(number)

    monkeypatch.setattr(_train, "scores", scores)
    recipe = tiny("evaluate_every=1")
    if stopped is not None:
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run")
    results = train(recipe, tmp_path / "run", resume=stopped is not None)["results"]
    assert [results[who]["best"]["epoch"] for who in ("teacher", "student")] == [2, 1]
    assert [results[who]["last"]["epoch"] for who in ("teacher", "student")] == [2, 3]


def test_each_stage_draws_from_the_recipes_seed(tiny, tmp_path, monkeypatch, no_figures):
    seeds = []

    def fit(*arguments, **settings):
        seeds.append(settings["seed"])
        return _loop.fit(*arguments, **settings)

    monkeypatch.setattr(_train, "fit", fit)
    train(tiny("seed=7"), tmp_path / "run")
    assert seeds == [(7, 1), (7, 2)]


def test_progress_and_seeds(whole, tiny, tmp_path, no_figures, empty_cache):
    told = []
    train(tiny("seed=1"), tmp_path / "run", progress=lambda *step: told.append(step))
    assert told[:2] == [("training samples", 10, 10), ("validation samples", 5, 5)]
    assert told[2:] == [("teacher", n, 6) for n in range(1, 7)] + [("student", n, 9) for n in range(1, 10)]
    one, other = (tensors(folder / "student-last.safetensors") for folder in (whole, tmp_path / "run"))
    assert any(not np.array_equal(one[key], other[key]) for key in one)


def test_folders_that_a_run_does_not_take(tiny, tmp_path, no_figures):
    recipe = tiny("loss.weighting=none", "training.epochs=1")
    other, file, run = tmp_path / "other", tmp_path / "file", tmp_path / "run"
    other.mkdir()
    (other / "notes.txt").touch()
    file.touch()
    for folder in (other, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"no such recipe"):
            read_recipe(folder)
    for folder in (other, file, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"holds no run|is a file"):
            train(recipe, folder, resume=True)
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="file: is a file; name a folder for the run"):
        train(recipe, file)
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="other: holds files that are not of a run; name a new"):
            train(recipe, other, overwrite=overwrite)
    run.mkdir()
    train(recipe, run)
    (run / "mine.txt").touch()
    message = r"run: holds a run; resume it \(--resume\), replace it"
    with pytest.raises(ValueError, match=message):
        train(recipe, run)
    with pytest.raises(ValueError, match="run: holds a run of another recipe; resume it without"):
        train(replace(recipe, seed=2), run, resume=True)
    train(replace(recipe, seed=2), run, overwrite=True)
    assert read_recipe(run).seed == 2
    assert not (run / "mine.txt").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.root=nowhere"], "nowhere/set: expected a folder, got no such folder"),
        (["data.train=[{folder='set', list='none.txt'}]"], r"none\.txt: expected a list file, got no such file"),
        (["data.validation=['set']"], "data: 9 images are in both data.train and data.validation"),
        (["data.train=['set/RGB']"], "set/RGB: expected sub-folders of images"),
        (
            ["data.train=['set', {folder='.'}]", "data.validation="],
            "data.train: 12 images occur more than once, the first is .*RGB/00000.png; leave out",
        ),
        (["student.backbone=vgg16", "student.weights=none.pth"], r"none\.pth: expected a file of weights, got no file"),
        (["student.weights=none.pth"], "weights: there are none for 'tiny', which starts from random ones; leave"),
        (["teacher.checkpoint=none.safetensors"], r"none\.safetensors: expected a file of weights, got no file"),
        (
            ["teacher.model=none:network"],
            "none:network cannot be imported .*: No module",
        ),
        (
            ["teacher.model=json:network"],
            "json:network cannot .*: module 'json' has no attribute 'network'",
        ),
        (["teacher.model=json:loads"], r"teacher.model: json:loads .*called without arguments: loads\(\) missing"),
        (["teacher.model=json:__doc__"], "teacher.model: json:__doc__ .*: 'str' object is not callable"),
        (["teacher.model=builtins:dict"], r"builtins:dict\(\) must return an nn\.Module, got dict"),
        (["teacher.model=maps", "teacher.maps=none"], "teacher none: expected a sub-folder of each data set"),
        (["training.batch_size=3", "training.accumulation=2"], "accumulation: must divide the batch size 3"),
        (["compile=true"], "compile: requires a GPU; leave it out"),
        (["precision=fp16"], 'precision: "fp16" requires a GPU; choose "fp32" or "bf16"'),
    ],
)
def test_nothing_is_written_or_removed_for_a_recipe_that_cannot_be_followed(
    from_folders, folders, monkeypatch, settings, message
):
    monkeypatch.chdir(folders)
    run = folders / "run"
    run.mkdir()
    (run / "recipe.toml").write_text("seed = 1\n")
    with pytest.raises((ValueError, OSError), match=message):
        train(from_folders(*settings), run, overwrite=True, cpu=True)
    with pytest.raises((ValueError, OSError), match=message):
        train(from_folders(*settings), folders / "new", cpu=True)
    assert [path.name for path in run.iterdir()] == ["recipe.toml"]
    assert not (folders / "new").exists()


@pytest.mark.parametrize("part", ["train", "validation", "report"])
def test_folders_are_looked_for_before_any_weights_are_downloaded(from_folders, folders, monkeypatch, part):
    monkeypatch.setattr(_train, "new_networks", lambda *arguments: pytest.fail("made"))
    with pytest.raises(ValueError, match="nowhere: expected a folder, got no such folder"):
        train(from_folders(f"data.{part}=['nowhere']"), folders / "run", cpu=True)
    with pytest.raises(ValueError, match=r"data: 9 images are in both data\.train and data\.report"):
        train(from_folders("data.report=['set']"), folders / "run", cpu=True)


def test_what_is_near_is_noted_of_the_sets_for_reporting_too(from_folders, folders, no_figures):
    shutil.copytree(folders / "set", folders / "other")
    shutil.copytree(folders / "set", folders / "flat")
    for path in (folders / "other" / "depth").iterdir():
        cv2.imwrite(str(path), 255 - cv2.imread(str(path), 0))
    for path in (folders / "flat" / "depth").iterdir():
        cv2.imwrite(str(path), np.full((40, 40), 7, np.uint8))
    notes = []
    recipe = from_folders("data.report=['other', 'flat']", "training.epochs=1", "loss.weighting=none")
    train(recipe, folders / "run", cpu=True, note=notes.append)
    doubt = "near seems to be bright, but only 0 of 0 depth maps agree; look at some of them and set near"
    assert notes == [
        "near is bright in the depth files of set",
        "near is dark in the depth files of other/other",
        f"{folders / 'flat'}: {doubt}",
        "near is bright in the depth files of flat/flat",
    ]


def test_the_folders_of_each_part_are_looked_through_once(from_folders, folders, monkeypatch, no_figures):
    shutil.copytree(folders / "set", folders / "other")
    find, decide, found, decided = _recipe_data.find_data, _polarity.polarity_of_files, [], []
    monkeypatch.setattr(_recipe_data, "find_data", lambda root, **rest: found.append(root.name) or find(root, **rest))
    monkeypatch.setattr(_polarity, "polarity_of_files", lambda paths: decided.append(paths[0]) or decide(paths))
    train(from_folders("data.report=['other']", "training.epochs=1", "loss.weighting=none"), folders / "run", cpu=True)
    assert found == ["set", "set", "other"]
    assert len(decided) == 3


def test_depth_that_is_missing(from_folders, folders):
    for path in (folders / "set" / "depth").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="expected the same file stems in RGB, depth, GT, got"):
        train(from_folders(), folders / "run")
    (folders / "set" / "depth").rmdir()
    with pytest.raises(ValueError, match="expected sub-folders of images, depth maps and masks"):
        train(from_folders(), folders / "run")


def test_a_teacher_from_a_checkpoint_leaves_stage_1_out(whole, tiny, tmp_path, no_figures):
    results = train(tiny(f"teacher.checkpoint={whole}/teacher-last.safetensors"), tmp_path / "run")
    assert list(results["results"]) == ["student"]
    assert [row["stage"] for row in rows(tmp_path / "run" / "epochs.csv")] == ["2"] * 3
    one, other = (tensors(folder / "student-last.safetensors") for folder in (whole, tmp_path / "run"))
    assert all(np.array_equal(one[key], other[key]) for key in one)


def test_a_teacher_for_other_channels(tiny, tmp_path):
    save_model(RFBTeacher("tiny", in_channels=3), tmp_path / "colour.safetensors")
    message = r"teacher.checkpoint: takes 3 channels, but the recipe's images have 4 \(data.depth = True\)"
    with pytest.raises(ValueError, match=message):
        train(tiny(f"teacher.checkpoint={tmp_path}/colour.safetensors"), tmp_path / "run")


def test_a_student_without_a_teacher(tiny, tmp_path, no_figures):
    results = train(tiny("loss.weighting=none"), tmp_path / "run")
    assert list(results["results"]) == ["student"]
    assert not (tmp_path / "run" / "weights.csv").exists()


@pytest.mark.parametrize("maps", ["DANet", "{folders}/set/DANet"])
def test_a_teacher_of_maps_on_folders(from_folders, folders, maps, no_figures):
    notes = []
    recipe = from_folders("teacher.model=maps", f"teacher.maps={maps.format(folders=folders)}")
    results = train(recipe, folders / "run", note=notes.append)
    assert list(results["results"]) == ["student"]
    assert {row["sample"] for row in rows(folders / "run" / "weights.csv")} == {f"{n:05}" for n in range(9)}
    assert min(float(row["teacher_iou"]) for row in rows(folders / "run" / "weights.csv")) > 0.5


def test_training_and_noise_report_give_a_map_the_same_confidence(from_folders, folders, no_figures):
    recipe = from_folders("teacher.model=maps", "teacher.maps=DANet", "training.rotation=0", "training.epochs=1")
    train(recipe, folders / "run", cpu=True)
    report = noise_report_from_maps(read_samples(find_data(folders / "set", teacher="DANet"), size=recipe.data.size))
    expected = dict(zip(report.names, report.teacher_iou.tolist(), strict=True))
    found = {row["sample"]: float(row["teacher_iou"]) for row in rows(folders / "run" / "weights.csv")}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=1e-6)


def test_folders_of_colour_alone_with_their_figures(from_folders, folders, empty_cache):
    shutil.rmtree(folders / "set" / "depth")
    told = []
    recipe = from_folders("data.depth=false", "evaluate_every=0", "data.near=bright")
    results = train(recipe, folders / "run", progress=lambda step, done, total: told.append((step, done, total)))
    assert told[0] == ("training samples", 9, 9)
    assert ("validation samples", 3, 3) in told
    assert load_model(folders / "run" / "student-last.safetensors").settings["in_channels"] == 3
    assert "best" not in results["results"]["student"]
    assert (folders / "run" / "noise.png").exists()


MODULE = """\
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(4, 1, 3, padding=1))

def coarse():
    return nn.Conv2d(4, 1, 3, stride=2, padding=1)
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A module to import teachers from."""
    (tmp_path / "teachers_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "teachers_of_mine"
    sys.modules.pop("teachers_of_mine", None)


def test_a_teacher_from_a_package_is_the_same_in_every_process_and_after_a_stop(tiny, tmp_path, imported, no_figures):
    recipe = tiny(f"teacher.model={imported}:network")
    train(recipe, tmp_path / "one")
    torch.manual_seed(99)
    train(recipe, tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")


def test_a_teacher_from_a_package_with_weights(tiny, tmp_path, imported, no_figures):
    sure = {"0.weight": torch.zeros(1, 4, 3, 3), "0.bias": torch.tensor([-30.0])}
    save_file(sure, tmp_path / "sure.safetensors")
    recipe = tiny(f"teacher.model={imported}:network", f"teacher.weights={tmp_path}/sure.safetensors")
    train(recipe, tmp_path / "run")
    assert {row["teacher_iou"] for row in rows(tmp_path / "run" / "weights.csv")} == {"0.000000"}
    save_file({"0.weight": torch.zeros(1, 3, 3, 3)}, tmp_path / "sure.safetensors")
    with pytest.raises(ValueError, match=rf"sure\.safetensors does not fit {imported}:network"):
        train(recipe, tmp_path / "other")


def test_a_teacher_from_a_package_whose_answer_does_not_fit(tiny, tmp_path, imported):
    message = r"teacher: must return a tensor of the images' size, \(4, 1, 32, 32\), got \(4, 1, 16, 16\)"
    with pytest.raises(ValueError, match=message):
        train(tiny(f"teacher.model={imported}:coarse"), tmp_path / "run")


def test_half_precision_keeps_weights_and_losses_in_single(tiny, tmp_path, no_figures):
    train(tiny("precision=bf16"), tmp_path / "run", cpu=True)
    weights = tensors(tmp_path / "run" / "student-last.safetensors")
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert float(rows(tmp_path / "run" / "epochs.csv")[-1]["loss"]) < 0.6


def test_torchs_settings_are_put_back(tiny, tmp_path, no_figures):
    state = torch.get_rng_state()
    train(tiny("loss.weighting=none", "training.epochs=1"), tmp_path / "run")
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.get_rng_state(), state)
