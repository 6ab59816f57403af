"""Context measures and the colour differences under them."""

import re
import warnings

import metric_reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamic_kd.metrics import camouflage_context_measure, context_measure
from dynamic_kd.metrics._pixels._camouflage import camouflage_degree, ciede2000, lab_from_rgb
from dynamic_kd.metrics._pixels._context_measure import context_kernel

pytest.importorskip("cv2", reason="OpenCV filters the maps; it is in the extra 'eval'")
reference = pytest.importorskip("context_reference")

any_image = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def peer():
    return pytest.importorskip("py_sod_metrics", reason="PySODMetrics is in the dependency group 'peers'")


def scene(generator, height, width):
    """An ellipse before a textured background, a noisy map of it, and their photograph, which has no equal patches."""
    rows, columns = np.indices((height, width))
    center = generator.uniform(0.3, 0.7, 2) * (height, width)
    radius = generator.uniform(0.2, 0.35) * min(height, width)
    target = np.hypot((rows - center[0]) * generator.uniform(0.6, 1.4), columns - center[1]) < radius
    pred = np.clip(target * 200 + generator.normal(0, 60, target.shape), 0, 255).astype(np.uint8)
    texture = 60 * np.sin(rows / 7)[..., None] * generator.normal(0, 1, 3) + 20 * target[..., None]
    image = np.clip(128 + texture + generator.normal(0, 15, (height, width, 3)), 0, 255).astype(np.uint8)
    return pred, target, image


@any_image
@given(data=st.data(), alpha=st.sampled_from([1.0, 2.5, 6.0]), beta_squared=st.sampled_from([0.5, 1.0]))
def test_context_measure(backend, pair_strategy, data, alpha, beta_squared):
    pred, target = data.draw(pair_strategy(10))
    x = metric_reference.normalised(pred)
    expected = reference.context_measure(x, target, beta_squared=beta_squared, alpha=alpha)
    value = context_measure(backend(pred), backend(target), alpha=alpha, beta_squared=beta_squared)
    assert float(value) == pytest.approx(expected, rel=0, abs=1e-9)
    assert 0 <= float(value) <= 1


def test_a_perfect_map_has_no_more_than_1():
    """Filters round here, and 2e-16 above it came out."""
    assert context_measure(np.array([[0, 255]] * 2, np.uint8), np.array([[False, True]] * 2), beta_squared=0.5) == 1


def test_only_what_the_kernel_reaches_is_filtered():
    """Objects at a corner, in the middle and along a border of an image much larger than they are."""
    generator = np.random.default_rng(1)
    for box in (np.s_[:3, :5], np.s_[40:44, 50:52], np.s_[60:, 20:22], np.s_[:, 79:]):
        pred, target = generator.integers(0, 256, (64, 80), np.uint8), np.zeros((64, 80), bool)
        target[box] = True
        expected = reference.context_measure(metric_reference.normalised(pred), target, alpha=3.0)
        assert context_measure(pred, target, alpha=3.0) == pytest.approx(expected, rel=0, abs=1e-12)


def test_the_kernel_shrinks_to_lines():
    single = np.zeros((9, 9), bool)
    single[4, 4] = True
    assert context_kernel(single, 6.0).shape == (3, 3)
    row = np.zeros((20, 20), bool)
    row[7, 2:18] = True
    assert context_kernel(row, 6.0).shape == (1, 37)
    assert context_kernel(row.T, 2.0).shape == (13, 1)
    oblique = context_kernel(np.eye(20, dtype=bool), 6.0)
    assert (oblique[~np.eye(len(oblique), dtype=bool)] == 0).all()
    np.testing.assert_allclose(oblique.diagonal(), context_kernel(row, 6.0 / np.sqrt(2))[0], rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_py_sod_metrics_agrees(peer, seed):
    generator = np.random.default_rng(seed)
    pairs = [scene(generator, *generator.integers(10, 90, 2)) for _ in range(8)]
    pred, target, image = pairs[0]
    pairs += [(pred, target & False, image), (pred & 0, target, image), (pred, target | True, image)]
    row = np.zeros_like(target)
    row[3, 2:9] = True
    pairs += [(pred, row, image), (pred, row & (np.arange(row.shape[1]) == 4), image)]
    for pred, target, image in pairs:
        gt = target.astype(np.uint8) * 255
        plain, camouflaged = peer.ContextMeasure(), peer.CamouflageContextMeasure()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain.step(pred, gt)
            camouflaged.step(pred, gt, img=image)
        # Theirs blurs the target in float32, whose 24 bits leave 6e-8.
        assert context_measure(pred, target) == pytest.approx(plain.get_results()["cm"], rel=0, abs=1e-7)
        value = camouflage_context_measure(pred, target, image)
        assert value == pytest.approx(camouflaged.get_results()["ccm"], rel=0, abs=1e-6)
        other = peer.CamouflageContextMeasure(beta2=0.5, alpha=3.0, gamma=4, lambda_spatial=50)
        other.step(pred, gt, img=image)
        value = camouflage_context_measure(pred, target, image, beta_squared=0.5, alpha=3.0, gamma=4, spatial_weight=50)
        assert value == pytest.approx(other.get_results()["ccm"], rel=0, abs=1e-6)


def test_py_sod_metrics_fails_on_oblique_lines(peer):
    target = np.zeros((16, 16), np.uint8)
    target[2, 2] = target[3, 3] = 255
    pred = np.arange(256, dtype=np.uint8).reshape(16, 16)
    with pytest.raises(np.linalg.LinAlgError):
        peer.ContextMeasure().step(pred, target)
    assert 0 < context_measure(pred, target) < 1


@pytest.mark.parametrize("seed", range(4))
def test_camouflage_degree(seed):
    generator = np.random.default_rng(seed)
    _, target, image = scene(generator, *generator.integers(24, 60, 2))
    painted = reference.painted(image, target)
    assert painted is not None
    similarity = 1 - np.minimum(ciede2000(lab_from_rgb(painted), lab_from_rgb(image)) / 100, 1)
    expected = np.where(target, (np.exp(8 * similarity) - 1) / (np.exp(8) - 1), 0)
    degree = camouflage_degree(image, target, gamma=8.0, spatial_weight=20.0)
    np.testing.assert_allclose(degree, expected, rtol=0, atol=1e-12)


def test_distances_come_in_chunks(monkeypatch):
    from dynamic_kd.metrics._pixels import _camouflage

    _, target, image = scene(np.random.default_rng(0), 60, 60)
    whole = camouflage_degree(image, target, gamma=8.0, spatial_weight=20.0)
    monkeypatch.setattr(_camouflage, "_CHUNK", 1)
    chunked = camouflage_degree(image, target, gamma=8.0, spatial_weight=20.0)
    np.testing.assert_allclose(chunked, whole, rtol=0, atol=1e-12)  # BLAS sums one row in another order than many


def test_a_well_camouflaged_object_has_degree_one():
    target = np.zeros((40, 40), bool)
    target[9:31, 9:31] = True
    flat = np.full((40, 40, 3), (90, 120, 40), np.uint8)
    degree = camouflage_degree(flat, target, gamma=8.0, spatial_weight=20.0)
    np.testing.assert_array_equal(degree == 1, target)  # the grid of patches covers this object
    bright = np.where(target[..., None], 255, flat).astype(np.uint8)
    assert camouflage_degree(bright, target, gamma=8.0, spatial_weight=20.0)[target].max() < 0.1
    assert camouflage_degree(bright, target, gamma=1000.0, spatial_weight=20.0).max() < 1e-9


def test_colors_farther_apart_than_100_are_as_bad_as_any():
    target = np.zeros((40, 40), bool)
    target[9:31, 9:31] = True
    image = np.where(target[..., None], (255, 255, 0), (0, 0, 255)).astype(np.uint8)
    assert ciede2000(*lab_from_rgb(image[[0, 20], [0, 20]])) > 100
    np.testing.assert_array_equal(camouflage_degree(image, target, gamma=8.0, spatial_weight=20.0), 0)


def test_an_image_as_high_as_a_patch_has_patches():
    """All of them in one row, where places spread over columns alone."""
    target = np.zeros((7, 60), bool)
    target[:, 20:42] = True
    degree = camouflage_degree(np.full((7, 60, 3), 99, np.uint8), target, gamma=8.0, spatial_weight=20.0)
    np.testing.assert_array_equal(degree[:, 21:40], 1)  # the grid covers so much of it


@pytest.mark.parametrize("objects", [np.s_[0:0], np.s_[:], np.s_[10:16, 10:16]])
def test_without_patches_there_is_no_camouflage(objects):
    target = np.zeros((30, 30), bool)
    target[objects] = True
    image = np.full((30, 30, 3), 99, np.uint8)
    pred = np.arange(900).reshape(30, 30) / 900
    assert camouflage_degree(image, target, gamma=8.0, spatial_weight=20.0).max() == 0
    expected = context_measure(pred, target, beta_squared=1.2)
    assert camouflage_context_measure(pred, target, image) == pytest.approx(expected)
    assert camouflage_context_measure(pred[:5], target[:5], image[:5]) >= 0  # smaller than a patch


def test_batches_are_scored_image_by_image():
    generator = np.random.default_rng(2)
    pred, target, image = (np.stack(each) for each in zip(*(scene(generator, 40, 50) for _ in range(3)), strict=True))
    values = camouflage_context_measure(pred[:, None], target, image)
    singles = [camouflage_context_measure(*each) for each in zip(pred, target, image, strict=True)]
    np.testing.assert_array_equal(values, singles)
    assert len(set(singles)) == 3
    np.testing.assert_array_equal(context_measure(pred, target), [*map(context_measure, pred, target)])


def test_every_library(xp, to_numpy):
    arrays = [each[None] for each in scene(np.random.default_rng(3), 40, 50)]
    for function, count in ((context_measure, 2), (camouflage_context_measure, 3)):
        value = function(*map(xp.asarray, arrays[:count]))
        assert type(value) is type(xp.asarray(1.0))
        assert value.dtype == xp.float64
        np.testing.assert_array_equal(to_numpy(value), function(*arrays[:count]))


def test_empty_and_full():
    pred, target, image = scene(np.random.default_rng(4), 30, 30)
    assert context_measure(pred, target & False) == 0
    assert context_measure(pred & 0, target) == 0
    assert context_measure(np.ones((30, 30)), target | True) == pytest.approx(1)
    assert camouflage_context_measure(pred, target & False, image) == 0
    assert context_measure(target * 1.0, target) > context_measure(pred, target) > context_measure(1.0 - target, target)


def test_fourier_transforms_leave_no_negative_scores():
    pred, target = np.zeros((9, 8)), np.zeros((9, 8), bool)
    pred[8, 1] = target[0, 1] = target[2, 6] = True
    assert context_measure(pred, target, alpha=2.5) >= 0


# Sharma, Wu and Dalal (2005), table 1: pairs that show mistakes in the hue's angles.
SHARMA = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, 2.8361, -74.0200), (50, 0, -82.7485), 3.4412),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, -1.1848, -84.8006), (50, 0, -82.7485), 1.0000),
    ((50, -0.9009, -85.5211), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0009), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0010), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0012), 7.2195),
    ((50, -0.0010, 2.4900), (50, 0.0009, -2.4900), 4.8045),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_ciede2000_of_published_pairs(first, second, expected):
    assert ciede2000(np.array(first, float), np.array(second, float)) == pytest.approx(expected, abs=5e-5)


def test_colors_agree_with_scikit_image():
    color = pytest.importorskip("skimage.color", reason="scikit-image comes with PySODMetrics, in the group 'peers'")
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 256, (2, 90, 90, 3)).astype(np.uint8)
    second[:30] = np.clip(first[:30] + generator.integers(-9, 9, (30, 90, 3)), 0, 255)
    first[60:70] = first[60:70, :, :1]  # greys
    second[65:75] = 0
    labs = [lab_from_rgb(each) for each in (first, second)]
    for lab, rgb in zip(labs, (first, second), strict=True):
        np.testing.assert_allclose(lab, color.rgb2lab(rgb), rtol=0, atol=1e-10)
    np.testing.assert_allclose(ciede2000(*labs), color.deltaE_ciede2000(*labs), rtol=0, atol=1e-9)


PRED, TARGET, IMAGE = np.eye(8), np.eye(8, dtype=bool), np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (IMAGE[..., 0], ValueError, "image: expected RGB of shape (8, 8, 3), as pred is (8, 8), got (8, 8); move"),
        (IMAGE.transpose(2, 0, 1), ValueError, "got (3, 8, 8); move channels last, and resize it to the target's size"),
        (IMAGE[:4], ValueError, "got (4, 8, 3)"),
        (IMAGE / 255, TypeError, "image: expected uint8 (0 to 255), got float64; scale and round it"),
        (IMAGE.tolist(), TypeError, "expected arrays (NumPy, torch, JAX"),
    ],
)
def test_bad_images(image, error, message):
    with pytest.raises(error, match=re.escape(message)):
        camouflage_context_measure(PRED, TARGET, image)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"beta_squared": 0}, ValueError, "beta_squared: expected a number in (0, inf), got 0"),
        ({"alpha": -1}, ValueError, "alpha: expected a number in (0, inf), got -1"),
        ({"gamma": 0}, ValueError, "gamma: expected a number in (0, inf), got 0"),
        ({"spatial_weight": -1}, ValueError, "spatial_weight: expected a number in [0, inf), got -1"),
        ({"quantize": 1}, TypeError, "quantize: expected True or False, got 1 (int)"),
    ],
)
def test_bad_settings(setting, error, message):
    with pytest.raises(error, match=re.escape(message)):
        camouflage_context_measure(PRED, TARGET, IMAGE, **setting)
    if setting.keys() & {"beta_squared", "alpha", "quantize"}:
        with pytest.raises(error, match=re.escape(message)):
            context_measure(PRED, TARGET, **setting)


def test_bad_arrays_and_traced_ones(jax):
    for function, more in ((context_measure, ()), (camouflage_context_measure, (IMAGE,))):
        with pytest.raises(ValueError, match="pred and target: expected equal shapes"):
            function(PRED, TARGET[:4], *more)
        with pytest.raises(TypeError, match="expected arrays with values, got traced ones"):
            jax.jit(function)(PRED, TARGET, *more)


def test_without_opencv(monkeypatch):
    from dynamic_kd import _extras

    monkeypatch.setattr(_extras, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'dynamic-kd[eval]'")):
        context_measure(PRED, TARGET)
