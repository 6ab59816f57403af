"""The demo: one recipe trained, predicted and compared, on the synthetic set or on folders."""

import csv
import json
import tomllib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "filelock", "matplotlib", "openpyxl", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.data import read_gray, synthetic_rgbd  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402
from dynamic_kd.losses import soft_iou  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, model_metadata  # noqa: E402
from dynamic_kd.training import _demo, read_recipe, run_demo  # noqa: E402

STUDENTS = {
    "no teacher": ("none", "absolute"),
    "fixed weight": (0.5, None),
    "fixed weight + noise elimination": (0.5, "absolute"),
    "dynamic weight + noise elimination": ("dynamic", "absolute"),
}
NETWORKS = ["teacher", *STUDENTS]


def small(recipe, settings=None):
    """The recipe of the demo, with fewer and smaller images."""
    counts = {"data.train_count": 24, "data.validation_count": 12}
    return read_recipe(recipe, {**counts, **(settings or {})})


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo on the synthetic set: its folder, its comparison, its findings, and the steps it told of."""
    out, steps = tmp_path_factory.mktemp("demo") / "out", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_demo, "read_recipe", small)
        comparison, findings = run_demo(out, size=32, epochs=2, seed=3, progress=lambda *step: steps.append(step))
    return out, comparison, findings, steps


@pytest.fixture
def folder(tmp_path):
    """A data set of ten samples."""
    for sample in synthetic_rgbd(10, size=40, seed=3):
        pictures = {"RGB": sample.image, "depth": np.rint(255 * sample.depth), "GT": 255 * sample.mask}
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture.astype(np.uint8))
    return tmp_path / "set"


def test_each_network_has_a_run_folder(demo):
    out, *_ = demo
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(NETWORKS)
    assert isinstance(load_model(out / "runs" / "teacher" / "teacher-last.safetensors"), RFBTeacher)
    for name, (weighting, noise_elimination) in STUDENTS.items():
        recipe = read_recipe(out / "runs" / name)
        assert recipe.loss.weighting == weighting
        assert recipe.loss.noise_elimination == noise_elimination
        assert (recipe.training.epochs, read_recipe(out / "runs" / "teacher").teacher_training.epochs) == (2, 3)
        assert isinstance(load_model(out / "runs" / name / "student-last.safetensors"), FPNStudent)
        assert model_metadata(out / "runs" / name / "student-last.safetensors")["epoch"] == 2


def test_students_learn_from_the_teachers_maps_most_of_which_are_swapped(demo):
    out, *_ = demo
    for name in STUDENTS:
        teacher = read_recipe(out / "runs" / name).teacher
        assert (teacher.model, teacher.spoil, teacher.spoil_share) == ("maps", "swapped", 0.6)
        assert {path.name for path in Path(teacher.maps).iterdir()} == {f"{number:05}.png" for number in range(24)}
    with (out / "runs" / "fixed weight" / "noise.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    maps = {row["sample"]: read_gray(Path(teacher.maps) / f"{row['sample']}.png") / 255 for row in rows}
    masks = {name: read_gray(out / "data" / "train" / "GT" / f"{name}.png") > 0 for name in maps}
    assert sum(row["kind"] == "swapped" for row in rows) == round(0.6 * 24)
    own = {name: float(soft_iou(maps[name][None], masks[name][None])[0]) for name in maps}
    swapped = [row["sample"] for row in rows if row["kind"]]
    assert np.mean([own[name] for name in swapped]) > np.mean(
        [float(row["teacher_iou"]) for row in rows if row["kind"]]
    )


def test_the_comparison_is_of_the_maps_of_the_test_images(demo):
    out, comparison, *_ = demo
    [result] = comparison.datasets.values()
    assert list(result.reports) == NETWORKS
    for name, report in result.reports.items():
        assert set(report.names) == {f"{number:05}" for number in range(24, 36)}
        maps = next(path.parent for path in (out / "maps" / name).rglob("00024.png"))
        assert report.as_dict() == pytest.approx(evaluate_folders(maps, out / "data" / "test" / "GT").as_dict())
    assert tomllib.loads((out / "compare.toml").read_text())["methods"].keys() == set(NETWORKS)
    written = {path.name for path in (out / "comparison").iterdir()}
    assert {"scores.md", "results.json", "curves", "grid"} <= written
    assert read_gray(out / "scores.png").std() > 10


def test_images_are_those_of_the_recipe(demo):
    out, *_ = demo
    for part, first, count in (("train", 0, 24), ("test", 24, 12)):
        folder = out / "data" / part
        for sample in synthetic_rgbd(count, size=32, seed=3, first=first):
            image = cv2.imread(str(folder / "RGB" / f"{sample.name}.png"))[..., ::-1]
            np.testing.assert_array_equal(image, sample.image)
            depth = cv2.imread(str(folder / "depth" / f"{sample.name}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_allclose(depth / 65535, sample.depth, atol=1e-5)
            np.testing.assert_array_equal(read_gray(folder / "GT" / f"{sample.name}.png") > 0, sample.mask)


def test_the_findings_are_computed(demo):
    out, comparison, findings, steps = demo
    noise = json.loads((out / "runs" / "dynamic weight + noise elimination" / "results.json").read_text())["noise"]
    assert findings[0] == (
        f"14 of the teacher's 24 training maps were swapped. Noise elimination flags {noise['flagged']}: "
        f"{noise['recall']:.0%} of the swapped maps, and {noise['precision']:.0%} of the flagged ones are swapped."
    )
    scores = [comparison.datasets["test"].reports[name]["wF"] for name in STUDENTS]
    listed = ", ".join(f"{name} {score:.3f}" for name, score in zip(STUDENTS, scores, strict=True))
    assert findings[1] == f"Weighted F on the test images: {listed}."
    assert ("teacher: teacher", 9, 9) in steps
    assert ("fixed weight: predicting", 36, 36) in steps


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((0.5, 0.4, 0.55, 0.6), "With a fixed weight the student also learns the wrong maps, and ends below a student"),
        ((0.5, 0.5, 0.4, 0.6), "This run does not show what the method promises: fixed weight is not below no teach"),
        ((0.5, 0.4, 0.4, 0.4), "dynamic weight + noise elimination is not above fixed weight; dynamic weight + noise"),
        ((0.5, 0.4, 0.6, 0.45), "promises: dynamic weight + noise elimination is not above no teacher."),
    ],
)
def test_the_verdict_follows_from_the_scores(demo, scores, verdict):
    out, *_ = demo
    result = SimpleNamespace(reports={name: {"wF": score} for name, score in zip(STUDENTS, scores, strict=True)})
    *_, last = _demo._findings(out / "runs" / "dynamic weight + noise elimination", result)
    assert verdict in last


def test_a_data_set_is_split_by_the_seed(folder, tmp_path):
    def parts():
        return [sorted(path.stem for path in (out / "data" / part / "GT").iterdir()) for part in ("train", "test")]

    out = tmp_path / "out"
    comparison, _ = run_demo(out, data=folder, size=32, epochs=1, seed=1)
    train, test = parts()
    assert (len(train), len(test)) == (7, 3)
    assert sorted(train + test) == [f"{number:05}" for number in range(10)]
    assert set(comparison.datasets["test"].reports["teacher"].names) == set(test)
    with pytest.raises(ValueError, match="out: is not empty; name another folder, or replace an earlier demo"):
        run_demo(out, data=folder)
    (out / "mine.txt").touch()
    with pytest.raises(ValueError, match="nowhere"):
        run_demo(out, data=tmp_path / "nowhere", overwrite=True)
    assert (out / "comparison").is_dir()
    run_demo(out, data=folder, size=32, epochs=1, seed=2, overwrite=True)
    assert parts()[1] != test
    assert (out / "mine.txt").exists()


def test_epochs_follow_from_the_number_of_samples(folder, tmp_path, monkeypatch):
    recipes = []

    def remember(recipe, *arguments, **settings):
        recipes.append(recipe)
        raise InterruptedError

    monkeypatch.setattr(_demo, "train", remember)
    for epochs, expected in ((None, (60, 90)), (5, (5, 8))):
        with pytest.raises(InterruptedError):
            run_demo(tmp_path / f"out{epochs}", data=folder, size=32, epochs=epochs)
        assert (recipes[-1].training.epochs, recipes[-1].teacher_training.epochs) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
        ({"size": 8}, r"data\.size: expected a whole number of at least 32, got 8"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"data": "none"}, "none: "),
    ],
)
def test_mistakes_leave_nothing(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        run_demo(tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_few_samples(folder, tmp_path):
    for role in ("RGB", "depth", "GT"):
        for number in range(3, 10):
            (folder / role / f"{number:05}.png").unlink()
    with pytest.raises(ValueError, match="set: has 3 samples; training and testing take at least 4"):
        run_demo(tmp_path / "out", data=folder)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: is a file; name a folder for the results"):
        run_demo(tmp_path / "file")
