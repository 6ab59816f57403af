"""Gradients by the student's logits, against central differences of the float64 loops."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import loss_gradient, random_batch
from loss_terms import terms_of

from dynamic_kd.losses import DynamicKDLoss

SETTINGS = [
    {},
    {"detach_weight": False},
    {"granularity": "pixel"},
    {"granularity": "pixel", "detach_weight": False},
    {"noise_elimination": None, "p": 0.2, "detach_weight": False},
    {"weighting": "a2dele", "temperature_squared": False},
    {"weighting": "none"},
    {"weighting": 0.3, "temperature": 2.0},
    {"weighting": 0.4, "temperature": 3.0, "noise_elimination": None},
    {"noise_elimination": "relative", "detach_weight": False},
]


def torch_gradient(torch, student, *rest, **settings):
    leaf = torch.as_tensor(student).clone().requires_grad_()
    DynamicKDLoss(**settings)(leaf, *(torch.as_tensor(array) for array in rest)).backward()
    return leaf.grad


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_torch(torch, settings, masked):
    batch = random_batch(seed=2)
    batch = batch if masked else batch[:3]
    gradient = torch_gradient(torch, *batch, **settings)
    np.testing.assert_allclose(gradient, loss_gradient(*batch, **settings), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_jax(jax, settings, masked):
    batch = random_batch(seed=2)
    batch = batch if masked else batch[:3]
    gradient = jax.grad(DynamicKDLoss(**settings))(*map(jax.numpy.asarray, batch))
    np.testing.assert_allclose(gradient, loss_gradient(*batch, **settings), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_gradcheck_through_the_weight(torch, granularity):
    student, *rest = map(torch.from_numpy, random_batch(seed=3))
    loss = DynamicKDLoss(detach_weight=False, granularity=granularity)
    assert torch.autograd.gradcheck(lambda z: loss(z, *rest), student.requires_grad_())
    assert torch.autograd.gradgradcheck(lambda z: loss(z, *rest), student)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
@pytest.mark.parametrize("detach", [True, False])
def test_only_the_loss_carries_a_gradient(torch, detach, granularity):
    student, *rest = map(torch.from_numpy, random_batch())
    settings = DynamicKDLoss(detach_weight=detach, granularity=granularity)
    loss, terms = settings.with_terms(student.requires_grad_(), *rest)
    assert loss.requires_grad
    assert not any(term.requires_grad for term in terms)
    (gradient,) = torch.autograd.grad(loss, student)
    (expected,) = torch.autograd.grad(settings(student, *rest), student)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


@pytest.mark.parametrize("detach", [True, False])
def test_only_the_loss_carries_a_gradient_in_jax(jax, detach):
    batch = [jax.numpy.asarray(array) for array in random_batch()]
    loss = DynamicKDLoss(detach_weight=detach)
    (value, terms), gradient = jax.value_and_grad(loss.with_terms, has_aux=True)(*batch)
    np.testing.assert_array_equal(value, loss(*batch))
    np.testing.assert_array_equal(gradient, jax.grad(loss)(*batch))
    assert terms._fields == loss.with_terms(*batch)[1]._fields
    for place in range(7):
        slope = jax.grad(lambda *given, place=place: loss.with_terms(*given)[1][place].astype(float).sum())(*batch)
        assert not slope.any()


def test_a_function_is_a_constant_too(torch):
    scale = torch.tensor(0.5, requires_grad=True)
    student, *rest = map(torch.from_numpy, random_batch())
    loss = DynamicKDLoss(weighting=lambda alpha, beta, ce: scale * alpha, noise_elimination=None)
    loss(student.requires_grad_(), *rest).backward()
    assert scale.grad is None


@pytest.mark.parametrize("granularity", ["image", "pixel"])
@pytest.mark.parametrize("teacher", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("student", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_no_nan_at_the_ends(torch, student, teacher, level, granularity):
    """β = 0, α = 0, saturation and zero logits, with the gradient flowing through the weight."""
    planes = (torch.full((1, 3, 3), value, dtype=torch.float64) for value in (student, teacher, level))
    gradient = torch_gradient(torch, *planes, detach_weight=False, granularity=granularity, noise_elimination=None)
    assert torch.isfinite(gradient).all()


def test_gradient_of_a_zero_initialised_head(torch):
    """At z = 0 it is θ T (1/2 - t) + (1 - θ) (1/2 - G), over the number of pixels."""
    _, teacher, target, _ = random_batch()
    student = np.zeros_like(teacher)
    weight = terms_of(student, teacher, target).weight[:, None, None]
    t = 1 / (1 + np.exp(-teacher / 5))
    expected = (weight * 5 * (0.5 - t) + (1 - weight) * (0.5 - target)) / target.size
    np.testing.assert_allclose(torch_gradient(torch, student, teacher, target), expected, rtol=1e-12)


def test_invalid_pixels_get_no_gradient_even_if_nan(torch):
    student, teacher, target, valid = random_batch()
    expected = torch_gradient(torch, student, teacher, target, valid)
    for logits in (student, teacher):
        logits[~valid] = np.nan
    gradient = torch_gradient(torch, student, teacher, target, valid, detach_weight=True)
    np.testing.assert_array_equal(gradient, expected)
    assert np.all(gradient.numpy()[~valid] == 0)
    through = torch_gradient(torch, student, teacher, target, valid, detach_weight=False)
    assert torch.isfinite(through).all()


def test_invalid_pixels_get_no_gradient_in_jax_even_if_nan(jax):
    student, teacher, target, valid = random_batch()
    for logits in (student, teacher):
        logits[~valid] = np.nan
    loss = DynamicKDLoss(detach_weight=False)
    gradient = np.asarray(jax.grad(loss)(*map(jax.numpy.asarray, (student, teacher, target, valid))))
    assert np.isfinite(gradient).all()
    assert np.all(gradient[~valid] == 0)


def test_a_batch_without_valid_pixels_has_no_gradient(torch):
    student, teacher, target, valid = random_batch()
    gradient = torch_gradient(torch, student, teacher, target, np.zeros_like(valid), detach_weight=False)
    assert torch.all(gradient == 0)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_extreme_half_logits_stay_finite(torch, half, granularity):
    dtype = getattr(torch, half)
    generator = torch.manual_seed(0)
    signs = [torch.where(torch.rand(1, 1, 384, 384, generator=generator) < 0.5, -1e4, 1e4) for _ in range(2)]
    student, teacher = (s.to(dtype) for s in signs)
    mask = torch.rand(1, 1, 384, 384, generator=generator) < 0.5
    student.requires_grad_()
    loss = DynamicKDLoss(granularity=granularity, detach_weight=False)(student, teacher, mask)
    loss.backward()
    assert loss.dtype == torch.float32
    assert student.grad.dtype == dtype
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_logits_are_computed_in_single_precision(torch, half):
    student, teacher, target, valid = map(torch.from_numpy, random_batch())
    student, teacher = (logits.to(getattr(torch, half)) for logits in (student, teacher))
    exact = DynamicKDLoss()(student.double(), teacher.double(), target, valid)
    result = DynamicKDLoss()(student, teacher, target, valid)
    torch.testing.assert_close(result.double(), exact, rtol=1e-6, atol=0)
