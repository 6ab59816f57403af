"""Human correction effort: its definition, PySODMetrics and scikit-image beside it, every library."""

import re

import edge_reference
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import metric_reference
import numpy as np
import pytest
from blob_pairs import blob_pair, degenerate_pairs
from hypothesis import given, settings

from dynamic_kd import _extras
from dynamic_kd.metrics import human_correction_effort

pytest.importorskip("cv2", reason="OpenCV is in the extra 'eval'")
skeletons = pytest.importorskip("dynamic_kd.metrics._pixels._skeleton_numba", reason="numba is in the extra 'eval'")


def peer(pred, target, relax=5, epsilon=2.0, **options):
    py_sod_metrics = pytest.importorskip(
        "py_sod_metrics.sod_metrics", reason="PySODMetrics is in the dependency group 'peers', which holds NumPy back"
    )
    measure = py_sod_metrics.HumanCorrectionEffortMeasure(relax, epsilon)
    measure.step(pred, target, **options)
    return measure.hces[0]


@st.composite
def images(draw):
    """Noise of any density, and unions of rectangles and lines, which leave thick parts to thin."""
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    if draw(st.booleans()):
        generator = np.random.default_rng(draw(st.integers(0, 2**32)))
        return generator.random(shape) < draw(st.floats(0, 1))
    image = np.zeros(shape, bool)
    for top, left, height, width in draw(st.lists(st.tuples(*[st.integers(0, 24)] * 4), max_size=8)):
        image[top : top + height, left : left + width] ^= True
    return image


@pytest.fixture
def batch():
    generator = np.random.default_rng(5)
    pred, target = zip(*(blob_pair(generator, 45, 38) for _ in range(3)), strict=True)
    return np.stack(pred), np.stack(target)


@settings(max_examples=300)
@given(images())
def test_skeleton_equals_scikit_images(image):
    morphology = pytest.importorskip("skimage.morphology", reason="scikit-image comes with the group 'peers'")
    np.testing.assert_array_equal(skeletons.skeletonize(image), morphology.skeletonize(image))


@settings(max_examples=100)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)))
def test_skeleton_follows_the_definition(image):
    assert edge_reference.pixels(skeletons.skeletonize(image)) == edge_reference.skeleton(edge_reference.pixels(image))


def test_skeleton_of_every_neighbourhood():
    """All 3 x 3 and all 4 x 4 images: every neighbourhood occurs, alone and beside others that go with it."""
    morphology = pytest.importorskip("skimage.morphology", reason="scikit-image comes with the group 'peers'")
    for side in (3, 4):
        every = np.arange(1 << side * side)[:, None] >> np.arange(side * side) & 1
        tiles = np.pad(every.reshape(-1, side, side).astype(bool), ((0, 0), (0, 1), (0, 1)))
        sheet = tiles.reshape(-1, 16, side + 1, side + 1).swapaxes(1, 2).reshape(-1, 16 * (side + 1))
        np.testing.assert_array_equal(skeletons.skeletonize(sheet), morphology.skeletonize(sheet))


def test_follows_the_definition():
    generator = np.random.default_rng(0)
    for _ in range(40):
        pred, target = blob_pair(generator, *generator.integers(1, 48, 2))
        relax, epsilon = int(generator.integers(0, 6)), float(generator.choice([0, 1, 2, 3]))
        expected = edge_reference.human_correction_effort(
            metric_reference.normalised(pred) > 0.5, target, relax, epsilon
        )
        assert human_correction_effort(pred, target, relax=relax, epsilon=epsilon) == expected


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_peer(seed):
    generator = np.random.default_rng(seed)
    nonzero = 0
    for _ in range(60):
        pred, target = blob_pair(generator, *generator.integers(1, 120, 2))
        relax, epsilon = int(generator.integers(0, 7)), float(generator.choice([0, 0.5, 1, 2, 3]))
        expected = peer(pred, target.astype(np.uint8) * 255, relax, epsilon)
        assert human_correction_effort(pred, target, relax=relax, epsilon=epsilon) == expected
        nonzero += expected > 0
    assert nonzero > 40


@pytest.mark.parametrize(("pred", "target"), [pytest.param(*pair, id=name) for name, *pair in degenerate_pairs()])
def test_degenerate_images_equal_the_peer(pred, target):
    assert human_correction_effort(pred, target) == peer(pred, target.astype(np.uint8) * 255)


def test_without_normalisation(batch):
    pred, target = batch[0] / 255 * 0.8, batch[1]
    expected = [peer(*pair, normalize=False) for pair in zip(pred, target, strict=True)]
    np.testing.assert_array_equal(human_correction_effort(pred, target, normalize=False), expected)


def test_one_half_itself_is_background(batch):
    target = batch[1]
    expected = human_correction_effort(target * 0.0, target, normalize=False)
    np.testing.assert_array_equal(human_correction_effort(target * 0.5, target, normalize=False), expected)
    assert expected.all()


def test_a_perfect_map_costs_nothing(batch):
    np.testing.assert_array_equal(human_correction_effort(batch[1] * 1.0, batch[1]), 0)


def test_every_library_gives_the_same_scores(batch, xp, to_numpy):
    pred, target = batch
    expected = human_correction_effort(pred, target)
    value = human_correction_effort(xp.asarray(pred), xp.asarray(target))
    assert type(value) is type(xp.asarray(1.0))
    assert value.dtype == xp.float64
    np.testing.assert_array_equal(to_numpy(value), expected)
    assert to_numpy(human_correction_effort(xp.asarray(pred[1]), xp.asarray(target[1]))) == expected[1]


def test_inputs_of_every_kind(batch):
    pred, target = batch
    expected = human_correction_effort(pred, target)
    before = pred.copy(), target.copy()
    assert expected.shape == (3,)
    assert expected.all()
    for kind in (pred / 255, pred[:, None], np.asfortranarray(pred)):
        np.testing.assert_array_equal(human_correction_effort(kind, target), expected)
    for kind in (target.astype(np.uint8) * 255, target * 0.1 + 0.45, np.asfortranarray(target)):
        np.testing.assert_array_equal(human_correction_effort(pred, kind), expected)
    np.testing.assert_array_equal(pred, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"relax": -1}, ValueError, "relax: expected a whole number of at least 0, got -1"),
        ({"relax": 2.5}, TypeError, "relax: expected a whole number, got 2.5"),
        ({"relax": "5"}, TypeError, "relax: expected a whole number, got '5' (str)"),
        ({"epsilon": -0.1}, ValueError, "epsilon: expected a number in [0, inf), got -0.1"),
        ({"check": "on"}, ValueError, "check: expected one of 'auto', 'off', got 'on'"),
        ({"normalize": 1}, TypeError, "normalize: expected True or False, got 1"),
        ({"pred": np.ones((5, 5))}, ValueError, "pred and target: expected equal shapes"),
        ({"pred": np.full((4, 5), np.nan)}, ValueError, "pred: expected finite values in [0, 1], got NaN"),
    ],
)
def test_bad_inputs(change, error, message):
    arguments = {"pred": np.zeros((4, 5)), "target": np.zeros((4, 5), bool)} | change
    with pytest.raises(error, match=re.escape(message)):
        human_correction_effort(**arguments)


@pytest.mark.parametrize("missing", ["cv2", "numba"])
def test_missing_packages_name_the_extra(batch, missing, monkeypatch):
    monkeypatch.setattr(_extras, "find_spec", lambda name: None if name == missing else name)
    message = re.escape(f"{missing} is not installed; get it with: pip install 'dynamic-kd[eval]'")
    with pytest.raises(ModuleNotFoundError, match=message):
        human_correction_effort(*batch)


def test_traced_arrays_are_refused(batch, jax):
    with pytest.raises(TypeError, match=r"got traced ones; .* call it outside jax\.jit, jax\.vmap and torch\.compile"):
        jax.vmap(human_correction_effort)(*map(jax.numpy.asarray, batch))
