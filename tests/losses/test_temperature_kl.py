"""The divergence of equation 5, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import kl_divergence, kl_divergence_of_60_digits

from dynamic_kd.losses import temperature_kl

# (student, teacher, temperature, KL): worked out with 60 digits.
GOLDEN = [
    (0, 5, 5, 0.11094407167172735),
    (0, 0, 5, 0.0),
    (5, 0, 5, 0.12011450695827752),
    (200, 100, 5, 3.9161918747738045e-8),
    (-200, -100, 5, 3.9161918747738045e-8),
    (100, -100, 5, 19.999999917553855),
    (40, 30, 1, 8.4219031554978782e-13),
    (30, 40, 1, 9.352949779158916e-14),
    (-30, -40, 1, 9.352949779158916e-14),
    (3, -2, 2, 0.71579803703954177),
]


def plane(values, dtype=np.float64):
    return np.asarray(values, dtype).reshape(1, 1, -1)


@pytest.mark.parametrize(("student", "teacher", "temperature", "expected"), GOLDEN)
def test_golden_values(xp, to_numpy, student, teacher, temperature, expected):
    result = temperature_kl(
        xp.asarray(plane(student)),
        xp.asarray(plane(teacher)),
        temperature=temperature,
        temperature_squared=False,
    )
    np.testing.assert_allclose(to_numpy(result).item(), expected, rtol=1e-13)


@pytest.mark.parametrize(("student", "teacher", "temperature", "expected"), GOLDEN)
def test_golden_values_in_single_precision(student, teacher, temperature, expected):
    result = temperature_kl(
        plane(student, np.float32),
        plane(teacher, np.float32),
        temperature=temperature,
        temperature_squared=False,
    )
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.item(), expected, rtol=1e-6)


def test_agrees_with_the_loop(xp, to_numpy):
    student, teacher = np.random.default_rng(0).normal(0, 4, (2, 2, 3, 4))
    expected = np.vectorize(kl_divergence)(student, teacher, 3.0, True)
    result = temperature_kl(xp.asarray(student), xp.asarray(teacher), temperature=3.0)
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-9, atol=1e-13)


def test_it_is_softmax_over_two_channels():
    torch = pytest.importorskip("torch")
    student, teacher = torch.randn(2, 2, 2, 3, 4, dtype=torch.float64, generator=torch.manual_seed(0))
    functional = torch.nn.functional
    expected = functional.kl_div(
        functional.log_softmax(student / 5, 1),
        functional.log_softmax(teacher / 5, 1),
        log_target=True,
        reduction="none",
    )
    torch.testing.assert_close(temperature_kl(student, teacher), 25 * expected.sum(1), rtol=1e-10, atol=1e-13)


def test_it_points_from_the_teacher_to_the_student():
    low, high = plane(1.0), plane(9.0)
    assert temperature_kl(low, high) != temperature_kl(high, low)
    expected = kl_divergence(1.0, 9.0, 5.0, True)
    np.testing.assert_allclose(temperature_kl(low, high).item(), expected, rtol=1e-12)


def test_temperature_squared_is_a_factor():
    student, teacher = plane([0.0, 2.0]), plane([3.0, -1.0])
    plain = temperature_kl(student, teacher, temperature=4.0, temperature_squared=False)
    np.testing.assert_allclose(temperature_kl(student, teacher, temperature=4.0), 16 * plain, rtol=1e-15)


LOGITS = [-300.0, -30.0, -2.0, -0.0, 0.0, 1.5, 30.0, 300.0]


def expected_gradient(student, teacher, temperature=5.0):
    """T² (s - t) / T, with s - t in the form that stays accurate where both are near 1."""
    s, t = (1 / (1 + np.exp(-z / temperature)) for z in (student, teacher))
    not_s, not_t = (1 / (1 + np.exp(z / temperature)) for z in (student, teacher))
    return temperature * np.where(student > 0, not_t - not_s, s - t)


@pytest.fixture
def grid():
    student, teacher = (z.reshape(1, len(LOGITS), -1) for z in np.meshgrid(LOGITS, LOGITS))
    return student, teacher


def test_torch_gradient_everywhere_zero_logits_and_saturation_included(grid):
    torch = pytest.importorskip("torch")
    student, teacher = map(torch.from_numpy, grid)
    student.requires_grad_()
    temperature_kl(student, teacher).sum().backward()
    np.testing.assert_allclose(student.grad, expected_gradient(*grid), rtol=1e-12, atol=1e-15)


def test_jax_gradient_everywhere_zero_logits_and_saturation_included(grid, jax):
    student, teacher = map(jax.numpy.asarray, grid)
    gradient = jax.grad(lambda z: temperature_kl(z, teacher).sum())(student)
    np.testing.assert_allclose(gradient, expected_gradient(*grid), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(("student", "teacher"), [(200.0, 240.0), (-240.0, -200.0)])
def test_gradient_stays_accurate_when_both_are_saturated(student, teacher, dtype, rtol, jax):
    torch = pytest.importorskip("torch")
    s, t = plane(student, dtype), plane(teacher, dtype)
    in_torch = torch.from_numpy(s).requires_grad_()
    temperature_kl(in_torch, torch.from_numpy(t)).sum().backward()
    in_jax = jax.grad(lambda z: temperature_kl(z, jax.numpy.asarray(t)).sum())(jax.numpy.asarray(s))
    expected = expected_gradient(np.float64(student), np.float64(teacher))
    assert abs(expected) < 1e-16
    np.testing.assert_allclose([in_torch.grad.item(), in_jax.item()], expected, rtol=rtol)


def test_the_teacher_is_a_constant(jax):
    student, teacher = (jax.numpy.asarray(plane(z)) for z in (1.0, 2.0))
    assert jax.grad(lambda t: temperature_kl(student, t).sum())(teacher).item() == 0


@pytest.mark.parametrize("temperature", [0, -1.0, float("inf"), float("nan")])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=r"temperature: expected a number in \(0, inf\), got"):
        temperature_kl(plane(0), plane(0), temperature=temperature)


def test_temperature_squared_must_be_a_flag():
    with pytest.raises(TypeError, match="temperature_squared: expected True or False, got 1"):
        temperature_kl(plane(0), plane(0), temperature_squared=1)


def test_a_single_softmax_channel_is_not_silently_zero():
    assert temperature_kl(np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1, 1))).item() > 0


def test_resolution_mismatch_names_the_remedy():
    with pytest.raises(ValueError, match=r"teacher_logits: .*align_teacher"):
        temperature_kl(np.zeros((1, 4, 4)), np.zeros((1, 2, 2)))


# Some at the border between the series and the closed form, |z_s - z_t| / T = .68 in float32 and .07 in float64.
PAIRS = [(0.0, 4.0), (3.0, -3.0), (1.0, 1.001), (-40.0, 25.0), (6.79, 0.0), (6.81, 0.0), (0.7, 0.0), (200.0, -150.0)]


@pytest.mark.parametrize("temperature", [8.5, 10.0, 1e3, 1e4, 1e6])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 5e-6), ("float64", 1e-12)])
def test_a_high_temperature_loses_no_digits(xp, to_numpy, dtype, rtol, temperature):
    student, teacher = (plane(values, dtype) for values in zip(*PAIRS, strict=True))
    found = to_numpy(temperature_kl(xp.asarray(student), xp.asarray(teacher), temperature=temperature)).ravel()
    for value, *logits in zip(found, student.ravel(), teacher.ravel(), strict=True):
        exact = kl_divergence_of_60_digits(*logits, temperature)
        assert value == pytest.approx(exact, rel=rtol, abs=1e-30), logits


def test_the_limit_of_high_temperatures():
    """An eighth of the squared difference: 36 / 8 for logits of ±3."""
    found = temperature_kl(plane(3, np.float32), plane(-3, np.float32), temperature=1e6)
    np.testing.assert_allclose(found, 4.5, rtol=1e-6)


@pytest.mark.parametrize("temperature", [8.5, 1e3, 1e6])
def test_the_gradient_at_a_high_temperature(temperature, jax):
    """T (s - t), by 60 digits."""
    torch = pytest.importorskip("torch")
    student, teacher = (plane(values, np.float32) for values in zip(*PAIRS, strict=True))
    leaf = torch.from_numpy(student).requires_grad_()
    temperature_kl(leaf, torch.from_numpy(teacher), temperature=temperature).sum().backward()
    by_jax = jax.grad(lambda z: temperature_kl(z, jax.numpy.asarray(teacher), temperature=temperature).sum())(student)
    for found in (leaf.grad.numpy(), np.asarray(by_jax)):
        for value, s, t in zip(found.ravel(), student.ravel(), teacher.ravel(), strict=True):
            step = 1e-9 * max(abs(float(s)), 1)
            high, low = (kl_divergence_of_60_digits(float(s) + d, t, temperature) for d in (step, -step))
            assert value == pytest.approx((high - low) / (2 * step), rel=1e-5), (s, t)
