"""Precision, recall and the other rates over thresholds, and the areas under their curves."""

import re
import warnings

import metric_reference
import numpy as np
import pytest
import threshold_reference as reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamic_kd import metrics
from dynamic_kd.metrics import f_measure, pr_auc, roc_auc
from dynamic_kd.metrics._threshold_measures import RATES

RATE_FUNCTIONS = {name: getattr(metrics, name) for name in reference.RATES}
AREAS = {"roc_auc": roc_auc, "pr_auc": pr_auc}
HANDLERS = {
    "precision": "PrecisionHandler",
    "recall": "RecallHandler",
    "specificity": "SpecificityHandler",
    "false_positive_rate": "FPRHandler",
    "intersection_over_union": "IOUHandler",
    "dice": "DICEHandler",
    "balanced_error_rate": "BERHandler",
    "overall_accuracy": "OverallAccuracyHandler",
    "kappa": "KappaHandler",
    "f_measure": "FmeasureHandler",
}
REDUCTIONS = ("curve", "max", "min", "mean", "adaptive", "binary")
any_image = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def batch(random_pair):
    generator = np.random.default_rng(11)
    images = [random_pair(generator, 21, 34) for _ in range(3)]
    return tuple(np.stack(each) for each in zip(*images, strict=True))


def test_the_table_and_the_public_functions_have_the_same_names():
    assert {*RATES, "f_measure"} == RATE_FUNCTIONS.keys() == HANDLERS.keys()


@any_image
@given(data=st.data())
def test_curves(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy(max_side=9))
    x = metric_reference.normalised(pred)
    counts = [reference.confusion(cut, target) for cut in metric_reference.cuts(x)]
    for name, function in RATE_FUNCTIONS.items():
        expected = [reference.RATES[name](*each) for each in counts]
        value = np.asarray(function(backend(pred), backend(target)))
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12, err_msg=name)


@any_image
@given(data=st.data(), floating=st.booleans())
def test_binary_cuts_above_one_half(backend, pair_strategy, data, floating):
    pred, target = data.draw(pair_strategy())
    x = metric_reference.normalised(pred)
    counts = reference.confusion(x > 0.5, target)
    for name, function in RATE_FUNCTIONS.items():
        value = function(backend(x if floating else pred), backend(target), reduce="binary")
        assert float(value) == pytest.approx(reference.RATES[name](*counts), rel=0, abs=1e-12), name


def test_binary_leaves_one_half_itself_out(backend):
    pred = np.array([[0.0, 0.5, np.nextafter(0.5, 1), 1.0]])
    target = np.ones((1, 4), bool)
    assert float(metrics.recall(backend(pred), backend(target), reduce="binary")) == 0.5
    levels = np.array([[0, 127, 254, 254]], np.uint8)  # 127 of 254 is one half after normalisation
    assert float(metrics.recall(backend(levels), backend(target), reduce="binary")) == 0.5


@pytest.mark.parametrize("backend", ["numba", "numpy"], indirect=True)
@any_image
@given(data=st.data())
def test_adaptive_threshold(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    x = metric_reference.normalised(pred)
    counts = reference.confusion(x >= metric_reference.adaptive_threshold(x), target)
    for name, function in RATE_FUNCTIONS.items():
        value = function(pred, target, reduce="adaptive")
        assert float(value) == pytest.approx(reference.RATES[name](*counts), rel=0, abs=1e-12), name


@pytest.mark.parametrize("backend", ["numba", "numpy"], indirect=True)
def test_the_adaptive_threshold_breaks_ties_as_numpy_does(backend):
    """Half of each image, or one pixel, is at twice the mean, but for the last bit: that of NumPy's mean decides."""
    half, one = np.zeros((255, 14, 18), np.uint8), np.empty((127, 14, 18), np.uint8)
    half[:, :7] = np.arange(1, 256)[:, None, None]
    one[:] = np.arange(1, 128)[:, None, None]
    one[:, 0, 0], one[:, -1, -1] = 2 * one[:, 1, 1], 0
    pred = np.concatenate([half, one])
    expected = [np.mean(x >= metric_reference.adaptive_threshold(x)) for x in pred / 255]
    assert (set(expected[:255]), set(expected[255:])) == ({0.0, 0.5}, {0.0, 1 / 252})
    value = metrics.recall(backend(pred), np.ones(pred.shape, bool), reduce="adaptive", normalize=False)
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("name", RATE_FUNCTIONS)
def test_reductions_are_those_of_each_images_curve(name, batch):
    function, (pred, target) = RATE_FUNCTIONS[name], batch
    curve = function(pred, target)
    assert curve.shape == (3, 256)
    for reduce in ("max", "min", "mean"):
        np.testing.assert_allclose(function(pred, target, reduce=reduce), getattr(curve, reduce)(axis=1), rtol=1e-15)


def test_every_library_gives_the_same_rates(batch, xp, to_numpy):
    pred, target = batch
    for name, function in RATE_FUNCTIONS.items():
        for reduce in REDUCTIONS:
            value = function(xp.asarray(pred), xp.asarray(target), reduce=reduce)
            assert type(value) is type(xp.asarray(1.0)), name
            assert value.dtype == xp.float64, name
            expected = function(pred, target, reduce=reduce)
            np.testing.assert_allclose(to_numpy(value), expected, rtol=0, atol=1e-12, err_msg=name)
    for name, function in AREAS.items():
        value = function(xp.asarray(pred), xp.asarray(target))
        assert value.dtype == xp.float64, name
        np.testing.assert_allclose(to_numpy(value), function(pred, target), rtol=0, atol=1e-12, err_msg=name)


def test_jax_compiles_the_rates(batch, jax):
    pred, target = batch
    for name, function in (RATE_FUNCTIONS | AREAS).items():
        value = jax.jit(function)(pred, target)
        np.testing.assert_allclose(value, function(pred, target), rtol=0, atol=1e-12, err_msg=name)


def test_single_images_lose_the_batch_axis(batch, backend):
    pred, target = batch
    for function in RATE_FUNCTIONS.values():
        assert np.asarray(function(backend(pred[0]), backend(target[0]))).shape == (256,)
        assert np.asarray(function(backend(pred[0]), backend(target[0]), reduce="binary")).shape == ()
    for function in AREAS.values():
        assert np.asarray(function(backend(pred[0]), backend(target[0]))).shape == ()
        assert np.asarray(function(backend(pred[:, None]), backend(target))).shape == (3,)


@any_image
@given(data=st.data())
def test_identities(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    rate = {name: function(pred, target) for name, function in RATE_FUNCTIONS.items()}
    iou, dice = rate["intersection_over_union"], rate["dice"]
    assert np.all(iou <= dice)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou), atol=1e-12)
    np.testing.assert_allclose(dice, f_measure(pred, target, beta_squared=1.0), atol=1e-12)
    balanced = (rate["recall"] + rate["specificity"]) / 2
    np.testing.assert_allclose(rate["balanced_error_rate"], 1 - balanced, atol=1e-15)
    np.testing.assert_allclose(rate["false_positive_rate"] + rate["specificity"], float(not target.all()), atol=1e-15)
    for name, values in rate.items():
        assert np.all(values >= (-1 if name == "kappa" else 0)), name
        assert np.all(values <= 1), name


@any_image
@given(data=st.data())
def test_swapping_map_and_mask_swaps_precision_and_recall(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    cut = pred > 128
    there = {name: each(cut * 1.0, target, reduce="binary") for name, each in RATE_FUNCTIONS.items()}
    back = {name: each(target * 1.0, cut, reduce="binary") for name, each in RATE_FUNCTIONS.items()}
    assert there["precision"] == back["recall"]
    assert there["recall"] == back["precision"]
    for name in ("intersection_over_union", "dice", "overall_accuracy", "kappa"):
        assert there[name] == back[name], name


@pytest.mark.parametrize(
    ("pred", "target", "expected"),
    [
        (0, 0, {"overall_accuracy": 1, "specificity": 1, "balanced_error_rate": 0.5}),
        (255, 0, {"false_positive_rate": 1, "balanced_error_rate": 1}),
        (0, 1, {"balanced_error_rate": 1}),
        (
            255,
            1,
            dict.fromkeys(reference.RATES, 1)
            | dict.fromkeys(["specificity", "false_positive_rate", "kappa"], 0)
            | {"balanced_error_rate": 0.5},
        ),
    ],
)
def test_constant_maps_and_targets(pred, target, expected, backend):
    """What is not named is 0."""
    pred, target = np.full((4, 5), pred, np.uint8), np.full((4, 5), target, bool)
    for name, function in RATE_FUNCTIONS.items():
        value = float(function(backend(pred), backend(target), reduce="binary"))
        assert value == pytest.approx(expected.get(name, 0), abs=1e-15), name


def test_kappa_does_not_cancel():
    """One salient pixel in 1.4 million, found; chance agreement is 1 to 6 digits."""
    target = np.zeros((1, 1200, 1200), bool)
    target[0, 600, 600] = True
    assert metrics.kappa(target * 1.0, target, reduce="binary")[0] == 1


@any_image
@given(data=st.data())
def test_areas(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy(max_side=8))
    for name, function in AREAS.items():
        value = float(function(backend(pred), backend(target)))
        assert value == pytest.approx(getattr(reference, name)(pred, target), rel=0, abs=1e-12), name


def test_areas_of_maps_that_reach_no_high_threshold():
    pred = np.array([[10, 20, 30, 40]], np.uint8)
    target = np.array([[False, True, False, True]])
    for name, function in AREAS.items():
        expected = getattr(reference, name)(pred, target)
        assert function(pred, target, normalize=False) == pytest.approx(expected, abs=1e-12)


def test_areas_end_at_the_last_threshold(backend):
    """255, which only the brighter one of each class reaches; where nothing more is predicted, the precision is 1."""
    pred, target = backend(np.array([[255, 254, 255, 254, 0]], np.uint8)), np.array([[True, True, False, False, False]])
    assert float(roc_auc(pred, backend(target))) == pytest.approx(2 / 3)
    wrong = backend(np.array([[255, 128, 0]], np.uint8)), backend(np.array([[False, True, False]]))
    assert float(pr_auc(*wrong)) == 0.25  # 1/2 at recall 1, 0 at recall 0: the one pixel left is wrong


def test_areas_of_constant_maps_and_targets(backend):
    flat, target = backend(np.full((4, 4), 90, np.uint8)), np.eye(4, dtype=bool)
    ramp = backend(np.arange(16, dtype=np.uint8).reshape(4, 4))
    assert float(roc_auc(flat, backend(target))) == 0.5
    assert float(pr_auc(flat, backend(target))) == pytest.approx((target.mean() + 1) / 2)
    for area, full in ((roc_auc, 0), (pr_auc, 1)):
        assert float(area(ramp, backend(np.zeros((4, 4), bool)))) == 0
        assert float(area(ramp, backend(np.ones((4, 4), bool)))) == full
    assert float(roc_auc(backend(target * 1.0), backend(target))) == 1
    assert float(pr_auc(backend(target * 1.0), backend(target))) == 1
    assert float(roc_auc(backend(1.0 - target), backend(target))) == 0


def test_scikit_learn_agrees_on_8_bit_maps(random_pair):
    sklearn = pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn comes with PySODMetrics, in the group 'peers'"
    )
    generator = np.random.default_rng(2)
    for _ in range(20):
        pred, target = random_pair(generator, *generator.integers(8, 60, 2))
        truth, scores = target.ravel(), pred.ravel()
        precision, recall, _ = sklearn.precision_recall_curve(truth, scores)
        assert roc_auc(pred, target) == pytest.approx(sklearn.roc_auc_score(truth, scores), rel=0, abs=1e-12)
        assert pr_auc(pred, target) == pytest.approx(sklearn.auc(recall, precision), rel=0, abs=1e-12)


def check_their_kappa(theirs, pred, target):
    """Their chance agreement is not Cohen's; everything else of it is, so that the counts agree."""
    x = metric_reference.normalised(pred)
    cuts = [*metric_reference.cuts(x), x > 0.5]
    *curve, binary = (reference.py_sod_metrics_kappa(*reference.confusion(cut, target)) for cut in cuts)
    np.testing.assert_allclose(theirs["dynamic"][::-1], curve, rtol=0, atol=1e-12)
    assert theirs["binary"] == pytest.approx(binary, abs=1e-12)


def test_kappa_is_cohens(random_pair):
    sklearn = pytest.importorskip(
        "sklearn.metrics", reason="scikit-learn comes with PySODMetrics, in the group 'peers'"
    )
    generator = np.random.default_rng(5)
    for _ in range(10):
        pred, target = random_pair(generator, *generator.integers(8, 60, 2))
        expected = sklearn.cohen_kappa_score(target.ravel(), metric_reference.normalised(pred).ravel() > 0.5)
        assert metrics.kappa(pred, target, reduce="binary") == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_py_sod_metrics_agrees(seed, random_pair, backend):
    peer = pytest.importorskip("py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers'")
    generator = np.random.default_rng(seed)
    pairs = [random_pair(generator, *generator.integers(2, 40, 2)) for _ in range(12)]
    pairs += [(pred, target * False) for pred, target in pairs[:2]]
    pairs += [(pred, target | True) for pred, target in pairs[:2]]
    pairs += [(pred // 255 + 70, target) for pred, target in pairs[:3]]
    for pred, target in pairs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            handlers = {
                name: getattr(peer, handler)(with_dynamic=True, with_adaptive=True, with_binary=True)
                for name, handler in HANDLERS.items()
            }
            measure = peer.FmeasureV2(handlers)
            measure.step(pred, (target * 255).astype(np.uint8))
        results = measure.get_results()
        check_their_kappa(results.pop("kappa"), pred, target)
        for name, theirs in results.items():
            expected = {"curve": theirs["dynamic"][::-1], "adaptive": theirs["adaptive"], "binary": theirs["binary"]}
            for reduce, value in expected.items():
                ours = np.asarray(RATE_FUNCTIONS[name](backend(pred), backend(target), reduce=reduce))
                np.testing.assert_allclose(ours, value, rtol=0, atol=1e-12, err_msg=f"{name} {reduce}")


@pytest.mark.parametrize("function", RATE_FUNCTIONS.values())
def test_bad_settings(function):
    pred, target = np.eye(4), np.eye(4, dtype=bool)
    message = "reduce: expected one of 'curve', 'max', 'min', 'mean', 'adaptive', 'binary', got 'median'"
    with pytest.raises(ValueError, match=re.escape(message)):
        function(pred, target, reduce="median")
    for settings_, message in (({"normalize": 1}, "normalize: expected True"), ({"quantize": 0}, "quantize: expected")):
        with pytest.raises(TypeError, match=message):
            function(pred, target, **settings_)
    with pytest.raises(ValueError, match="check: expected one of 'auto', 'off'"):
        function(pred, target, check="never")


@pytest.mark.parametrize("function", [*RATE_FUNCTIONS.values(), *AREAS.values()])
def test_bad_arrays(function):
    with pytest.raises(ValueError, match="pred and target: expected equal shapes"):
        function(np.eye(4), np.eye(5, dtype=bool))
    with pytest.raises(ValueError, match=r"target: expected masks of two levels, .* got 0, 1, 255 in 1 mask"):
        function(np.eye(4), np.diag([1, 255, 0, 1]))
    quantized = function(np.full((2, 2), 0.501), np.eye(2, dtype=bool), quantize=True)
    np.testing.assert_array_equal(quantized, function(np.full((2, 2), 128, np.uint8), np.eye(2, dtype=bool)))
