"""The study's runs: their number and order, what is held out, what a session leaves, and scores of sharpened maps."""

import json
import re
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")

from metric_reference import cuts, f_measure, weighted_f_measure  # noqa: E402

from benchmarks.experiments import run, sharpened, study  # noqa: E402
from benchmarks.experiments.sharpened import Scores, read_scores, sharpened_scores, write_scores  # noqa: E402
from dynamic_kd.training import _train, read_recipe, train  # noqa: E402

RECIPES = Path(study.__file__).parent / "recipes"
pytestmark = pytest.mark.usefixtures("one_thread")


def listed(part):
    with open(part["list"], encoding="utf-8") as file:
        return {line.strip() for line in file if line.strip() and not line.startswith("#")}


def test_each_image_is_held_out_once_and_never_trained_on_then():
    every = {f"{number:04}" for number in range(1, 1001)}
    for fold in study.FOLDS:
        recipe = read_recipe(RECIPES / f"study-fold{fold}.toml")
        [held_out] = map(listed, recipe.data.report)
        train = [listed(part) for part in recipe.data.train]
        assert held_out == {name for name in every if int(name) % 5 == fold}
        assert set.union(*train) == every - held_out
        assert sum(map(len, train)) == 800
        assert recipe.data.validation == ()
        training = recipe.training
        assert (training.epochs, training.learning_rate, training.clip_norm, training.schedule) == (
            20,
            1e-2,
            5.0,
            "poly",
        )
        assert (recipe.teacher.maps, recipe.teacher.clip, recipe.teacher.spoil) == ("pred_ISNet", 1e-3, "swapped")


def test_a_fold_is_54_runs_and_a_stop_leaves_whole_comparisons(tmp_path):
    for fold in study.FOLDS:
        plan, rows = study.fold_plan(fold, tmp_path, tmp_path)
        assert len(plan.runs) == len(rows) == 54  # (6 methods · 3 shares + cross-entropy + 4 candidates · 2) · 2 seeds
        assert {row["seed"] for row in rows.values()} == {100 + 10 * fold, 101 + 10 * fold}
        order = [rows[run.name] for run in plan.runs]
        assert [row["seed"] for row in order] == [100 + 10 * fold] * 27 + [101 + 10 * fold] * 27
        assert {row["method"] for row in order[:12]} == {
            "s = 0.5 + threshold", "dynamic + threshold", "s = 0.5 relative", "s = 0.5",
        }  # fmt: skip
        assert [row["shares"] for row in order[:12:4]] == [[0.0], [0.1], [0.3]]
        assert order[12]["method"] == "cross-entropy"
        assert order[12]["shares"] == [0.0, 0.1, 0.3]
    objectives = {rows[run.name]["method"]: run.recipe.objective for run in plan.runs if run.recipe.objective}
    assert objectives.keys() == {"replace", "pixel gate", "ratio", "smooth relative"}
    for name in objectives.values():
        module, _, attribute = name.partition(":")
        assert hasattr(__import__(module, fromlist=["x"]), attribute)


def test_sharpened_scores_are_those_of_the_sharpened_maps():
    rng = np.random.default_rng(3)
    masks = np.zeros((3, 1, 24, 20), bool)
    masks[:, :, 6:15, 5:12] = True
    logits = torch.from_numpy(np.where(masks, 0.8, -0.8) + rng.normal(0, 0.7, masks.shape)).float()
    scores = sharpened_scores(logits, torch.from_numpy(masks), ["a", "b", "c"])
    assert (scores.names, scores.f_measure.shape, scores.weighted_f.shape) == (("a", "b", "c"), (3, 256), (8, 3))
    for image in range(3):
        for place, factor in enumerate(sharpened.FACTORS):
            saliency = normalised_map(torch.sigmoid(factor * logits[image, 0]).double().numpy())
            expected = weighted_f_measure(saliency, masks[image, 0])
            assert scores.weighted_f[place, image] == pytest.approx(expected, abs=2e-6)
            if factor == 1:
                curve = [f_measure(cut, masks[image, 0]) for cut in cuts(saliency)]
                assert scores.f_measure[image] == pytest.approx(curve, abs=1e-9)


def normalised_map(saliency):
    return (saliency - saliency.min()) / (saliency.max() - saliency.min())


def test_max_f_does_not_depend_on_sharpness_but_for_its_thresholds():
    """Images with the same extremes are stretched alike."""
    rng = np.random.default_rng(0)
    masks = rng.random((2, 1, 64, 64)) < 0.3
    logits = np.clip(np.where(masks, 0.5, -0.5) + rng.normal(0, 0.6, masks.shape), -2, 2)
    maxima = [
        sharpened_scores(torch.from_numpy(factor * logits).float(), torch.from_numpy(masks), "ab")
        .f_measure.mean(0)
        .max()
        for factor in (1, 2, 3)
    ]
    assert maxima == pytest.approx([maxima[0]] * 3, abs=5e-3)


def test_the_compact_file_keeps_scores_to_half_a_thousandth(tmp_path):
    rng = np.random.default_rng(0)
    runs = {
        name: Scores(("x", "y"), rng.random((2, 256)), rng.random((len(sharpened.FACTORS), 2)))
        for name in ("one", "two")
    }
    write_scores(tmp_path / "scores.npz.xz", runs)
    found = read_scores(tmp_path / "scores.npz.xz")
    assert list(found) == ["one", "two"]
    for name, scores in runs.items():
        assert found[name].names == ("x", "y")
        np.testing.assert_allclose(found[name].f_measure, scores.f_measure, rtol=0, atol=5.01e-4)
        np.testing.assert_allclose(found[name].weighted_f, scores.weighted_f, rtol=0, atol=8e-6)


@pytest.fixture
def ecssd(tmp_path):
    """A tiny data set with lists of its own, and the words that make a fold of it."""
    rng = np.random.default_rng(0)
    for name in range(1, 13):
        mask = np.zeros((40, 40), np.uint8)
        mask[10:30, 8:25] = 255
        images = {"images": rng.integers(0, 256, (40, 40, 3), np.uint8), "masks": mask, "pred_ISNet": mask}
        for folder, image in images.items():
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "data" / folder / f"{name:04}.png"), image)
    for part, names in (("train", range(1, 9)), ("report", range(9, 13))):
        (tmp_path / f"{part}.txt").write_text("".join(f"{name:04}\n" for name in names), encoding="utf-8")
    settings = [
        "student.backbone=tiny", "student.weights=", "data.size=32", "training.epochs=1", "precision=fp32",
        f'data.train=[{{folder=".",list="{tmp_path / "train.txt"}"}}]',
        f'data.report=[{{folder=".",list="{tmp_path / "report.txt"}"}}]',
    ]  # fmt: skip

    def words(fold, results, pack, *more):
        places = {"--data": "data", "--out": "out", "--pack": pack, "--results": results}
        named = [word for option, place in places.items() for word in (option, str(tmp_path / place))]
        return [str(fold), *named, "--cpu", "--stagger", "0", "--commit", "abc", "--set", *settings, *more]

    return words


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Train here and without figures, which takes a tenth of the time; test_run.py starts real processes."""

    def start(words, gpu, threads, log):
        log.touch()
        train(read_recipe(words[0]), words[2], cpu=True)
        return SimpleNamespace(poll=lambda: 0, returncode=0)

    monkeypatch.setattr(run, "start_training", start)
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)


def test_a_session_scores_its_runs_and_another_goes_on(ecssd, tmp_path, capsys):
    only = ("--only", "s=0.5-threshold--spoil_share=0.0--seed110", "smooth-relative--spoil_share=0.3--seed110")
    assert study.main(ecssd(1, "none", "pack", *only)) == 0
    assert "fold 1: 2 runs, 0 of earlier sessions" in capsys.readouterr().err
    rows = json.loads((tmp_path / "pack/fold1.json").read_text(encoding="utf-8"))
    assert list(rows) == list(only[1:])
    row = rows[only[2]]
    assert (row["method"], row["fold"], row["seed"], row["shares"]) == ("smooth relative", 1, 110, [0.3])
    assert (row["commit"], row["device"], row["sessions"]) == ("abc", "cpu", 1)
    scores = read_scores(tmp_path / "pack/fold1.npz.xz")
    assert scores.keys() == rows.keys()
    assert scores[only[1]].names == ("0009", "0010", "0011", "0012")
    with tarfile.open(tmp_path / "pack/fold1-seed110.tar") as archive:
        assert f"{only[1]}/student-report.npz" in archive.getnames()
    assert not list(tmp_path.glob("out/runs/*/student-last.safetensors"))
    assert study.main(ecssd(1, "pack", "more", "--only", "cross-entropy--seed111")) == 0
    assert list(json.loads((tmp_path / "more/fold1.json").read_text())) == [*only[1:], "cross-entropy--seed111"]
    assert list(read_scores(tmp_path / "more/fold1.npz.xz")) == [*only[1:], "cross-entropy--seed111"]
    assert study.main(ecssd(1, "more", "none", "--dry-run")) == 0
    left = capsys.readouterr().out.split()
    assert len(left) == 51
    assert not set(left) & {*only[1:], "cross-entropy--seed111"}


def test_a_session_whose_time_is_up_packs_what_it_has(ecssd, tmp_path, capsys):
    assert study.main(ecssd(2, "none", "pack", "--seconds", "0", "--only", "cross-entropy--seed120")) == 0
    assert "the time is up; repeat the command to continue" in capsys.readouterr().err
    assert not list((tmp_path / "pack").iterdir())


def test_a_run_that_cannot_be_scored_keeps_its_weights_and_stops_no_other(ecssd, tmp_path, capsys, monkeypatch):
    def failing(place, held_out):
        raise RuntimeError("no memory")

    only = ("--only", "cross-entropy--seed120")
    with monkeypatch.context() as patched:
        patched.setattr(study, "score_run", failing)
        assert study.main(ecssd(2, "none", "pack", *only)) == 1
    assert re.search("cross-entropy--seed120 NOT SCORED: RuntimeError: no memory", capsys.readouterr().err)
    assert (tmp_path / "out/runs/cross-entropy--seed120/student-last.safetensors").exists()
    assert study.main(ecssd(2, "none", "pack", *only)) == 0
    assert (tmp_path / "pack/fold2.json").exists()
