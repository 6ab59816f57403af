"""Teachers given as saliency maps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dynamic_kd.losses import logits_from_probabilities


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


def test_it_inverts_the_sigmoid(xp, to_numpy):
    maps = np.linspace(0.01, 0.99, 21).reshape(1, 3, 7)
    np.testing.assert_allclose(sigmoid(to_numpy(logits_from_probabilities(xp.asarray(maps)))), maps, rtol=1e-12)


def test_ends_are_clipped_symmetrically(xp, to_numpy):
    result = to_numpy(logits_from_probabilities(xp.asarray([0.0, 1.0], dtype=xp.float64), clip=0.01))
    np.testing.assert_allclose(result, [-math.log(99), math.log(99)], rtol=1e-13)


def test_eight_bit_levels_are_divided_by_255(xp, to_numpy):
    levels = np.arange(256, dtype=np.uint8)
    result = to_numpy(logits_from_probabilities(xp.asarray(levels)))
    assert result.dtype == np.float32
    expected = np.clip(levels / 255, 0.5 / 255, 1 - 0.5 / 255)
    np.testing.assert_allclose(sigmoid(result), expected, rtol=1e-6)


@pytest.mark.parametrize(("clip", "softened"), [(1 / 255, 0.75), (1e-3, 0.80), (1e-6, 0.94)])
def test_what_a_white_pixel_teaches_depends_on_the_clip(clip, softened):
    z = logits_from_probabilities(np.ones(1), clip=clip)
    assert sigmoid(z / 5).item() == pytest.approx(softened, abs=0.005)


@pytest.mark.parametrize("clip", [1e-12, 1e-30])
def test_a_tiny_clip_stays_finite_in_single_precision(clip):
    result = logits_from_probabilities(np.array([0, 1], np.float32), clip=clip)
    np.testing.assert_allclose(result, [math.log(clip), -math.log(clip)], rtol=1e-6)


def test_the_smallest_clip_is_the_dtypes_smallest_normal_number():
    clip = float(np.finfo(np.float32).smallest_normal)
    assert np.isfinite(logits_from_probabilities(np.array([0, 1], np.float32), clip=clip)).all()


def test_half_maps_give_float32():
    assert logits_from_probabilities(np.ones(2, np.float16)).dtype == np.float32


@pytest.mark.parametrize("clip", [0, 0.5, -0.1, 0.7])
def test_clip_out_of_range(clip):
    with pytest.raises(ValueError, match=r"clip: expected a number in \(0, 0.5\), got"):
        logits_from_probabilities(np.ones(1), clip=clip)


def test_a_clip_below_the_dtypes_range():
    with pytest.raises(ValueError, match=r"clip: expected at least 1.18e-38 for float32 maps, got 1e-50"):
        logits_from_probabilities(np.ones(1, np.float32), clip=1e-50)


@pytest.mark.parametrize("dtype", [np.int64, bool, np.uint16])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"maps: expected floating point in \[0, 1\] or uint8 in 0-255, got"):
        logits_from_probabilities(np.ones(1, dtype))


@pytest.mark.parametrize("value", [-0.5, 200.0, math.nan])
def test_values_out_of_range(value):
    with pytest.raises(ValueError, match=r"maps: expected values in \[0, 1\], got values from"):
        logits_from_probabilities(np.array([0.5, value]))
