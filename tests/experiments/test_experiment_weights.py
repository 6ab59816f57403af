"""The weights that experiments try."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from dynamic_kd.experiments.weights import gradual, normalized, relative  # noqa: E402
from dynamic_kd.losses import dynamic_kd_terms, dynamic_weight  # noqa: E402

SHARES = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=8)


@given(SHARES)
def test_normalized_weights_are_dynamic_ones_in_proportion(pairs):
    alpha, beta = np.array(pairs).T
    dynamic, weight = dynamic_weight(alpha, beta), normalized(alpha, beta, beta)
    np.testing.assert_allclose(weight, np.minimum(dynamic * 0.5 / dynamic.mean(), 1), rtol=1e-12)


def test_teachers_that_are_all_wrong_get_no_weight():
    assert normalized(np.zeros(3), np.ones(3), np.ones(3)).tolist() == [0, 0, 0]


@given(SHARES)
def test_a_relative_weight_trusts_who_is_not_much_worse_than_the_student(pairs):
    alpha, beta = np.array(pairs).T
    weight = relative(alpha, beta, beta)
    for each, iou, error in zip(weight, alpha, beta, strict=True):
        assert each == (0.5 if iou > 0.75 * (1 - error) else 0.01)


def test_a_relative_weight_is_a_setting_of_the_loss():
    maps = np.random.default_rng(0).normal(size=(2, 40, 1, 4, 4))
    mask = np.random.default_rng(1).random((40, 1, 4, 4)) < 0.4
    terms = dynamic_kd_terms(*maps, mask, weighting=0.5, noise_elimination="relative")
    assert {0.01, 0.5} == set(terms.weight.tolist())
    np.testing.assert_array_equal(terms.weight, relative(terms.teacher_iou, terms.student_error, terms.ce))


@given(SHARES)
def test_a_gradual_weight_rises_from_a_fifth_to_three_fifths(pairs):
    alpha, beta = np.array(sorted(pairs)).T
    weight = gradual(alpha, beta, beta)
    assert (np.diff(weight) >= 0).all()
    assert ((weight == 0) == (alpha <= 0.2)).all()
    assert weight[alpha >= 0.6] == pytest.approx(0.5)
    assert (weight <= 0.5).all()
    middle = (alpha > 0.2) & (alpha < 0.6)
    assert weight[middle] == pytest.approx((alpha[middle] - 0.2) / 0.8)
