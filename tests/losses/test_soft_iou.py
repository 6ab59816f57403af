"""Equations 1 and 2."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import soft_iou as reference_iou

from dynamic_kd.losses import soft_iou


def test_golden_value(xp, to_numpy):
    probabilities = xp.asarray([[[1.0, 0.5], [0.25, 0.0]]], dtype=xp.float64)
    mask = xp.asarray([[[1.0, 1.0], [0.0, 0.0]]], dtype=xp.float64)
    # intersection 1.5, union 1 + 1 + 0.25
    np.testing.assert_allclose(to_numpy(soft_iou(probabilities, mask)), [1.5 / 2.25], rtol=1e-15)


def test_hard_maps_give_the_ordinary_iou():
    rng = np.random.default_rng(0)
    pred, target = rng.random((2, 5, 6, 7)) < 0.5
    expected = (pred & target).sum((1, 2)) / (pred | target).sum((1, 2))
    np.testing.assert_allclose(soft_iou(pred.astype(float), target), expected, rtol=1e-15)


def test_soft_target_agrees_with_the_loop(xp, to_numpy):
    pred, target = np.random.default_rng(1).random((2, 3, 4, 5))
    expected = [reference_iou(list(zip(p.ravel(), g.ravel(), strict=True))) for p, g in zip(pred, target, strict=True)]
    np.testing.assert_allclose(to_numpy(soft_iou(xp.asarray(pred), xp.asarray(target))), expected, rtol=1e-14)


def test_by_pixel_it_is_the_probability_in_the_foreground_and_zero_elsewhere(xp, to_numpy):
    pred = np.random.default_rng(2).random((2, 3, 4))
    mask = np.random.default_rng(3).random((2, 3, 4)) < 0.5
    result = soft_iou(xp.asarray(pred), xp.asarray(mask), granularity="pixel")
    np.testing.assert_allclose(to_numpy(result), np.where(mask, pred, 0), rtol=1e-15)


@pytest.mark.parametrize("level", [0.0, 1e-300, 0.3, 1.0])
@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_empty_target_gives_zero_whatever_the_prediction(level, granularity):
    result = soft_iou(np.full((1, 3, 3), level), np.zeros((1, 3, 3)), granularity=granularity)
    assert np.all(result == 0)


@pytest.mark.parametrize("level", [1e-9, 1e-4])
def test_faint_maps_keep_their_iou(level):
    faint = np.full((1, 2, 2), level)
    np.testing.assert_allclose(soft_iou(faint, faint), level / (2 - level), rtol=1e-12)


def test_full_target_gives_the_mean_probability():
    pred = np.random.default_rng(4).random((2, 3, 4))
    np.testing.assert_allclose(soft_iou(pred, np.ones((2, 3, 4), bool)), pred.mean((1, 2)), rtol=1e-14)


def test_invalid_pixels_do_not_count_even_if_nan(xp, to_numpy):
    pred, target = np.random.default_rng(5).random((2, 1, 2, 3))
    valid = np.array([[[1, 1, 0], [0, 1, 1]]])
    expected = reference_iou([(pred[i], target[i]) for i in np.ndindex(pred.shape) if valid[i]])
    pred[valid == 0], target[valid == 0] = np.nan, 255.0
    result = soft_iou(xp.asarray(pred), xp.asarray(target), xp.asarray(valid))
    np.testing.assert_allclose(to_numpy(result), [expected], rtol=1e-14)


def test_channel_axis_is_optional():
    pred, target = np.random.default_rng(6).random((2, 2, 3, 4))
    valid = np.random.default_rng(7).random((2, 3, 4)) < 0.5
    assert np.array_equal(soft_iou(pred[:, None], target[:, None], valid[:, None]), soft_iou(pred, target, valid))


def test_half_precision_sums_do_not_overflow():
    pred = np.ones((1, 384, 384), np.float16)
    result = soft_iou(pred, pred)
    assert result.dtype == np.float32
    assert result == 1


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.ones((1, 2, 2), int), np.ones((1, 2, 2))), TypeError, "probabilities: expected real floating-point"),
        ((np.ones((1, 3, 2, 2)), np.ones((1, 2, 2))), ValueError, r"probabilities: 3 channels: expected 1, got"),
        ((np.ones((2, 2)), np.ones((2, 2))), ValueError, r"\(B, 1, H, W\), or \(B, H, W\), got \(2, 2\); add a batch"),
        ((4 * np.ones((1, 2, 2)), np.ones((1, 2, 2))), ValueError, "from 4 to 4; divide a 0-255 map by 255"),
        ((-4 * np.ones((1, 2, 2)), np.ones((1, 2, 2))), ValueError, "from -4 to -4; apply a sigmoid to logits"),
        ((np.full((1, 2, 2), np.nan), np.ones((1, 2, 2))), ValueError, "nan; look for where the NaN comes from"),
        ((np.ones((1, 2, 2)), np.ones((1, 3, 3))), ValueError, "target: expected the resolution of probabilities"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        soft_iou(*arguments)


def test_unknown_granularity_lists_the_known():
    with pytest.raises(ValueError, match="granularity: expected one of 'image', 'pixel', got 'batch'"):
        soft_iou(np.ones((1, 2, 2)), np.ones((1, 2, 2)), granularity="batch")
