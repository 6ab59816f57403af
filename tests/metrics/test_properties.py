"""What holds whatever the image."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamic_kd.metrics import SCORES, SODMetrics, f_measure, recall, s_measure

any_image = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_image
@given(data=st.data())
def test_bounds(functions, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    for name, function in functions.items():
        values = function(pred, target)
        highest = target.size / max(target.size - 1, 1) if "E" in name else 1
        assert np.all(values >= 0), name
        assert np.all(values <= highest + 1e-12), name


@any_image
@given(data=st.data())
def test_recall_falls_with_the_threshold_and_starts_at_one(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    curve = recall(pred, target)
    assert np.all(np.diff(curve) <= 0)
    assert curve[0] == target.any()


@any_image
@given(data=st.data())
def test_flipping_both_changes_nothing_but_s(functions, pair_strategy, data):
    """S rounds the centroid up, so a mirrored image may be split elsewhere; wF's ties go to the left."""
    pred, target = data.draw(pair_strategy())
    for name in ("MAE", "F", "E"):
        value, flipped = functions[name](pred, target), functions[name](pred[::-1, ::-1], target[::-1, ::-1])
        np.testing.assert_allclose(flipped, value, rtol=0, atol=1e-12)


@any_image
@given(data=st.data())
def test_normalisation_forgets_offset_and_scale(functions, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    dim = pred / 255 * 0.5 + 0.25
    if pred.min() == pred.max():
        return
    for name in ("MAE", "S", "wF"):
        np.testing.assert_allclose(functions[name](dim, target), functions[name](pred, target), atol=1e-9)


@any_image
@given(data=st.data())
def test_a_perfect_map_scores_perfectly(functions, pair_strategy, data):
    _, target = data.draw(pair_strategy())
    if not target.any() or target.all():
        return
    perfect = target.astype(float)
    assert functions["MAE"](perfect, target) == 0
    assert functions["wF"](perfect, target) == pytest.approx(1)
    assert functions["S"](perfect, target) == pytest.approx(1)
    assert functions["F"](perfect, target)[1:] == pytest.approx(np.ones(255))
    assert functions["adpE"](perfect, target) == pytest.approx(target.size / (target.size - 1))


def test_constant_maps_are_not_stretched(functions):
    target = np.eye(8, dtype=bool)
    for level in (0, 128, 255):
        pred = np.full((8, 8), level, np.uint8)
        expected = np.abs(level / 255 - target).mean()
        assert functions["MAE"](pred, target) == pytest.approx(expected)
        assert functions["MAE"](pred, target, normalize=False) == pytest.approx(expected)


def test_without_normalisation_levels_are_taken_as_they_are(functions, backend):
    pred = np.full((8, 8), 100, np.uint8)
    pred[0, 0] = 50
    target = np.eye(8, dtype=bool)
    for name, function in functions.items():
        eight_bit = np.asarray(function(backend(pred), backend(target), normalize=False))
        floating = np.asarray(function(backend(pred / 255), backend(target), normalize=False))
        np.testing.assert_allclose(eight_bit, floating, rtol=0, atol=1e-12, err_msg=name)
    recall_free = np.asarray(f_measure(backend(pred), backend(target), normalize=False))
    assert (recall_free[101:] == 0).all()
    assert recall_free[100] > 0


def test_quantize_scores_floats_as_the_saved_map(functions, random_pair):
    generator = np.random.default_rng(3)
    _, target = random_pair(generator, 20, 20)
    pred = generator.random((20, 20)).astype(np.float32)
    saved = np.floor(pred.astype(float) * 255 + 0.5).astype(np.uint8)
    for function in functions.values():
        np.testing.assert_array_equal(function(pred, target, quantize=True), function(saved, target))
    assert functions["MAE"](pred, target) != functions["MAE"](saved, target)


def test_quantize_widens_half_precision_first():
    pred = np.linspace(0, 1, 4096).astype(np.float16).reshape(64, 64)
    target = np.eye(64, dtype=bool)
    saved = np.floor(pred.astype(float) * 255 + 0.5).astype(np.uint8)
    assert (np.floor(pred * np.float16(255) + np.float16(0.5)).astype(np.uint8) != saved).any()
    np.testing.assert_array_equal(f_measure(pred, target, quantize=True), f_measure(saved, target))


def test_a_float_mask_is_salient_above_one_half(functions):
    pred = np.linspace(0, 1, 16).reshape(4, 4)
    for function in functions.values():
        half = function(pred, np.where(np.eye(4) > 0, 0.5, 0.0))
        np.testing.assert_array_equal(half, function(pred, np.zeros((4, 4), bool)))
        above = function(pred, np.where(np.eye(4) > 0, np.nextafter(0.5, 1), 0.0))
        np.testing.assert_array_equal(above, function(pred, np.eye(4, dtype=bool)))


def test_large_images_leave_opencvs_float32_distances(functions, monkeypatch):
    """Beyond 2 ** 22 a squared float32 distance may miss its integer; SciPy's float64 does not."""
    from dynamic_kd.metrics._statistics import _numpy

    target = np.zeros((1500, 1500), bool)
    target[3, 5] = True
    rows, columns = np.indices(target.shape)
    np.testing.assert_array_equal(_numpy._squared_distance(target), (rows - 3) ** 2 + (columns - 5) ** 2)


def test_quadrants_in_which_nothing_varies_are_alike():
    """All but one of a single pixel's; and S has a half of each of its two parts."""
    target = np.zeros((9, 11), bool)
    target[4, 6] = True
    assert s_measure(target * 1.0, target) == pytest.approx(1, abs=1e-12)
    parts = [s_measure(target * 0.8, target, alpha=alpha, normalize=False) for alpha in (0.0, 1.0)]
    assert parts[0] != parts[1]
    assert s_measure(target * 0.8, target, normalize=False) == pytest.approx(np.mean(parts), abs=1e-12)


def test_sums_are_exact_to_2_to_the_minus_60():
    from fractions import Fraction

    from dynamic_kd.metrics._statistics import exact_total, exact_words

    generator = np.random.default_rng(0)
    values = generator.random((1000, 3)) * 2
    words = exact_words(values[:300]) + exact_words(values[300:])
    assert words.shape == (2, 3)
    for column, total in zip(values.T, exact_total(words), strict=True):
        exact = sum(map(Fraction, column))
        assert abs(Fraction(float(total)) - exact) <= 1000 * Fraction(1, 2**61) + Fraction(exact) / 2**52
    # In units of 2 ** -30, and of 2 ** -60, as states keep them.
    assert exact_words(np.array([[1 + 2.0**-52]])).tolist() == [[1 << 30], [1 << 8]]
    assert exact_total(exact_words(np.full((3, 1), 2.0**-60)))[0] == 3 * 2.0**-60


def test_reductions_are_those_of_the_curve(random_pair):
    pred, target = random_pair(np.random.default_rng(5), 30, 20)
    curve = f_measure(pred, target)
    assert f_measure(pred, target, reduce="max") == curve.max()
    assert f_measure(pred, target, reduce="mean") == pytest.approx(curve.mean())


def test_every_score_of_a_report_is_declared():
    """With its range, which only E and the multi-scale IoU of half precision exceed, by a little."""
    generator = np.random.default_rng(0)
    metrics = SODMetrics(list(dict.fromkeys(score.metric for score in SCORES.values())))
    for _ in range(4):
        target = generator.random((24, 31)) < 0.4
        metrics.update(np.clip(target * 0.5 + generator.random(target.shape) * 0.6, 0, 1), target)
    report = metrics.compute()
    assert list(report) == [*report.columns, *(name for name in SCORES if name.endswith("_per_image"))] == list(SCORES)
    for name, value in report.items():
        low, high = SCORES[name].range
        assert low <= value <= high, name
        assert SCORES[name].name == name
        assert not SCORES[name].curve or SCORES[name].curve in report.curves
    lower = {score.metric for score in SCORES.values() if not score.higher_is_better}
    assert lower == {"MAE", "FPR", "BER", "HCE", "SI-MAE"}
