"""What the runs of an experiment show: scores from records, the choice, differences, and what is not finished."""

import json
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from random_reports import random_report  # noqa: E402

from benchmarks.experiments import bootstrap  # noqa: E402
from benchmarks.experiments.bootstrap import differences  # noqa: E402
from benchmarks.experiments.experiment import read_experiment  # noqa: E402
from benchmarks.experiments.plan import plan_experiment  # noqa: E402
from benchmarks.experiments.report import markdown, write_report  # noqa: E402
from benchmarks.experiments.results import point_of, read_published, read_results, summarize  # noqa: E402
from dynamic_kd.training import read_records, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "results" / "experiments"
TINY = """\
# Is it worth it.
recipe = "cpu"
seeds = [0, 1]
paper_table = 3
resamples = 200
scores = ["maxF", "MAE"]

[settings]
data = { size = 32, train_count = 12, validation_count = 5, report_count = 6, seed = 0 }
teacher.training = { epochs = 2, learning_rate = 0.05 }
training.epochs = 2

[methods]
"cross-entropy" = { loss.weighting = "none" }
"s = 0.5" = { loss.weighting = 0.5, fixed = true, paper = "s=0.5" }
"dynamic_1" = { loss.weighting = "dynamic", paper = "+threshold" }

[grid]
training.learning_rate = [0.02, 0.1]

[choose]
over = ["training.learning_rate"]
by = "maxF"
"""
TAUGHT = """\
recipe = "cpu"
seeds = [0, 1]
scores = ["maxF", "MAE"]
settings.data.seed = 0

[methods]
"cross-entropy" = { loss.weighting = "none" }
"wider" = { loss.weighting = "none", student.backbone = "vgg16" }
"s = 0.5" = { loss.weighting = 0.5, fixed = true }
"dynamic" = { loss.weighting = "dynamic" }

[grid]
teacher_epoch = [1, 3, 6]
training.learning_rate = [0.02, 0.1]

[choose]
over = ["training.learning_rate"]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment whose runs were trained here, one after another, and its plan and folder."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    experiment = read_experiment(folder / "tiny.toml")
    plan = plan_experiment(experiment, folder)
    with pytest.MonkeyPatch.context() as patch:
        # The figures of a run take longer than its training.
        patch.setattr("matplotlib.figure.Figure.savefig", lambda *arguments, **settings: None)
        for run in plan.runs:
            train(run.recipe, folder / "runs" / run.name, cpu=True)
    return experiment, plan, folder


@pytest.fixture(scope="module")
def results(finished):
    return read_results(*finished)


@pytest.fixture
def summary(tmp_path):
    """Return a function that summarizes an experiment of which some runs are finished, with random scores."""

    def make(text, is_finished=lambda name: True, choosing=None, overrides=()):
        (tmp_path / "random.toml").write_text(text, encoding="utf-8")
        experiment = read_experiment(tmp_path / "random.toml", overrides)
        plan, rng = plan_experiment(experiment, tmp_path), np.random.default_rng(0)
        names = [run.name for run in plan.runs if not run.recipe.teacher_only and is_finished(run.name)]
        reports = {name: random_report(rng, 3) for name in names}
        rows = []
        for name, report in reports.items():
            cells = [{"method": cell.method} for cell in plan.cells if cell.run == name]
            row = {"run": name, "cells": cells, "report": report.as_dict(), "choosing": report.as_dict()}
            rows.append(row if choosing is None else row | {"choosing": choosing(name)})
        return summarize(experiment, plan, rows, reports), reports

    return make


def test_records_give_the_scores_of_the_run(finished):
    _, plan, folder = finished
    for run in plan.runs:
        place, who = folder / "runs" / run.name, "teacher" if run.recipe.teacher_only else "student"
        last = json.loads((place / "results.json").read_text())["results"][who]["last"]
        validation, report = (read_records(place / f"{who}-{images}.npz") for images in ("validation", "report"))
        assert validation.as_dict() == pytest.approx(last["scores"], abs=1e-12)
        assert report.as_dict() == pytest.approx(last["report"], abs=1e-12)
        assert (len(validation.names), len(report.names)) == (5, 6)
        assert report.names == tuple(f"{number:05}" for number in range(17, 23))
        assert (place / f"{who}-report.npz").stat().st_size < 3000 * 6


def test_rows_are_means_over_seeds_of_the_chosen_settings(finished, results):
    experiment, _, folder = finished
    rows, grid = results.summary["rows"], results.summary["grid"]
    assert [row["method"] for row in rows] == list(experiment.methods)
    assert len(grid) == 6
    for row in rows:
        places = [folder / "runs" / name for name in row["runs"].values()]
        rate = row["chosen"]["training.learning_rate"]
        assert all(f"learning_rate={rate}" in place.name for place in places)
        values = [read_records(place / "student-report.npz")["maxF"] for place in places]
        assert row["scores"]["maxF"]["mean"] == pytest.approx(np.mean(values), abs=1e-12)
        assert row["scores"]["maxF"]["deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        others = [other for other in grid if other["method"] == row["method"]]
        assert row["choosing"]["maxF"]["mean"] == max(other["choosing"]["maxF"]["mean"] for other in others)
    reference, other = rows[1], rows[2]
    assert reference["differences"] == {}
    expected = other["scores"]["MAE"]["mean"] - reference["scores"]["MAE"]["mean"]
    assert other["differences"]["MAE"]["value"] == pytest.approx(expected, abs=1e-12)
    assert (other["differences"]["MAE"]["reference"], results.summary["missing"]) == ("s = 0.5", [])
    assert [run["run"] for run in results.runs if not run["cells"]] == ["teacher--seed0", "teacher--seed1"]


def test_differences_of_reports_are_those_of_the_table(finished, results):
    experiment, _, folder = finished
    rows = {row["method"]: row for row in results.summary["rows"]}
    reports = {
        method: {seed: read_records(folder / "runs" / run / "student-report.npz") for seed, run in row["runs"].items()}
        for method, row in rows.items()
    }
    base = reports.pop("s = 0.5")
    found = differences(reports, ("s = 0.5", base), "maxF", resamples=experiment.resamples, seed=0)
    assert {method: each._asdict() for method, each in found.items()} == {
        method: rows[method]["differences"]["maxF"] for method in reports
    }


def test_the_choice_looks_at_the_choosing_images_alone_and_at_complete_seeds(summary):
    scores = {
        "cross-entropy--learning_rate=0.02": 0.5, "cross-entropy--learning_rate=0.1": 0.7,
        "s=0.5--learning_rate=0.02": 0.8, "s=0.5--learning_rate=0.1": 0.9,
        "dynamic_1--learning_rate=0.02": 0.4, "dynamic_1--learning_rate=0.1": 0.4,
    }  # fmt: skip
    text = TINY.replace('"none" }', '"none", fixed = true }')

    def choosing(name):
        score = scores[name.rpartition("--")[0]]
        return {"maxF": score, "MAE": score}

    is_finished = lambda name: name != "s=0.5--learning_rate=0.1--seed1"  # noqa: E731
    found, _ = summary(text, is_finished, choosing)
    chosen = {row["method"]: row["chosen"]["training.learning_rate"] for row in found["rows"]}
    assert chosen == {"cross-entropy": 0.1, "s = 0.5": 0.02, "dynamic_1": 0.02}
    references = {row["method"]: row["differences"]["maxF"]["reference"] for row in found["rows"] if row["differences"]}
    assert references == {"cross-entropy": "s = 0.5", "dynamic_1": "s = 0.5"}
    found, _ = summary(text.replace('by = "maxF"', 'by = "MAE"'), choosing=choosing)
    chosen = {row["method"]: row["chosen"]["training.learning_rate"] for row in found["rows"]}
    assert chosen == {"cross-entropy": 0.02, "s = 0.5": 0.02, "dynamic_1": 0.02}


@pytest.mark.parametrize(
    ("finished", "shown"),
    [
        ("*", dict.fromkeys((1, 3, 6), "cross-entropy|wider|s = 0.5|dynamic")),
        ("cross-entropy*|wider*", {1: "cross-entropy|wider"}),
        ("cross-entropy*|wider*|*epoch=3*", {3: "cross-entropy|wider|s = 0.5|dynamic"}),
        ("cross-entropy*|dynamic*epoch=6*=0.1--seed1", {6: "cross-entropy|dynamic"}),
        ("s=0.5--*=0.1--*", dict.fromkeys((1, 3, 6), "s = 0.5")),
    ],
)
def test_what_does_not_depend_on_the_axis_stands_beside_something_that_does(summary, finished, shown):
    found, reports = summary(TAUGHT, lambda name: any(fnmatch(name, pattern) for pattern in finished.split("|")))
    methods = {}
    for row in found["rows"]:
        methods.setdefault(row["teacher_epoch"], []).append(row["method"])
    assert {epoch: "|".join(names) for epoch, names in methods.items()} == shown
    everywhere = [row for row in found["grid"] if row["method"] == "cross-entropy"]
    assert len(everywhere) == 2 * len({row["teacher_epoch"] for row in everywhere})  # the rate is still to be chosen
    assert {name for row in found["grid"] for name in row["runs"].values()} == reports.keys()


def test_a_run_of_many_points_is_resampled_once_for_each_score(summary, monkeypatch):
    resampled, usual = [], bootstrap._per_image
    monkeypatch.setattr(
        bootstrap, "_per_image", lambda report, score: resampled.append((id(report), score)) or usual(report, score)
    )
    found, reports = summary(TAUGHT, overrides=["resamples=40", "bootstrap_seed=5"])
    used = {name for row in found["rows"] for name in row["runs"].values()}
    assert len(used) < sum(len(row["runs"]) for row in found["rows"])
    assert sorted(resampled) == sorted((id(reports[name]), score) for name in used for score in ("maxF", "MAE"))
    for epoch in (1, 3, 6):
        here = {row["method"]: row for row in found["rows"] if row["teacher_epoch"] == epoch}
        runs = {method: {seed: reports[run] for seed, run in row["runs"].items()} for method, row in here.items()}
        base = runs.pop("s = 0.5")
        for score in ("maxF", "MAE"):
            expected = differences(runs, ("s = 0.5", base), score, resamples=40, seed=5)
            assert {method: here[method]["differences"][score] for method in runs} == {
                method: each._asdict() for method, each in expected.items()
            }


def test_without_a_baseline_nothing_is_compared(summary):
    found, _ = summary(TAUGHT.replace(", fixed = true", ""))
    assert not any(row["differences"] for row in found["rows"])
    assert not any("Differences" in sentence for sentence in found["how"])


def test_what_is_not_finished_is_named_and_the_rest_reported(finished, tmp_path):
    experiment, plan, folder = finished
    with pytest.raises(ValueError, match="nowhere: none of the runs is finished; run the experiment first"):
        read_results(experiment, plan, tmp_path / "nowhere")
    last = plan.runs[-1].name
    hidden = folder / "runs" / last / "results.json"
    hidden.rename(hidden.with_suffix(".off"))
    environment = hidden.with_name("environment.json")
    before = environment.read_text()
    [session] = json.loads(before)["sessions"]
    broken = session | {"diverged": {"stage": 2, "epoch": 2}}
    try:
        interrupted = read_results(experiment, plan, folder).summary
        environment.write_text(json.dumps({"sessions": [session, broken]}))
        diverged = read_results(experiment, plan, folder).summary
        environment.write_text(json.dumps({"sessions": [broken, session]}))  # it resumed, and was interrupted
        resumed = read_results(experiment, plan, folder).summary
    finally:
        hidden.with_suffix(".off").rename(hidden)
        environment.write_text(before)
    assert (interrupted["diverged"], interrupted["missing"]) == ([], [last])
    assert (diverged["diverged"], diverged["missing"]) == ([last], [])
    assert resumed == interrupted
    assert interrupted["how"][-1] == f"Not finished: {last}."
    assert diverged["how"][-1] == f"Diverged (the loss was no longer finite): {last}."
    dynamic = next(row for row in interrupted["rows"] if row["method"] == "dynamic_1")
    assert len(dynamic["runs"]) == 2  # the other learning rate has both seeds
    (tmp_path / "runs").mkdir()
    first = plan.runs[2].name
    (tmp_path / "runs" / first).symlink_to(folder / "runs" / first)
    few = read_results(experiment, plan, tmp_path).summary
    named = ", ".join([run.name for run in plan.runs if run.name != first][:5])
    assert few["how"][-1] == f"Not finished: {named} and 8 more."


def test_without_images_for_reporting_those_for_choosing_are_reported_and_it_says_so(finished, tmp_path):
    _, _, folder = finished
    settings = ["seeds=[0]", "data.report_count=0", "training.learning_rate=0.1"]
    experiment = read_experiment(folder / "tiny.toml", settings)
    plan = plan_experiment(experiment, tmp_path)
    only = plan.only("cross-entropy")
    train(only.runs[0].recipe, tmp_path / "runs" / only.runs[0].name, cpu=True)
    results = read_results(experiment, plan, tmp_path)
    write_report(results, tmp_path)
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "on 5 images (the only images that runs are scored on)" in text
    assert "±" not in text
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["scores"]["maxF"]["deviation"] is None


@pytest.mark.parametrize("name", sorted(path.name for path in PUBLISHED.iterdir()))
def test_published_runs_give_the_published_numbers_again(name):
    """Means and deviations are computed again from the runs; the tables come out as they were published."""
    published = json.loads((PUBLISHED / name / "results.json").read_text(encoding="utf-8"))
    results = read_published(PUBLISHED / name)
    assert results.summary == published
    old = (PUBLISHED / name / "table.md").read_text(encoding="utf-8").partition("## The paper's")[0]
    new = markdown(results.summary, results.runs)
    about = old.split("\n\n")[1]  # which results.json did not have yet
    assert new.strip() == old.replace(f"{about}\n\n", "", 1).strip()
    assert point_of(published["rows"][0]).keys() <= {*published["rows"][0]} - {"method", "scores"}
