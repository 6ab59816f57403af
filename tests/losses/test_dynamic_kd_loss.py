"""The loss as a whole, against the float64 loops, in every library."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from loss_reference import batch_terms, random_batch, reduced_loss
from loss_terms import terms_of

from dynamic_kd.losses import DynamicKDLoss, DynamicKDTerms

SETTINGS = [
    {},
    {"p": 0.3, "temperature": 10.0},
    {"noise_threshold": 0.9, "noise_weight": 0.2},
    {"temperature_squared": False},
    {"granularity": "pixel"},
    {"granularity": "pixel", "weighting": "a2dele"},
    {"noise_elimination": None},
    {"weighting": "a2dele"},
    {"weighting": "none"},
    {"weighting": "none", "noise_elimination": "relative", "granularity": "pixel"},
    {"weighting": 0.3},
    {"weighting": 0.3, "noise_elimination": None},
    {"weighting": "a2dele", "noise_elimination": None, "granularity": "pixel"},
    {"noise_elimination": None, "noise_threshold": 0.9},
    {"noise_elimination": "relative"},
    {"weighting": 0.5, "noise_elimination": "relative", "noise_threshold": 1.0},
    {"weighting": 0.5, "noise_elimination": "relative", "granularity": "pixel"},
]


def arrays(xp, *values):
    return [None if value is None else xp.asarray(value) for value in values]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_terms_agree_with_the_loop(xp, to_numpy, settings, masked):
    student, teacher, target, valid = random_batch()
    valid = valid if masked else None
    expected = batch_terms(student, teacher, target, valid, **settings)
    terms = terms_of(*arrays(xp, student, teacher, target, valid), **settings)
    for name in ("kl", "ce", "loss"):
        values = [getattr(image, name) for image in expected]
        np.testing.assert_allclose(to_numpy(getattr(terms, name)), values, rtol=1e-9, atol=1e-12)
    counted = [k for k in range(len(student)) if not masked or valid[k].any()]
    for name in ("teacher_iou", "student_error", "weight", "reliable"):
        for k in counted:
            value = to_numpy(getattr(terms, name))[k]
            if masked and value.ndim:
                value = value[valid[k]]
            np.testing.assert_allclose(value.ravel(), np.ravel(getattr(expected[k], name)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reductions_agree_with_the_loop(xp, to_numpy, reduction, masked):
    batch = random_batch(seed=1)
    batch = batch if masked else batch[:3]
    result = DynamicKDLoss(reduction=reduction)(*arrays(xp, *batch))
    assert result.shape == ((3,) if reduction == "none" else ())
    np.testing.assert_allclose(to_numpy(result), reduced_loss(*batch, reduction=reduction), rtol=1e-9)


def test_golden_value():
    # Logits 0: the student is at 1/2 everywhere, IoU 1/3 on a half-full target; the teacher is as sure as can be.
    target = np.array([[[1.0, 1.0], [0.0, 0.0]]])
    terms = terms_of(np.zeros((1, 2, 2)), 2000 * target - 1000, target, temperature=1000.0)
    weight = math.tanh((2 / 3) ** 0.3)
    t = 1 / (1 + math.exp(-1))
    kl = 1e6 * (math.log(2) + t * math.log(t) + (1 - t) * math.log(1 - t))
    expected = [1.0, 2 / 3, weight, 1.0, kl, math.log(2), weight * kl + (1 - weight) * math.log(2)]
    np.testing.assert_allclose(np.stack(terms)[:, 0], expected, rtol=1e-9)


def test_the_loss_is_the_blend_of_its_terms():
    terms = terms_of(*random_batch())
    np.testing.assert_array_equal(terms.loss, terms.weight * terms.kl + (1 - terms.weight) * terms.ce)


def test_terms_are_named_and_shaped():
    batch = random_batch()
    terms = terms_of(*batch)
    assert isinstance(terms, DynamicKDTerms)
    assert DynamicKDTerms._fields == (
        "teacher_iou",
        "student_error",
        "weight",
        "reliable",
        "kl",
        "ce",
        "loss",
    )
    assert all(value.shape == (3,) for value in terms)
    maps = terms_of(*batch, granularity="pixel")
    assert [value.shape for value in maps] == 4 * [(3, 4, 5)] + 3 * [(3,)]
    assert terms.reliable.dtype == maps.reliable.dtype == bool


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("masked", [False, True])
def test_the_loss_with_terms_is_the_loss(xp, to_numpy, reduction, masked):
    batch = arrays(xp, *random_batch()[: 4 if masked else 3])
    loss = DynamicKDLoss(reduction=reduction)
    value, terms = loss.with_terms(*batch)
    np.testing.assert_array_equal(to_numpy(value), to_numpy(loss(*batch)))
    if reduction == "none":
        np.testing.assert_array_equal(to_numpy(value), to_numpy(terms.loss))


@pytest.mark.parametrize("layout", ["one channel", "two channels", "mixed"])
def test_channel_layouts_agree(xp, to_numpy, layout):
    student, teacher, target, valid = random_batch()
    expected = DynamicKDLoss()(student, teacher, target, valid)
    background = np.random.default_rng(9).normal(size=student.shape)
    two = [np.stack([background, background + z], axis=1) for z in (student, teacher)]
    one = [student[:, None], teacher[:, None]]
    pair = {"one channel": one, "two channels": two, "mixed": [one[0], two[1]]}[layout]
    result = DynamicKDLoss()(*arrays(xp, *pair, target[:, None], valid[:, None]))
    np.testing.assert_allclose(to_numpy(result), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
def test_target_and_valid_dtypes_agree(xp, to_numpy, dtype):
    student, teacher, target, valid = random_batch()
    expected = DynamicKDLoss()(student, teacher, target, valid)
    maps = [xp.asarray(value.astype(dtype)) for value in (target, valid)]
    np.testing.assert_allclose(to_numpy(DynamicKDLoss()(*arrays(xp, student, teacher), *maps)), expected, rtol=1e-12)


def test_soft_targets_agree_with_the_loop():
    student, teacher, _, valid = random_batch()
    soft = np.random.default_rng(5).random(student.shape)
    np.testing.assert_allclose(
        DynamicKDLoss()(student, teacher, soft, valid), reduced_loss(student, teacher, soft, valid), rtol=1e-9
    )


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -1e30, 255.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_invalid_pixels_may_hold_anything(xp, to_numpy, rubbish, channels):
    student, teacher, target, valid = random_batch()
    pair = [np.repeat(z[:, None], channels, axis=1) for z in (student, teacher)]
    if channels == 2:
        for z in pair:
            z[:, 0] = 0
    expected = DynamicKDLoss()(student, teacher, target, valid)
    target = target.astype(float)
    target[~valid] = rubbish
    for z in pair:
        z[np.repeat(~valid[:, None], channels, axis=1)] = rubbish
    np.testing.assert_allclose(to_numpy(DynamicKDLoss()(*arrays(xp, *pair, target, valid))), expected, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_a_batch_without_valid_pixels_gives_zero(reduction, granularity):
    student, teacher, target, valid = random_batch()
    loss = DynamicKDLoss(reduction=reduction, granularity=granularity)
    assert loss(student, teacher, target, np.zeros_like(valid)) == 0


def test_nan_logits_propagate_where_valid():
    student, teacher, target, _ = random_batch()
    student[0, 0, 0] = np.nan
    losses = DynamicKDLoss(reduction="none")(student, teacher, target)
    assert np.isnan(losses).tolist() == [True, False, False]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_teacher_that_is_not_finite_is_refused(value):
    student, teacher, target, valid = random_batch()
    teacher[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"teacher_logits: expected finite values.*set teacher='probabilities'"):
        DynamicKDLoss()(student, teacher, target)
    valid = np.ones_like(target)
    valid[0, 0, 0] = 0
    assert np.isfinite(DynamicKDLoss()(student, teacher, target, valid))


@pytest.mark.parametrize("name", ["student_logits", "teacher_logits", "target"])
def test_missing_arrays_are_named(name):
    student, teacher, target, _ = random_batch()
    arrays = {"student_logits": student, "teacher_logits": teacher, "target": target, name: None}
    with pytest.raises(TypeError, match=f"{name}: expected an array, got None"):
        DynamicKDLoss()(**arrays)


@pytest.mark.parametrize("prediction", [-1000.0, 0.0, 5.0])
def test_an_empty_target_drops_the_teacher(prediction):
    student, teacher = np.zeros((1, 3, 3)), np.full((1, 3, 3), prediction)
    terms = terms_of(student, teacher, np.zeros((1, 3, 3)))
    assert (terms.teacher_iou, terms.student_error, terms.weight, terms.reliable) == (0, 1, 0.01, False)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_a_teacher_exactly_at_the_threshold_is_unreliable(granularity):
    zeros, target = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    terms = terms_of(zeros, zeros, target, noise_threshold=0.5, granularity=granularity)
    assert (terms.teacher_iou.item(), terms.reliable.item(), terms.weight.item()) == (0.5, False, 0.01)


def test_by_pixel_only_the_foreground_is_distilled():
    student, teacher, target, _ = random_batch()
    terms = terms_of(student, teacher, target, granularity="pixel")
    assert np.all(terms.weight[~target] == 0.01)
    assert not np.any(terms.reliable[~target])


@pytest.mark.parametrize(("given", "expected"), [("float16", "float32"), ("float32", "float32"), ("float64",) * 2])
def test_dtype_of_the_result(given, expected):
    student, teacher, target, valid = random_batch()
    student, teacher = student.astype(given), teacher.astype(given)
    assert DynamicKDLoss()(student, teacher, target, valid).dtype == expected
    assert all(
        term.dtype == (bool if name == "reliable" else expected)
        for name, term in terms_of(student, teacher, target)._asdict().items()
    )


def test_dtypes_are_promoted():
    student, teacher, target, _ = random_batch()
    assert DynamicKDLoss()(student.astype(np.float16), teacher.astype(np.float32), target).dtype == np.float32
    assert DynamicKDLoss()(student.astype(np.float32), teacher, target).dtype == np.float64


def test_single_precision_is_accurate():
    student, teacher, target, valid = random_batch(shape=(4, 16, 16))
    single = DynamicKDLoss()(student.astype(np.float32), teacher.astype(np.float32), target, valid)
    np.testing.assert_allclose(single, reduced_loss(student, teacher, target, valid), rtol=1e-6)


def test_inputs_are_left_alone():
    batch = random_batch()
    before = copy.deepcopy(batch)
    DynamicKDLoss()(*batch)
    for array, copied in zip(batch, before, strict=True):
        np.testing.assert_array_equal(array, copied)


def test_xp_may_be_given(xp, to_numpy):
    batch = random_batch()
    loss = DynamicKDLoss()
    result = loss(*arrays(xp, *batch), xp=xp)
    np.testing.assert_array_equal(to_numpy(result), to_numpy(loss(*arrays(xp, *batch))))


def test_settings_are_frozen_keyword_only_and_comparable():
    loss = DynamicKDLoss(p=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.p = 0.6
    with pytest.raises(TypeError, match="positional"):
        DynamicKDLoss(0.5)
    assert loss == DynamicKDLoss(p=0.5)
    assert hash(loss) == hash(DynamicKDLoss(p=0.5))
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss
    assert dataclasses.replace(loss, temperature=2.0) == DynamicKDLoss(p=0.5, temperature=2.0)


def test_defaults_are_the_papers():
    loss = DynamicKDLoss()
    assert (loss.p, loss.temperature, loss.threshold, loss.noise_weight) == (0.7, 5.0, 0.5, 0.01)
    assert (loss.weighting, loss.noise_elimination) == ("dynamic", "absolute")
    assert (loss.granularity, loss.reduction) == ("image", "mean")
    assert loss.temperature_squared
    assert loss.detach_weight


@pytest.mark.parametrize(
    ("noise_elimination", "threshold"), [("absolute", 0.5), ("relative", 0.75), (None, 0.5)], ids=str
)
def test_the_threshold_in_use(noise_elimination, threshold):
    loss = DynamicKDLoss(noise_elimination=noise_elimination)
    assert loss.threshold == threshold
    assert dataclasses.replace(loss, noise_threshold=0.0).threshold == 0


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"p": 1.2}, ValueError, r"p: expected a number in \[0, 1\], got 1.2"),
        ({"p": "0.7"}, TypeError, r"p: expected a number in \[0, 1\], got '0.7' \(str\)"),
        ({"temperature": 0}, ValueError, r"temperature: expected a number in \[0.001, 1e\+06\], got 0"),
        ({"temperature": True}, TypeError, "temperature: expected a number"),
        ({"noise_threshold": -0.5}, ValueError, r"noise_threshold: expected a number in \[0, 1\], got -0.5"),
        ({"noise_weight": math.nan}, ValueError, r"noise_weight: expected a number in \[0, 1\], got nan"),
        ({"granularity": "batch"}, ValueError, "granularity: expected one of 'image', 'pixel', got 'batch'"),
        ({"reduction": "batchmean"}, ValueError, "reduction: expected one of 'mean', 'sum', 'none', got 'batchm"),
        ({"temperature_squared": 1}, TypeError, "temperature_squared: expected True or False, got 1"),
        ({"detach_weight": None}, TypeError, "detach_weight: expected True or False, got None"),
        ({"weighting": "adaptive"}, ValueError, "weighting.*'dynamic', 'a2dele', 'none', got"),
        ({"weighting": 1.5}, ValueError, r"weighting.*expected a number in \[0, 1\], got 1.5"),
        ({"weighting": None}, TypeError, "weighting.*'dynamic'.*got None"),
        ({"weighting": True}, TypeError, "weighting.*got True"),
        (
            {"noise_elimination": True},
            ValueError,
            "noise_elimination: expected 'absolute', .* got True",
        ),
        ({"noise_elimination": "none"}, ValueError, "noise_elimination: expected 'absolute', .* got 'none'"),
        ({"noise_threshold": "0.5"}, TypeError, "noise_threshold: expected a number in"),
        ({"temprature": 4}, TypeError, "temprature"),
    ],
    ids=str,
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        DynamicKDLoss(**settings)


@pytest.mark.parametrize("end", [1e-3, 1e6])
def test_the_ends_of_the_temperatures(end):
    assert DynamicKDLoss(temperature=end).temperature == end
    with pytest.raises(ValueError, match="temperature: expected a number in"):
        DynamicKDLoss(temperature=np.nextafter(end, 0 if end < 1 else np.inf))


def test_a_sure_and_right_student_in_single_precision():
    """Its beta is far below the rounding of one minus an IoU near 1, and its root weighs the divergence."""
    generator = np.random.default_rng(5)
    target = generator.random((2, 1, 23, 37)) > 0.6
    side = np.where(target, 1, -1)
    student, teacher = (side * (15 + np.abs(generator.normal(0, 3, target.shape))) for _ in range(2))
    exact = terms_of(student, teacher, target)
    single = terms_of(student.astype(np.float32), teacher.astype(np.float32), target)
    assert (exact.student_error < 1e-6).all()
    for name in ("student_error", "weight", "loss"):
        np.testing.assert_allclose(getattr(single, name), getattr(exact, name), rtol=1e-5)
