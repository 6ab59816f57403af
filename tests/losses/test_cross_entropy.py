"""The cross-entropy of equation 5, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import binary_cross_entropy

from dynamic_kd.losses import cross_entropy

# (logit, target, cross-entropy): worked out with 60 digits.
GOLDEN = [
    (0, 1, 0.69314718055994531),
    (0, 0, 0.69314718055994531),
    (0, 0.25, 0.69314718055994531),
    (40, 1, 4.248354255291589e-18),
    (-40, 0, 4.248354255291589e-18),
    (40, 0, 40.0),
    (-40, 1, 40.0),
    (3, 0.75, 0.79858735157374206),
    (100, 0.5, 50.0),
]


def plane(values, dtype=np.float64):
    return np.asarray(values, dtype).reshape(1, 1, -1)


@pytest.mark.parametrize(("logit", "target", "expected"), GOLDEN)
def test_golden_values(xp, to_numpy, logit, target, expected):
    result = cross_entropy(xp.asarray(plane(logit)), xp.asarray(plane(target)))
    np.testing.assert_allclose(to_numpy(result).item(), expected, rtol=1e-14)


def test_agrees_with_the_loop(xp, to_numpy):
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 4, (2, 3, 4)), rng.random((2, 3, 4))
    result = cross_entropy(xp.asarray(logits), xp.asarray(target))
    np.testing.assert_allclose(to_numpy(result), np.vectorize(binary_cross_entropy)(logits, target), rtol=1e-9)


def test_agrees_with_torch_on_one_and_two_channels():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    generator = torch.manual_seed(0)
    logits = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    mask = torch.rand(2, 3, 4, generator=generator) < 0.5
    torch.testing.assert_close(
        cross_entropy(logits, mask), functional.cross_entropy(logits, mask.long(), reduction="none")
    )
    single = functional.binary_cross_entropy_with_logits(logits[:, 0], mask.double(), reduction="none")
    torch.testing.assert_close(cross_entropy(logits[:, :1], mask[:, None]), single)


LOGITS = np.array([-100.0, -40.0, -1.0, -0.0, 0.0, 2.0, 40.0, 100.0])


def expected_gradient(target):
    """P - G, accurate where P is near G."""
    positive = target > 0.5
    tail = -1 / (1 + np.exp(LOGITS))
    return tail + (1 - target) if positive else 1 / (1 + np.exp(-LOGITS)) - target


@pytest.mark.parametrize("target", [0.0, 0.25, 0.5, 1.0])
def test_torch_gradient_everywhere_zero_logits_and_saturation_included(target):
    torch = pytest.importorskip("torch")
    logits = torch.from_numpy(plane(LOGITS)).requires_grad_()
    cross_entropy(logits, torch.full_like(logits, target, requires_grad=False)).sum().backward()
    np.testing.assert_allclose(logits.grad.numpy()[0, 0], expected_gradient(target), rtol=1e-12)


@pytest.mark.parametrize("target", [0.0, 0.25, 0.5, 1.0])
def test_jax_gradient_everywhere_zero_logits_and_saturation_included(target, jax):
    mask = jax.numpy.full((1, 1, len(LOGITS)), target)
    gradient = jax.grad(lambda z: cross_entropy(z, mask).sum())(jax.numpy.asarray(plane(LOGITS)))
    np.testing.assert_allclose(gradient[0, 0], expected_gradient(target), rtol=1e-12)


def test_half_logits_are_widened():
    result = cross_entropy(plane([1e4, -1e4], np.float16), plane([0, 1], np.int64))
    assert result.dtype == np.float32
    assert result.ravel().tolist() == [1e4, 1e4]


def test_grey_levels_are_refused():
    with pytest.raises(ValueError, match=r"target: .* from 0 to 255; for a mask of 0 and 255 pass target > 0"):
        cross_entropy(plane([0, 0]), plane([0, 255], np.uint8))
