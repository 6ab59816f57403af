"""A teacher's wrong pixels, exchanged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dynamic_kd.losses import probability_shift

LOGITS = arrays(np.float64, (2, 3, 4), elements=st.floats(-50, 50))
MASKS = arrays(np.bool_, (2, 3, 4))


def test_golden_values(xp, to_numpy):
    teacher = xp.asarray([[[[3.0, -2.0, 0.5, -0.25]]]], dtype=xp.float64)
    target = xp.asarray([[[[1, 1, 0, 0]]]], dtype=xp.int32)
    np.testing.assert_array_equal(to_numpy(probability_shift(teacher, target)), [[[[3, 2, -0.5, -0.25]]]])


def test_a_soft_target_is_salient_above_one_half(xp, to_numpy):
    teacher = xp.asarray([[[1.0, 1.0, -1.0]]], dtype=xp.float32)
    target = xp.asarray([[[0.4, 0.5, 0.6]]], dtype=xp.float32)
    shifted = probability_shift(teacher, target)
    assert shifted.dtype == xp.float32
    np.testing.assert_array_equal(to_numpy(shifted), [[[-1, -1, 1]]])


@given(LOGITS, MASKS)
def test_the_class_is_that_of_the_truth_and_how_sure_the_teachers(teacher, target):
    shifted = probability_shift(teacher, target)
    for pixel in np.ndindex(teacher.shape):
        assert shifted[pixel] == (1 if target[pixel] else -1) * abs(teacher[pixel])


@given(LOGITS, MASKS)
def test_twice_is_once(teacher, target):
    once = probability_shift(teacher, target)
    np.testing.assert_array_equal(probability_shift(once, target), once)


@given(arrays(np.float64, (2, 2, 3, 4), elements=st.floats(-50, 50)), MASKS)
def test_two_channels_are_exchanged_and_their_margin_is_that_of_one(teacher, target):
    shifted = probability_shift(teacher, target)
    np.testing.assert_array_equal(np.sort(shifted, axis=1), np.sort(teacher, axis=1))
    margin, expected = shifted[:, 1] - shifted[:, 0], probability_shift(teacher[:, 1] - teacher[:, 0], target)
    np.testing.assert_array_equal(margin, expected)
    np.testing.assert_array_equal(probability_shift(teacher[:1], target[:1]), shifted[:1])
    np.testing.assert_array_equal(probability_shift(teacher[:, :, :1], target[:, :1]), shifted[:, :, :1])


@pytest.mark.parametrize(
    ("teacher", "target", "message"),
    [
        (np.ones((1, 2, 2), int), np.ones((1, 2, 2)), "teacher_logits: expected real floating-point values, got int"),
        (np.ones((2, 2)), np.ones((1, 2, 2)), "teacher_logits: expected shape .*, got .2, 2.; add a batch axis"),
        (np.ones((1, 3, 2, 2)), np.ones((1, 2, 2)), "teacher_logits: 3 channels: expected 1 or 2"),
        (np.ones((1, 2, 2)), np.ones((1, 3, 2)), "target: expected the resolution of teacher_logits, .2, 2., got"),
        (np.ones((2, 2, 2)), np.ones((1, 2, 2)), "target: expected the batch of teacher_logits, 2, got 1 images"),
    ],
)
def test_what_does_not_fit_is_refused(teacher, target, message):
    with pytest.raises((TypeError, ValueError), match=message):
        probability_shift(teacher, target)
