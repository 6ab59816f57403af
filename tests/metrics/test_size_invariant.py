"""Size-invariant measures: references, PySODMetrics beside them, many and overlapping objects."""

import re
import warnings

import metric_reference
import numpy as np
import pytest
import size_invariant_reference as reference
import threshold_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamic_kd.metrics import size_invariant_f_measure, size_invariant_mean_absolute_error, size_invariant_rate
from dynamic_kd.metrics._pixels._size_invariant import OBJECT_RATES
from dynamic_kd.metrics._statistics import ObjectStatistics, object_boxes
from dynamic_kd.metrics._statistics._cpu import CPUStatistics
from dynamic_kd.metrics._threshold_measures import rate_values

HANDLERS = {
    "precision": "PrecisionHandler",
    "recall": "RecallHandler",
    "specificity": "SpecificityHandler",
    "false_positive_rate": "FPRHandler",
    "intersection_over_union": "IOUHandler",
    "dice": "DICEHandler",
    "balanced_error_rate": "BERHandler",
    "overall_accuracy": "OverallAccuracyHandler",
    "f_measure": "FmeasureHandler",
}
any_image = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def peer():
    return pytest.importorskip("py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers'")


def scene(generator, height, width, objects):
    """Discs of several sizes, which may touch, a noisy map of them, and specks too small to count."""
    rows, columns = np.indices((height, width))
    target = generator.random((height, width)) < 0.002
    for _ in range(objects):
        center, radius = generator.uniform(0, 1, 2) * (height, width), generator.uniform(1, 0.2 * min(height, width))
        target |= np.hypot(rows - center[0], columns - center[1]) < radius
    pred = np.clip(target * generator.integers(60, 255) + generator.normal(0, 60, target.shape), 0, 255)
    return pred.astype(np.uint8), target


def values_of(statistics, name):
    return {reduce: rate_values(statistics, OBJECT_RATES[name], reduce) for reduce in ("curve", "adaptive", "binary")}


@any_image
@given(data=st.data(), factor=st.sampled_from([1, 5]))
def test_rates(backend, pair_strategy, data, factor):
    pred, target = (np.kron(each, np.ones((factor, factor), each.dtype)) for each in data.draw(pair_strategy(5)))
    x = metric_reference.normalised(pred)
    parts = reference.parts(x, target)
    cuts = [
        *(np.floor(part * 255) >= k for k in (0, 1, 128, 255) for part, _ in parts),
        *(part > 0.5 for part, _ in parts),
        *(part >= metric_reference.adaptive_threshold(part) for part, _ in parts),
    ]
    for name in OBJECT_RATES:
        rate = threshold_reference.RATES[name]
        rows = [rate(*threshold_reference.confusion(cut, parts[i % len(parts)][1])) for i, cut in enumerate(cuts)]
        expected = np.reshape(rows, (6, len(parts))).mean(axis=1)
        curve = np.asarray(size_invariant_rate(backend(pred), backend(target), name))
        single = [
            float(size_invariant_rate(backend(pred), backend(target), name, reduce=reduce))
            for reduce in ("binary", "adaptive")
        ]
        np.testing.assert_allclose([*curve[[0, 1, 128, 255]], *single], expected, rtol=0, atol=1e-12, err_msg=name)


@any_image
@given(data=st.data(), factor=st.sampled_from([1, 5]))
def test_mean_absolute_error(backend, pair_strategy, data, factor):
    pred, target = (np.kron(each, np.ones((factor, factor), each.dtype)) for each in data.draw(pair_strategy(7)))
    expected = reference.mean_absolute_error(metric_reference.normalised(pred), target)
    value = float(size_invariant_mean_absolute_error(backend(pred), backend(target)))
    assert value == pytest.approx(expected, rel=0, abs=1e-12)


def test_f_measure_is_the_mean_over_objects_then_reduced():
    pred, target = scene(np.random.default_rng(0), 60, 70, 4)
    x = metric_reference.normalised(pred)
    curve = size_invariant_f_measure(pred, target)
    objects = rate_values(ObjectStatistics(x, target), OBJECT_RATES["f_measure"], "curve")
    assert len(objects) == len(reference.boxes(target)) > 1
    np.testing.assert_allclose(curve, objects.mean(axis=0), rtol=1e-15)
    np.testing.assert_array_equal(curve, size_invariant_rate(pred, target, "f_measure"))
    for reduce in ("max", "min", "mean"):
        assert size_invariant_f_measure(pred, target, reduce=reduce) == getattr(curve, reduce)()
    dice = size_invariant_rate(pred, target, "dice")
    np.testing.assert_allclose(size_invariant_f_measure(pred, target, beta_squared=1), dice, atol=1e-12)


def peer_results(peer, pairs, *, sample_based):
    """PySODMetrics' results for a data set, its errors image by image among them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure = peer.SizeInvarianceFmeasureV2(
            {
                name: getattr(peer, handler)(
                    with_dynamic=True, with_adaptive=True, with_binary=True, sample_based=sample_based
                )
                for name, handler in HANDLERS.items()
            }
        )
        errors = peer.SizeInvarianceMAE()
        for pred, target in pairs:
            measure.step(pred, target.astype(np.uint8) * 255)
            errors.step(pred, target.astype(np.uint8) * 255)
    return measure.get_results(), errors.maes


@pytest.fixture
def pairs():
    generator = np.random.default_rng(3)
    several = [scene(generator, *generator.integers(20, 90, 2), generator.integers(1, 7)) for _ in range(10)]
    pred, target = several[0]
    return [*several, (pred, target & False), (np.full_like(pred, 90), target), (pred // 255, target)]


def test_py_sod_metrics_agrees(peer, pairs):
    theirs, errors = peer_results(peer, pairs, sample_based=True)
    ours = [ObjectStatistics(metric_reference.normalised(pred), target) for pred, target in pairs]
    for name in HANDLERS:
        values = [values_of(statistics, name) for statistics in ours]
        for value, curves in zip(values, theirs[name]["dynamic"], strict=True):
            np.testing.assert_allclose(value["curve"], curves[:, ::-1], rtol=0, atol=1e-12, err_msg=name)
        for reduce in ("adaptive", "binary"):
            mean = np.mean([value[reduce].mean() for value in values])
            assert mean == pytest.approx(theirs[name][reduce], rel=0, abs=1e-12), (name, reduce)
            images = [size_invariant_rate(*pair, name, reduce=reduce) for pair in pairs]
            assert np.mean(images) == pytest.approx(mean, rel=0, abs=1e-15)
    np.testing.assert_allclose([size_invariant_mean_absolute_error(*pair) for pair in pairs], errors, atol=1e-12)


def test_py_sod_metrics_agrees_over_all_objects(peer, pairs):
    """Their ``sample_based=False``: curves averaged over the objects of all images, binary counts summed over them."""
    theirs, _ = peer_results(peer, pairs, sample_based=False)
    ours = [ObjectStatistics(metric_reference.normalised(pred), target) for pred, target in pairs]
    hits, alarms = (sum(each) for each in zip(*(map(np.sum, each.binary_counts()) for each in ours), strict=True))
    foreground = sum(each.foreground.sum() for each in ours)
    pixels = sum(each.pixels * len(each.foreground) for each in ours)
    for name in HANDLERS:
        curves = np.concatenate([rate_values(each, OBJECT_RATES[name], "curve") for each in ours])
        np.testing.assert_allclose(curves.mean(axis=0), theirs[name]["dynamic"][::-1], rtol=0, atol=1e-12)
        pooled = OBJECT_RATES[name](np, hits, alarms, foreground - hits, pixels - foreground - alarms)
        assert pooled == pytest.approx(theirs[name]["binary"], rel=0, abs=1e-12), name


def test_specks_count_only_where_nothing_is_larger():
    target = np.zeros((30, 30), bool)
    target[0, :7] = target[2, :7] = target[4, :3] = True
    assert object_boxes(target) == [(slice(0, 1), slice(0, 7)), (slice(2, 3), slice(0, 7))]
    target[10:20, 10:15] = True  # 50 pixels
    assert object_boxes(target) == [(slice(10, 20), slice(10, 15))]
    target[19, 14] = False
    target[20, 15] = True  # 49 and 1: diagonal neighbours are not connected
    assert object_boxes(target) == [(slice(10, 20), slice(10, 15))]
    assert object_boxes(target & False) == []
    target[0:6, 20:30] = True  # 60
    assert len(object_boxes(target)) == 1
    target[19, 14] = True  # 50 again
    assert len(object_boxes(target)) == 2


@pytest.mark.parametrize(("side", "level"), [(12, 77), (18, 51), (24, 100), (34, 13)])
def test_adaptive_threshold_breaks_ties_as_numpy_does(side, level):
    """Half of the image is at twice the mean, but for the last bit, in which sums of the box and the image differ."""
    pred, target = np.zeros((2, side, side), np.uint8)
    target[: side - 2, : side - 2] = 255
    rows, columns = np.nonzero(target)
    pred[rows[: side * side // 2], columns[: side * side // 2]] = level
    pred[-1, -1] = 255
    part = pred / 255 * (target > 0)
    recall = (part >= metric_reference.adaptive_threshold(part)).sum() / (target > 0).sum()
    assert size_invariant_rate(pred, target, "recall", reduce="adaptive") == recall


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("level", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_counts_of_an_object_are_those_of_an_image_that_has_it_alone(level, strict):
    """All of the object at one level, at which thresholds lie: its share of the image, a half, makes twice the mean."""
    target = np.zeros((20, 20), bool)
    target[:10, 2:12] = target[12:, 5:15] = True
    x = np.where(target, level, 1.0)
    x[3, 5] = 1.0
    objects = ObjectStatistics(x, target)
    for number, box in enumerate(object_boxes(target)):
        alone, mask = np.zeros_like(x), np.zeros_like(target)
        alone[box], mask[box] = x[box], target[box]
        image = CPUStatistics(alone[None], mask[None], normalize=False)
        for name in ("threshold_counts", "adaptive_counts"):
            cut = {"strict": True} if strict else {}
            got, expected = (getattr(each, name)(**cut) for each in (objects, image))
            for mine, whole in zip(got, expected, strict=True):
                np.testing.assert_array_equal(mine[number], whole[0], err_msg=name)
        for mine, whole in zip(objects.binary_counts(), image.binary_counts(), strict=True):
            assert mine[number] == whole[0]


def test_the_adaptive_threshold_is_at_most_1():
    everything = ObjectStatistics(np.ones((6, 6)), np.ones((6, 6), bool))
    assert everything.adaptive_counts().true_positives.tolist() == [36]
    assert everything.adaptive_counts(strict=True).true_positives.tolist() == [0]


def test_more_objects_than_bits(peer):
    target = np.zeros((160, 160), np.uint8)
    for row in range(0, 160, 16):
        for column in range(0, 160, 16):
            target[row : row + 8, column : column + 8] = 255
    pred = np.where(target, 200, 10).astype(np.uint8)
    pred[:8, :8] = 10  # one of 100 is missed
    assert size_invariant_f_measure(pred, target, reduce="binary") == pytest.approx(0.99)
    with pytest.raises(OverflowError):
        peer_results(peer, [(pred, target > 0)], sample_based=True)


def test_full_targets_and_boxes_that_cover_the_image(peer):
    pred, target = np.arange(100, dtype=np.uint8).reshape(10, 10), np.ones((10, 10), bool)
    x = metric_reference.normalised(pred)
    assert size_invariant_mean_absolute_error(pred, target) == pytest.approx(1 - x.mean())
    assert size_invariant_rate(pred, target, "recall", reduce="binary") == pytest.approx((x > 0.5).mean())
    with pytest.raises(AssertionError):
        peer_results(peer, [(pred, target)], sample_based=True)
    target[5, 5] = False
    assert size_invariant_mean_absolute_error(pred, target) == pytest.approx(np.abs(x - target).mean())
    with np.errstate(invalid="ignore"):
        assert np.isnan(peer_results(peer, [(pred, target)], sample_based=True)[1])


def test_every_library(xp, to_numpy):
    generator = np.random.default_rng(4)
    images = [scene(generator, 40, 50, 3) for _ in range(2)]
    pred, target = (np.stack(each) for each in zip(*images, strict=True))
    for function in (size_invariant_f_measure, size_invariant_mean_absolute_error):
        value = function(xp.asarray(pred), xp.asarray(target))
        assert type(value) is type(xp.asarray(1.0))
        assert value.dtype == xp.float64
        np.testing.assert_array_equal(to_numpy(value), function(pred, target))
        assert value.shape == ((2, 256) if function is size_invariant_f_measure else (2,))
        np.testing.assert_array_equal(
            to_numpy(function(xp.asarray(pred)[1, ...], xp.asarray(target)[1, ...])), to_numpy(value)[1]
        )


@pytest.mark.parametrize(
    ("settings_", "error", "message"),
    [
        ({"reduce": "median"}, ValueError, "reduce: expected one of 'curve', 'max', 'min', 'mean', 'adaptive'"),
        ({"beta_squared": 0}, ValueError, "beta_squared: expected a number in (0, inf), got 0"),
        ({"normalize": 1}, TypeError, "normalize: expected True or False, got 1 (int)"),
        ({"check": "on"}, ValueError, "check: expected one of 'auto', 'off', got 'on'"),
    ],
)
def test_bad_settings(settings_, error, message):
    pred, target = np.eye(4), np.eye(4, dtype=bool)
    with pytest.raises(error, match=re.escape(message)):
        size_invariant_f_measure(pred, target, **settings_)
    with pytest.raises(ValueError, match=r"rate: expected one of 'precision', 'recall'.*, got 'F'"):
        size_invariant_rate(pred, target, "F")
    with pytest.raises(ValueError, match="pred and target: expected equal shapes"):
        size_invariant_mean_absolute_error(pred, target[:3])


def test_traced_arrays_are_refused(jax):
    with pytest.raises(TypeError, match="expected arrays with values, got traced ones"):
        jax.jit(size_invariant_mean_absolute_error)(np.eye(4), np.eye(4, dtype=bool))
