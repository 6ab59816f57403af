"""The demo: one recipe trained, predicted and compared, on the synthetic set or on folders."""

import csv
import json
import tomllib

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "filelock", "matplotlib", "openpyxl", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.data import read_gray, synthetic_rgbd  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, model_metadata  # noqa: E402
from dynamic_kd.training import _demo, read_recipe, run_demo  # noqa: E402

NETWORKS = ["teacher", "cross-entropy", "fixed weight 0.5", "dynamic weight", "dynamic + noise elimination"]
STUDENTS = {
    "cross-entropy": ("none", "absolute"),
    "fixed weight 0.5": (0.5, None),
    "dynamic weight": ("dynamic", None),
    "dynamic + noise elimination": ("dynamic", "absolute"),
}


def small(recipe, settings=None):
    """The recipe of the demo, with fewer and smaller images."""
    counts = {"data.train_count": 24, "data.validation_count": 12}
    return read_recipe(recipe, {**counts, **(settings or {})})


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A demo on the synthetic set: its folder, its comparison, and what was told of it."""
    out, notes, steps = tmp_path_factory.mktemp("demo") / "out", [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_demo, "read_recipe", small)
        comparison = run_demo(
            out, size=32, epochs=2, seed=3, progress=lambda *step: steps.append(step), note=notes.append
        )
    return out, comparison, notes, steps


@pytest.fixture
def folder(tmp_path):
    """A data set of ten samples."""
    for sample in synthetic_rgbd(10, size=40, seed=3):
        pictures = {"RGB": sample.image, "depth": np.rint(255 * sample.depth), "GT": 255 * sample.mask}
        for name, picture in pictures.items():
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "set" / name / f"{sample.name}.png"), picture.astype(np.uint8))
    return tmp_path / "set"


def test_each_network_has_a_run_folder_and_the_teacher_teaches_the_students(demo):
    out, *_ = demo
    assert sorted(path.name for path in (out / "runs").iterdir()) == sorted(NETWORKS)
    assert isinstance(load_model(out / "runs" / "teacher" / "teacher-last.safetensors"), RFBTeacher)
    for name, (weighting, noise_elimination) in STUDENTS.items():
        recipe = read_recipe(out / "runs" / name)
        assert recipe.loss.weighting == weighting
        assert recipe.loss.noise_elimination == noise_elimination
        assert recipe.teacher.checkpoint == str((out / "runs" / "teacher" / "teacher-last.safetensors").resolve())
        assert (recipe.training.epochs, recipe.teacher_training.epochs) == (2, 3)
        assert isinstance(load_model(out / "runs" / name / "student-last.safetensors"), FPNStudent)
        assert model_metadata(out / "runs" / name / "student-last.safetensors")["epoch"] == 2


def test_the_comparison_is_of_the_maps_on_clean_and_on_spoilt_depth(demo):
    out, comparison, *_ = demo
    assert list(comparison.datasets) == ["clean depth", "spoilt depth"]
    expected = {sample.name: sample.spoilt for sample in synthetic_rgbd(12, size=32, seed=3, first=24)}
    for depth, result in comparison.datasets.items():
        names = {name for name, kind in expected.items() if (kind is not None) == (depth == "spoilt depth")}
        assert list(result.reports) == NETWORKS
        for name, report in result.reports.items():
            assert set(report.names) == names
            alone = evaluate_folders(out / "maps" / name / depth, out / "data" / depth / "GT")
            assert report.as_dict() == pytest.approx(alone.as_dict())
    assert tomllib.loads((out / "compare.toml").read_text())["methods"].keys() == set(NETWORKS)
    written = {path.name for path in (out / "comparison").iterdir()}
    assert {"scores.md", "results.json", "curves", "grid"} <= written
    assert read_gray(out / "comparison" / "grid" / "clean depth.png").std() > 10


def test_test_images_are_those_of_the_recipe(demo):
    out, *_ = demo
    samples = synthetic_rgbd(12, size=32, seed=3, first=24)
    for sample in samples:
        folder = out / "data" / ("clean depth" if sample.spoilt is None else "spoilt depth")
        np.testing.assert_array_equal(cv2.imread(str(folder / "RGB" / f"{sample.name}.png"))[..., ::-1], sample.image)
        depth = cv2.imread(str(folder / "depth" / f"{sample.name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(depth / 65535, sample.depth, atol=1e-5)
        np.testing.assert_array_equal(read_gray(folder / "GT" / f"{sample.name}.png") > 0, sample.mask)


def test_which_training_samples_noise_elimination_flags_is_told(demo):
    out, _, notes, steps = demo
    run = out / "runs" / "dynamic + noise elimination"
    noise = json.loads((run / "results.json").read_text())["noise"]
    assert notes[0].startswith(f"noise elimination flags {noise['flagged']} of 24 training samples (IoU ≤ 0.5)")
    assert notes[1].startswith(f"{noise['spoilt']} of them really have a spoilt depth map: precision of the flags ")
    with (run / "noise.csv").open(newline="") as file:
        kinds = {row["sample"]: row["kind"] for row in csv.DictReader(file)}
    assert kinds == {sample.name: sample.spoilt or "" for sample in synthetic_rgbd(24, size=32, seed=3)}
    assert (run / "noise.png").is_file()
    assert ("teacher: teacher", 9, 9) in steps
    assert ("dynamic weight: predicting", 12, 12) in steps


def test_a_data_set_is_split_by_the_seed(folder, tmp_path):
    out = tmp_path / "out"
    comparison = run_demo(out, data=folder, size=32, epochs=1, seed=1)
    train, test = ((out / name).read_text().split() for name in ("train.txt", "test.txt"))
    assert (len(train), len(test)) == (7, 3)
    assert sorted(train + test) == [f"RGB/{number:05}.png" for number in range(10)]
    assert list(comparison.datasets) == ["test images"]
    assert set(comparison.datasets["test images"].reports["teacher"].names) == {name[4:-4] for name in test}
    with pytest.raises(ValueError, match="out: is not empty; name another folder, or replace an earlier demo"):
        run_demo(out, data=folder)
    (out / "mine.txt").touch()
    with pytest.raises(ValueError, match="nowhere"):
        run_demo(out, data=tmp_path / "nowhere", overwrite=True)
    assert (out / "comparison").is_dir()
    run_demo(out, data=folder, size=32, epochs=1, seed=2, overwrite=True)
    assert (out / "test.txt").read_text().split() != test
    assert (out / "mine.txt").exists()


def test_epochs_follow_from_the_number_of_samples(folder, tmp_path, monkeypatch):
    recipes = []

    def remember(recipe, *arguments, **settings):
        recipes.append(recipe)
        raise InterruptedError

    monkeypatch.setattr(_demo, "train", remember)
    for epochs, expected in ((None, (60, 96)), (5, (5, 8))):
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
