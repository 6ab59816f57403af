"""Intervals, tests and ranks against slow loops, and what they promise."""

from itertools import product

import comparison_reference as reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamic_kd.evaluation import _bootstrap
from dynamic_kd.evaluation._bootstrap import (
    ImageScores,
    percentile_interval,
    resampled_scores,
    times_drawn,
)
from dynamic_kd.evaluation._paired_tests import PairedScores, bootstrap_p, holm, paired_tests, wilcoxon_p
from dynamic_kd.evaluation._ranks import is_constant, ranks
from dynamic_kd.metrics import SCORES, SODMetrics


def image_scores(images, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    means = {"MAE": generator.random(images) + shift, "Sm": generator.random(images)}
    curves = {name: generator.random((images, 256)) + shift for name in ("maxF", "maxE")}
    return ImageScores(tuple(map(str, range(images))), means, curves)


def test_resamples_are_those_of_a_naive_loop():
    scores = image_scores(7)
    drawn = np.random.default_rng(3).integers(0, 7, (30, 7))
    fast = resampled_scores(scores, 30, seed=3)
    for score, values in scores.means.items():
        np.testing.assert_allclose(fast[score], reference.bootstrap_means(values, drawn), rtol=1e-13)
    for score, curve in scores.curves.items():
        np.testing.assert_allclose(fast[score], reference.bootstrap_max_of_mean_curve(curve, drawn), rtol=1e-13)


def test_counts_are_those_of_the_drawn_images():
    drawn = np.random.default_rng(2).integers(0, 5, (20, 5))
    [counts] = times_drawn(5, 20, seed=2)
    assert counts.tolist() == [[list(draw).count(image) for image in range(5)] for draw in drawn]


def test_chunks_change_nothing(monkeypatch):
    whole = resampled_scores(image_scores(9), 25, seed=1)
    monkeypatch.setattr(_bootstrap, "_BUDGET", 8 * 9 * 4)
    assert [len(each) for each in times_drawn(9, 25, seed=1)] == [4] * 6 + [1]
    parts = resampled_scores(image_scores(9), 25, seed=1)
    for score, values in whole.items():
        np.testing.assert_allclose(parts[score], values, rtol=1e-13)


def test_a_seed_gives_the_same_resamples_and_another_others():
    first, again, other = (resampled_scores(image_scores(9), 25, seed=seed)["maxF"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_maximum_is_that_of_the_mean_curve():
    curves = np.eye(4, 256)  # each image's own maximum is 1, at another threshold
    one = ImageScores(tuple("abcd"), {}, {"maxF": curves})
    assert one.scores() == {"maxF": 0.25}
    assert resampled_scores(one, 50, seed=0)["maxF"].max() <= 1
    assert resampled_scores(one, 50, seed=0)["maxF"].mean() < 0.6


def test_intervals_cover_the_truth_as_often_as_they_say():
    """A mean of 60 numbers of a skewed distribution, 300 times: 95% within what binomial noise and skewness allow."""
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        values = generator.exponential(size=60)
        found = percentile_interval(
            resampled_scores(ImageScores(tuple(map(str, range(60))), {"MAE": values}, {}), 400, trial)["MAE"]
        )
        covered += found.low <= 1 <= found.high
    assert 0.88 <= covered / 300 <= 0.98


def test_p_values_are_small_as_often_as_they_say():
    """Two methods whose scores differ by noise alone: p under 0.05 in about 5% of 200 trials."""
    generator = np.random.default_rng(1)
    names = tuple(map(str, range(50)))
    small = {"bootstrap": 0, "wilcoxon": 0}
    for trial in range(200):
        first, second = generator.normal(size=(2, 50))
        drawn = [
            resampled_scores(ImageScores(names, {"Sm": values}, {}), 200, trial)["Sm"] for values in (first, second)
        ]
        small["bootstrap"] += bootstrap_p(drawn[0] - drawn[1], 50) < 0.05
        small["wilcoxon"] += wilcoxon_p(first, second) < 0.05
    assert 0.01 <= small["bootstrap"] / 200 <= 0.11
    assert 0.01 <= small["wilcoxon"] / 200 <= 0.10


def paired(seed, shift=0.0):
    one = image_scores(30, seed, shift)
    return PairedScores(one.scores(), one.means, resampled_scores(one, 200, seed=0))


def test_tests_are_symmetric():
    a, b = paired(1), paired(2, 0.1)
    forth = paired_tests("DES", {"a": a, "b": b}, ["MAE", "Sm", "maxF"], 30)
    back = paired_tests("DES", {"b": b, "a": a}, ["MAE", "Sm", "maxF"], 30)
    for one, other in zip(forth, back, strict=True):
        assert (one.first, one.second) == (other.second, other.first) == ("a", "b")
        assert one.difference == -other.difference
        assert one.interval.low == pytest.approx(-other.interval.high, abs=1e-15)
        assert one.p_bootstrap == other.p_bootstrap
        assert one.p_wilcoxon == other.p_wilcoxon
    assert [test.p_wilcoxon is None for test in forth] == [False, False, True]  # maxF is no mean over images


def test_a_method_does_not_differ_from_itself():
    a = paired(1)
    for test in paired_tests("DES", {"a": a, "twin": a}, ["MAE", "maxF"], 30):
        assert (test.difference, test.interval, test.p_bootstrap) == (0, (0, 0), 1)
        assert test.p_wilcoxon in (1, None)


def test_a_clear_difference_is_found():
    [test] = paired_tests("DES", {"a": paired(1), "b": paired(1, 0.5)}, ["MAE"], 30)
    assert test.difference == pytest.approx(-0.5)
    assert test.interval == pytest.approx((-0.5, -0.5))
    assert test.p_bootstrap == pytest.approx(2 / 201)
    assert test.p_wilcoxon < 1e-5


@pytest.mark.parametrize("images", [1, 2, 3, 5, 9])
def test_few_images_that_agree_prove_no_more_than_a_sign_test(images):
    """The least two-sided p that so many signs can have, however many resamples agree."""
    lowest = min(1.0, 2 * sum(all(signs) for signs in product((True, False), repeat=images)) / 2**images)
    methods = {}
    for name, shift in (("a", 0.0), ("b", 0.5)):
        one = image_scores(images, 1, shift)
        methods[name] = PairedScores(one.scores(), one.means, resampled_scores(one, 2000, seed=0))
    for test in paired_tests("DES", methods, ["MAE", "maxF"], images):
        assert test.p_bootstrap == test.p_bootstrap_holm == pytest.approx(lowest)


def test_many_images_leave_the_resamples_floor():
    assert bootstrap_p(np.ones(999), 11) == pytest.approx(0.002)
    assert bootstrap_p(np.ones(999), 10**6) == pytest.approx(0.002)


def test_pairs_are_all_or_those_with_a_reference():
    methods = {name: paired(seed) for seed, name in enumerate("abc")}
    pairs = [(test.first, test.second) for test in paired_tests("DES", methods, ["Sm"], 30)]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    pairs = [(test.first, test.second) for test in paired_tests("DES", methods, ["Sm"], 30, reference="b")]
    assert pairs == [("b", "a"), ("b", "c")]
    assert paired_tests("DES", methods, ["Sm"], 30, reference="elsewhere") == []
    tests = paired_tests("DES", methods, ["Sm"], 30)
    for column in ("p_bootstrap", "p_wilcoxon"):
        plain = [getattr(test, column) for test in tests]
        assert [getattr(test, f"{column}_holm") for test in tests] == pytest.approx(reference.holm(plain))


def test_the_signed_rank_test_is_the_exact_one_for_few_images():
    differences = np.array([0.3, -0.1, 0.4, 0.2, -0.05, 0.9, 0.15])
    assert wilcoxon_p(differences, np.zeros(7)) == pytest.approx(reference.signed_rank_exact_p(differences))
    # Images on which both methods score the same tell nothing.
    padded = np.concatenate([differences, np.zeros(3)])
    assert wilcoxon_p(padded, np.zeros(10)) == pytest.approx(reference.signed_rank_exact_p(differences))


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_its_definition(p_values):
    assert holm(p_values) == pytest.approx(reference.holm(p_values))


def test_holm_leaves_out_what_was_not_tested():
    assert holm([0.01, None, 0.04]) == [0.02, None, 0.04]


def test_ranks_share_places_and_know_what_is_better():
    results = {
        "DES": {"a": {"Sm": 0.9, "MAE": 0.1}, "b": {"Sm": 0.9, "MAE": 0.2}, "c": {"Sm": 0.8, "MAE": 0.05}},
        "SIP": {"a": {"Sm": 0.7, "MAE": 0.3}, "b": {"Sm": 0.8, "MAE": 0.3}, "c": {"Sm": 0.6, "MAE": 0.3}},
        "NLPR": {"a": {"Sm": 1.0, "MAE": 0.0}, "b": {"Sm": 0.5, "MAE": 0.1}},  # without c: left out
    }
    table = {rank.method: rank for rank in ranks(results, ["Sm", "MAE"])}
    assert list(table) == ["a", "b", "c"]
    assert table["a"].datasets == {"DES": (1.5 + 2) / 2, "SIP": (2 + 2) / 2}
    assert table["b"].datasets == {"DES": (1.5 + 3) / 2, "SIP": (1 + 2) / 2}
    assert table["c"].datasets == {"DES": (3 + 1) / 2, "SIP": (3 + 2) / 2}
    assert table["c"].mean == pytest.approx(2.25)
    assert ranks({"DES": {"a": {"Sm": 1.0}}}, ["Sm"]) == []
    assert ranks({"DES": {"a": {"Sm": 1.0}}, "SIP": {"b": {"Sm": 1.0}}}, ["Sm"]) == []


@given(st.lists(st.integers(0, 127), min_size=36, max_size=36))
def test_constant_scores_are_those_that_no_map_changes(levels):
    """Of maps that are nowhere worse than chance, here for their noise stays under the mask's levels."""
    mask = np.zeros((6, 6), bool)
    mask[2:4, 1:4] = True
    noise = np.array(levels, np.uint8).reshape(6, 6)
    metrics = SODMetrics([*dict.fromkeys(score.metric for score in SCORES.values() if score.metric != "HCE")])
    metrics.update(np.where(mask, 128 + noise, noise).astype(np.uint8), mask)
    report = metrics.compute()
    constant = {score: report[score] for score in report if is_constant(score)}
    expected = {"maxBER": 0.5, "maxFPR": 1, "maxRecall": 1}
    assert constant == pytest.approx(expected | {f"{score}_per_image": value for score, value in expected.items()})
