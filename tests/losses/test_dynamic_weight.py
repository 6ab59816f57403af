"""Equations 3, 4 and 6."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from dynamic_kd.losses import dynamic_weight, eliminate_noise


def test_golden_values(xp, to_numpy):
    alpha, beta = (xp.asarray(v, dtype=xp.float64) for v in ([0.9, 0.5, 1.0, 1.0], [0.8, 0.5, 1.0, 0.0]))
    expected = [math.tanh(0.9**0.7 * 0.8**0.3), math.tanh(0.5), math.tanh(1), 0.0]
    np.testing.assert_allclose(to_numpy(dynamic_weight(alpha, beta)), expected, rtol=1e-15)


@pytest.mark.parametrize(("p", "expected"), [(0.0, math.tanh(0.4)), (1.0, math.tanh(0.9))])
def test_ends_of_p_leave_one_factor(xp, to_numpy, p, expected):
    alpha, beta = xp.asarray([0.9], dtype=xp.float64), xp.asarray([0.4], dtype=xp.float64)
    np.testing.assert_allclose(to_numpy(dynamic_weight(alpha, beta, p=p)), [expected], rtol=1e-15)


@pytest.mark.parametrize(("p", "alpha", "beta"), [(0.0, 0.0, 0.4), (1.0, 0.4, 0.0)])
def test_a_factor_with_exponent_zero_is_one_even_at_zero(p, alpha, beta):
    assert dynamic_weight(np.array([alpha]), np.array([beta]), p=p) == np.tanh(0.4)


def test_teacher_and_student_are_not_interchangeable():
    low, high = np.array([0.2]), np.array([0.9])
    assert dynamic_weight(high, low) > dynamic_weight(low, high)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.0, 0.6), (0.6, 0.0)])
def test_gradient_is_zero_at_zero(p, alpha, beta):
    torch = pytest.importorskip("torch")
    pair = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (alpha, beta)]
    dynamic_weight(*pair, p=p).sum().backward()
    assert all(v.grad is None or torch.isfinite(v.grad) for v in pair)
    assert not any(v.grad for v in pair if v == 0)


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_gradient_is_finite_at_zero_in_jax(jax, p):
    zero = jax.numpy.zeros(1)
    gradients = jax.grad(lambda a, b: dynamic_weight(a, b, p=p).sum(), argnums=(0, 1))(zero, zero)
    assert all(bool(jax.numpy.all(g == 0)) for g in gradients)


def test_gradient_away_from_zero():
    torch = pytest.importorskip("torch")
    pair = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.8, 0.3)]
    assert torch.autograd.gradcheck(dynamic_weight, pair)


def test_noise_elimination_is_strict_at_the_threshold(xp, to_numpy):
    weight = xp.asarray([0.7, 0.6, 0.5], dtype=xp.float64)
    alpha = xp.asarray([0.51, 0.5, 0.1], dtype=xp.float64)
    assert to_numpy(eliminate_noise(weight, alpha)).tolist() == [0.7, 0.01, 0.01]


def test_noise_elimination_settings():
    weight, alpha = np.array([0.7, 0.6]), np.array([0.3, 0.2])
    assert eliminate_noise(weight, alpha, threshold=0.25, noise_weight=0.0).tolist() == [0.7, 0.0]


def test_each_weight_may_have_a_threshold_of_its_own(xp, to_numpy):
    weight, alpha, threshold = (
        xp.asarray(values, dtype=xp.float64) for values in ([0.7, 0.6, 0.5], [0.3, 0.5, 0.4], [0.2, 0.5, 0.9])
    )
    assert to_numpy(eliminate_noise(weight, alpha, threshold=threshold)).tolist() == [0.7, 0.01, 0.01]


@pytest.mark.parametrize(
    ("threshold", "error", "message"),
    [
        ([0.5, 1.5], ValueError, r"threshold: expected values in \[0, 1\], got values from 0.5 to 1.5"),
        ([0.5], ValueError, r"threshold and teacher_iou: expected equal shapes, got \(1,\) and \(2,\)"),
        ([0, 1], TypeError, "threshold: expected real floating-point values, got int64"),
    ],
)
def test_thresholds_are_checked(threshold, error, message):
    with pytest.raises(error, match=message):
        eliminate_noise(np.ones(2), np.ones(2), threshold=np.array(threshold))


def test_nan_of_nan_logits_is_not_refused():
    unknown, known = np.array([math.nan]), np.array([0.6])
    for pair in ((unknown, known), (known, unknown)):
        assert dynamic_weight(*pair).shape == (1,)
        assert eliminate_noise(*pair).shape == (1,)


def test_dtype_is_kept():
    half = np.array([0.5], np.float32)
    assert dynamic_weight(half, half).dtype == np.float32
    assert eliminate_noise(half, half).dtype == np.float32


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_p_out_of_range(p):
    with pytest.raises(ValueError, match=r"p: expected a number in \[0, 1\], got"):
        dynamic_weight(np.ones(1), np.ones(1), p=p)


@pytest.mark.parametrize("name", ["threshold", "noise_weight"])
def test_noise_settings_out_of_range(name):
    for value in (-0.5, 1.5):
        with pytest.raises(ValueError, match=rf"{name}: expected a number in \[0, 1\], got {value}"):
            eliminate_noise(np.ones(1), np.ones(1), **{name: value})


@pytest.mark.parametrize(("alpha", "beta", "name"), [(1, 1.0, "teacher_iou"), (1.0, 1, "student_error")])
def test_integers_are_refused(alpha, beta, name):
    with pytest.raises(TypeError, match=f"{name}: expected real floating-point values"):
        dynamic_weight(np.asarray([alpha]), np.asarray([beta]))


BAD_PAIRS = [
    ([0.5, 1.5], [0.5, 0.5], "{0}: expected values in [0, 1], got values from 0.5 to 1.5"),
    ([0.5, 0.5], [-0.5, 0.5], "{1}: expected values in [0, 1], got values from -0.5 to 0.5"),
    (
        [0.5, 0.5, 0.5],
        [0.5, 0.5],
        "{0} and {1}: expected equal shapes, got (3,) and (2,); take both at one granularity",
    ),
]


@pytest.mark.parametrize(("first", "second", "message"), BAD_PAIRS)
def test_values_and_shapes_are_checked(first, second, message):
    first, second = np.array(first), np.array(second)
    for function, names in (
        (dynamic_weight, ("teacher_iou", "student_error")),
        (eliminate_noise, ("weight", "teacher_iou")),
    ):
        with pytest.raises(ValueError, match=re.escape(message.format(*names))):
            function(first, second)


def test_integer_weights_would_lose_the_noise_weight():
    with pytest.raises(TypeError, match="weight: expected real floating-point values, got int64"):
        eliminate_noise(np.array([1, 1]), np.array([0.2, 0.9]))


def test_plain_numbers_are_refused():
    with pytest.raises(TypeError, match=r"expected arrays .* got builtins.float; convert it"):
        dynamic_weight(0.9, 0.8)
