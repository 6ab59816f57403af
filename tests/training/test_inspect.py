"""The files that show what the method saw."""

import csv
from pathlib import Path

import numpy as np
import pytest
from weights_csv import write_log

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from dynamic_kd.data import read_gray, synthetic_rgbd
from dynamic_kd.training import inspect_runs, read_weights_log
from dynamic_kd.training._image_set import ImageSet
from dynamic_kd.training._inspect import NoiseLimit, write_insight


@pytest.fixture
def samples():
    return synthetic_rgbd(6, size=32, seed=2, spoilt_share=0.5)


@pytest.fixture
def data(samples):
    return ImageSet.from_samples(samples)


@pytest.fixture
def make_run(tmp_path, samples):
    """Write the log of a run into a folder."""

    def make(name, seed=0):
        generator = np.random.default_rng(seed)
        (tmp_path / name).mkdir(parents=True)
        rows = [(epoch, sample.name, *generator.uniform(size=3)) for epoch in (1, 2, 3) for sample in samples]
        write_log(tmp_path / name / "weights.csv", rows)
        return tmp_path / name

    return make


def test_four_files(make_run, samples, data, tmp_path):
    log = read_weights_log(make_run("run") / "weights.csv")
    written = write_insight(tmp_path / "new" / "folder", log, data, NoiseLimit(0.4))
    assert [path.name for path in written] == ["noise.csv", "noise.png", "scatter.png", "weight.png"]
    assert all(read_gray(path).std() > 10 for path in written[1:])
    rows = list(csv.DictReader(written[0].read_text().splitlines()))
    alpha = dict(zip(log.names, log.teacher_iou.mean(axis=0), strict=True))
    assert [row["sample"] for row in rows] == sorted(alpha, key=alpha.get)
    assert {row["sample"]: row["flagged"] for row in rows} == {name: str(int(v <= 0.4)) for name, v in alpha.items()}
    assert {row["sample"]: row["kind"] for row in rows} == {sample.name: sample.spoilt or "" for sample in samples}


def test_without_samples_there_is_no_contact_sheet(make_run):
    folder = make_run("run")
    [*written] = inspect_runs([folder])
    assert [path.relative_to(folder).name for path in written] == ["noise.csv", "scatter.png", "weight.png"]


def test_samples_of_another_set_leave_nothing_behind(make_run, samples, tmp_path):
    log = read_weights_log(make_run("run") / "weights.csv")
    with pytest.raises(ValueError, match="samples: 1 samples of the log are missing"):
        write_insight(tmp_path / "new", log, ImageSet.from_samples(samples[1:]))
    assert not (tmp_path / "new").exists()


def test_several_runs_share_one_scatter_in_the_folder_that_holds_them(make_run, tmp_path):
    runs = [make_run("runs/a/x", 1), make_run("runs/b/y", 2)]
    assert inspect_runs(runs)[-1] == tmp_path.resolve() / "runs" / "scatter.png"
    one, both = (read_gray(path / "scatter.png").shape[1] for path in (runs[0], tmp_path / "runs"))
    assert both > 1.5 * one


def test_the_shared_scatter_goes_where_it_should_and_runs_of_one_name_stay_apart(make_run, tmp_path, monkeypatch):
    from dynamic_kd.training import _inspect

    titles = []
    drawn = _inspect.teacher_student_scatter
    monkeypatch.setattr(
        _inspect, "teacher_student_scatter", lambda logs, **how: titles.append(list(logs)) or drawn(logs, **how)
    )
    runs = [make_run("a/run", 1), make_run("b/run", 2)]
    assert inspect_runs(runs, scatter=tmp_path / "both.png")[-1] == tmp_path / "both.png"
    assert titles == [["run"], ["run"], [str(run) for run in runs]]


def test_the_threshold_and_the_last_samples_reach_the_figures(make_run, monkeypatch):
    from dynamic_kd.training import _inspect

    calls = []
    drawn = _inspect.teacher_student_scatter
    monkeypatch.setattr(
        _inspect, "teacher_student_scatter", lambda logs, **how: calls.append(how) or drawn(logs, **how)
    )
    inspect_runs([make_run("a"), make_run("b", 1)], threshold=0.3, last=5)
    assert calls == [{"last": 5, "threshold": 0.3, "relative": False}] * 3


class TestRecipe:
    @pytest.fixture
    def folder(self, make_run):
        folder = make_run("run")
        data = "[data]\nsize = 32\ntrain_count = 6\nvalidation_count = 0\nspoilt_share = 0.5\n"
        (folder / "recipe.toml").write_text(f"seed = 2\n{data}[loss]\nnoise_threshold = 0.25\n")
        return folder

    def test_the_threshold_is_the_recipes(self, folder):
        alpha = read_weights_log(folder / "weights.csv").teacher_iou.mean(axis=0)
        for threshold, limit in ((None, 0.25), (0.6, 0.6)):
            [report, *_] = inspect_runs([folder], threshold=threshold)
            rows = list(csv.DictReader(report.read_text().splitlines()))
            assert sum(int(row["flagged"]) for row in rows) == (alpha <= limit).sum()

    def test_a_run_with_relative_noise_elimination_is_flagged_by_that(self, folder):
        recipe = folder / "recipe.toml"
        text = recipe.read_text().replace("noise_threshold = 0.25", "noise_threshold = 0.9")
        recipe.write_text(text + 'weighting = 0.5\nnoise_elimination = "relative"\n')
        log = read_weights_log(folder / "weights.csv")
        kept = {
            name: alpha > 0.9 * iou
            for name, alpha, iou in zip(log.names, log.teacher_iou.mean(0), 1 - log.student_error.mean(0), strict=True)
        }
        rows = list(csv.DictReader(inspect_runs([folder])[0].read_text().splitlines()))
        assert {row["sample"]: row["flagged"] == "0" for row in rows} == kept
        assert 0 < sum(kept.values()) < len(kept)
        assert inspect_runs([folder], threshold=0.25)[0].name == "noise-0.25.csv"  # the number is not the run's rule

    def test_what_was_known_of_spoilt_samples_is_not_forgotten(self, folder, samples):
        inspect_runs([folder], samples=True)
        kinds = {sample.name: sample.spoilt or "" for sample in samples}
        for threshold in (None, 0.6):
            [table, *_] = inspect_runs([folder], threshold=threshold)
            assert {row["sample"]: row["kind"] for row in csv.DictReader(table.read_text().splitlines())} == kinds
        (folder / "noise.csv").write_text("sample,teacher_iou,threshold,flagged,spoilt,kind\nz,0.5,0.5,1,0,\n")
        assert "kind" not in inspect_runs([folder])[0].read_text()  # of other samples

    def test_another_threshold_is_drawn_by_that(self, folder, monkeypatch):
        from dynamic_kd.training import _inspect

        drawn, logs = _inspect.weight_over_time, []
        monkeypatch.setattr(_inspect, "weight_over_time", lambda log, **how: logs.append(log) or drawn(log, **how))
        for threshold in (None, 0.6):
            inspect_runs([folder], threshold=threshold)
        own, other = logs
        np.testing.assert_array_equal(own.reliable, own.teacher_iou > 0.5)  # as the log has it
        np.testing.assert_array_equal(other.reliable, own.teacher_iou > 0.6)
        limits = 0.9 * (1 - own.student_error)
        np.testing.assert_array_equal(own.with_threshold(0.9, relative=True).reliable, own.teacher_iou > limits)

    def test_another_threshold_leaves_the_runs_own_files_alone(self, folder):
        own = {path: path.read_bytes() for path in inspect_runs([folder], threshold=0.25, samples=True)}
        assert [path.name for path in own] == ["noise.csv", "noise.png", "scatter.png", "weight.png"]
        others = inspect_runs([folder], threshold=0.6, samples=True)
        assert [path.name for path in others] == ["noise-0.6.csv", "noise-0.6.png", "scatter-0.6.png", "weight-0.6.png"]
        assert all(path.read_bytes() == content for path, content in own.items())
        assert all(path.read_bytes() != own[folder / path.name.replace("-0.6", "")] for path in others)

    def test_a_shared_scatter_of_another_threshold_than_one_of_the_runs_says_so(self, folder, make_run):
        runs = [folder, make_run("other")]  # of 0.25 and of 0.5
        for threshold, name in ((None, "scatter.png"), (0.25, "scatter-0.25.png"), (0.5, "scatter-0.5.png")):
            written = inspect_runs(runs, threshold=threshold)
            assert written[-1] == folder.parent.resolve() / name
            assert (folder / "noise.csv" in written) == (threshold != 0.5)

    def test_the_training_set_is_read_for_the_contact_sheet(self, folder, samples):
        assert folder / "noise.png" in inspect_runs([folder], samples=True)
        rows = list(csv.DictReader((folder / "noise.csv").read_text().splitlines()))
        assert {row["sample"]: row["kind"] for row in rows} == {sample.name: sample.spoilt or "" for sample in samples}

    def test_thresholds_that_differ_are_not_drawn_into_the_shared_scatter(self, folder, make_run, monkeypatch):
        from dynamic_kd.training import _inspect

        calls = []
        drawn = _inspect.teacher_student_scatter
        monkeypatch.setattr(
            _inspect, "teacher_student_scatter", lambda logs, **how: calls.append(how) or drawn(logs, **how)
        )
        inspect_runs([folder, make_run("other")])
        assert [how.get("threshold") for how in calls] == [0.25, 0.5, None]

    def test_samples_without_a_recipe(self, make_run):
        with pytest.raises(ValueError, match=r"run: has no recipe\.toml, which names the training set"):
            inspect_runs([make_run("run")], samples=True)


@pytest.mark.parametrize("threshold", [-3, 2, float("nan")])
def test_thresholds_that_no_iou_can_have(make_run, threshold):
    folder = make_run("run")
    with pytest.raises(ValueError, match=rf"threshold: expected a number in \[0, 1\], got {threshold}"):
        inspect_runs([folder], threshold=threshold)
    assert [path.name for path in folder.iterdir()] == ["weights.csv"]


def test_a_run_whose_name_the_font_lacks(make_run):
    assert len(inspect_runs([make_run("训练"), make_run("b")])) == 7


def test_a_full_disk_leaves_the_figures_of_before(make_run, monkeypatch):
    folder = make_run("run")
    before = {path: path.read_bytes() for path in inspect_runs([folder])}
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", _fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        inspect_runs([folder], last=3)
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(folder.iterdir())) == 1 + len(before)


def _fill_the_disk(figure, file, **how):
    if isinstance(file, (str, Path)):
        Path(file).write_bytes(b"half a picture")
    raise OSError(28, "No space left on device")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(ValueError, match="no such file; stage 2 of training writes it"):
        inspect_runs([tmp_path])
