"""Logits and maps of other sizes than the target's, against float64 loops and PyTorch's own interpolation."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import batch_terms, random_batch, random_maps, reduced_loss
from loss_reference import resized as resized_by_loops

from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.losses._resize import resized

TARGET = (12, 9)
SIZES = [(3, 3), (5, 4), (12, 2), (1, 1), (12, 9), (20, 9), (13, 30), (4, 22)]


def low(seed, size, batch=2):
    return np.random.default_rng(seed).normal(0, 3, (batch, *size))


def batch_of(size, teacher_size=None, **settings):
    """A batch whose student, and teacher if a size is given, are of other sizes than the target."""
    maps = settings.get("teacher") == "probabilities"
    _, teacher, target, valid = (random_maps if maps else random_batch)(seed=5, shape=(2, *TARGET))
    valid = np.random.default_rng(6).random(target.shape) < 0.7
    if teacher_size is not None:
        teacher = low(8, teacher_size)
        teacher = 1 / (1 + np.exp(-teacher)) if maps else teacher
    return low(7, size), teacher, target, valid


def of_any_size(**settings):
    return DynamicKDLoss(resize="bilinear", **settings)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_loops_values(xp, to_numpy, size):
    maps = low(0, size)
    result = resized(xp.asarray(maps), TARGET, xp)
    np.testing.assert_allclose(to_numpy(result), resized_by_loops(maps, TARGET), rtol=1e-12, atol=1e-12)


def test_values_by_hand(xp, to_numpy):
    row = xp.asarray([[[0.0, 1.0]]], dtype=xp.float64)
    assert to_numpy(resized(row, (1, 4), xp)).tolist() == [[[0, 0.25, 0.75, 1]]]
    # The first of two outputs lies at 0.5; the triangle reaches 2 pixels to each side: weights 3/4, 3/4, 1/4.
    row = xp.asarray([[[7.0, 0.0, 14.0, 100.0]]], dtype=xp.float64)
    assert float(resized(row, (1, 2), xp)[0, 0, 0]) == pytest.approx((0.75 * 7 + 0.25 * 14) / 1.75)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pytorchs_interpolation(size):
    torch = pytest.importorskip("torch")
    maps = torch.from_numpy(low(1, size))[:, None]
    grows = size[0] <= TARGET[0] and size[1] <= TARGET[1]
    expected = torch.nn.functional.interpolate(maps, TARGET, mode="bilinear", align_corners=False, antialias=not grows)
    from array_api_compat import torch as xp

    torch.testing.assert_close(resized(maps, TARGET, xp), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("teacher_size", [None, (3, 3), (7, 5), (24, 9)], ids=str)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"granularity": "pixel"},
        {"teacher": "probabilities"},
        {"teacher": "probabilities", "weighting": "a2dele", "noise_elimination": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_terms_agree_with_the_loop(xp, to_numpy, settings, teacher_size, masked):
    student, teacher, target, valid = batch_of((3, 4), teacher_size, **settings)
    given = [student, teacher, target, valid] if masked else [student, teacher, target]
    loss, terms = of_any_size(**settings).with_terms(*map(xp.asarray, given))
    at_size = [resized_by_loops(student, TARGET), resized_by_loops(teacher, TARGET), *given[2:]]
    np.testing.assert_allclose(to_numpy(loss), reduced_loss(*at_size, **settings), rtol=1e-9)
    for image, expected in enumerate(batch_terms(*at_size, **settings)):
        for name, value in terms._asdict().items():
            found = to_numpy(value)[image]
            found = found[valid[image]] if masked and found.ndim else found
            np.testing.assert_allclose(found.ravel(), np.ravel(getattr(expected, name)), rtol=1e-9, atol=1e-12)


def test_maps_are_averaged_as_probabilities():
    """Between a sure 1 and a sure 0 the teacher says one half; between their logits, clipped anyhow, too."""
    maps, target = np.array([[[1.0, 0.0]]]), np.array([[[1, 1, 0, 0]]])
    loss = of_any_size(teacher="probabilities")
    _, terms = loss.with_terms(np.zeros((1, 1, 1)), maps, target)
    assert terms.teacher_iou[0] == pytest.approx(1.75 / 2.25)  # maps 1, .75, .25, 0


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("teacher_size", [None, (3, 3), (24, 7)], ids=str)
def test_it_equals_interpolation_before_the_loss(channels, teacher_size):
    torch = pytest.importorskip("torch")
    student, teacher, target, valid = map(torch.from_numpy, batch_of((4, 3), teacher_size))
    student = torch.stack([0.3 * student, -student][:channels], 1).requires_grad_()

    def interpolated(maps):
        shrinks = maps.shape[-2] > TARGET[0]
        return torch.nn.functional.interpolate(maps, TARGET, mode="bilinear", antialias=shrinks)

    expected = DynamicKDLoss()(interpolated(student), interpolated(teacher[:, None]), target, valid)
    value = of_any_size()(student, teacher, target, valid)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    slopes = [torch.autograd.grad(each, student)[0] for each in (value, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-15)


def test_equal_sizes_change_nothing(xp, to_numpy):
    batch = [xp.asarray(each) for each in random_batch()]
    np.testing.assert_array_equal(to_numpy(of_any_size()(*batch)), to_numpy(DynamicKDLoss()(*batch)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_interpolated_in_single(dtype):
    torch = pytest.importorskip("torch")
    student, *rest = map(torch.from_numpy, batch_of((3, 4)))
    student = student.to(getattr(torch, dtype))
    rest[0] = rest[0].float()
    value = of_any_size()(student, *rest)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, of_any_size()(student.float(), *rest), rtol=0, atol=0)


def test_jit_vmap_and_grad_in_jax(jax):
    torch = pytest.importorskip("torch")
    batch = batch_of((3, 4), (5, 14))
    arrays = [jax.numpy.asarray(each) for each in batch]
    loss = of_any_size(reduction="sum")
    student, *rest = map(torch.from_numpy, batch)
    expected = loss(student.requires_grad_(), *rest)
    expected.backward()
    value, slope = jax.jit(jax.value_and_grad(loss))(*arrays)
    np.testing.assert_allclose(value, expected.item(), rtol=1e-9)
    np.testing.assert_allclose(slope, student.grad, rtol=1e-9, atol=1e-12)
    each = jax.vmap(lambda *image: loss(*(array[None] for array in image)))(*arrays)
    np.testing.assert_allclose(each.sum(), value, rtol=1e-9)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_torch_compile_and_vmap(dynamic):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    loss = of_any_size(reduction="none")
    compiled = torch.compile(loss.with_terms, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for size in ((3, 4), (5, 4), (30, 4)):
        student, *rest = map(torch.from_numpy, batch_of(size, (5, 14)))
        student.requires_grad_()
        results = [call(student, *rest)[0] for call in (loss.with_terms, compiled)]
        torch.testing.assert_close(*results)
        torch.testing.assert_close(*(torch.autograd.grad(value.sum(), student)[0] for value in results))
        each = torch.func.vmap(lambda *image: loss(*(array[None] for array in image))[0])(student, *rest)
        torch.testing.assert_close(each, results[0])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"student_logits": low(0, (3, 4), batch=3)}, "teacher_logits: expected the batch of student_logits, 3, got 2"),
        ({"target": np.ones((3, 12, 9))}, "target: expected the batch of student_logits, 2, got 3 images"),
        (
            {"valid": np.ones((2, 3, 4))},
            r"valid: expected the resolution of target, \(12, 9\), got \(3, 4\); resize it",
        ),
        ({"valid": np.ones((3, 12, 9))}, "valid: expected the batch of target, 2, got 3 images"),
        ({"target": np.ones((2, 3, 12, 9))}, "target: 3 channels: expected 1"),
    ],
    ids=str,
)
def test_errors(changed, message):
    student, teacher, target, valid = batch_of((3, 4))
    inputs = {"student_logits": student, "teacher_logits": teacher, "target": target, "valid": valid} | changed
    with pytest.raises(ValueError, match=message):
        of_any_size()(**inputs)


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"resize \(or None\): expected one of 'bilinear', got 'nearest'"):
        DynamicKDLoss(resize="nearest")
