"""The images of a recipe: for training, validation and reporting; spoilt maps; teachers alone and early weights."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import finished, recipe_file, saliency, same_run, tensors  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import RFBTeacher, load_model, model_metadata  # noqa: E402
from dynamic_kd.training import _train, read_recipe, read_records, train  # noqa: E402
from dynamic_kd.training._recipe_data import read_part  # noqa: E402


def part(recipe, name="train"):
    """Return the samples of a part of a recipe's data."""
    data = read_part(recipe, name, lambda step, done, total: None)
    return [data.sample(position) for position in range(len(data))]


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return a function that makes the recipe of a tiny run, with some settings changed; no figures are drawn."""
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
    path = recipe_file(tmp_path)
    return lambda *settings: read_recipe(path, settings)


@pytest.fixture
def folders(tmp_path):
    """Twelve samples, each with a good teacher's map."""
    for sample in synthetic_rgbd(12, size=40, seed=3, spoilt_share=0):
        mask = 255 * sample.mask.astype(np.uint8)
        pictures = {"RGB": sample.image, "GT": mask, "maps": cv2.GaussianBlur(mask, (3, 3), 0)}
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture)
    for name, numbers in {"train": range(8), "choose": range(8, 10), "report": range(10, 12)}.items():
        (tmp_path / f"{name}.txt").write_text("".join(f"{number:05}\n" for number in numbers))
    return tmp_path


@pytest.fixture
def of_maps(folders, tiny):
    def make(*settings, **lists):
        files = {"train": "train", "validation": "choose", "report": "report"} | lists
        parts = [f"data.{name}=[{{folder='set', list='{folders}/{file}.txt'}}]" for name, file in files.items()]
        about = ("data.source=folders", f"data.root={folders}", "data.depth=false")
        return tiny(*about, *parts, "teacher.model=maps", "teacher.maps=maps", *settings)

    return make


def test_images_for_reporting_are_scored_at_the_end_and_change_nothing_else(tiny, tmp_path):
    train(tiny(), tmp_path / "without")
    results = train(tiny("data.report_count=4"), tmp_path / "with")["results"]
    for name in ("teacher", "student"):
        report = read_records(tmp_path / "with" / f"{name}-report.npz")
        assert report.names == ("00015", "00016", "00017", "00018")
        assert results[name]["last"]["report"] == report.as_dict()
        assert "report" not in results[name]["best"]
        assert not (tmp_path / "without" / f"{name}-report.npz").exists()
    same_run(tmp_path / "with", tmp_path / "without")
    recipe = tiny("data.report_count=4")
    data = read_part(recipe, "report", lambda step, done, total: None)
    maps = saliency(load_model(tmp_path / "with" / "student-last.safetensors"), data)[:, 0]
    levels = np.rint(255 * maps).astype(np.float64)
    stretched = (levels - levels.min((1, 2), keepdims=True)) / np.ptp(levels, axis=(1, 2))[:, None, None]
    errors = np.abs(stretched - data.targets[:, 0].numpy()).mean((1, 2))
    assert results["student"]["last"]["report"]["MAE"] == pytest.approx(errors.mean(), abs=1e-9)


def test_two_processes_leave_the_records_of_one(tmp_path):
    """The second has no share of the single image for validation."""
    path = recipe_file(tmp_path)
    words = ("--cpu", "--set", "data.report_count=3", "data.validation_count=1", "loss.weighting=none")
    short = ("training.epochs=1", "training.batch_size=8")
    finished("train", path, "--out", tmp_path / "run2", *words, *short, processes=2)
    train(read_recipe(path, [*words[2:], *short]), tmp_path / "run1", cpu=True)
    for images, count in (("report", 3), ("validation", 1)):
        one, two = (read_records(tmp_path / f"run{each}" / f"student-{images}.npz") for each in (1, 2))
        assert (one.names, len(one.names)) == (two.names, count)
        np.testing.assert_allclose(one.rows, two.rows, atol=0.02)  # the weights agree up to rounding


def test_images_have_one_purpose(of_maps):
    recipe = of_maps()
    assert [len(part(recipe, name)) for name in ("train", "validation", "report")] == [8, 2, 2]
    for lists, words in (
        ({"report": "train"}, "8 images are in both data.train and data.report"),
        ({"report": "choose"}, "2 images are in both data.validation and data.report"),
        ({"validation": "train"}, "8 images are in both data.train and data.validation"),
    ):
        with pytest.raises(ValueError, match=f"data: {words}, the first is "):
            part(of_maps(**lists))


def test_spoilt_maps_are_for_training_alone_and_known_to_the_results_alone(of_maps, tmp_path):
    recipe = of_maps("teacher.spoil=inverted", "teacher.spoil_share=0.5")
    samples, held_out, right = part(recipe), part(recipe, "validation"), part(of_maps())
    assert [sample.spoilt for sample in samples].count("inverted") == 4
    assert all(sample.spoilt is None and sample.teacher is None for sample in held_out)
    for wrong, sample in zip(samples, right, strict=True):
        expected = sample.teacher if wrong.spoilt is None else 1 - sample.teacher
        np.testing.assert_array_equal(wrong.teacher, expected)
    others = part(of_maps("teacher.spoil=inverted", "teacher.spoil_share=0.5", "seed=9"))
    assert {each.name for each in samples if each.spoilt} != {each.name for each in others if each.spoilt}
    noise = train(recipe, tmp_path / "run")["noise"]
    assert (noise["samples"], noise["flagged"], noise["spoilt"]) == (8, 4, 4)
    assert (noise["precision"], noise["recall"], noise["auc"]) == (1, 1, 1)
    alone = of_maps("teacher.spoil=inverted", "loss.weighting=none")
    assert not any(sample.spoilt for sample in part(alone))
    assert "noise" not in train(alone, tmp_path / "alone")


def test_early_weights_of_the_teacher_teach_as_a_checkpoint(tiny, tmp_path):
    train(tiny("teacher.training.keep_epochs=[1]"), tmp_path / "run")
    train(tiny("teacher.training.epochs=1"), tmp_path / "short")
    early = tmp_path / "run" / "teacher-epoch1.safetensors"
    assert model_metadata(early)["epoch"] == 1
    assert not (tmp_path / "run" / "student-epoch1.safetensors").exists()
    assert tensors(early).keys() == tensors(tmp_path / "run" / "teacher-last.safetensors").keys()
    train(tiny(f"teacher.checkpoint={early}", "training.keep_epochs=[1, 3]"), tmp_path / "taught")
    assert (tmp_path / "taught" / "student-epoch1.safetensors").exists()
    kept, last = (tmp_path / "taught" / f"student-{which}.safetensors" for which in ("epoch3", "last"))
    assert all(np.array_equal(tensors(kept)[key], each) for key, each in tensors(last).items())


def test_a_teacher_alone_is_the_one_of_the_whole_run(tiny, tmp_path, capsys):
    results = train(tiny("teacher_only=true", "data.report_count=2"), tmp_path / "alone")["results"]
    assert list(results) == ["teacher"]
    assert {"scores", "report"} <= results["teacher"]["last"].keys()
    train(tiny("data.report_count=2"), tmp_path / "whole")
    ours, whole = (tensors(tmp_path / each / "teacher-last.safetensors") for each in ("alone", "whole"))
    assert all(np.array_equal(ours[key], each) for key, each in whole.items())
    assert isinstance(load_model(tmp_path / "alone" / "teacher-last.safetensors"), RFBTeacher)
    again = train(tiny("teacher_only=true", "data.report_count=2"), tmp_path / "alone", resume=True)
    assert again["results"] == results


def test_the_command_says_which_weights_a_teacher_alone_has_left(tiny, tmp_path, capsys):
    from dynamic_kd.cli import main

    path = tmp_path / "tiny.toml"
    assert main(["train", str(path), "--cpu", "--out", str(tmp_path / "run"), "--set", "teacher_only=true"]) == 0
    said = capsys.readouterr().out
    assert "the weights teacher-last.safetensors, " in said
    assert "student" not in said


def test_the_synthetic_sets_seed_and_shares(tiny):
    def images(*settings):
        return [sample.image for sample in part(tiny(*settings))]

    for one, other in zip(images("seed=1", "data.seed=7"), images("seed=2", "data.seed=7"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(images("seed=1")[0], images("seed=2")[0])
    np.testing.assert_array_equal(images("seed=1")[0], images("data.seed=1")[0])
    recipe = tiny("data.spoilt_share=0.0", "data.test_spoilt_share=1.0", "data.report_count=3")
    assert not any(sample.spoilt for sample in part(recipe))
    assert all(sample.spoilt for sample in (*part(recipe, "validation"), *part(recipe, "report")))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.keep_epochs=2", r"training.keep_epochs: expected a list such as \[2, 5\], got 2"),
        ("training.keep_epochs=[0]", r"training.keep_epochs: expected a whole number of at least 1, got 0"),
        ("training.keep_epochs=[1.5]", "training.keep_epochs: expected a whole number, got 1.5"),
        ("training.keep_epochs=[4]", "training.keep_epochs: epoch 4 does not exist, the training has 3; leave it out"),
        ("data.report_count=-1", r"data.report_count: expected a whole number of at least 0, got -1"),
        ("data.report=a", r'data.report: expected a list such as \["NJUD/train", "NLPR/train"\], got'),
        ("data.seed=-1", r"data.seed: expected a whole number of at least 0, got -1"),
        ("data.test_spoilt_share=2", r"data.test_spoilt_share: expected a number in \[0, 1\], got 2"),
        ("teacher_only=1", "teacher_only: expected True or False, got 1"),
        ("loss.weighting=none teacher_only=true", "teacher_only: this recipe trains no teacher; leave it out"),
        ("teacher.checkpoint=a.st teacher_only=true", "teacher_only: this recipe trains no teacher"),
    ],
)
def test_what_is_wrong_with_such_settings(tiny, setting, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tiny(*setting.split())


def test_results_are_written_when_all_else_is_there(tiny, tmp_path, monkeypatch):
    """An experiment takes a run with results for finished."""

    def fail(*arguments, **limit):
        raise OSError("disk full")

    monkeypatch.setattr(_train, "write_insight", fail)
    with pytest.raises(OSError, match="disk full"):
        train(tiny(), tmp_path / "run")
    assert not (tmp_path / "run" / "results.json").exists()
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
    assert (tmp_path / "run" / "epochs.csv").read_text().count("\n") == 6
    assert train(tiny(), tmp_path / "run", resume=True)["results"]["student"]["last"]["epoch"] == 3
