"""What the loss refuses, and how it says so."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dynamic_kd._array import is_readable
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
            "from 1 to 255; pass target == 1 if the levels are labels; if 255 is void, set ignore_index=255",
        ),
        (
            {"target": with_value(255).astype(np.uint8)},
            ValueError,
            "target: .* from 1 to 255; pass target == 1 if the levels are labels",
        ),
        (
            {"target": 255 * (with_value(0.0))},
            ValueError,
            "target: .* from 0 to 255; for a mask of 0 and 255 pass target > 0",
        ),
        ({"target": with_value(1.5)}, ValueError, "target: .* from 1 to 1.5; clip values that resizing left outside"),
        ({"target": with_value(2.0)}, ValueError, "target: .* from 1 to 2; clip values that resizing left outside"),
        ({"target": with_value(2.5)}, ValueError, "target: .* from 1 to 2.5; divide a 0-255 map by 255"),
        ({"target": with_value(256.5)}, ValueError, "target: .* from 1 to 256.5; scale it"),
        ({"target": with_value(200.5)}, ValueError, "target: .* from 1 to 200.5; divide a 0-255 map by 255"),
        (
            {"target": with_value(0) / 255},
            ValueError,
            "labels divided by 255: 1 / 255 beside 0 and 1 alone; of the integers, pass target == 1 if the levels",
        ),
        ({"target": with_value(-0.5)}, ValueError, "target: .* from -0.5 to 1; check that it is the third argument"),
        (
            {"target": with_value(1 + 2**-23)},
            ValueError,
            "target: .* from 1 to 1.0000001192092896; clip values that resizing left",
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
    with pytest.raises(ValueError, match="for a mask of 0 and 255 pass target > 0"):
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
    DynamicKDLoss()(teacher[:, :1] - 0.5, teacher, teacher[:, :1] > 0)


SIDES = 16 * MAP - 8  # the logits of a network that is sure and right
BOTH = np.concatenate([-SIDES / 2, SIDES / 2], axis=1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize(
    ("logits", "saliency", "look"),
    [
        (SIDES, sigmoid(SIDES), r"all values lie in \[0, 1\], like those of saliency maps"),
        (BOTH, softmax(BOTH), "the channels sum to 1, as after a softmax"),
    ],
    ids=["sigmoid", "softmax"],
)
def test_a_student_that_ends_in_a_sigmoid_is_warned_of(logits, saliency, look, dtype):
    """Right logits give next to no loss, and what comes after the sigmoid more than 1."""
    torch = pytest.importorskip("torch")
    loss = DynamicKDLoss()
    target, *given = (torch.from_numpy(each).to(getattr(torch, dtype)) for each in (MAP, SIDES, logits, saliency))
    teacher, student, wrong = given
    assert loss(student, teacher, target) < 1e-3
    message = rf"student_logits: {look}, .* if the network ends in a sigmoid or softmax, pass its output before that"
    with pytest.warns(UserWarning, match=message) as warned:
        assert loss(wrong, teacher, target) > 1
    assert [each.filename for each in warned] == [__file__]


@pytest.mark.parametrize(
    ("teacher", "look"),
    [
        (softmax(BOTH), "the channels sum to 1, as after a softmax"),
        (255 * MAP, "values from 0 to 255, like those of 8-bit maps"),
        (100 * MAP + 0.5 * (1 - MAP), "values from 0.5 to 100, like those of 8-bit maps"),
    ],
    ids=["softmax", "0-255", "dark"],
)
def test_a_teacher_of_other_numbers_is_warned_of(teacher, look):
    message = (
        rf"teacher_logits: {look}, .* set teacher='probabilities' \(divide 8-bit maps by 255 first\); of a network"
    )
    with pytest.warns(UserWarning, match=message) as warned:
        _, terms = DynamicKDLoss().with_terms(-SIDES, teacher, MAP)
    assert [each.filename for each in warned] == [__file__]
    assert (terms.teacher_iou < 0.9).all()


def test_what_the_warnings_advise_is_right():
    fixed = DynamicKDLoss(teacher="probabilities").with_terms(-SIDES, 255 * MAP / 255, MAP)[1]
    assert (fixed.teacher_iou == 1).all()
    logits = DynamicKDLoss().with_terms(-SIDES, BOTH, MAP)[1]
    np.testing.assert_allclose(logits.teacher_iou, 32 * sigmoid(8) / (32 + 224 * sigmoid(-8)), rtol=1e-12)
    np.testing.assert_allclose(logits.loss, DynamicKDLoss().with_terms(-SIDES, SIDES, MAP)[1].loss, rtol=1e-12)


@pytest.mark.parametrize(
    "student",
    [0 * MAP, SIDES, BOTH, 1000 * MAP - 1, 300 * MAP, 0.4 * MAP, np.repeat(0.4 * MAP, 2, axis=1), -MAP, np.nan * MAP],
    ids=["zeros", "logits", "two logits", "large", "larger", "small", "two equal", "negative", "nan"],
)
def test_students_that_are_not_warned_of(student):
    DynamicKDLoss()(student, SIDES, MAP)


def test_the_checks_can_be_turned_off():
    loss = DynamicKDLoss(check="off")
    assert loss(MAP, 255 * MAP, 255 * MAP, 2 * MAP) != 0
    assert np.isnan(loss(SIDES, np.nan * MAP, MAP))
    with pytest.raises(ValueError, match="check: expected one of 'auto', 'off', got 'on'"):
        DynamicKDLoss(check="on")


class TestOnAnAccelerator:
    """Values there are looked at once for each loss; the CPU's arrays stand in for its."""

    @pytest.fixture(autouse=True)
    def accelerator(self, monkeypatch):
        for module in ("_arguments", "_dynamic_kd_loss"):
            monkeypatch.setattr(f"dynamic_kd.losses.{module}.is_concrete", lambda array: False)

    def test_the_first_call_looks(self):
        loss, right = DynamicKDLoss(), (SIDES, SIDES, MAP)
        for _ in range(2):  # what was wrong does not count as looked at
            with pytest.raises(ValueError, match=r"target: .* from 0 to 255; for a mask"):
                loss(*right[:2], 255 * MAP)
        with pytest.raises(ValueError, match="valid: expected only 0 and 1"):
            loss(*right, 2 * MAP)
        with pytest.raises(ValueError, match="teacher_logits: expected finite values"):
            loss(SIDES, np.nan * MAP, MAP)
        with pytest.warns(UserWarning, match="student_logits: all values lie in"):
            loss(MAP, *right[1:])
        loss(*right[:2], 255 * MAP)
        loss.with_terms(MAP, MAP, 255 * MAP)
        with pytest.raises(ValueError, match="for a mask of 0 and 255"):
            DynamicKDLoss()(*right[:2], 255 * MAP)

    def test_off_never_looks(self):
        DynamicKDLoss(check="off")(MAP, MAP, 255 * MAP)

    def test_that_it_looked_is_no_setting(self):
        loss = DynamicKDLoss()
        loss(SIDES, SIDES, MAP)
        assert loss == DynamicKDLoss()
        with pytest.raises(ValueError, match="for a mask of 0 and 255"):
            dataclasses.replace(loss, p=0.5)(SIDES, SIDES, 255 * MAP)


def test_nothing_is_read_while_a_graph_is_captured(monkeypatch):
    torch = pytest.importorskip("torch")

    class OnTheGPU(torch.Tensor):
        device = torch.device("cuda")

    there = torch.empty(1).as_subclass(OnTheGPU)
    for capturing in (True, False):
        monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda capturing=capturing: capturing)
        assert is_readable(there) == (not capturing)


def test_tensors_without_values_are_never_read(monkeypatch):
    torch = pytest.importorskip("torch")
    from torch._subclasses import FakeTensorMode

    assert not is_readable(torch.empty(1, device="meta"))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    with FakeTensorMode():
        for device in ("cpu", "cuda"):
            assert not is_readable(torch.empty(1, device=device))
        maps = torch.empty(2, 1, 32, 32)
        assert DynamicKDLoss()(maps, maps, maps).shape == ()
