"""The demo end to end, at a tiny size: what it makes, writes, repeats and refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors import safe_open  # noqa: E402

from dynamic_kd.data import read_gray  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher  # noqa: E402
from dynamic_kd.training import Recipe, Tensors, _demo, run_demo, saliency  # noqa: E402
from dynamic_kd.training._demo import STUDENTS, DemoSettings  # noqa: E402
from dynamic_kd.training._run_folder import FILES, prepare, sentences, slug, write  # noqa: E402

METHODS = ["teacher", *STUDENTS]


@pytest.fixture(scope="module")
def folder(small_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    write(path, small_run)
    return path


def test_a_teacher_and_four_students(small_run):
    assert list(small_run.models) == list(small_run.reports) == list(small_run.maps) == METHODS
    assert [type(model) for model in small_run.models.values()] == [RFBTeacher, *[FPNStudent] * 4]
    assert [len(small_run.train), len(small_run.test)] == [24, 12]
    assert all(report.counts["images"] == 12 for report in small_run.reports.values())
    assert len({report["MAE"] for report in small_run.reports.values()}) == 5  # all differ


def test_training_and_test_scenes_are_different(small_run):
    assert not {sample.name for sample in small_run.train} & {sample.name for sample in small_run.test}


def test_training_never_sees_which_depth_is_spoilt(small_run, small_settings, monkeypatch):
    made = _demo.synthetic_rgbd

    def blind(*args, **settings):
        return [replace(sample, spoilt=None) for sample in made(*args, **settings)]

    monkeypatch.setattr(_demo, "synthetic_rgbd", blind)
    unaware = run_demo(small_settings())
    assert unaware.reports["teacher"].as_dict() == small_run.reports["teacher"].as_dict()
    np.testing.assert_array_equal(
        unaware.maps["dynamic + noise elimination"], small_run.maps["dynamic + noise elimination"]
    )


def test_a_second_run_gives_the_same_numbers_and_another_seed_others(small_run, small_settings):
    torch.rand(7)  # the state of the global generator must not matter
    before = torch.get_rng_state()
    again = run_demo(small_settings())
    assert torch.equal(torch.get_rng_state(), before)
    for name, report in small_run.reports.items():
        assert again.reports[name].as_dict() == report.as_dict()
    np.testing.assert_array_equal(again.noise.teacher_iou, small_run.noise.teacher_iou)
    other = run_demo(small_settings(seed=4))
    assert other.reports["teacher"].as_dict() != small_run.reports["teacher"].as_dict()


def test_scores_by_depth_belong_to_the_samples_with_such_depth(small_run):
    spoilt = {sample.name for sample in small_run.test if sample.spoilt}
    for parts in small_run.by_depth.values():
        assert set(parts["spoilt"].names) == spoilt
        assert set(parts["clean"].names) == {sample.name for sample in small_run.test} - spoilt


def test_every_step_is_reported_and_timed(small_settings):
    steps = {}
    result = run_demo(
        small_settings(train_count=8, test_count=4), lambda step, done, total: steps.update({step: (done, total)})
    )
    networks = ["teacher", *(f"student: {name}" for name in STUDENTS)]
    assert list(steps) == [*networks, "maps"]
    assert all(done == total for done, total in steps.values())
    assert set(result.seconds) == {"data", *networks, "evaluation"}


def test_the_numbers_do_not_depend_on_the_workers_nor_torchs_threads_on_the_demo(small_run, small_settings):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    parallel = run_demo(small_settings(), workers=3)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    for name, maps in small_run.maps.items():
        np.testing.assert_array_equal(parallel.maps[name], maps)


def test_a_failure_in_one_network_stops_the_others(small_settings):
    steps = {}

    def fail(step, done, total):
        steps[step] = (done, total)
        if step == "student: dynamic weight":
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_demo(small_settings(recipe=Recipe(epochs=100, teacher_epochs=1)), fail, workers=4)
    for name in ("fixed weight 0.5", "dynamic + noise elimination"):
        done, total = steps.get(f"student: {name}", (0, 300))
        assert done < total


@pytest.mark.parametrize(
    ("workers", "error", "message"),
    [
        (0, ValueError, r"workers: expected a number in \[1, inf\), got 0"),
        (1.5, TypeError, r"workers: expected a whole number, got 1\.5"),
    ],
)
def test_workers_out_of_range(small_settings, workers, error, message):
    with pytest.raises(error, match=message):
        run_demo(small_settings(), workers=workers)


class TestRunFolder:
    def test_every_file_is_there_and_no_other(self, folder):
        assert {path.name for path in folder.iterdir()} == set(FILES)
        for name in ("curves.png", "pictures.png", "noise.png"):
            assert read_gray(folder / name).std() > 10

    def test_the_tables_agree_with_the_reports(self, folder, small_run):
        rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
        assert [row["method"] for row in rows] == METHODS
        for row in rows:
            assert float(row["maxF"]) == small_run.reports[row["method"]]["maxF"]
        text = (folder / "table.md").read_text()
        assert "| method | MAE | maxF |" in text
        assert "| method | clean | spoilt |" in text
        assert all(sentence in text for sentence in sentences(small_run))

    def test_the_json_says_what_made_the_numbers(self, folder, small_run):
        content = json.loads((folder / "results.json").read_text())
        assert content["scores"]["teacher"] == small_run.reports["teacher"].as_dict()
        assert content["settings"]["recipe"] == small_run.settings.recipe.as_dict()
        assert content["settings"]["weighting"]["dynamic weight"] == "dynamic_no_threshold"
        assert content["noise"] == small_run.noise.summary()
        assert {"dynamic-kd", "python", "torch", "numpy"} <= set(content["versions"])
        assert set(content["seconds"]) == set(small_run.seconds)

    def test_the_noise_report_lists_every_training_sample(self, folder, small_run):
        rows = list(csv.DictReader((folder / "noise.csv").read_text().splitlines()))
        kinds = {sample.name: sample.spoilt or "" for sample in small_run.train}
        assert {row["sample"]: row["kind"] for row in rows} == kinds

    def test_the_weights_make_the_same_maps_again(self, folder, small_run):
        held_out = Tensors.of(small_run.test)
        for name in METHODS:
            with safe_open(folder / "weights" / f"{slug(name)}.safetensors", "pt") as file:
                facts = file.metadata()
                weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            model = {"FPNStudent": FPNStudent, "RFBTeacher": RFBTeacher}[facts["model"]](
                **json.loads(facts["model_settings"])
            )
            model.load_state_dict(weights)
            maps = np.rint(255 * saliency(model.to(memory_format=torch.channels_last), held_out))
            np.testing.assert_array_equal(maps, small_run.maps[name])
            assert json.loads(facts["recipe"]) == small_run.settings.recipe.as_dict()

    def test_evaluating_the_written_maps_gives_the_same_scores(self, folder, small_run):
        for name in METHODS:
            report = evaluate_folders(folder / "maps" / slug(name), folder / "maps" / "masks")
            assert report.as_dict() == small_run.reports[name].as_dict()


class TestPrepare:
    def test_a_new_folder_is_made(self, tmp_path):
        prepare(tmp_path / "a" / "b")
        prepare(tmp_path / "a" / "b")  # empty still
        assert (tmp_path / "a" / "b").is_dir()

    def test_a_filled_folder_is_refused(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        with pytest.raises(ValueError, match="expected a new or empty folder, got a filled one; name another or over"):
            prepare(tmp_path)

    def test_a_file_is_refused(self, tmp_path):
        (tmp_path / "a").touch()
        with pytest.raises(ValueError, match="a: expected a folder for the results, got a file"):
            prepare(tmp_path / "a", overwrite=True)

    def test_overwriting_removes_the_other_runs_files_and_no_others(self, tmp_path):
        (tmp_path / "maps" / "teacher").mkdir(parents=True)
        for name in ("maps/teacher/old.png", "table.md", "notes.txt"):
            (tmp_path / name).touch()
        prepare(tmp_path, overwrite=True)
        assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


class TestFolders:
    @pytest.fixture
    def data(self, small_run, tmp_path):
        import cv2

        for sample in small_run.train[:9]:
            for folder, picture in (
                ("RGB", sample.image),
                ("depth", (255 * sample.depth).astype(np.uint8)),
                ("GT", 255 * sample.mask.astype(np.uint8)),
            ):
                (tmp_path / folder).mkdir(exist_ok=True)
                cv2.imwrite(str(tmp_path / folder / f"{sample.name}.png"), picture)
        return tmp_path

    def test_real_folders_are_split_by_the_seed(self, data, small_settings, tmp_path):
        settings = small_settings(data=data)
        result, again = run_demo(settings), run_demo(settings)
        assert [len(result.train), len(result.test)] == [6, 3]
        assert not {sample.name for sample in result.train} & {sample.name for sample in result.test}
        assert [sample.name for sample in result.test] == [sample.name for sample in again.test]
        others = [run_demo(small_settings(data=data, seed=seed)).test for seed in (5, 6)]
        assert any([s.name for s in other] != [s.name for s in result.test] for other in others)
        assert result.near == {data.name: "bright"}
        assert result.by_depth == {}
        assert "spoilt" not in result.noise.summary()
        (tmp_path / "run").mkdir()
        write(tmp_path / "run", result)
        assert "spoilt" not in (tmp_path / "run" / "table.md").read_text()

    def test_epochs_can_fit_the_number_of_samples(self, data, small_settings):
        recipe = Recipe(epochs=2, teacher_epochs=3)
        fitted = run_demo(small_settings(data=data, recipe=recipe, train_count=18, fit_epochs=True)).settings.recipe
        assert (fitted.epochs, fitted.teacher_epochs) == (6, 9)

    def test_too_few_samples(self, data, small_settings):
        for path in sorted((data / "RGB").iterdir())[3:]:
            for folder in ("RGB", "depth", "GT"):
                (data / folder / path.name).unlink()
        with pytest.raises(ValueError, match="expected at least 4 samples to train and test on, got 3"):
            run_demo(small_settings(data=data))

    def test_the_size_is_checked(self):
        with pytest.raises(ValueError, match=r"size: expected a number in \[32, inf\), got 16"):
            DemoSettings(size=16)


MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_images_of_three_sensors(small_settings, tmp_path):
    result = run_demo(small_settings(data=MINI, size=48))
    write(tmp_path, result)
    assert result.near == {"CROSS": "bright", "DES": "dark", "SSD": "dark"}
    assert len(result.train) + len(result.test) == 15
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
