"""The bootstrap over seeds and images, against a slow loop."""

from itertools import product

import numpy as np
import pytest
from random_reports import random_report

from benchmarks.experiments import bootstrap
from benchmarks.experiments.bootstrap import differences, resampled_runs


def drawn_score(report, score, images):
    if score == "MAE":
        return report.rows[images, 0].mean()
    return report.per_image_curves["f_measure"][images].mean(axis=0).max()


@pytest.mark.parametrize("score", ["MAE", "maxF"])
def test_the_bootstrap_is_that_of_a_slow_loop(score):
    rng, resamples, images, seeds = np.random.default_rng(4), 60, 7, (0, 1, 2)
    runs = {name: {seed: random_report(rng, images) for seed in seeds} for name in ("ref", "a", "b", "c")}
    found = differences({name: runs[name] for name in "abc"}, ("ref", runs["ref"]), score, resamples=resamples, seed=9)
    of_images = np.random.default_rng(9).integers(0, images, (resamples, images))
    of_seeds = np.random.default_rng([9, 1]).integers(0, len(seeds), (resamples, len(seeds) - 1))
    values, resampled = {}, {}
    for name in "abc":
        whole = [drawn_score(runs[each][seed], score, range(images)) for each in (name, "ref") for seed in seeds]
        values[name] = np.mean(whole[:3]) - np.mean(whole[3:])
        resampled[name] = []
        for chosen, drawn in zip(of_seeds, of_images, strict=True):
            difference = 0.0
            for seed in chosen:
                own, other = (drawn_score(runs[each][seeds[seed]], score, drawn) for each in (name, "ref"))
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
    own = {seed: random_report(rng, 9) for seed in (0, 1)}
    others = {str(index): {seed: random_report(rng, 9) for seed in (0, 1)} for index in range(6)}
    alone = differences({"0": others["0"]}, ("r", own), "maxF", resamples=500, seed=0)["0"]
    among = differences(others, ("r", own), "maxF", resamples=500, seed=0)["0"]
    assert alone.interval == among.interval
    assert among.corrected.low < alone.corrected.low < alone.value < alone.corrected.high < among.corrected.high
    same = differences({"same": own}, ("r", own), "maxF", resamples=50, seed=0)["same"]
    assert (same.value, same.interval, same.corrected, same.p) == (0, (0, 0), (0, 0), 1)


def test_each_candidate_is_compared_on_the_seeds_that_it_shares_with_the_reference():
    rng = np.random.default_rng(0)
    own = {seed: random_report(rng, 5) for seed in (0, 1, 2)}
    every = {seed: random_report(rng, 5) for seed in (0, 1, 2)}
    some = {seed: every[seed] for seed in (1, 2)}
    others = {"every": every, "some": some, "one": {2: every[2], 8: every[1]}, "none": {7: some[1]}}
    found = differences(others, ("r", own), "MAE", resamples=20, seed=0)
    assert {name: each.seeds for name, each in found.items()} == {"every": 3, "some": 2, "one": 1}
    for name, each in found.items():
        expected = [report["MAE"] - own[seed]["MAE"] for seed, report in others[name].items() if seed in own]
        assert each.value == pytest.approx(np.mean(expected), abs=1e-12)
    alone = differences({"every": every}, ("r", own), "MAE", resamples=20, seed=0)["every"]
    assert found["every"].interval == alone.interval
    assert differences({"a": {7: some[1]}}, ("r", own), "MAE", resamples=20, seed=0) == {}


@pytest.mark.parametrize("score", ["MAE", "maxF"])
def test_runs_are_resampled_together_and_in_blocks_as_each_alone(score, monkeypatch):
    rng = np.random.default_rng(0)
    reports = {name: random_report(rng, 5) for name in "abc"}
    alone = {name: resampled_runs({name: reports[name]}, score, resamples=50, seed=3)[name] for name in "abc"}
    monkeypatch.setattr(bootstrap, "_BLOCK", 7)
    together = resampled_runs(reports, score, resamples=50, seed=3)
    images = np.random.default_rng(3).integers(0, 5, (50, 5))
    for name, (value, drawn, count) in together.items():
        assert (value, count) == (alone[name].score, 5)
        np.testing.assert_allclose(drawn, alone[name].drawn, rtol=1e-13)
        np.testing.assert_allclose(drawn, [drawn_score(reports[name], score, each) for each in images], rtol=1e-13)
    assert resampled_runs({}, score, resamples=50, seed=3) == {}


def test_runs_of_different_images_are_not_compared():
    rng = np.random.default_rng(0)
    own, other = random_report(rng, 5), random_report(rng, 5, names=tuple("abcde"))
    with pytest.raises(ValueError, match=r"^expected all runs to be scored on the same images, got 2 sets of images$"):
        differences({"a": {0: other}}, ("r", {0: own}), "MAE", resamples=20, seed=0)


def test_seeds_vary_in_the_bootstrap_as_networks_do():
    values = [0.1, 0.2, 0.6, 0.4]
    one_image = {seed: random_report(np.random.default_rng(0), 1, error=value) for seed, value in enumerate(values)}
    zero = {seed: random_report(np.random.default_rng(0), 1, error=0.0) for seed in one_image}
    found = differences({"a": one_image}, ("r", zero), "MAE", resamples=40_000, seed=0)["a"]
    # Three of the four seeds are drawn, 64 equally likely ways, whose mean varies as that of four networks does.
    means = np.sort([np.mean(drawn) for drawn in product(values, repeat=3)])
    assert np.var(means) == pytest.approx(np.var(values, ddof=1) / len(values))
    assert found.value == pytest.approx(np.mean(values))
    assert found.interval == pytest.approx(np.quantile(means, [0.025, 0.975], method="inverted_cdf"))
