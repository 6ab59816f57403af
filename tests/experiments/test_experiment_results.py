"""What an experiment found: scores from records, the choice, the bootstrap, tables and figures."""

import csv
import io
import json
import math
from dataclasses import replace
from fnmatch import fnmatch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from benchmarks.experiments import (  # noqa: E402
    Results,
    _bootstrap,
    differences,
    f_measure_curves,
    plan_experiment,
    read_experiment,
    read_results,
    score_over_axis,
    visual_comparison,
    write_results,
)
from benchmarks.experiments._bootstrap import _of_drawn_seeds, resampled_runs  # noqa: E402
from benchmarks.experiments._paper import PAPER_TABLES, paper_row  # noqa: E402
from benchmarks.experiments._results import _best, _chosen, _references, _with_differences  # noqa: E402
from benchmarks.experiments._rows import Row, RunResult, Spread, grid_rows  # noqa: E402
from benchmarks.experiments._tables import markdown  # noqa: E402
from dynamic_kd.evaluation import ImageScores  # noqa: E402
from dynamic_kd.evaluation._bootstrap import resampled_scores  # noqa: E402
from dynamic_kd.training import _results, noise_report_from_log, read_records, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

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


def without_figures(folder, log, samples, **limit):
    (folder / "noise.csv").write_text(noise_report_from_log(log, samples=samples, **limit).csv(), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment whose runs were made here, one after another, and its plan and folder."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny.toml").write_text(TINY, encoding="utf-8")
    experiment = read_experiment(folder / "tiny.toml")
    plan = plan_experiment(experiment, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_results, "write_insight", without_figures)
        for run in plan.runs:
            train(run.recipe, folder / "runs" / run.name, cpu=True)
    return experiment, plan, folder


@pytest.fixture(scope="module")
def results(finished):
    return read_results(*finished)


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


def test_every_file_of_records_says_what_is_wrong_with_it(tmp_path):
    with pytest.raises(ValueError, match=r"a.npz: expected the records of a run's images, got no such file; finish"):
        read_records(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(b"something else")
    np.savez(tmp_path / "c.npz", names=np.array(["a"]))
    np.savez(tmp_path / "d.npz", names=np.array(["a"]), records=np.zeros(3, np.uint8))
    (tmp_path / "e.npz").write_bytes(b"")
    for name in "bcde":
        with pytest.raises(ValueError, match=f"{name}.npz: expected the records of a run's images, got another file"):
            read_records(tmp_path / f"{name}.npz")


def drawn_scores(sample, score, images):
    if score in sample.means:
        return sample.means[score][images].mean()
    return sample.curves[score][images].mean(axis=0).max()


def random_sample(rng, images):
    names = tuple(map(str, range(images)))
    return ImageScores(names, {"MAE": rng.random(images)}, {"maxF": rng.random((images, 256))})


@pytest.mark.parametrize("score", ["MAE", "maxF"])
def test_the_bootstrap_is_that_of_a_slow_loop(score):
    rng, resamples, images, seeds = np.random.default_rng(4), 60, 7, (0, 1, 2)
    runs = {name: {seed: random_sample(rng, images) for seed in seeds} for name in ("ref", "a", "b", "c")}
    found = differences({name: runs[name] for name in "abc"}, ("ref", runs["ref"]), score, resamples=resamples, seed=9)
    of_images = np.random.default_rng(9).integers(0, images, (resamples, images))
    of_seeds = np.random.default_rng([9, 1]).integers(0, len(seeds), (resamples, len(seeds) - 1))
    values, resampled = {}, {}
    for name in "abc":
        whole = [drawn_scores(runs[each][seed], score, range(images)) for each in (name, "ref") for seed in seeds]
        values[name] = np.mean(whole[:3]) - np.mean(whole[3:])
        resampled[name] = []
        for chosen, drawn in zip(of_seeds, of_images, strict=True):
            difference = 0.0
            for seed in chosen:
                own, other = (drawn_scores(runs[each][seeds[seed]], score, drawn) for each in (name, "ref"))
                difference += (own - other) / len(chosen)
            resampled[name].append(difference)
    largest = []
    spread = {name: np.std(resampled[name], ddof=1) for name in "abc"}
    for index in range(resamples):
        largest.append(max(abs(resampled[name][index] - values[name]) / spread[name] for name in "abc"))
    reach = np.quantile(largest, 0.95)
    for name in "abc":
        each = found[name]
        assert (each.reference, each.seeds, each.images) == ("ref", 3, 7)
        assert each.value == pytest.approx(values[name], abs=1e-12)
        assert each.interval == pytest.approx(np.quantile(resampled[name], [0.025, 0.975]), abs=1e-12)
        bounds = values[name] - reach * spread[name], values[name] + reach * spread[name]
        assert each.corrected == pytest.approx(bounds, abs=1e-9)
        beyond = sum(value >= abs(values[name]) / spread[name] for value in largest)
        assert each.p == pytest.approx((beyond + 1) / (resamples + 1))


def test_the_correction_widens_with_candidates_and_the_same_runs_do_not_differ():
    rng = np.random.default_rng(0)
    own = {seed: random_sample(rng, 9) for seed in (0, 1)}
    others = {str(index): {seed: random_sample(rng, 9) for seed in (0, 1)} for index in range(6)}
    alone = differences({"0": others["0"]}, ("r", own), "maxF", resamples=500, seed=0)["0"]
    among = differences(others, ("r", own), "maxF", resamples=500, seed=0)["0"]
    assert alone.interval == among.interval
    assert among.corrected.low < alone.corrected.low < alone.value < alone.corrected.high < among.corrected.high
    same = differences({"same": own}, ("r", own), "maxF", resamples=50, seed=0)["same"]
    assert (same.value, same.interval, same.corrected, same.p) == (0, (0, 0), (0, 0), 1)


def test_each_candidate_is_compared_on_the_seeds_that_it_shares_with_the_reference():
    rng = np.random.default_rng(0)
    own = {seed: random_sample(rng, 5) for seed in (0, 1, 2)}
    every = {seed: random_sample(rng, 5) for seed in (0, 1, 2)}
    some = {seed: every[seed] for seed in (1, 2)}
    others = {"every": every, "some": some, "one": {2: every[2], 8: every[1]}, "none": {7: some[1]}}
    found = differences(others, ("r", own), "MAE", resamples=20, seed=0)
    assert {name: each.seeds for name, each in found.items()} == {"every": 3, "some": 2, "one": 1}
    for name, each in found.items():
        expected = [
            sample.means["MAE"].mean() - own[seed].means["MAE"].mean()
            for seed, sample in others[name].items()
            if seed in own
        ]
        assert each.value == pytest.approx(np.mean(expected), abs=1e-12)
    alone = differences({"every": every}, ("r", own), "MAE", resamples=20, seed=0)["every"]
    assert found["every"].interval == alone.interval
    assert differences({"a": {7: some[1]}}, ("r", own), "MAE", resamples=20, seed=0) == {}


@pytest.mark.parametrize("score", ["MAE", "maxF"])
def test_runs_are_resampled_together_and_in_blocks_as_each_alone(score, monkeypatch):
    rng = np.random.default_rng(0)
    samples = {name: random_sample(rng, 5) for name in "abc"}
    alone = {name: resampled_runs({name: samples[name]}, score, resamples=50, seed=3)[name] for name in "abc"}
    monkeypatch.setattr(_bootstrap, "_BLOCK", 7)
    monkeypatch.setattr("dynamic_kd.evaluation._bootstrap._BUDGET", 8 * 5 * 20)
    together = resampled_runs(samples, score, resamples=50, seed=3)
    for name, (value, drawn, images) in together.items():
        assert (value, images) == (alone[name].score, 5)
        np.testing.assert_allclose(drawn, alone[name].drawn, rtol=1e-13)
        np.testing.assert_allclose(drawn, resampled_scores(samples[name], 50, seed=3)[score], rtol=1e-13)
    assert resampled_runs({}, score, resamples=50, seed=3) == {}


def test_runs_of_different_images_are_not_compared():
    rng = np.random.default_rng(0)
    own, other = random_sample(rng, 5), replace(random_sample(rng, 5), names=tuple("abcde"))
    with pytest.raises(ValueError, match=r"^expected all runs to be scored on the same images, got 2 sets of images$"):
        differences({"a": {0: other}}, ("r", {0: own}), "MAE", resamples=20, seed=0)


def test_seeds_vary_in_the_bootstrap_as_networks_do():
    values = [0.1, 0.2, 0.6, 0.4]
    drawn = _of_drawn_seeds(np.repeat(np.array(values)[:, None], 40_000, axis=1), 0)
    assert drawn.mean() == pytest.approx(np.mean(values), abs=0.003)
    assert drawn.var() == pytest.approx(np.var(values, ddof=1) / len(values), rel=0.03)


def row(method, rate, choosing, report, seeds=2, point=()):
    runs = {seed: f"{method}{rate}{seed}" for seed in range(seeds)}
    return Row(method, point, (("lr", rate),), runs, {"maxF": Spread(report, 0)}, {"maxF": Spread(choosing, 0)})


def test_the_choice_looks_at_the_choosing_images_alone(finished):
    experiment = finished[0]
    grid = [
        row("cross-entropy", 1, 0.5, 0.9), row("cross-entropy", 2, 0.7, 0.1),
        row("s = 0.5", 1, 0.8, 0.2), row("s = 0.5", 2, 0.9, 0.1, seeds=1),
        row("dynamic_1", 1, 0.4, 0.2), row("dynamic_1", 2, 0.4, 0.9),
    ]  # fmt: skip
    chosen = _chosen(experiment, grid)
    assert [(each.method, each.chosen[0][1]) for each in chosen] == [
        ("cross-entropy", 2),
        ("s = 0.5", 1),
        ("dynamic_1", 1),
    ]
    methods = tuple(replace(method, fixed=True) for method in experiment.methods)
    assert _references(replace(experiment, methods=methods), chosen) == {(): "s = 0.5"}
    lucky = row("cross-entropy", 2, 0.99, 0.9, seeds=1)  # of one seed, the others are missing
    assert _references(replace(experiment, methods=methods), [*chosen[1:], lucky]) == {(): "s = 0.5"}
    errors = [replace(each, choosing={"MAE": each.choosing["maxF"]}) for each in grid]
    assert _best(errors, "MAE") == errors[4]


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
def test_what_does_not_depend_on_the_axis_stands_beside_something_that_does(tmp_path, finished, shown):
    (tmp_path / "taught.toml").write_text(TAUGHT, encoding="utf-8")
    experiment = read_experiment(tmp_path / "taught.toml")
    plan, rng = plan_experiment(experiment, tmp_path), np.random.default_rng(0)
    runs = {
        run.name: RunResult(run.name, tmp_path, random_sample(rng, 3), None, {})
        for run in plan.runs
        if not run.recipe.teacher_only and any(fnmatch(run.name, pattern) for pattern in finished.split("|"))
    }
    grid = grid_rows(experiment, plan, runs)
    found = {}
    for each in _chosen(experiment, grid):
        found.setdefault(dict(each.point)["teacher_epoch"], []).append(each.method)
    assert {epoch: "|".join(methods) for epoch, methods in found.items()} == shown
    everywhere = [each for each in grid if each.method == "cross-entropy"]
    assert len(everywhere) == 2 * len({each.point for each in everywhere})  # the rate is still to be chosen
    assert {name for each in grid for name in each.runs.values()} == runs.keys()


def test_a_run_that_stands_at_many_points_is_resampled_once_for_each_score(tmp_path, monkeypatch):
    (tmp_path / "taught.toml").write_text(TAUGHT, encoding="utf-8")
    experiment = read_experiment(tmp_path / "taught.toml", ["resamples=40", "bootstrap_seed=5"])
    plan, rng = plan_experiment(experiment, tmp_path), np.random.default_rng(0)
    names = [run.name for run in plan.runs if not run.recipe.teacher_only]
    runs = {name: RunResult(name, tmp_path, random_sample(rng, 3), None, {}) for name in names}
    rows = _chosen(experiment, grid_rows(experiment, plan, runs))
    references = _references(experiment, rows)
    assert len(references) == 3
    expected = {}
    for point in references:
        here = [row for row in rows if row.point == point]
        of = {row.method: {seed: runs[name].report for seed, name in row.runs.items()} for row in here}
        base = of.pop("s = 0.5")
        for score in ("maxF", "MAE"):
            for method, known in differences(of, ("s = 0.5", base), score, resamples=40, seed=5).items():
                expected.setdefault((point, method), {})[score] = known
    resampled, usual = [], _bootstrap._of_drawn_images
    monkeypatch.setattr(
        _bootstrap, "_of_drawn_images", lambda *given: resampled.append((id(given[0]), given[1])) or usual(*given)
    )
    found = _with_differences(experiment, rows, runs, references)
    assert {(row.point, row.method): row.differences for row in found if row.differences} == expected
    distinct = {id(runs[name].report) for row in rows for name in row.runs.values()}
    assert len(distinct) < sum(len(row.runs) for row in rows)
    assert sorted(resampled) == sorted((run, score) for run in distinct for score in ("maxF", "MAE"))
    resampled.clear()
    assert _with_differences(experiment, rows, runs, {}) == tuple(rows)
    assert resampled == []  # nothing to compare with


def test_rows_are_means_over_seeds_of_the_chosen_settings(finished, results):
    experiment, _, folder = finished
    assert [each.method for each in results.rows] == [method.name for method in experiment.methods]
    assert len(results.grid) == 6
    for each in results.rows:
        places = [folder / "runs" / name for name in each.runs.values()]
        rate = each.chosen[0][1]
        assert all(f"learning_rate={rate}" in place.name for place in places)
        values = [read_records(place / "student-report.npz")["maxF"] for place in places]
        assert each.scores["maxF"].mean == pytest.approx(np.mean(values), abs=1e-12)
        assert each.scores["maxF"].deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)
        candidates = {
            other.chosen[0][1]: other.choosing["maxF"].mean for other in results.grid if other.method == each.method
        }
        assert candidates[rate] == max(candidates.values())
    reference, other = results.rows[1], results.rows[2]
    assert reference.differences == {}
    expected = other.scores["MAE"].mean - reference.scores["MAE"].mean
    assert other.differences["MAE"].value == pytest.approx(expected, abs=1e-12)
    assert (results.references, results.missing, results.own_choosing) == ({(): "s = 0.5"}, (), True)
    assert list(results.teachers) == ["teacher--seed0", "teacher--seed1"]


def test_the_tables_hold_all_that_was_found(finished, results, tmp_path):
    written = write_results(results, tmp_path, paper=True)
    names = ["table.md", "table.tex", "table.csv", "grid.csv", "results.json", "runs.json"]
    assert [path.name for path in written] == [*names, "axis.png", "curves.png", "roc.png", "scatter.png"]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    for words in (
        "# tiny\n\nIs it worth it.\n",
        "| method | learning_rate | seeds | maxF | MAE |",
        "on 6 images (the reporting images)",
        "of each method the best by the mean maxF on the choosing images",
        "Differences are to s = 0.5. Intervals: 95%, by a paired bootstrap over seeds and images",
        "(200 resamples, seed 0); corrected by max-t, as is p, for the number of methods",
        "## Differences in MAE\n\n| method | against | seeds | difference | interval |",
        "## Teachers",
        "| s = 0.5 | s=0.5 | .845 / .805 / .061 | .902 / .889 / .034 |",
        "## How well α finds the spoilt samples",
    ):
        assert words in text
    found = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert [line["method"] for line in found] == ["cross-entropy", "s = 0.5", "dynamic_1"]
    last = results.rows[2]
    assert float(found[2]["maxF_mean"]) == last.scores["maxF"].mean
    assert float(found[2]["maxF_low_corrected"]) == last.differences["maxF"].corrected.low
    assert (found[1]["maxF_difference"], found[1]["reference"]) == ("", "s = 0.5")
    assert float(found[2]["training.learning_rate"]) == last.chosen[0][1]
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "grid.csv").read_text())))) == 6
    tex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert r"dynamic\_1 & " in tex
    assert r" $\pm$ " in tex
    assert tex.count(r"\toprule") == 2
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert content["rows"][2]["differences"]["maxF"]["p"] == last.differences["maxF"].p
    assert content["paper"]["s = 0.5"]["SIP"] == {"meanF": 0.845, "wF": 0.805, "MAE": 0.061}
    runs = json.loads((tmp_path / "runs.json").read_text(encoding="utf-8"))
    assert len(runs) == 2 + 12
    one = next(each for each in runs if each["run"] == last.runs[1])
    assert one["cells"] == [{"method": "dynamic_1", "seed": 1, "training.learning_rate": last.chosen[0][1]}]
    assert np.mean([each["report"]["maxF"] for each in runs if each["run"] in last.runs.values()]) == pytest.approx(
        last.scores["maxF"].mean
    )
    assert {"seconds", "noise", "device", "versions", "choosing"} <= one.keys()
    assert 0 <= one["noise"]["auc"] <= 1
    assert one["noise"]["roc"][-1] == 1


def test_a_picture_that_cannot_be_made_costs_no_other_figure(finished, tmp_path):
    results = read_results(*finished)
    with pytest.raises(ValueError, match="nobody"):
        write_results(results, tmp_path, pictures=("nobody",))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "axis.png", "curves.png", "roc.png", "scatter.png"} <= names
    assert "pictures.png" not in names


def test_differences_of_reports_are_those_of_the_table(finished):
    experiment, plan, folder = finished
    results = read_results(experiment, plan, folder)
    rows = {each.method: each for each in results.rows}
    reports = {
        method: {seed: read_records(folder / "runs" / run / "student-report.npz") for seed, run in own.runs.items()}
        for method, own in rows.items()
    }
    base = reports.pop("s = 0.5")
    found = differences(reports, ("s = 0.5", base), "maxF", resamples=experiment.resamples, seed=0)
    assert found == {method: rows[method].differences["maxF"] for method in reports}


def test_several_points_are_first_seen_at_a_glance(tmp_path):
    (tmp_path / "taught.toml").write_text(TAUGHT, encoding="utf-8")
    experiment = read_experiment(tmp_path / "taught.toml")
    plan, rng = plan_experiment(experiment, tmp_path), np.random.default_rng(0)
    known = {"samples": 8, "spoilt": 2, "precision": 0.5, "recall": 1.0, "auc": 0.75, "kinds": {}}
    runs = {
        run.name: RunResult(run.name, tmp_path, random_sample(rng, 3), None, {"noise": known})
        for run in plan.runs
        if not run.recipe.teacher_only
        and "dynamic--teacher_epoch=3" not in run.name
        and run.name != "s=0.5--teacher_epoch=6--learning_rate=0.1--seed1"
    }
    rows = grid_rows(experiment, plan, runs)
    rows = [each for each in rows if dict(each.chosen)["training.learning_rate"] == 0.1]
    results = Results(experiment=experiment, rows=tuple(rows), grid=(), runs=runs, references={}, diverged=(),
                      missing=(), own_choosing=False, teachers={}, cells=plan.cells)  # fmt: skip
    text = markdown(results)
    epochs = [dict(each.point)["teacher_epoch"] for each in rows if each.method == "s = 0.5"]
    assert "maxF at each teacher_epoch, mean and standard deviation over 2 seeds (of fewer: how many):\n\n" in text
    assert f"\n\n| method | {' | '.join(map(str, epochs))} |\n" in text
    for each in rows:
        line = next(line for line in text.splitlines() if line.startswith(f"| {each.method} |"))
        cell = line.split("|")[2 + epochs.index(dict(each.point)["teacher_epoch"])]
        assert cell.split()[0] == f"{each.scores['maxF'].mean:.3f}"[1:]
        assert ("(1)" in cell) == (len(each.runs) == 1)
    methods = ", ".join(dict.fromkeys(each.method for each in rows if dict(each.point)["teacher_epoch"] == epochs[0]))
    assert f"| {methods} | .250 | .500 | 1.000 | .750 |" in text


def test_points_of_several_grids_are_told_apart_at_a_glance(tmp_path):
    grids = "[[grid]]\nloss.p = [0.3]\n[[grid]]\nloss.temperature = [2.0]\n"
    (tmp_path / "grids.toml").write_text(TAUGHT[: TAUGHT.index("[grid]")] + grids, encoding="utf-8")
    experiment = read_experiment(tmp_path / "grids.toml")
    plan, rng = plan_experiment(experiment, tmp_path), np.random.default_rng(0)
    samples = {run.name: random_sample(rng, 3) for run in plan.runs if not run.recipe.teacher_only}
    runs = {name: RunResult(name, tmp_path, sample, None, {}) for name, sample in samples.items()}
    rows = tuple(grid_rows(experiment, plan, runs))
    results = Results(experiment=experiment, rows=rows, grid=rows, runs=runs, references={}, diverged=(),
                      missing=(), own_choosing=False, teachers={}, cells=plan.cells)  # fmt: skip
    assert "maxF at each p, temperature, mean and" in markdown(results)
    assert "| method | 0.3 - | - 2.0 |\n" in markdown(results)


def test_what_is_not_finished_is_named_and_the_rest_reported(finished, tmp_path):
    experiment, plan, folder = finished
    with pytest.raises(ValueError, match="nowhere: expected a finished run, got none of 12; run the experiment first"):
        read_results(experiment, plan, tmp_path / "nowhere")
    hidden = folder / "runs" / plan.runs[-1].name / "results.json"
    hidden.rename(hidden.with_suffix(".off"))
    environment = hidden.with_name("environment.json")
    before = environment.read_text()
    [session] = json.loads(before)["sessions"]
    broken = session | {"diverged": {"stage": 2, "epoch": 2}}
    try:
        results = read_results(experiment, plan, folder)
        environment.write_text(json.dumps({"sessions": [session, broken]}))
        other = read_results(experiment, plan, folder)
        environment.write_text(json.dumps({"sessions": [broken, session]}))  # it went on, and was stopped
        again = read_results(experiment, plan, folder)
    finally:
        hidden.with_suffix(".off").rename(hidden)
        environment.write_text(before)
    assert (again.diverged, again.missing) == (results.diverged, results.missing)
    assert (other.diverged, other.missing) == ((plan.runs[-1].name,), ())
    write_results(other, tmp_path)
    assert f"Diverged (the loss was no longer finite): {plan.runs[-1].name}." in (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["diverged"] == [plan.runs[-1].name]
    assert (results.diverged, results.missing) == ((), (plan.runs[-1].name,))
    dynamic = next(each for each in results.rows if each.method == "dynamic_1")
    assert len(dynamic.runs) == 2  # the other learning rate has both seeds
    write_results(results, tmp_path)
    assert f"Not finished: {plan.runs[-1].name}." in (tmp_path / "table.md").read_text()
    write_results(replace(results, missing=tuple("abcdefg")), tmp_path)
    assert "Not finished: a, b, c, d, e and 2 more." in (tmp_path / "table.md").read_text()


def test_without_images_for_reporting_those_for_choosing_are_reported_and_it_says_so(finished, tmp_path):
    _, _, folder = finished
    settings = ["seeds=[0]", "data.report_count=0", "training.learning_rate=0.1"]
    experiment = read_experiment(folder / "tiny.toml", settings)
    plan = plan_experiment(experiment, tmp_path)
    only = plan.only("cross-entropy")
    train(only.runs[0].recipe, tmp_path / "runs" / only.runs[0].name, cpu=True)
    results = read_results(experiment, plan, tmp_path)
    assert not results.own_choosing
    write_results(results, tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "on 5 images (all that runs are scored on)" in text
    assert "±" not in text
    assert math.isnan(results.rows[0].scores["maxF"].deviation)
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["scores"]["maxF"]["deviation"] is None


def test_the_papers_tables_are_those_of_the_paper():
    assert {number: len(table.sets) for number, table in PAPER_TABLES.items()} == {3: 4, 4: 2, 5: 2}
    assert paper_row(3, "+threshold")["NLPR"] == {"meanF": 0.890, "wF": 0.887, "MAE": 0.021}
    assert paper_row(5, "dynamic")["LFSD"] == {"meanF": 0.798, "wF": 0.753, "MAE": 0.097}
    assert paper_row(4, "student")["DES"] == {"meanF": 0.892, "wF": 0.870, "MAE": 0.025}
    assert paper_row(3, "A2dele") == {}
    # MAE falls with wF over the columns of one set, as it must for numbers that were copied into the right places
    for table in PAPER_TABLES.values():
        for columns in table.sets.values():
            numbers = np.array(list(columns.values()))
            assert np.corrcoef(numbers[:, 0], numbers[:, 1])[0, 1] > 0.3
            assert (numbers[:, 2] < 0.15).all()


def test_figures_of_the_grid_and_of_run_folders(finished, results):
    _, _, folder = finished
    axes = score_over_axis(results, score="MAE").axes
    assert axes[0].get_xlabel() == "learning rate"
    drawn = {line.get_label(): line.get_ydata() for line in axes[0].get_lines()}
    expected = [each.scores["MAE"].mean for each in results.grid if each.method == "s = 0.5"]
    np.testing.assert_allclose(drawn["s = 0.5"], expected)
    assert axes[0].get_xscale() == "log"
    places = {each.method: folder / "runs" / each.runs[0] for each in results.rows}
    picture = visual_comparison(places, 2)
    assert [cell.get_title() for cell in picture.axes[:6]][2:] == ["truth", "cross-entropy", "s=0.5", "dynamic_1"]
    heat = visual_comparison(places, ["00018"], heat=True)
    assert heat.axes[-1].get_images()[0].get_array().shape == (32, 32, 3)
    with pytest.raises(ValueError, match="images: expected some of the 6 samples, got 00001"):
        visual_comparison(places, ["00001"])
    with pytest.raises(ValueError, match="runs: expected a run folder for each method, got none"):
        visual_comparison({})
    with pytest.raises(ValueError, match=r"samples: expected images to show, got none; the recipe names none in data"):
        visual_comparison(places, samples=[])
    reports = [read_records(places["s = 0.5"] / f"student-{images}.npz") for images in ("report", "validation")]
    curves = f_measure_curves({"both": reports})
    line = curves.axes[1].get_lines()[0]
    np.testing.assert_allclose(line.get_ydata(), (reports[0].curves["f_measure"] + reports[1].curves["f_measure"]) / 2)


def test_points_off_the_axis_are_marks_beside_it(results):
    def at(kind, share, value):
        point = (("teacher.spoil", kind), ("teacher.spoil_share", share))
        return Row("m", point, (), {0: "r"}, {"maxF": Spread(value, 0.1)}, {})

    rows = (at("swapped", 0.0, 0.9), at("swapped", 0.3, 0.8), at("blurred", 0.3, 0.7))
    grid = ({"teacher.spoil": ("swapped", "blurred"), "teacher.spoil_share": (0.0, 0.3)},)
    experiment = replace(results.experiment, grids=grid, choose=(), axis="teacher.spoil_share")
    figure = score_over_axis(replace(results, experiment=experiment, rows=rows))
    line, beside = figure.axes
    assert line.get_xlabel() == "share of wrong teacher maps"
    np.testing.assert_allclose(line.get_lines()[0].get_xydata(), [[0, 0.9], [0.3, 0.8]])
    assert [label.get_text() for label in beside.get_xticklabels()] == ["blurred\n0.3"]
    assert score_over_axis(replace(results, experiment=experiment, rows=rows), "teacher.spoil") is None
    assert score_over_axis(replace(results, experiment=replace(experiment, grids=({},), axis=None), rows=rows)) is None
