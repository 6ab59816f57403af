"""The loss under JAX's transformations."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import random_batch, random_maps, reduced_loss

from dynamic_kd.losses import DynamicKDLoss, logits_from_probabilities


@pytest.fixture
def batch(jax):
    return [jax.numpy.asarray(array) for array in random_batch()]


@pytest.mark.parametrize(
    "settings",
    [{}, {"granularity": "pixel"}, {"weighting": "a2dele"}, {"weighting": 0.5}, {"noise_elimination": None}],
    ids=str,
)
def test_jit_agrees_with_the_loop(jax, batch, settings):
    result = jax.jit(DynamicKDLoss(**settings))(*batch)
    np.testing.assert_allclose(result, reduced_loss(*random_batch(), **settings), rtol=1e-9)


def test_jit_of_the_gradient_is_the_gradient(jax, batch):
    loss = DynamicKDLoss(detach_weight=False)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(*batch), jax.grad(loss)(*batch), rtol=1e-9, atol=1e-15)


def test_vmap_over_images_is_the_batch(jax, batch):
    def image_loss(*image):
        return DynamicKDLoss()(*(array[None] for array in image))

    np.testing.assert_allclose(jax.vmap(image_loss)(*batch), DynamicKDLoss(reduction="none")(*batch), rtol=1e-12)


def test_vmap_of_the_gradient(jax, batch):
    def image_loss(*image):
        return DynamicKDLoss()(*(array[None] for array in image))

    per_image = jax.vmap(jax.grad(image_loss))(*batch)
    whole = jax.grad(DynamicKDLoss(reduction="sum"))(*batch)
    np.testing.assert_allclose(per_image, whole, rtol=1e-12, atol=1e-15)


def test_the_teacher_gets_no_gradient(jax, batch):
    for detach in (True, False):
        gradient = jax.grad(DynamicKDLoss(detach_weight=detach), argnums=1)(*batch)
        assert bool(jax.numpy.all(gradient == 0))


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_the_loss_and_its_terms_are_one_traced_pass(jax, batch, granularity, reduction):
    loss = DynamicKDLoss(granularity=granularity, reduction=reduction)
    value, terms = jax.jit(loss.with_terms)(*batch)
    assert len(jax.tree.leaves(terms)) == 7
    expected, expected_terms = loss.with_terms(*batch)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    for name, term in terms._asdict().items():
        np.testing.assert_allclose(term, getattr(expected_terms, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_bfloat16_gives_float32(jax, batch):
    student, teacher = (z.astype(jax.numpy.bfloat16) for z in batch[:2])
    assert DynamicKDLoss()(student, teacher, *batch[2:]).dtype == jax.numpy.float32


def test_saved_maps_under_jit(jax):
    maps = jax.numpy.asarray(np.random.default_rng(0).random((1, 2, 3)))
    np.testing.assert_allclose(jax.jit(logits_from_probabilities)(maps), logits_from_probabilities(maps))


@pytest.mark.parametrize("settings", [{}, {"granularity": "pixel"}, {"teacher": "probabilities"}], ids=str)
@pytest.mark.parametrize("around", ["jit", "scan", "vmap", "checkpoint", "jit of vmap"])
def test_constants_may_be_closed_over(jax, around, settings):
    """Of concrete arrays too, in every dtype that targets have, results are traced inside `jit`."""
    student, teacher, target, valid = map(jax.numpy.asarray, random_maps())
    for dtype in (target.dtype, teacher.dtype):
        constants = teacher, target.astype(dtype), valid.astype(dtype)
        loss = DynamicKDLoss(**settings)
        if settings.get("teacher") != "probabilities":
            constants = (10 * teacher - 5, *constants[1:])
        expected = loss(student, *constants)

        def call(student, constants=constants, loss=loss):
            return loss(student, *constants)

        if around == "scan":
            value = jax.lax.scan(lambda total, student: (total + call(student), None), 0.0, student[None])[0]
        elif "vmap" in around:
            mapped = jax.vmap(call)
            value = (jax.jit(mapped) if around == "jit of vmap" else mapped)(student[None])[0]
        else:
            value = getattr(jax, around)(call)(student)
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_what_jit_does_not_look_at_is_looked_at_outside(jax, batch):
    student, teacher, target, _ = batch
    wrong = 255.0 * target
    assert jax.jit(lambda student: DynamicKDLoss()(student, teacher, wrong))(student).shape == ()
    with pytest.raises(ValueError, match="for a mask of 0 and 255 pass target > 0"):
        DynamicKDLoss()(student, teacher, wrong)
