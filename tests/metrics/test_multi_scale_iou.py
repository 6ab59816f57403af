"""Multi-scale IoU: its definition, PySODMetrics beside it, every library."""

import re
import warnings

import edge_reference
import metric_reference
import numpy as np
import pytest
from blob_pairs import blob_pair, degenerate_pairs
from hypothesis import given, settings

from dynamic_kd.metrics import multi_scale_iou
from dynamic_kd.metrics._pixels._multi_scale_iou import _in_half_precision, multi_scale_curve, touched

REDUCED = ("curve", "adaptive", "binary")


def levels(pred):
    return np.floor(metric_reference.normalised(pred) * 255)


def peer(pred, target, *, dynamic=True, **options):
    """PySODMetrics' curve, adaptive and binary value."""
    py_sod_metrics = pytest.importorskip(
        "py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers', which holds NumPy back"
    )
    measure = py_sod_metrics.MSIoU(dynamic, True, with_binary=True)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # numpy.trapz
        measure.step(pred, target, **options)
    return (measure.dynamic_results or [None])[0], measure.adaptive_results[0], measure.binary_results[0]


def assert_equal_to_peer(pred, target, *, dynamic=True):
    curve, adaptive, binary = peer(pred, target.astype(np.uint8) * 255, dynamic=dynamic)
    assert multi_scale_iou(pred, target, reduce="adaptive") == pytest.approx(adaptive, abs=1e-14)
    assert multi_scale_iou(pred, target, reduce="binary") == pytest.approx(binary, abs=1e-14)
    if dynamic:
        np.testing.assert_allclose(multi_scale_iou(pred, target), curve[:256], rtol=0, atol=1e-14)
        exact = multi_scale_curve(levels(pred).astype(np.uint8), target)
        np.testing.assert_allclose(exact, curve, rtol=0, atol=1e-14)


@pytest.fixture
def batch():
    generator = np.random.default_rng(5)
    pred, target = zip(*(blob_pair(generator, 19, 26) for _ in range(3)), strict=True)
    return np.stack(pred), np.stack(target)


def test_follows_the_definition(pair_strategy):
    @settings(max_examples=40)
    @given(pair_strategy())
    def check(pair):
        pred, target = pair
        curve = multi_scale_iou(pred, target)
        for threshold in {0, 1, 64, 128, 255, *np.unique(levels(pred).astype(int))[:4]}:
            expected = edge_reference.multi_scale_iou(levels(pred) >= threshold, target)
            assert curve[threshold] == pytest.approx(expected, abs=1e-14)
        x = metric_reference.normalised(pred)
        for name, cut in (("adaptive", x >= metric_reference.adaptive_threshold(x)), ("binary", x > 0.5)):
            expected = edge_reference.multi_scale_iou(cut, target)
            assert multi_scale_iou(pred, target, reduce=name) == pytest.approx(expected, abs=1e-14)

    check()


@pytest.mark.parametrize("size", [(7, 5), (40, 33), (65, 130)])
def test_curve_equals_the_peer(size):
    assert_equal_to_peer(*blob_pair(np.random.default_rng(size), *size))


def test_single_cuts_equal_the_peer():
    generator = np.random.default_rng(1)
    for _ in range(60):
        pred, target = blob_pair(generator, *generator.integers(1, 150, 2))
        assert_equal_to_peer(pred, target, dynamic=False)


@pytest.mark.parametrize(("pred", "target"), [pytest.param(*pair, id=name) for name, *pair in degenerate_pairs()])
def test_degenerate_images_equal_the_peer(pred, target):
    assert_equal_to_peer(pred, target)


def test_without_normalisation(batch):
    for pred, target in zip(*batch, strict=True):
        expected = peer(pred / 255 * 0.8, target, normalize=False)
        values = [multi_scale_iou(pred / 255 * 0.8, target, normalize=False, reduce=each) for each in REDUCED]
        np.testing.assert_allclose(values[0], expected[0][:256], rtol=0, atol=1e-14)
        np.testing.assert_allclose(values[1:], expected[1:], rtol=0, atol=1e-14)


def test_counts_are_in_half_precision_as_long_as_it_is_finite():
    """Where the peer sums to infinity the library leaves it on purpose."""
    generator = np.random.default_rng(3)
    medium = generator.random((150, 90)) < 0.5  # 13,000 edge pixels, of which half precision keeps 11 bits
    assert_equal_to_peer(np.uint8(255) * medium, medium, dynamic=False)
    exact = edge_reference.multi_scale_iou(medium, medium)
    assert 1e-9 < abs(multi_scale_iou(medium * 1.0, medium, reduce="binary") - exact) < 1e-4
    large = generator.random((300, 300)) < 0.5  # 89,000
    assert peer(np.uint8(255) * large, np.uint8(255) * large, dynamic=False)[2] < 0.95
    assert multi_scale_iou(large * 1.0, large, reduce="binary") == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "and_one"), [(0, 1), (3, 4), (2048, 2048), (2049, 2048), (65519, 65504), (65520, 65521), (89000, 89001)]
)
def test_a_count_and_one_in_half_precision(count, and_one):
    assert _in_half_precision(count) == and_one


def test_one_half_itself_is_background(batch):
    target = batch[1]
    half, nothing = (multi_scale_iou(target * level, target, reduce="binary", normalize=False) for level in (0.5, 0.0))
    np.testing.assert_array_equal(half, nothing)
    assert (multi_scale_iou(target * 0.6, target, reduce="binary", normalize=False) > nothing).all()


def test_reductions(batch):
    curve = multi_scale_iou(*batch)
    assert curve.shape == (3, 256)
    for name in ("max", "min", "mean"):
        value = multi_scale_iou(*batch, reduce=name)
        np.testing.assert_allclose(value, getattr(curve, name)(axis=-1), rtol=1e-14)


def test_perfect_edges_score_one():
    target = np.zeros((40, 60), bool)
    target[10:20, 30:50] = True
    np.testing.assert_array_equal(multi_scale_iou(target * 1.0, target)[1:], 1)
    assert multi_scale_iou(~target * 1.0, target, reduce="binary") == 1  # the target's edges are there, with others


def test_cells_are_counted_from_the_bottom_right():
    edge = np.zeros((5, 3), bool)
    edge[0, 0] = True
    np.testing.assert_array_equal(touched(edge), [[True, False], [False, False], [False, False]])
    edge[1, 2] = True
    np.testing.assert_array_equal(touched(edge), [[True, False], [False, True], [False, False]])


def test_every_library_gives_the_same_scores(batch, xp, to_numpy):
    pred, target = batch
    for name in REDUCED:
        expected = multi_scale_iou(pred, target, reduce=name)
        value = multi_scale_iou(xp.asarray(pred), xp.asarray(target), reduce=name)
        assert type(value) is type(xp.asarray(1.0))
        assert value.dtype == xp.float64
        np.testing.assert_array_equal(to_numpy(value), expected)
        single = multi_scale_iou(xp.asarray(pred[1]), xp.asarray(target[1]), reduce=name)
        np.testing.assert_array_equal(to_numpy(single), expected[1])


def test_jax_without_64_bits(batch):
    jnp = pytest.importorskip("jax.numpy")
    value = multi_scale_iou(*map(jnp.asarray, batch))
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, np.float32(multi_scale_iou(*batch)))


def test_inputs_of_every_kind(batch):
    pred, target = batch
    expected = multi_scale_iou(pred, target)
    before = pred.copy(), target.copy()
    assert isinstance(multi_scale_iou(pred[0], target[0], reduce="max"), np.float64)
    for kind in (pred / 255, pred[:, None], np.asfortranarray(pred)):
        np.testing.assert_array_equal(multi_scale_iou(kind, target), expected)
    for kind in (target.astype(np.uint8) * 255, target * 0.1 + 0.45, target[:, None]):
        np.testing.assert_array_equal(multi_scale_iou(pred, kind), expected)
    noisy = np.clip(pred / 255 + 0.001, 0, 1)
    np.testing.assert_array_equal(multi_scale_iou(noisy, target, quantize=True), expected)
    np.testing.assert_array_equal(pred, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_floats_are_widened_first(batch, dtype):
    torch = pytest.importorskip("torch")
    narrow = torch.from_numpy(batch[0] / 255).to(getattr(torch, dtype)).requires_grad_()
    value = multi_scale_iou(narrow, torch.from_numpy(batch[1]))
    np.testing.assert_array_equal(value.numpy(), multi_scale_iou(narrow.detach().double().numpy(), batch[1]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"reduce": "median"}, ValueError, "reduce: expected one of 'curve', 'max'"),
        ({"check": "on"}, ValueError, "check: expected one of 'auto', 'off', got 'on'"),
        ({"normalize": 1}, TypeError, "normalize: expected True or False, got 1"),
        ({"quantize": None}, TypeError, "quantize: expected True or False, got None"),
        ({"pred": np.ones((5, 5))}, ValueError, "pred and target: expected equal shapes"),
        ({"pred": np.full((4, 5), 2.0)}, ValueError, "pred: expected values in [0, 1], got 2 to 2"),
        ({"pred": [[1.0]]}, TypeError, "expected arrays (NumPy, torch, JAX"),
        ({"target": np.ones((4, 5), int)}, ValueError, "got 1 in 1 mask (image 0); if that is the object's, say"),
        ({"target": np.eye(4, 5, dtype=int), "void": 1}, ValueError, "void: the metric looks at where pixels are, so"),
    ],
)
def test_bad_inputs(change, error, message):
    arguments = {"pred": np.zeros((4, 5)), "target": np.zeros((4, 5), bool)} | change
    with pytest.raises(error, match=re.escape(message)):
        multi_scale_iou(**arguments)


def test_traced_arrays_are_refused(batch, jax):
    message = (
        "expected arrays with values, got traced ones; this measure follows contours and edges on the host, so call"
    )
    with pytest.raises(TypeError, match=message):
        jax.jit(multi_scale_iou)(*batch)
