"""Every message that a bad input or setting gets."""

import re

import metric_reference as reference
import numpy as np
import pytest

from dynamic_kd.metrics import SODMetrics, e_measure, f_measure, mean_absolute_error, s_measure, weighted_f_measure
from dynamic_kd.metrics._inputs import as_pairs

PRED = np.linspace(0, 1, 48).reshape(6, 8)
TARGET = np.eye(6, 8, dtype=bool)

BAD_ARRAYS = [
    (PRED.tolist(), TARGET, TypeError, "expected arrays (NumPy, torch, JAX"),
    (PRED, TARGET[:5], ValueError, "pred and target: expected equal shapes, got (6, 8) and (5, 8); resize"),
    (PRED[0], TARGET[0], ValueError, "pred: expected shape (H, W), (B, H, W) or (B, 1, H, W), got (8,)"),
    (PRED[None].repeat(2, 0)[None], TARGET, ValueError, "pred: expected shape (H, W), (B, H, W) or (B, 1, H, W)"),
    (PRED[None, None, None], TARGET, ValueError, "(B, H, W) or (B, 1, H, W), got (1, 1, 1, 6, 8)"),
    (np.stack([PRED[None]] * 3), TARGET[None], ValueError, "expected equal shapes, got (3, 1, 6, 8) and (1, 6, 8)"),
    (PRED[None, None], TARGET[None, :, :7], ValueError, "expected equal shapes, got (1, 1, 6, 8) and (1, 6, 7)"),
    (PRED[None, None, :5], TARGET[None], ValueError, "expected equal shapes, got (1, 1, 5, 8) and (1, 6, 8)"),
    (
        np.dstack([PRED] * 3),
        TARGET,
        ValueError,
        "got (6, 8, 3), which looks like one image with channels last; read it",
    ),
    (PRED[..., None], TARGET[..., None], ValueError, "got (6, 8, 1), which looks like one image with channels last"),
    (np.ma.masked_array(PRED), TARGET, TypeError, "expected a plain array, got a masked one; fill it"),
    (PRED, np.dstack([TARGET] * 4), ValueError, "target: expected (H, W), (B, H, W) or (B, 1, H, W), got (6, 8, 4)"),
    (PRED[:0], TARGET[:0], ValueError, "pred: expected at least one pixel, got an empty array of shape (0, 8)"),
    (np.full_like(PRED, np.nan), TARGET, ValueError, "pred: expected finite values in [0, 1], got NaN or infinity"),
    (np.full_like(PRED, np.inf), TARGET, ValueError, "pred: expected finite values in [0, 1], got NaN or infinity"),
    (PRED * 255, TARGET, ValueError, "pred: expected values in [0, 1], got 0 to 255; divide 0 to 255 maps by 255"),
    (PRED * 1.5, TARGET, ValueError, "got 0 to 1.5; divide 0 to 255 maps by 255, or pass them as uint8"),
    (PRED * 256, TARGET, ValueError, "got 0 to 256; pass probabilities: apply the sigmoid to logits"),
    (PRED - 0.5, TARGET, ValueError, "got -0.5 to 0.5; pass probabilities: apply the sigmoid to logits"),
    (PRED * 8 - 4, TARGET, ValueError, "got -4 to 4; pass probabilities: apply the sigmoid to logits"),
    (PRED.astype(int), TARGET, TypeError, "uint8 (0 to 255), bool or floating values in [0, 1], got int64; cast"),
    (
        PRED,
        TARGET + 254 * np.eye(6, 8, 2, dtype=np.uint8),
        ValueError,
        "0, 1, 254 in 1 mask (image 0); all but 0 may be salient: --salient 1,254 (salient=[1, 254]); one of them may",
    ),
    (
        PRED,
        TARGET + 255 * np.eye(6, 8, 2, dtype=np.uint8),
        ValueError,
        "255 may be void, not labelled: --void 255 (void=255)",
    ),
    (PRED, TARGET * 256 + np.eye(6, 8, 1, dtype=int), ValueError, "got 0, 1, 256 in 1 mask (image 0); all but 0 may"),
    (PRED, TARGET * -1, ValueError, "got -1, 0 in 1 mask (image 0); if that is the object's, say --salient -1"),
    (PRED, TARGET * 255.0, ValueError, "target: expected floating values in [0, 1], got 0 to 255; pass masks with"),
    (PRED, TARGET * 1.5, ValueError, "target: expected floating values in [0, 1], got 0 to 1.5; pass masks with"),
    (
        PRED,
        (TARGET + 255 * np.eye(6, 8, 2)) / 255,
        ValueError,
        "target: expected a mask, got values that look like labels divided by 255: 1 / 255 beside 0 and 1 alone; pass",
    ),
    (
        PRED,
        TARGET / 255,
        ValueError,
        "labels divided by 255: 1 / 255 beside 0 and 1 alone; pass the integers, with void=",
    ),
    (PRED, TARGET * -0.5, ValueError, "target: expected floating values in [0, 1], got -0.5 to"),
    (PRED, TARGET * np.nan, ValueError, "target: expected finite values in [0, 1], got NaN or infinity"),
    (PRED, TARGET * 1j, TypeError, "target: expected bool, integers from 0 to 255 or floats in [0, 1], got complex128"),
]


@pytest.mark.parametrize(("pred", "target", "error", "message"), BAD_ARRAYS)
def test_bad_arrays(functions, pred, target, error, message):
    for function in functions.values():
        with pytest.raises(error, match=re.escape(message)):
            function(pred, target)
    metrics = SODMetrics()
    with pytest.raises(error, match=re.escape(message)):
        metrics.update(pred, target)
    assert len(metrics) == 0


def test_mixed_libraries(functions):
    torch = pytest.importorskip("torch")
    for function in functions.values():
        with pytest.raises(
            TypeError, match=r"expected all arrays from one library, got numpy.ndarray and torch.Tensor"
        ):
            function(PRED, torch.from_numpy(TARGET))


def test_devices_must_agree():
    torch = pytest.importorskip("torch")
    pred, elsewhere = torch.from_numpy(PRED), torch.from_numpy(TARGET).to("meta")
    for score in (f_measure, SODMetrics().update):
        with pytest.raises(
            ValueError, match="target: expected the device of pred, cpu, got meta; move one to the other"
        ):
            score(pred, elsewhere)


def test_an_image_of_a_batch_with_another_level_is_found():
    targets = np.stack([TARGET * 255, TARGET * 1]).astype(np.uint8)
    with pytest.raises(ValueError, match=r"got 0, 1 in 1 mask \(image 1\); 0, 255 in 1 mask \(image 0\)"):
        mean_absolute_error(np.stack([PRED, PRED]), targets)


@pytest.mark.parametrize("level", [1, 2, 127, 128, 129, 255, 256, 65535])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int64])
def test_any_level_beside_0_is_salient(level, dtype):
    if level > np.iinfo(dtype).max:
        pytest.skip("the dtype does not hold it")
    targets = np.stack([TARGET * dtype(level), TARGET * dtype(0)])
    expected = mean_absolute_error(np.stack([PRED, PRED]), targets > 0)
    np.testing.assert_array_equal(mean_absolute_error(np.stack([PRED, PRED]), targets), expected)
    unchecked = mean_absolute_error(np.stack([PRED, PRED]), targets, check="off")
    np.testing.assert_array_equal(unchecked, expected)


def test_levels_that_differ_from_batch_to_batch():
    metrics = SODMetrics(["MAE"])
    metrics.update(PRED, TARGET * np.uint8(255), names="a")
    message = (
        r"got 0, 1 in 1 mask \(b\); 0, 255 in 1 mask \(a\); 255 may be void, not labelled: --void 255 \(void=255\)"
    )
    with pytest.raises(ValueError, match=message):
        metrics.update(PRED, TARGET * np.uint8(1), names="b")
    assert len(metrics) == 1
    other = SODMetrics(["MAE"])
    other.update_records(other.measure(PRED, TARGET * np.uint8(1)), names="b")
    resumed = SODMetrics(["MAE"])
    resumed.load_state_dict(other.state_dict())
    for each in (other, resumed):
        with pytest.raises(ValueError, match="got 0, 1 in 1 mask"):
            metrics.merge(each)
    chosen = SODMetrics(["MAE"], salient=[1, 255])
    for level in (1, 255):
        chosen.update(PRED, TARGET * np.uint8(level))
    assert chosen.compute()["MAE"] == mean_absolute_error(PRED, TARGET)


def test_by_default_maps_are_stretched_and_not_quantized():
    pairs = as_pairs(PRED / 2, TARGET)
    assert (pairs.normalize, pairs.single, pairs.on_kernels, pairs.check) == (True, True, False, False)
    np.testing.assert_array_equal(pairs.pred[0], PRED / 2)
    np.testing.assert_array_equal(pairs.mask[0], TARGET)


def test_a_channel_axis_may_be_there_or_not():
    batch = np.stack([PRED] * 3), np.stack([TARGET] * 3)
    expected = mean_absolute_error(*batch)
    assert expected.shape == (3,)
    for pred in (batch[0], batch[0][:, None]):
        for target in (batch[1], batch[1][:, None]):
            np.testing.assert_array_equal(mean_absolute_error(pred, target), expected)


def test_masks_of_every_library_are_looked_at(xp, to_numpy):
    pred, target = np.stack([PRED, 1 - PRED]), np.stack([TARGET] * 2)
    for dtype in (np.uint8, np.int64):
        value = mean_absolute_error(xp.asarray(pred), xp.asarray(target * dtype(255)))
        np.testing.assert_allclose(to_numpy(value), mean_absolute_error(pred, target), rtol=1e-12)
        value = mean_absolute_error(xp.asarray(pred), xp.asarray(target * dtype(7)))
        np.testing.assert_allclose(to_numpy(value), mean_absolute_error(pred, target), rtol=1e-12)
        labels = target * dtype(7) + np.eye(6, 8, 2, dtype=dtype)
        with pytest.raises(ValueError, match=r"got 0, 1, 7 in 2 masks \(the first is image 0\)"):
            mean_absolute_error(xp.asarray(pred), xp.asarray(labels))
        chosen = mean_absolute_error(xp.asarray(pred), xp.asarray(labels), salient=7)
        np.testing.assert_allclose(to_numpy(chosen), mean_absolute_error(pred, target), rtol=1e-12)
        void = mean_absolute_error(xp.asarray(pred), xp.asarray(labels), void=1)
        for value, image, mask, there in zip(to_numpy(void), pred, target, labels != 1, strict=True):
            seen = (image[there] - image[there].min()) / np.ptp(image[there])
            assert value == pytest.approx(reference.mean_absolute_error(seen[None], mask[there][None]), rel=1e-6)


def test_a_genuinely_empty_mask_is_accepted(functions):
    for dtype in (np.uint8, np.int8, np.int64, float, bool):
        for function in functions.values():
            assert np.isfinite(function(PRED, np.zeros((6, 8), dtype))).all()


def test_unchecked_values_are_not_looked_at():
    labels = (TARGET + 254 * np.eye(6, 8, 2)).astype(np.uint8)
    bright = mean_absolute_error(PRED, labels > 128)
    assert mean_absolute_error(PRED, labels, check="off") == bright
    metrics = SODMetrics(check="off")
    metrics.update(PRED, labels)
    assert metrics.compute()["MAE"] == bright


def test_traced_values_are_not_looked_at(jax):
    labels = (TARGET + 254 * np.eye(6, 8, 2)).astype(np.uint8)
    bright = float(mean_absolute_error(PRED, labels > 128))
    scored = jax.jit(mean_absolute_error)(PRED, labels)
    assert float(scored) == pytest.approx(bright)
    for scored in (
        jax.jit(lambda pred: mean_absolute_error(pred, jax.numpy.asarray(labels)))(PRED),
        jax.jit(lambda target: mean_absolute_error(jax.numpy.asarray(PRED), target))(labels),
    ):
        assert float(scored) == pytest.approx(bright)
    with pytest.raises(TypeError, match="void: expected arrays with values, got traced ones"):
        jax.jit(lambda target: mean_absolute_error(jax.numpy.asarray(PRED), target, void=254))(labels)


BAD_SETTINGS = [
    (
        f_measure,
        {"reduce": "median"},
        ValueError,
        "reduce: expected one of 'curve', 'max', 'min', 'mean', 'adaptive', 'binary', got 'median'",
    ),
    (e_measure, {"reduce": 1}, ValueError, "reduce: expected one of 'curve'"),
    (f_measure, {"beta_squared": -1}, ValueError, "beta_squared: expected a number in [0, inf), got -1"),
    (
        weighted_f_measure,
        {"beta_squared": "1"},
        TypeError,
        "beta_squared: expected a number in [0, inf), got '1' (str)",
    ),
    (s_measure, {"alpha": 1.5}, ValueError, "alpha: expected a number in [0, 1], got 1.5"),
    (s_measure, {"alpha": float("nan")}, ValueError, "alpha: expected a number in [0, 1], got nan"),
    (e_measure, {"strict": 1}, TypeError, "strict: expected True or False, got 1 (int)"),
    (s_measure, {"normalize": None}, TypeError, "normalize: expected True or False, got None (NoneType)"),
    (s_measure, {"quantize": "no"}, TypeError, "quantize: expected True or False, got 'no' (str)"),
    (s_measure, {"check": "on"}, ValueError, "check: expected one of 'auto', 'off', got 'on'"),
]


@pytest.mark.parametrize(("function", "setting", "error", "message"), BAD_SETTINGS)
def test_bad_settings(function, setting, error, message):
    with pytest.raises(error, match=re.escape(message)):
        function(PRED, TARGET, **setting)
