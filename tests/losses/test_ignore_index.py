"""Integer targets in which one label means unknown."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import random_batch, reduced_loss

from dynamic_kd.losses import DynamicKDLoss


def labelled(label, dtype, seed=0):
    """A random batch, its target with ``label`` at a third of the pixels, and which pixels are known."""
    student, teacher, target, valid = random_batch(seed)
    known = np.random.default_rng(9).random(target.shape) < 0.67
    return student, teacher, np.where(known, target, label).astype(dtype), valid, known


@pytest.mark.parametrize(("label", "dtype"), [(255, "uint8"), (255, "int64"), (-1, "int16"), (2, "int8")])
@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_loop_over_known_pixels(xp, to_numpy, label, dtype, masked):
    student, teacher, target, valid, known = labelled(label, dtype)
    expected = reduced_loss(student, teacher, target, known & valid if masked else known)
    loss = DynamicKDLoss(ignore_index=label)
    arrays = [xp.asarray(each) for each in (student, teacher, target)]
    given = xp.asarray(valid) if masked else None
    np.testing.assert_allclose(to_numpy(loss(*arrays, given)), expected, rtol=1e-9)
    value, terms = loss.with_terms(*arrays, given)
    np.testing.assert_allclose(to_numpy(value), expected, rtol=1e-9)
    assert terms.weight.shape == (3,)
    if masked:  # with another number of axes, and in another dtype
        other = xp.asarray(valid.astype("float32"))[:, None, :, :]
        np.testing.assert_allclose(to_numpy(loss(*arrays, other)), expected, rtol=1e-9)
        np.testing.assert_allclose(to_numpy(loss(*arrays[:2], arrays[2][:, None, :, :], given)), expected, rtol=1e-9)


@pytest.mark.parametrize(("label", "dtype"), [(-100, "uint8"), (255, "int8"), (2**40, "int32"), (1, "bool")])
def test_a_label_that_the_dtype_cannot_hold_matches_no_pixel(xp, to_numpy, label, dtype):
    student, teacher, target, _ = random_batch()
    arrays = [xp.asarray(each) for each in (student, teacher, target.astype(dtype))]
    found = DynamicKDLoss(ignore_index=label)(*arrays)
    np.testing.assert_allclose(to_numpy(found), reduced_loss(student, teacher, target), rtol=1e-9)


def test_without_it_the_label_is_an_error():
    student, teacher, target, *_ = labelled(255, "uint8")
    with pytest.raises(ValueError, match="if 255 is void, set ignore_index=255 and pass integers, or pass valid=targe"):
        DynamicKDLoss()(student, teacher, target)


def test_traced_and_compiled(jax):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    student, teacher, target, valid, known = labelled(255, "uint8")
    loss, expected = DynamicKDLoss(ignore_index=255), reduced_loss(student, teacher, target, known & valid)
    leaf, *rest = map(jax.numpy.asarray, (student, teacher, target, valid))
    np.testing.assert_allclose(jax.jit(loss)(leaf, *rest), expected, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(lambda leaf: loss(leaf, *rest))(leaf), expected, rtol=1e-9)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    arrays = [torch.from_numpy(each) for each in (student, teacher, target, valid)]
    leaf = arrays[0].requires_grad_()
    value = compiled(leaf, *arrays[1:])
    value.backward()
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-9)
    assert not leaf.grad[~torch.from_numpy(known)].any()


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.ones((1, 4, 4)), TypeError, "target: expected integers with ignore_index=255, got float64; mark pixels of"),
        (np.full((1, 4, 4), 7), ValueError, r"target: expected values in \[0, 1\], got values from 7 to 7"),
        (None, TypeError, "target: expected an array, got None"),
    ],
    ids=["floating", "another label", "none"],
)
def test_errors(target, error, message):
    with pytest.raises(error, match=message):
        DynamicKDLoss(ignore_index=255)(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), target)


def test_a_valid_of_another_shape_is_still_an_error():
    maps = np.zeros((1, 4, 4))
    with pytest.raises(ValueError, match="valid: expected the resolution of student_logits"):
        DynamicKDLoss(ignore_index=255)(maps, maps, maps.astype(int), np.ones((1, 2, 4)))


@pytest.mark.parametrize("label", [255.0, "255", True])
def test_it_must_be_a_whole_number(label):
    with pytest.raises(TypeError, match="ignore_index: expected a whole number"):
        DynamicKDLoss(ignore_index=label)
