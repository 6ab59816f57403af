"""What holds for every input."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from loss_terms import terms_of

from dynamic_kd.losses import DynamicKDLoss, dynamic_weight, logits_from_probabilities, temperature_kl

SHAPES = hnp.array_shapes(min_dims=3, max_dims=3, max_side=4)
LOGITS = st.floats(-1e4, 1e4) | st.floats(-3, 3)
UNIT = st.floats(0, 1)


@st.composite
def batches(draw):
    """Student, teacher, target and validity of one shape."""
    shape = draw(SHAPES)
    student, teacher = (draw(hnp.arrays(np.float64, shape, elements=LOGITS)) for _ in range(2))
    target = draw(hnp.arrays(np.float64, shape, elements=st.sampled_from([0.0, 1.0]) | UNIT))
    return student, teacher, target, draw(hnp.arrays(bool, shape))


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "p": UNIT,
        "temperature": st.floats(0.5, 20),
        "noise_threshold": UNIT,
        "noise_weight": UNIT,
        "weighting": st.sampled_from(["dynamic", "a2dele", "none"]) | UNIT,
        "noise_elimination": st.sampled_from(["absolute", None]),
        "granularity": st.sampled_from(["image", "pixel"]),
    },
)


@given(batches(), SETTINGS)
def test_bounds(batch, settings):
    terms = terms_of(*batch, **settings)
    assert np.all((terms.teacher_iou >= 0) & (terms.teacher_iou <= 1))
    assert np.all((terms.student_error >= 0) & (terms.student_error <= 1))
    assert np.all((terms.weight >= 0) & (terms.weight <= 1))
    assert np.all(terms.ce >= 0)
    # Where student and teacher agree the divergence may round to a hair below 0.
    assert np.all(terms.kl >= -1e-9)
    assert np.all(terms.loss >= -1e-9)
    assert all(np.all(np.isfinite(term)) for term in terms)


@given(batches(), st.floats(0, 1))
def test_the_dynamic_weight_never_exceeds_its_ceiling(batch, p):
    terms = terms_of(*batch, p=p, noise_elimination=None)
    assert np.all(terms.weight <= math.tanh(1))


@given(batches(), SETTINGS, st.randoms())
def test_the_order_of_pixels_does_not_matter(batch, settings, random):
    order = list(range(batch[0][0].size))
    random.shuffle(order)
    shuffled = [array.reshape(len(array), 1, -1)[..., order] for array in batch]
    loss = DynamicKDLoss(reduction="none", **settings)
    np.testing.assert_allclose(loss(*shuffled), loss(*batch), rtol=1e-9, atol=1e-9)


@given(batches(), SETTINGS)
def test_flips_do_not_matter(batch, settings):
    loss = DynamicKDLoss(**settings)
    flipped = loss(*(array[:, ::-1, ::-1] for array in batch))
    np.testing.assert_allclose(flipped, loss(*batch), rtol=1e-9, atol=1e-9)


@given(batches(), SETTINGS)
def test_a_batch_is_its_images(batch, settings):
    loss = DynamicKDLoss(reduction="none", **settings)
    alone = [loss(*(array[k : k + 1] for array in batch)).item() for k in range(len(batch[0]))]
    np.testing.assert_allclose(loss(*batch), alone, rtol=1e-9, atol=1e-9)


@given(batches(), SETTINGS, st.integers(1, 3), st.integers(1, 3))
def test_the_resolution_does_not_matter(batch, settings, rows, columns):
    loss = DynamicKDLoss(**settings)
    larger = [array.repeat(rows, axis=1).repeat(columns, axis=2) for array in batch]
    # A threshold met exactly is decided by rounding, which depends on the number of pixels.
    alpha = terms_of(*batch, **settings).teacher_iou
    assume(np.all(np.abs(alpha - loss.threshold) > 1e-9) or loss.granularity == "pixel")
    np.testing.assert_allclose(loss(*larger), loss(*batch), rtol=1e-6, atol=1e-6)


@given(batches(), SETTINGS, st.floats(-1e30, 1e30))
def test_invalid_pixels_do_not_matter(batch, settings, rubbish):
    student, teacher, target, valid = batch
    spoilt = [np.where(valid, array, rubbish) for array in (student, teacher, target)]
    loss = DynamicKDLoss(**settings)
    assert loss(*spoilt, valid) == loss(*batch)


@given(UNIT, UNIT, UNIT, UNIT)
def test_the_weight_grows_with_the_teacher_and_with_the_students_error(p, low, high, other):
    low, high = sorted((low, high))
    pair, fixed = np.array([low, high]), np.array([other, other])
    for weights in (dynamic_weight(pair, fixed, p=p), dynamic_weight(fixed, pair, p=p)):
        assert weights[0] <= weights[1] + 1e-15


@given(LOGITS, LOGITS, st.floats(0.5, 20))
def test_the_divergence_is_zero_only_between_equals(student, teacher, temperature):
    planes = [np.full((1, 1, 1), z) for z in (student, teacher)]
    assert temperature_kl(planes[1], planes[1], temperature=temperature) == 0
    assume(abs(student - teacher) > 1e-3 and min(abs(student), abs(teacher)) < 30 * temperature)
    assert temperature_kl(*planes, temperature=temperature) > 0


@given(hnp.arrays(np.float64, 3, elements=UNIT), st.floats(1e-9, 0.49))
def test_logits_of_maps_are_bounded_and_ordered(maps, clip):
    logits = logits_from_probabilities(maps, clip=clip)
    bound = math.log((1 - clip) / clip)
    assert np.all(np.abs(logits) <= bound * (1 + 1e-9))
    assert np.all(np.diff(logits[np.argsort(maps)]) >= 0)
