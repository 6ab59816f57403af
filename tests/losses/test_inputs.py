"""What the loss refuses, and how it says so."""

from __future__ import annotations

import numpy as np
import pytest

from dynamic_kd.losses import DynamicKDLoss, cross_entropy, temperature_kl

GOOD = {
    "student_logits": np.zeros((2, 1, 4, 4)),
    "teacher_logits": np.zeros((2, 1, 4, 4)),
    "target": np.ones((2, 1, 4, 4)),
    "valid": np.ones((2, 1, 4, 4)),
}


def with_value(value):
    """A good map but for one pixel."""
    array = np.ones((2, 1, 4, 4))
    array[1, 0, 2, 3] = value
    return array


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"student_logits": np.zeros((2, 3, 4, 4))},
            ValueError,
            r"student_logits: 3 channels: expected 1 or 2 \(background, salient\), got shape \(2, 3, 4, 4\); give one",
        ),
        (
            {"teacher_logits": np.zeros((2, 0, 4, 4))},
            ValueError,
            "teacher_logits: 0 channels: expected 1 or 2",
        ),
        (
            {"student_logits": np.zeros((4, 4))},
            ValueError,
            r"student_logits: expected shape \(B, 1, H, W\), \(B, 2, H, W\), or \(B, H, W\), got \(4, 4\); add a batch",
        ),
        (
            {"student_logits": np.zeros((1, 2, 1, 4, 4))},
            ValueError,
            r"student_logits: expected shape .* got \(1, 2, 1, 4, 4\); reshape it",
        ),
        (
            {"target": np.ones((2, 2, 4, 4))},
            ValueError,
            r"target: 2 channels: expected 1, got shape \(2, 2, 4, 4\); give one value per pixel",
        ),
        ({"valid": np.ones((2, 3, 4, 4))}, ValueError, "valid: 3 channels: expected 1"),
        (
            {"target": np.ones((4, 4))},
            ValueError,
            r"target: expected shape \(B, 1, H, W\), or \(B, H, W\), got \(4, 4\)",
        ),
        (
            {"student_logits": np.zeros((0, 1, 4, 4))},
            ValueError,
            r"student_logits: expected at least one image and one pixel, got shape \(0, 1, 4, 4\); skip",
        ),
        (
            {"student_logits": np.zeros((2, 1, 4, 0))},
            ValueError,
            "student_logits: expected at least one image and one pixel",
        ),
        (
            {"teacher_logits": np.zeros((3, 1, 4, 4))},
            ValueError,
            "teacher_logits: expected the batch of student_logits, 2, got 3 images; pass the same images",
        ),
        (
            {"teacher_logits": np.zeros((2, 1, 8, 8))},
            ValueError,
            r"teacher_logits: .* student_logits, \(4, 4\), got \(8, 8\); set resize='bilinear', or .*\.align_teacher",
        ),
        ({"target": np.ones((3, 4, 4))}, ValueError, "target: expected the batch of student_logits, 2, got 3 images"),
        (
            {"target": np.ones((2, 8, 8))},
            ValueError,
            r"target: .* of student_logits, \(4, 4\), got \(8, 8\); set resize='bilinear', which brings logits to",
        ),
        ({"valid": np.ones((3, 4, 4))}, ValueError, "valid: expected the batch of student_logits, 2, got 3 images"),
        (
            {"valid": np.ones((2, 5, 4))},
            ValueError,
            r"valid: expected the resolution of student_logits, \(4, 4\), got \(5, 4\); resize it by nearest",
        ),
        (
            {"student_logits": np.zeros((2, 1, 4, 4), int)},
            TypeError,
            "student_logits: expected real floating-point values, got int64; cast them to float32",
        ),
        (
            {"teacher_logits": np.zeros((2, 1, 4, 4), np.uint8)},
            TypeError,
            "teacher_logits: expected real floating-point values, got uint8",
        ),
        (
            {"student_logits": np.zeros((2, 1, 4, 4), complex)},
            TypeError,
            "student_logits: expected real floating-point values, got complex128",
        ),
        (
            {"target": with_value(255.0)},
            ValueError,
            r"target: expected values in \[0, 1\], got values from 1 to 255; divide a 0-255 map by 255",
        ),
        (
            {"target": with_value(255).astype(np.uint8)},
            ValueError,
            "target: .* from 1 to 255; divide a 0-255 map by 255",
        ),
        ({"target": with_value(1.5)}, ValueError, "target: .* from 1 to 1.5; clip values that resizing left outside"),
        ({"target": with_value(2.0)}, ValueError, "target: .* from 1 to 2; clip values that resizing left outside"),
        ({"target": with_value(2.5)}, ValueError, "target: .* from 1 to 2.5; divide a 0-255 map by 255"),
        ({"target": with_value(256.0)}, ValueError, "target: .* from 1 to 256; scale it"),
        ({"target": with_value(-0.5)}, ValueError, "target: .* from -0.5 to 1; check that it is the third argument"),
        (
            {"target": with_value(1 + 2**-23)},
            ValueError,
            "target: .* from 1 to 1.00000012; clip values that resizing left",
        ),
        ({"target": with_value(np.inf)}, ValueError, r"target: .* from 1 to inf; scale it to \[0, 1\]"),
        ({"target": with_value(np.nan)}, ValueError, "target: .* nan; mark unknown pixels with valid=0"),
        ({"valid": with_value(2)}, ValueError, r"valid: expected only 0 and 1 \(or booleans\), got other values"),
        ({"valid": with_value(0.5)}, ValueError, "valid: expected only 0 and 1"),
        ({"valid": with_value(np.nan)}, ValueError, "valid: expected only 0 and 1"),
        ({"target": [[[[1]]]]}, TypeError, "expected arrays .* got builtins.list; convert it, for example with numpy"),
    ],
    ids=str,
)
def test_errors(changed, error, message):
    with pytest.raises(error, match=message):
        DynamicKDLoss()(**{**GOOD, **changed})


def test_libraries_must_not_be_mixed():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"from one library, got numpy.ndarray and torch.Tensor; convert them"):
        DynamicKDLoss()(**{**GOOD, "target": torch.ones(2, 1, 4, 4)})


@pytest.mark.parametrize("name", ["teacher_logits", "target"])
def test_constants_must_not_require_grad(name):
    torch = pytest.importorskip("torch")
    inputs = {key: torch.from_numpy(value) for key, value in GOOD.items()}
    inputs[name] = inputs[name].clone().requires_grad_()
    with pytest.raises(ValueError, match=rf"{name}: expected a constant.*torch\.no_grad\(\) or pass {name}\.detach"):
        DynamicKDLoss()(**inputs)


@pytest.mark.parametrize("name", ["teacher_logits", "target", "valid"])
def test_devices_must_agree(name):
    torch = pytest.importorskip("torch")
    inputs = {key: torch.from_numpy(value) for key, value in GOOD.items()}
    inputs[name] = inputs[name].to("meta")
    with pytest.raises(ValueError, match=f"{name}: expected the device of student_logits, cpu, got meta; move one"):
        DynamicKDLoss()(**inputs)


def test_the_value_of_a_target_is_not_looked_at_where_invalid():
    mask = np.ones((2, 4, 4))
    mask[1, 2, 3] = 0
    assert np.isfinite(DynamicKDLoss()(**{**GOOD, "target": with_value(255), "valid": mask}))


def test_traced_values_are_not_looked_at(jax):
    inputs = {**{key: jax.numpy.asarray(value) for key, value in GOOD.items()}, "target": 255 * GOOD["target"]}
    inputs["target"] = jax.numpy.asarray(inputs["target"])
    with pytest.raises(ValueError, match="divide a 0-255 map by 255"):
        DynamicKDLoss()(**inputs)
    assert jax.jit(lambda kw: DynamicKDLoss()(**kw))(inputs).shape == ()


@pytest.mark.parametrize("function", [temperature_kl, cross_entropy])
def test_the_parts_check_shapes_too(function):
    with pytest.raises(ValueError, match="3 channels: expected 1 or 2"):
        function(np.zeros((2, 3, 4, 4)), np.zeros((2, 1, 4, 4)))


MAP = np.zeros((2, 1, 32, 8))
MAP[..., 4:12, 2:6] = 1


@pytest.mark.parametrize("call", [DynamicKDLoss(), DynamicKDLoss().with_terms], ids=["loss", "with terms"])
def test_a_teacher_that_looks_like_a_map_is_warned_of(call):
    with pytest.warns(UserWarning, match="teacher_logits: all values lie in .0, 1., .* set teacher='probab") as warned:
        call(MAP - 0.5, MAP, MAP > 0)
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    "teacher",
    [0.5 * MAP, MAP + 0.2, 0.9 * MAP - 0.1, 12 * MAP - 6, np.ones((1, 1, 15, 17)), np.repeat(MAP, 2, axis=1)],
    ids=["unsure", "above one", "below zero", "logits", "small", "two channels"],
)
def test_logits_are_not_warned_of(teacher):
    DynamicKDLoss()(teacher[:, :1], teacher, teacher[:, :1] > 0)
