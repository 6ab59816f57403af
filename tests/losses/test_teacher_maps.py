"""A teacher given as saliency maps, against float64 loops and values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loss_reference import batch_terms, loss_gradient, random_maps, reduced_loss

from dynamic_kd.losses import DynamicKDLoss, logits_from_probabilities

SETTINGS = [
    {},
    {"clip": 0.1, "temperature": 2.0},
    {"weighting": "a2dele"},
    {"weighting": "a2dele", "noise_elimination": None, "granularity": "pixel"},
    {"granularity": "pixel"},
    {"weighting": 0.3, "temperature_squared": False},
    {"noise_elimination": "relative"},
]


def of_maps(**settings):
    return DynamicKDLoss(teacher="probabilities", **settings)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_terms_agree_with_the_loop(xp, to_numpy, settings, masked):
    batch = random_maps()[: 4 if masked else 3]
    expected = batch_terms(*batch, teacher="probabilities", **settings)
    loss, terms = of_maps(**settings).with_terms(*map(xp.asarray, batch))
    np.testing.assert_allclose(to_numpy(loss), reduced_loss(*batch, teacher="probabilities", **settings), rtol=1e-9)
    valid = batch[3] if masked else np.ones_like(batch[2])
    for image in range(2):
        for name, value in terms._asdict().items():
            found = to_numpy(value)[image]
            found = found[valid[image]] if found.ndim else found
            wanted = np.ravel(getattr(expected[image], name))
            np.testing.assert_allclose(found.ravel(), wanted, rtol=1e-9, atol=1e-12, err_msg=name)


def test_few_salient_pixels_leave_a_perfect_map_its_confidence(xp, to_numpy):
    """64 of 65,536 pixels: by logits of a clipped map, α is 64 (1 - c) / (64 + 65472 c) = .33, with c = 0.5 / 255."""
    target = np.zeros((1, 256, 256))
    target[:, 100:108, 30:38] = 1
    student = np.zeros_like(target)
    inputs = [xp.asarray(each, dtype=xp.float32) for each in (student, target, target)]
    _, terms = of_maps().with_terms(*inputs)
    assert (float(terms.teacher_iou[0]), bool(terms.reliable[0])) == (1, True)
    teacher = logits_from_probabilities(inputs[1])
    _, clipped = DynamicKDLoss().with_terms(inputs[0], teacher, inputs[2])
    c = 0.5 / 255
    assert float(clipped.teacher_iou[0]) == pytest.approx(64 * (1 - c) / (64 + 65472 * c), rel=1e-4)
    assert not bool(clipped.reliable[0])
    np.testing.assert_allclose(to_numpy(terms.kl), to_numpy(clipped.kl), rtol=1e-6)  # the clip serves the divergence


def test_the_divergence_by_hand():
    # A white pixel at T = 1 and c = .1 teaches .9; the student is at 1/2: KL = log 2 - H(.9).
    loss, terms = of_maps(clip=0.1, temperature=1.0).with_terms(
        np.zeros((1, 1, 1)), np.ones((1, 1, 1)), np.ones((1, 1, 1))
    )
    kl = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    weight = math.tanh(1.0**0.7 * 0.5**0.3)
    np.testing.assert_allclose([terms.kl[0], terms.weight[0]], [kl, weight], rtol=1e-12)
    assert loss == pytest.approx(weight * kl + (1 - weight) * math.log(2), rel=1e-12)


@pytest.mark.parametrize("wrong", [0.0, 1e-300, 1.0])
def test_a2deles_logarithms_are_at_least_minus_100(wrong):
    target = np.full((1, 1, 4), 1.0 - round(wrong))
    maps = target.copy()
    maps[0, 0, 0] = wrong
    loss = of_maps(weighting="a2dele", noise_elimination=None)
    _, terms = loss.with_terms(np.zeros_like(target), maps, target)
    assert terms.weight[0] == pytest.approx(math.exp(-70 * 100 / 4))
    torch = pytest.importorskip("torch")
    entropy = torch.nn.functional.binary_cross_entropy(torch.from_numpy(maps), torch.from_numpy(target))
    assert terms.weight[0] == pytest.approx(math.exp(-70 * entropy))


@pytest.mark.parametrize("settings", [*SETTINGS, {"detach_weight": False}], ids=str)
def test_the_gradient_agrees_with_differences(settings):
    torch = pytest.importorskip("torch")
    batch = random_maps(seed=2)
    expected = loss_gradient(*batch, teacher="probabilities", **settings)
    student, *rest = map(torch.from_numpy, batch)
    of_maps(**settings)(student.requires_grad_(), *rest).backward()
    np.testing.assert_allclose(student.grad, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("student_dtype", ["float16", "float32"])
def test_half_precision_keeps_the_clip(settings, dtype, student_dtype):
    """In float16 1 - c, in bfloat16 even 1 - 1 / 255, would round; the maps hold values of both dtypes."""
    torch = pytest.importorskip("torch")
    student, maps, target, valid = random_maps(seed=3, shape=(3, 8, 9))
    student, maps = student.astype(np.float16), np.round(maps * 128) / 128
    expected = reduced_loss(student, maps, target, valid, teacher="probabilities", **settings)
    inputs = [torch.from_numpy(each) for each in (student, maps, target, valid)]
    inputs[0] = inputs[0].to(getattr(torch, student_dtype))
    inputs[1] = inputs[1].to(getattr(torch, dtype))
    result = of_maps(**settings)(*inputs)
    assert result.dtype == torch.float32
    assert float(result) == pytest.approx(float(expected), rel=2e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_compiled_whole(settings, dtype):
    torch = pytest.importorskip("torch")
    torch.compiler.reset()
    student, maps, *rest = map(torch.from_numpy, random_maps(seed=4))
    student = student.float().requires_grad_()
    maps = maps.to(getattr(torch, dtype))
    loss = of_maps(**settings)
    compiled = torch.compile(loss.with_terms, fullgraph=True, backend="aot_eager")
    results = [call(student, maps, *rest) for call in (loss.with_terms, compiled)]
    for pair in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value, _ in results))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_jit_and_the_teachers_gradient(jax, settings):
    batch = random_maps()
    arrays = list(map(jax.numpy.asarray, batch))
    loss = of_maps(**settings)
    expected = reduced_loss(*batch, teacher="probabilities", **settings)
    np.testing.assert_allclose(jax.jit(loss)(*arrays), expected, rtol=1e-9)
    assert not jax.grad(loss, argnums=1)(*arrays).any()


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -3.0, 255.0])
def test_invalid_pixels_may_hold_anything(xp, to_numpy, rubbish):
    student, maps, target, valid = random_maps()
    loss = of_maps(weighting="a2dele", noise_elimination=None)
    expected = loss(student, maps, target, valid)
    maps = np.where(valid, maps, rubbish)
    np.testing.assert_allclose(to_numpy(loss(*map(xp.asarray, (student, maps, target, valid)))), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_beyond_0_and_1_is_not_an_error(dtype):
    """Resizing may leave it; 1 - m would be negative, and its logarithm NaN."""
    eps = np.finfo(dtype).eps
    maps = np.array([[[1 + eps, -eps, 0.5]]], dtype)
    target = np.array([[[1, 0, 1]]])
    loss = of_maps(weighting="a2dele", noise_elimination=None)
    assert loss(np.zeros((1, 1, 3)), maps, target) == loss(np.zeros((1, 1, 3)), maps.clip(0, 1), target)


MAPS = np.full((2, 1, 4, 4), 0.25)


def with_value(value):
    array = MAPS.copy()
    array[1, 0, 2, 3] = value
    return array


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        (
            np.repeat(MAPS, 2, axis=1),
            ValueError,
            r"2 channels: expected 1 with teacher='probabilities', got shape .* pass the map .* such as maps\[:, 1:\]",
        ),
        (
            (255 * MAPS).astype(np.uint8),
            TypeError,
            "teacher_logits: expected real floating-point values, got uint8; cast .*, and divide 0-255 maps by 255",
        ),
        (with_value(-3.0), ValueError, r"from -3 to 0.25; for logits leave out teacher='probabilities'"),
        (with_value(1.01), ValueError, r"teacher_logits: expected values in \[0, 1\], .* to 1.01; clip values that"),
        (with_value(200.0), ValueError, "from 0.25 to 200; divide a 0-255 map by 255"),
        (with_value(np.nan), ValueError, "from nan to nan; look for where the NaN comes from"),
        (
            MAPS[..., :2],
            ValueError,
            r"teacher_logits: .* resolution of .*, got \(4, 2\); set resize='bilinear', or resize the teacher's maps, ",
        ),
    ],
    ids=str,
)
def test_errors(teacher, error, message):
    with pytest.raises(error, match=message):
        of_maps()(np.zeros((2, 1, 4, 4)), teacher, np.ones((2, 1, 4, 4)))


def test_maps_must_not_require_grad():
    torch = pytest.importorskip("torch")
    maps = torch.from_numpy(MAPS)
    with pytest.raises(ValueError, match=r"teacher_logits: expected a constant, .* or pass teacher_logits\.detach"):
        of_maps()(torch.zeros(2, 1, 4, 4), maps.clone().requires_grad_(), maps)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"teacher": "maps"}, ValueError, "teacher: expected one of 'logits', 'probabilities', got 'maps'"),
        ({"clip": 0.5}, ValueError, r"clip: expected a number in \[1.17549e-38, 0.5\), got 0.5"),
        ({"clip": 0}, ValueError, r"clip: expected a number in \[1.17549e-38, 0.5\), got 0"),
        ({"clip": "0.1"}, TypeError, "clip: expected a number"),
    ],
    ids=str,
)
def test_wrong_settings(settings, error, message):
    with pytest.raises(error, match=message):
        DynamicKDLoss(**settings)


@pytest.mark.parametrize("clip", [2.0**-126, 0.49])
def test_the_ends_of_the_clips(clip):
    inputs = [each.astype(np.float32) for each in random_maps()[:3]]
    expected = reduced_loss(*inputs, teacher="probabilities", clip=max(clip, 1e-16))
    result = of_maps(clip=clip)(*inputs)
    assert np.isfinite(result)
    if clip == 0.49:
        assert result == pytest.approx(expected, rel=1e-5)
