"""What holds of the loss's parts for every input, of its reductions, and in every array library."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from long_runs import examples
from loss_terms import terms_of

from dynamic_kd.losses import (
    DynamicKDLoss,
    cross_entropy,
    dynamic_weight,
    eliminate_noise,
    logits_from_probabilities,
    soft_iou,
    temperature_kl,
)

LOGITS = st.floats(-1e4, 1e4) | st.floats(-3, 3)
UNIT = st.floats(0, 1)
TEMPERATURES = st.floats(0.5, 20)
SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=4)
CLOSE = {"rtol": 1e-9, "atol": 1e-9}

some_libraries = settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def maps(elements, shape=SHAPES):
    return hnp.arrays(np.float64, shape, elements=elements)


@st.composite
def batches(draw, shape=SHAPES):
    """Student, teacher, target and validity of one shape."""
    if not isinstance(shape, tuple):
        shape = draw(shape)
    target = draw(maps(st.sampled_from([0.0, 1.0]) | UNIT, shape))
    return *(draw(maps(LOGITS, shape)) for _ in range(2)), target, draw(hnp.arrays(bool, shape))


PARTS = {
    "soft IoU": lambda student, teacher, target: soft_iou(0.5 + 0.5 * np.tanh(teacher / 2), target),
    "soft IoU by pixel": lambda student, teacher, target: soft_iou(target, target > 0.5, granularity="pixel"),
    "cross-entropy": lambda student, teacher, target: cross_entropy(student, target),
    "divergence": lambda student, teacher, target: temperature_kl(student, teacher, temperature=3.0),
    "logits": lambda student, teacher, target: logits_from_probabilities(target),
    "weight": lambda student, teacher, target: dynamic_weight(target, target[::-1]),
    "noise": lambda student, teacher, target: eliminate_noise(target, target[::-1]),
}


# Images


@given(batches(), st.randoms())
def test_the_order_of_images_does_not_matter(batch, random):
    order = list(range(len(batch[0])))
    random.shuffle(order)
    shuffled = [array[order] for array in batch]
    for name in ("soft IoU", "soft IoU by pixel", "cross-entropy", "divergence", "logits"):
        np.testing.assert_array_equal(PARTS[name](*shuffled[:3]), PARTS[name](*batch[:3])[order])
    for mean, single in ((DynamicKDLoss(), DynamicKDLoss(reduction="none")),):
        np.testing.assert_allclose(mean(*shuffled), mean(*batch), **CLOSE)
        np.testing.assert_array_equal(single(*shuffled), single(*batch)[order])


@given(batches())
def test_a_batch_of_each_part_is_its_images(batch):
    for name in ("soft IoU", "soft IoU by pixel", "cross-entropy", "divergence", "logits"):
        alone = [PARTS[name](*(array[k : k + 1] for array in batch[:3]))[0] for k in range(len(batch[0]))]
        np.testing.assert_array_equal(PARTS[name](*batch[:3]), alone, err_msg=name)


@given(batches(), st.sampled_from([1, 2]))
def test_each_part_is_mirrored_with_its_image(batch, axis):
    mirrored = [np.flip(array, axis) for array in batch[:3]]
    for name in ("soft IoU by pixel", "cross-entropy", "divergence", "logits", "weight", "noise"):
        np.testing.assert_array_equal(PARTS[name](*mirrored), np.flip(PARTS[name](*batch[:3]), axis), err_msg=name)
    np.testing.assert_allclose(PARTS["soft IoU"](*mirrored), PARTS["soft IoU"](*batch[:3]), **CLOSE)


# Reductions


@given(batches(), st.sampled_from(["image", "pixel"]))
def test_reductions_are_those_of_the_single_losses(batch, granularity):
    each, total, mean = (DynamicKDLoss(reduction=r, granularity=granularity)(*batch) for r in ("none", "sum", "mean"))
    counted = batch[3].any(axis=(1, 2))
    assert each.shape == counted.shape
    assert np.all(each[~counted] == 0)
    np.testing.assert_allclose(total, each.sum(), **CLOSE)
    np.testing.assert_allclose(mean, each[counted].mean() if counted.any() else 0, **CLOSE)


@given(batches(), st.integers(2, 4))
def test_images_that_come_again_scale_the_sum_and_leave_the_mean(batch, times):
    again = [np.concatenate([array] * times) for array in batch]
    for reduction, factor in (("sum", times), ("mean", 1)):
        loss = DynamicKDLoss(reduction=reduction)
        np.testing.assert_allclose(loss(*again), factor * loss(*batch), **CLOSE)


# The soft IoU


@given(maps(UNIT), st.data())
def test_the_soft_iou_is_at_most_one_and_one_only_of_the_target(probabilities, data):
    target = data.draw(hnp.arrays(bool, probabilities.shape))
    values = soft_iou(probabilities, target)
    assert np.all((values >= 0) & (values <= 1))
    np.testing.assert_array_equal(soft_iou(target.astype(float), target), target.any(axis=(1, 2)))
    missed = np.sum(np.abs(probabilities - target), axis=(1, 2)) > 1e-6
    assert np.all(values[missed] < 1)


@given(maps(UNIT), maps(UNIT, (1, 1, 1)), st.data())
def test_the_soft_iou_grows_with_hits_and_falls_with_alarms(probabilities, other, data):
    target = data.draw(hnp.arrays(bool, probabilities.shape))
    pixel = tuple(data.draw(st.integers(0, size - 1)) for size in probabilities.shape)
    better = probabilities.copy()
    better[pixel] = max(better[pixel], other.item()) if target[pixel] else min(better[pixel], other.item())
    assert np.all(soft_iou(better, target) >= soft_iou(probabilities, target) - 1e-15)


@given(batches())
def test_the_soft_iou_of_a_map_is_the_confidence_in_the_terms(batch):
    _, teacher, target, valid = batch
    probabilities = 0.5 + 0.5 * np.tanh(teacher / 2)
    for granularity in ("image", "pixel"):
        terms = terms_of(*batch, granularity=granularity)
        expected = soft_iou(probabilities, target, valid, granularity=granularity)
        np.testing.assert_allclose(terms.teacher_iou, expected, **CLOSE)


# The cross-entropy


@given(LOGITS, UNIT)
def test_the_cross_entropy_is_at_least_the_targets_entropy(logit, level):
    plane, target = np.full((1, 1, 1), logit), np.full((1, 1, 1), level)
    entropy = -sum(share * math.log(share) for share in (level, 1 - level) if share > 0)
    assert cross_entropy(plane, target).item() >= entropy - 1e-12
    if 1e-9 < level < 1 - 1e-9:
        best = np.full((1, 1, 1), math.log(level) - math.log1p(-level))
        assert cross_entropy(best, target).item() == pytest.approx(entropy, abs=1e-12)


@given(LOGITS, LOGITS, UNIT)
def test_the_cross_entropy_falls_towards_the_target(first, second, level):
    best = math.inf if level == 1 else -math.inf if level == 0 else math.log(level) - math.log1p(-level)
    assume((first <= best) == (second <= best))
    near, far = sorted((first, second), key=lambda logit: abs(logit - max(min(best, 1e4), -1e4)))
    values = cross_entropy(np.array([[[near, far]]]), np.full((1, 1, 2), level))[0, 0]
    assert values[0] <= values[1] + 1e-9 * max(1, values[1])


@given(maps(LOGITS), st.data())
def test_salient_and_background_are_interchangeable(logits, data):
    target = data.draw(maps(UNIT, logits.shape))
    # 1 - G rounds for a small G, and the logit multiplies what is lost.
    np.testing.assert_allclose(cross_entropy(-logits, 1 - target), cross_entropy(logits, target), rtol=1e-9, atol=1e-11)
    mirrored = temperature_kl(-logits, -logits[::-1])
    np.testing.assert_allclose(mirrored, temperature_kl(logits, logits[::-1]), rtol=1e-9, atol=1e-9)


# The divergence


@given(maps(LOGITS), st.data(), TEMPERATURES)
def test_the_divergence_is_not_negative_and_scales_with_the_temperature(student, data, temperature):
    teacher = data.draw(maps(LOGITS, student.shape))
    value = temperature_kl(student, teacher, temperature=temperature, temperature_squared=False)
    assert np.all(value >= -1e-12)
    squared = temperature_kl(student, teacher, temperature=temperature)
    np.testing.assert_allclose(squared, temperature**2 * value, rtol=1e-12)
    softened = temperature_kl(student / temperature, teacher / temperature, temperature=1.0)
    np.testing.assert_allclose(softened, value, rtol=1e-6, atol=1e-9)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-30, 30), TEMPERATURES)
def test_the_divergence_grows_with_the_distance_from_the_teacher(teacher, first, second, temperature):
    assume((first <= teacher) == (second <= teacher))
    near, far = sorted((first, second), key=lambda logit: abs(logit - teacher))
    student = np.array([[[near, far]]])
    values = temperature_kl(student, np.full((1, 1, 2), teacher), temperature=temperature)[0, 0]
    assert values[0] <= values[1] + 1e-9


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_the_cross_entropy_is_the_divergence_and_the_entropy(student, teacher):
    planes = [np.full((1, 1, 1), logit) for logit in (student, teacher)]
    target = 1 / (1 + np.exp(-planes[1]))
    divergence = temperature_kl(*planes, temperature=1.0)
    np.testing.assert_allclose(
        cross_entropy(planes[0], target), divergence + cross_entropy(planes[1], target), atol=1e-9
    )


@given(maps(st.floats(-50, 50)), st.data())
def test_two_channels_count_by_their_difference(logits, data):
    others, offset = (data.draw(maps(st.floats(-50, 50), logits.shape)) for _ in range(2))
    target = data.draw(maps(UNIT, logits.shape))
    two = np.stack([offset, logits + offset], axis=1)
    np.testing.assert_allclose(cross_entropy(two, target), cross_entropy(logits, target), atol=1e-11)
    np.testing.assert_allclose(temperature_kl(two, others), temperature_kl(logits, others), atol=1e-10)


# The weight and the composition


@given(maps(UNIT), UNIT, UNIT, UNIT)
def test_noise_elimination_replaces_by_the_threshold_alone(iou, low, high, noise_weight):
    low, high = sorted((low, high))
    weights = np.full_like(iou, 0.7)
    lax, strict = (eliminate_noise(weights, iou, threshold=t, noise_weight=noise_weight) for t in (low, high))
    np.testing.assert_array_equal(strict, np.where(iou > high, weights, noise_weight))
    assert np.all((lax == noise_weight) <= (strict == noise_weight))
    np.testing.assert_array_equal(eliminate_noise(strict, iou, threshold=high, noise_weight=noise_weight), strict)


@given(batches(), UNIT)
def test_a_fixed_weight_blends_its_two_ends(batch, share):
    cross, distilled, between = (
        DynamicKDLoss(weighting=w, noise_elimination=None, reduction="none")(*batch) for w in (0, 1, share)
    )
    np.testing.assert_allclose(between, share * distilled + (1 - share) * cross, **CLOSE)


@given(maps(UNIT))
def test_logits_of_maps_are_odd_about_one_half(probabilities):
    logits = logits_from_probabilities(probabilities)
    np.testing.assert_allclose(logits_from_probabilities(1 - probabilities), -logits, rtol=1e-9, atol=1e-9)
    clipped = np.clip(probabilities, 0.5 / 255, 1 - 0.5 / 255)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), clipped, rtol=1e-9)


# Array libraries: one shape, because JAX compiles each operation for each shape

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "p": UNIT,
        "temperature": TEMPERATURES,
        "noise_threshold": UNIT,
        "weighting": st.sampled_from(["dynamic", "a2dele", "none"]) | UNIT,
        "noise_elimination": st.sampled_from(["absolute", None]),
        "granularity": st.sampled_from(["image", "pixel"]),
    },
)


@some_libraries
@given(batch=batches((2, 3, 4)), chosen=SETTINGS)
def test_every_library_gives_the_same_terms(xp, to_numpy, batch, chosen):
    expected = terms_of(*batch, **chosen)
    assume(np.all(np.abs(expected.teacher_iou - chosen.get("noise_threshold", 0.5)) > 1e-9))
    found = terms_of(*(xp.asarray(array) for array in batch), **chosen)
    for name, value in found._asdict().items():
        assert value.dtype == (xp.bool if name == "reliable" else xp.float64), name
        np.testing.assert_allclose(to_numpy(value), getattr(expected, name), rtol=1e-9, atol=1e-9, err_msg=name)


@some_libraries
@given(batch=batches((2, 3, 4)), reduction=st.sampled_from(["none", "mean", "sum"]))
def test_every_library_gives_the_same_loss(xp, to_numpy, batch, reduction):
    loss = DynamicKDLoss(reduction=reduction, noise_elimination=None)
    found = loss(*(xp.asarray(array) for array in batch))
    np.testing.assert_allclose(to_numpy(found), loss(*batch), rtol=1e-9, atol=1e-9)


@some_libraries
@given(batch=batches((2, 3, 4)))
def test_every_library_gives_the_same_parts(xp, to_numpy, batch):
    student, teacher, target, _ = batch
    ours = [xp.asarray(array) for array in (student, teacher, target)]
    pairs = {
        "cross-entropy": (cross_entropy(ours[0], ours[2]), cross_entropy(student, target)),
        "divergence": (temperature_kl(*ours[:2]), temperature_kl(student, teacher)),
        "soft IoU": (soft_iou(ours[2], ours[2]), soft_iou(target, target)),
        "weight": (dynamic_weight(ours[2], ours[2]), dynamic_weight(target, target)),
        "logits": (logits_from_probabilities(ours[2]), logits_from_probabilities(target)),
    }
    for name, (found, expected) in pairs.items():
        np.testing.assert_allclose(to_numpy(found), expected, rtol=1e-9, atol=1e-12, err_msg=name)
