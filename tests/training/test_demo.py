"""The demo end to end, at a tiny size: what it makes, writes, repeats and refuses."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import read_gray  # noqa: E402
from dynamic_kd.evaluation import evaluate_folders  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, load_model, model_metadata  # noqa: E402
from dynamic_kd.training import DemoSettings, Tensors, _demo_networks, _sources, run_demo, saliency  # noqa: E402
from dynamic_kd.training._demo_folder import FILES, _write_weights, prepare, sentences, slug, write  # noqa: E402
from dynamic_kd.training._demo_networks import STUDENTS  # noqa: E402

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


def test_training_never_sees_which_depth_is_spoilt(small_run, small_recipe, monkeypatch):
    made = _sources.synthetic_rgbd

    def blind(*args, **settings):
        return [replace(sample, spoilt=None) for sample in made(*args, **settings)]

    monkeypatch.setattr(_sources, "synthetic_rgbd", blind)
    unaware = run_demo(DemoSettings(recipe=small_recipe()))
    assert unaware.reports["teacher"].as_dict() == small_run.reports["teacher"].as_dict()
    np.testing.assert_array_equal(
        unaware.maps["dynamic + noise elimination"], small_run.maps["dynamic + noise elimination"]
    )


def test_a_second_run_gives_the_same_numbers_and_another_seed_others(small_run, small_recipe):
    torch.rand(7)  # the state of the global generator must not matter
    before = torch.get_rng_state()
    again = run_demo(DemoSettings(recipe=small_recipe()))
    assert torch.equal(torch.get_rng_state(), before)
    for name, report in small_run.reports.items():
        assert again.reports[name].as_dict() == report.as_dict()
    np.testing.assert_array_equal(again.noise.teacher_iou, small_run.noise.teacher_iou)
    other = run_demo(DemoSettings(recipe=small_recipe("seed=4")))
    assert other.reports["teacher"].as_dict() != small_run.reports["teacher"].as_dict()


def test_all_students_start_from_the_same_weights_and_see_the_same_images_in_turn(small_recipe, monkeypatch):
    seen = []

    def untrained(model, optimizer, data, objective, training, *, seed, **others):
        seen.append((seed, {name: value.clone() for name, value in model.state_dict().items()}))
        return []

    monkeypatch.setattr(_demo_networks, "fit", untrained)
    run_demo(DemoSettings(recipe=small_recipe()))
    (teacher_seed, _), (seed, weights), *others = seen
    assert (teacher_seed, seed) == ((3, 1), (3, 2))
    for other_seed, other_weights in others:
        assert other_seed == seed
        assert all(torch.equal(value, weights[name]) for name, value in other_weights.items())


def test_scores_by_depth_belong_to_the_samples_with_such_depth(small_run):
    spoilt = {sample.name for sample in small_run.test if sample.spoilt}
    for parts in small_run.by_depth.values():
        assert set(parts["spoilt"].names) == spoilt
        assert set(parts["clean"].names) == {sample.name for sample in small_run.test} - spoilt


@pytest.mark.parametrize("said", ["absolute", "relative", "none"])
def test_the_students_eliminate_noise_as_their_names_say_whatever_the_recipe_says(
    small_recipe, monkeypatch, tmp_path, said
):
    monkeypatch.setattr(_demo_networks, "fit", lambda *arguments, **settings: [])
    losses, make = [], _demo_networks.Distillation
    monkeypatch.setattr(_demo_networks, "Distillation", lambda loss, *rest: losses.append(loss) or make(loss, *rest))
    result = run_demo(DemoSettings(recipe=small_recipe(f"loss.noise_elimination={said}")))
    _write_weights(tmp_path, result)
    settings = {(loss.weighting, loss.noise_elimination) for loss in losses}
    assert settings == {(0.5, None), ("dynamic", None), ("dynamic", "absolute")}
    for name, student in STUDENTS.items():
        recipe = model_metadata(tmp_path / f"{slug(name)}.safetensors")["recipe"]
        assert recipe["loss"]["noise_elimination"] == (student.get("noise_elimination", said) or "none")


def test_every_step_is_reported_and_timed(small_recipe):
    steps = {}
    recipe = small_recipe("data.train_count=16", "data.validation_count=4", "loss.noise_threshold=0.9")
    result = run_demo(DemoSettings(recipe=recipe), lambda step, done, total: steps.update({step: (done, total)}))
    teacher, *students = networks = ["teacher", *(f"student: {name}" for name in STUDENTS)]
    assert list(steps) == [*networks, "maps"]
    assert steps == {teacher: (6, 6)} | dict.fromkeys(students, (4, 4)) | {"maps": (5, 5)}  # 2 steps an epoch
    assert set(result.seconds) == {"data", *networks, "evaluation"}
    assert result.noise.threshold == 0.9


def test_the_numbers_do_not_depend_on_the_workers_nor_torchs_threads_on_the_demo(small_run, small_recipe):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    parallel = run_demo(DemoSettings(recipe=small_recipe()), workers=3)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    for name, maps in small_run.maps.items():
        np.testing.assert_array_equal(parallel.maps[name], maps)


def test_a_failure_in_one_network_stops_the_others(small_recipe):
    steps = {}
    recipe = small_recipe("training.epochs=100", "teacher.training.epochs=1")

    def fail(step, done, total):
        steps[step] = (done, total)
        if step == "student: dynamic weight":
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_demo(DemoSettings(recipe=recipe), fail, workers=4)
    for name in ("fixed weight 0.5", "dynamic + noise elimination"):
        done, total = steps.get(f"student: {name}", (0, 300))
        assert done < total


@pytest.mark.parametrize(
    ("workers", "error", "message"),
    [
        (0, ValueError, r"workers: expected a whole number of at least 1, got 0"),
        (1.5, TypeError, r"workers: expected a whole number, got 1\.5"),
    ],
)
def test_workers_out_of_range(small_recipe, workers, error, message):
    with pytest.raises(error, match=message):
        run_demo(DemoSettings(recipe=small_recipe()), workers=workers)


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
        assert content["settings"]["students"]["dynamic weight"] == {"weighting": "dynamic", "noise_elimination": None}
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
            path = folder / "weights" / f"{slug(name)}.safetensors"
            model = load_model(path).to(memory_format=torch.channels_last)
            np.testing.assert_array_equal(np.rint(255 * saliency(model, held_out)), small_run.maps[name])
            recipe, facts = small_run.settings.recipe, model_metadata(path)
            assert facts["stage"] == ("teacher" if name == "teacher" else "student")
            assert facts["recipe"] == replace(recipe, loss=replace(recipe.loss, **STUDENTS.get(name, {}))).as_dict()

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

    @pytest.fixture
    def settings(self, data, small_recipe):
        def make(*overrides, **settings):
            folders = ('data.source="folders"', f"data.root='{data}'", 'data.train=["."]')
            return DemoSettings(recipe=small_recipe(*folders, *overrides), **settings)

        return make

    def test_real_folders_are_split_by_the_seed(self, data, settings, tmp_path):
        result, again = run_demo(settings()), run_demo(settings())
        assert [len(result.train), len(result.test)] == [6, 3]
        assert not {sample.name for sample in result.train} & {sample.name for sample in result.test}
        assert [sample.name for sample in result.test] == [sample.name for sample in again.test]
        others = [run_demo(settings(f"seed={seed}")).test for seed in (5, 6)]
        assert any([s.name for s in other] != [s.name for s in result.test] for other in others)
        assert result.near == {data.name: "bright"}
        assert result.by_depth == {}
        assert "spoilt" not in result.noise.summary()
        (tmp_path / "run").mkdir()
        write(tmp_path / "run", result)
        assert "spoilt" not in (tmp_path / "run" / "table.md").read_text()

    def test_what_is_left_out_is_noted(self, data, settings):
        (data / "one").mkdir()
        for folder in ("RGB", "depth", "GT"):
            (data / folder).rename(data / "one" / folder)
        (data / "other").mkdir()
        shutil.copytree(data / "one" / "RGB", data / "other" / "RGB")
        shutil.copytree(data / "one" / "GT", data / "other" / "GT")
        notes = []
        run_demo(settings("training.epochs=1", "teacher.training.epochs=1"), note=notes.append)
        assert len(notes) == 1
        assert "other" in notes[0]

    @pytest.mark.parametrize(("share", "counts"), [(0.01, [8, 1]), (0.5, [5, 4]), (0.99, [1, 8])])
    def test_the_share_of_test_samples(self, settings, share, counts):
        result = run_demo(settings("training.epochs=1", "teacher.training.epochs=1", test_share=share))
        assert [len(result.train), len(result.test)] == counts

    @pytest.mark.parametrize(("count", "epochs"), [(18, (6, 9)), (3, (4, 6))])  # 4 at least
    def test_epochs_can_fit_the_number_of_samples(self, settings, count, epochs):
        fitted = run_demo(settings(f"data.train_count={count}", fit_epochs=True)).settings.recipe
        assert (fitted.training.epochs, fitted.teacher_training.epochs) == epochs

    def test_colour_alone(self, settings):
        result = run_demo(settings("data.depth=false"))
        assert {model.settings["in_channels"] for model in result.models.values()} == {3}

    def test_too_few_samples(self, data, settings):
        for path in sorted((data / "RGB").iterdir())[3:]:
            for folder in ("RGB", "depth", "GT"):
                (data / folder / path.name).unlink()
        with pytest.raises(ValueError, match="expected at least 4 samples to train and test on, got 3"):
            run_demo(settings())


class TestSettings:
    def test_the_default_is_the_recipe_for_processors(self):
        recipe = DemoSettings().recipe
        assert (recipe.data.train_count, recipe.data.validation_count, recipe.data.size) == (400, 400, 96)
        assert (recipe.training.epochs, recipe.teacher_training.epochs) == (12, 20)
        assert recipe.teacher.backbone == recipe.student.backbone == "tiny"

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["teacher.checkpoint=a.safetensors"], "without a checkpoint, to train it here, got a.safetensors"),
            (["teacher.model=package:name"], 'teacher: expected "rfb" or "fpn" without a checkpoint, to train it here'),
            (["data.validation_count=0"], "validation_count: expected a whole number of at least 1, got 0"),
            (
                ["data.source=folders", 'data.train=["NJUD"]', 'data.validation=["DES"]'],
                "no validation, since the demo splits all that is in root; got ['NJUD'] and ['DES']",
            ),
        ],
    )
    def test_recipes_for_something_else(self, small_recipe, overrides, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            DemoSettings(recipe=small_recipe(*overrides))

    @pytest.mark.parametrize("share", [0, 1])
    def test_the_share_is_checked(self, share):
        with pytest.raises(ValueError, match=rf"test_share: expected a number in \(0, 1\), got {share}"):
            DemoSettings(test_share=share)


MINI = Path(__file__).parents[3] / "shared" / "data" / "rgbd-sod-mini"


@pytest.mark.skipif(not MINI.is_dir(), reason=f"{MINI.name} is not beside the project")
def test_real_images_of_three_sensors(small_recipe, tmp_path):
    folders = ("data.source=folders", f"data.root='{MINI}'", 'data.train=["."]', "data.size=48")
    result = run_demo(DemoSettings(recipe=small_recipe(*folders)))
    write(tmp_path, result)
    assert result.near == {"CROSS": "bright", "DES": "dark", "SSD": "dark"}
    assert len(result.train) + len(result.test) == 15
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    maps = {path.name for path in (tmp_path / "maps" / "teacher").iterdir()}
    assert maps == {f"{sample.name.replace('/', '-')}.png" for sample in result.test}
