"""Statistics of the study on records whose answers are known."""

import importlib.util
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

for package in ("torch", "accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w", "scipy"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from benchmarks.experiments import study_statistics  # noqa: E402
from benchmarks.experiments.sharpened import FACTORS, Scores, write_scores  # noqa: E402
from benchmarks.experiments.study_statistics import BEST, REFERENCES, Comparison, Study, holm, planned, results  # noqa: E402

THRESHOLD, PLAIN = "s = 0.5 + threshold", "s = 0.5"
SEEDS = (0, 1)
IMAGES = 40


def records(value, methods=(THRESHOLD, PLAIN), folds=(1, 2, 3, 4), shares=(0.0,), images=IMAGES):
    """Rows and scores; ``value(method, fold, seed)`` gives max F of each image, and weighted F at each factor."""
    rows, scores = {}, {}
    for method, fold, seed, share in itertools.product(methods, folds, SEEDS, shares):
        peak, weighted = (np.asarray(each, float) for each in value(method, fold, seed))
        curve = 1 - np.abs(np.arange(256) - 100) / 256  # F of an image is highest at the same threshold for all
        names = tuple(f"{fold}-{number}" for number in range(images))
        run = f"{method}-{fold}-{seed}-{share}"
        rows[run] = {"method": method, "fold": fold, "seed": seed, "shares": [share]}
        scores[run] = Scores(
            names,
            np.broadcast_to(peak, images)[:, None] * curve,
            np.broadcast_to(weighted.reshape(len(FACTORS), -1), (len(FACTORS), images)),
        )
    return rows, scores


FLAT = np.full(len(FACTORS), 0.5)


def outcome(found, *comparison, folds=(1, 2, 3, 4), resamples=4000):
    return Study(*found, resamples=resamples).outcome(Comparison("", *comparison), folds)


def test_a_constant_difference_has_no_interval():
    found = records(lambda method, fold, seed: (0.72 + 0.1 * fold / 8 - 0.02 * (method == PLAIN), FLAT))
    result = outcome(found, THRESHOLD, PLAIN, (0.0,), "maxF")
    assert result.difference == pytest.approx(0.02, abs=1e-6)
    assert result.interval(0.95) == pytest.approx((0.02, 0.02), abs=1e-6)
    assert result.interval_of_folds(0.95) == pytest.approx((0.02, 0.02), abs=1e-6)
    assert result.folds == pytest.approx(dict.fromkeys((1, 2, 3, 4), 0.02), abs=1e-6)


def test_images_and_seeds_add_their_variances():
    """Paired differences of images, and of seeds, ±.006, in a mean over 4 folds of 40 images and 2 seeds."""
    rng = np.random.default_rng(0)
    of_image = {fold: rng.normal(0, 0.02, IMAGES) for fold in (1, 2, 3, 4)}

    def value(method, fold, seed):
        own = 0 if method == PLAIN else 0.01 + of_image[fold] + (0.006 if seed else -0.006)
        return 0.6 + own, FLAT

    result = outcome(records(value), THRESHOLD, PLAIN, (0.0,), "maxF", resamples=20_000)
    images = np.mean([values.var() for values in of_image.values()]) / IMAGES / 4
    expected = math.sqrt(images + 0.006**2 / 4)  # a seed of two, in each of four folds: (.006² + .006²) / 2 / 4
    assert result.drawn.std() == pytest.approx(expected, rel=0.03)
    mean = 0.01 + np.mean(list(of_image.values()))
    assert result.difference == pytest.approx(mean, abs=1e-6)
    assert result.interval(0.95) == pytest.approx((mean - 1.96 * expected, mean + 1.96 * expected), abs=1.5e-4)
    folds = np.array([0.01 + values.mean() for values in of_image.values()])
    reach = 3.182446 * folds.std(ddof=1) / 2  # t of three degrees of freedom
    assert result.interval_of_folds(0.95) == pytest.approx((mean - reach, mean + reach), abs=1e-6)


def test_common_differences_of_seeds_and_images_cancel():
    rng = np.random.default_rng(1)
    noise = {place: rng.normal(0, 0.05, IMAGES) for place in itertools.product((1, 2, 3, 4), SEEDS)}
    found = records(lambda method, fold, seed: (0.6 + noise[fold, seed] + 0.01 * (method == THRESHOLD), FLAT))
    low, high = outcome(found, THRESHOLD, PLAIN, (0.0,), "maxF").interval(0.95)
    assert (low, high) == pytest.approx((0.01, 0.01), abs=1e-5)


def test_the_factor_of_a_fold_is_the_best_of_the_others():
    """Fold 1 alone would choose the last factor, the others the third: fold 1 gets .5 and not .9."""

    def value(method, fold, seed):
        weighted = np.full(len(FACTORS), 0.1)
        weighted[7 if fold == 1 else 2] = 0.9
        weighted[2] = max(weighted[2], 0.5)
        return 0.7, weighted if method == THRESHOLD else FLAT

    result = outcome(records(value), THRESHOLD, PLAIN, (0.0,), "sharpened wF")
    assert result.folds == pytest.approx({1: 0.0, 2: 0.4, 3: 0.4, 4: 0.4}, abs=1e-6)
    assert result.chosen[1] == ["s = 0.5, k = 2 and 1"]
    plain = outcome(records(value), THRESHOLD, PLAIN, (0.0,), "wF")
    assert plain.folds == pytest.approx(dict.fromkeys((1, 2, 3, 4), -0.4), abs=1e-6)
    assert Study(*records(value), resamples=2).mean(THRESHOLD, 0.0, "sharpened wF", (1,)) == (
        2, pytest.approx(0.5, abs=1e-6), [2.0],
    )  # fmt: skip


def test_the_best_reference_is_named_by_the_other_folds():
    """ "dynamic" is best on fold 1 by far, and second elsewhere: fold 1 compares with what is best on folds 2 to 4."""

    def value(method, fold, seed):
        if method == "ratio":
            return 0.70, FLAT
        if method == "dynamic":
            return 0.75 if fold == 1 else 0.60, FLAT
        return 0.65 if method == "s = 0.3" else 0.5, FLAT

    result = outcome(records(value, ("ratio", *REFERENCES)), "ratio", BEST, (0.0,), "maxF")
    # Elsewhere than fold 1: .60 and .65. Elsewhere than fold 2: (.75 + .6 + .6) / 3 = .65 and .65 but for rounding.
    assert result.folds[1] == pytest.approx(0.05, abs=1e-6)
    assert result.chosen[1][0].startswith("s = 0.3")
    assert (
        Study(*records(value, ("ratio", "s = 0.3")), resamples=2).outcome(Comparison("", "ratio", BEST, (0.0,), "maxF"))
        is None
    )


def test_several_shares_are_averaged_and_missing_runs_leave_their_fold_and_seed_out():
    found = records(
        lambda method, fold, seed: (0.6 + 0.01 * fold * (method == THRESHOLD) + 0.1 * seed, FLAT),
        shares=(0.0, 0.1, 0.3),
    )
    rows, scores = found
    whole = Study(rows, scores, resamples=10).outcome(Comparison("", THRESHOLD, PLAIN, (0.0, 0.1, 0.3), "maxF"))
    assert whole.difference == pytest.approx(0.025, abs=1e-6)
    for run in (f"{PLAIN}-4-1-0.1", f"{THRESHOLD}-3-0-0.3", f"{THRESHOLD}-3-1-0.3"):
        del rows[run]
    part = Study(rows, scores, resamples=10).outcome(Comparison("", THRESHOLD, PLAIN, (0.0, 0.1, 0.3), "maxF"))
    assert part.folds == pytest.approx({1: 0.01, 2: 0.02, 4: 0.04}, abs=1e-6)
    alone = Study(rows, scores, resamples=10).outcome(Comparison("", THRESHOLD, PLAIN, (0.0,), "maxF"), (1,))
    assert alone.interval_of_folds(0.9) == (-math.inf, math.inf)


@pytest.mark.parametrize(("shift", "equal"), [(0.0, True), (0.004, False), (0.012, False)])
def test_equality_is_shown_within_the_margin(shift, equal):
    rng = np.random.default_rng(2)
    noise = {fold: rng.normal(0, 0.025, 200) for fold in (1, 2, 3, 4)}
    noise = {fold: values - values.mean() for fold, values in noise.items()}
    found = records(lambda method, fold, seed: (0.6 + (shift + noise[fold]) * (method == THRESHOLD), FLAT), images=200)
    result = outcome(found, THRESHOLD, PLAIN, (0.0,), "maxF")
    low, high = result.interval(0.9)
    assert (max(-low, high) < study_statistics.MARGIN) is equal
    assert (result.p_equal < 0.05) is equal
    assert (result.p < 0.05) is (shift > 0)


def test_holms_correction_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_plan_has_its_comparisons():
    counts = {question: sum(each.question == question for each in planned()) for question in "1234"}
    assert counts == {"1": 12, "2": 6, "3": 2, "4": 16}
    found = records(lambda method, fold, seed: (0.6 + 0.02 * (method == THRESHOLD), FLAT), shares=(0.0, 0.1, 0.3))
    rows = results(Study(*found, resamples=99))
    family = [row for row in rows if row["question"] == "1"]
    assert len(family) == 6  # of these two methods alone
    assert all(row["p_holm"] >= row["p"] for row in family)
    assert not [row for row in rows if row["question"] == "4"]


def test_the_command_and_the_script_of_one_screen_agree(tmp_path, capsys):
    rng = np.random.default_rng(4)

    def value(method, fold, seed):
        return np.clip(0.7 + 0.01 * (method == THRESHOLD) + rng.normal(0, 0.03, IMAGES), 0, 1), rng.random(
            (len(FACTORS), IMAGES)
        )

    for fold in (1, 2, 3, 4):
        rows, scores = records(value, folds=(fold,), shares=(0.0, 0.3))
        (tmp_path / f"fold{fold}.json").write_text(json.dumps(rows), encoding="utf-8")
        write_scores(tmp_path / f"fold{fold}.npz.xz", scores)
    arguments = ["--results", str(tmp_path), "--resamples", "3000", "--json", str(tmp_path / "out.json")]
    assert study_statistics.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| s = 0.5 + threshold | 0.3 | 8 |" in printed
    [row, *_] = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert f"| 1 | maxF | 0 | s = 0.5 + threshold | s = 0.5 | {row['difference']:+.4f} |" in printed
    path = Path(study_statistics.__file__).parents[1] / "study_intervals.py"
    spec = importlib.util.spec_from_file_location("study_intervals", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.FOLDER = tmp_path
    for score, words in (("maxF", []), ("sharpened wF", ["--wF"])):
        script.main([THRESHOLD, PLAIN, "0", *words])
        numbers = [float(word.strip("(;)")) for word in capsys.readouterr().out.split() if "." in word]
        [row] = [each for each in json.loads((tmp_path / "out.json").read_text()) if each["score"] == score
                 and each["shares"] == [0.0] and (each["method"], each["against"]) == (THRESHOLD, PLAIN)]  # fmt: skip
        assert numbers[0] == pytest.approx(row["difference"], abs=1e-4)
        assert numbers[3:] == pytest.approx(row["interval"], abs=1.2e-3)
    assert study_statistics.main(["--results", str(tmp_path), "--fold", "0"]) == 2
    assert "has no runs of folds 0" in capsys.readouterr().err
