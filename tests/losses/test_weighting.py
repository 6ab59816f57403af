"""The weight strategies behind the setting ``weighting``."""

from __future__ import annotations

import numpy as np
import pytest
from loss_reference import binary_cross_entropy, random_batch
from loss_terms import terms_of

from dynamic_kd.losses import DynamicKDLoss


def weight(weighting, **settings):
    return terms_of(*random_batch()[:3], weighting=weighting, **settings).weight


def teacher_cross_entropy():
    _, teacher, target, _ = random_batch()
    return np.vectorize(binary_cross_entropy)(teacher, target)


def test_dynamic_is_filtered_at_the_threshold():
    terms = terms_of(*random_batch()[:3])
    threshold = float(np.median(terms.teacher_iou))
    filtered = weight("dynamic", noise_threshold=threshold, noise_weight=0.05)
    reliable = terms.teacher_iou > threshold
    assert reliable.sum() == 1
    np.testing.assert_array_equal(filtered, np.where(reliable, weight("dynamic", noise_elimination=None), 0.05))


def test_reliable_reports_the_threshold_under_any_weighting():
    terms = terms_of(*random_batch()[:3], weighting=0.5, noise_threshold=0.6)
    np.testing.assert_array_equal(terms.reliable, terms.teacher_iou > 0.6)


def test_without_noise_elimination_no_teacher_is_dropped():
    terms = terms_of(*random_batch()[:3], noise_elimination=None, noise_threshold=1.0)
    assert np.all(terms.weight > 0.01)
    assert not terms.reliable.any()  # the threshold is still reported


@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_a2dele_falls_with_the_teachers_cross_entropy(granularity):
    ce = teacher_cross_entropy()
    expected = np.exp(-70 * (ce.mean((1, 2)) if granularity == "image" else ce))
    found = weight("a2dele", granularity=granularity, noise_elimination=None)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("share", [0, 0.3, 1, np.float32(0.5)])
def test_a_number_is_a_fixed_weight(share):
    assert np.all(weight(share, noise_elimination=None) == share)


@pytest.mark.parametrize("noise_elimination", [None, "absolute", "relative"])
@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_none_is_plain_cross_entropy_whatever_the_noise_elimination(noise_elimination, granularity):
    settings = {"noise_elimination": noise_elimination, "noise_threshold": 1.0, "granularity": granularity}
    terms = terms_of(*random_batch()[:3], weighting="none", **settings)
    assert not terms.weight.any()
    np.testing.assert_array_equal(terms.loss, terms.ce)


def test_one_is_plain_distillation():
    terms = terms_of(*random_batch()[:3], weighting=1.0, noise_elimination=None)
    np.testing.assert_array_equal(terms.loss, terms.kl)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
def test_a_function_gets_the_three_quantities(granularity):
    seen = {}

    def half(teacher_iou, student_error, teacher_cross_entropy):
        seen.update(alpha=teacher_iou, beta=student_error, ce=teacher_cross_entropy)
        return 0.5 * teacher_iou

    settings = {"weighting": half, "granularity": granularity, "noise_elimination": None}
    terms = terms_of(*random_batch()[:3], **settings)
    ce = teacher_cross_entropy()
    np.testing.assert_array_equal(seen["alpha"], terms.teacher_iou)
    np.testing.assert_array_equal(seen["beta"], terms.student_error)
    np.testing.assert_allclose(seen["ce"], ce.mean((1, 2)) if granularity == "image" else ce, rtol=1e-9)
    np.testing.assert_array_equal(terms.weight, 0.5 * terms.teacher_iou)


def test_a_functions_weights_lie_in_the_unit_interval():
    student, teacher, target, _ = random_batch()
    loss = DynamicKDLoss(weighting=lambda alpha, beta, ce: 2 + alpha)
    with pytest.raises(ValueError, match=r"weighting's values: expected values in .0, 1., got values from 2"):
        loss(student, teacher, target)


def test_a_functions_weights_may_be_nan():
    settings = {"weighting": lambda alpha, beta, ce: np.nan * alpha, "noise_elimination": None}
    terms = terms_of(*random_batch()[:3], **settings)
    assert np.isnan(terms.weight).all()
    assert np.isnan(terms.loss).all()


@pytest.mark.parametrize(("result", "got"), [(np.ones(()), r"\(\)"), (np.ones((3, 1)), r"\(3, 1\)"), (0.5, "float")])
def test_a_function_must_return_one_weight_for_each(result, got):
    with pytest.raises(ValueError, match=rf"weighting: .* array of shape \(3,\), as its arguments, got {got}; return"):
        DynamicKDLoss(weighting=lambda *_: result)(*random_batch()[:3])


@pytest.mark.parametrize("weighting", [0.4, "a2dele", "dynamic", lambda alpha, beta, ce: alpha])
def test_noise_may_be_eliminated_from_any_weight(weighting):
    terms = terms_of(*random_batch()[:3])
    threshold = float(np.median(terms.teacher_iou))
    settings = {"noise_threshold": threshold, "noise_weight": 0.05}
    filtered = weight(weighting, **settings)
    plain = weight(weighting, noise_elimination=None, **settings)
    np.testing.assert_array_equal(filtered, np.where(terms.teacher_iou > threshold, plain, 0.05))
    assert (filtered != plain).any()


@pytest.mark.parametrize("weighting", [0.4, "a2dele", "dynamic", lambda alpha, beta, ce: alpha])
def test_a_teacher_may_be_noise_by_the_students_measure(weighting):
    """A bad teacher of a student that is as bad is kept; a good one of a better student is not."""
    student, teacher, target, _ = random_batch()
    student = np.where(target, 5.0, -5.0) * np.array([1, 0.01, 1])[:, None, None]
    settings = {"noise_elimination": "relative", "noise_threshold": 0.9, "noise_weight": 0.05}
    terms = terms_of(student, teacher, target, weighting=weighting, **settings)
    plain = terms_of(student, teacher, target, weighting=weighting, noise_elimination=None)
    reliable = terms.teacher_iou > 0.9 * (1 - terms.student_error)
    assert reliable.tolist() == [False, True, False]
    np.testing.assert_array_equal(terms.reliable, reliable)
    np.testing.assert_array_equal(terms.weight, np.where(reliable, plain.weight, 0.05))
