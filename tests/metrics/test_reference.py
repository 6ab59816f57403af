"""Every metric against the slow loops of its paper, on images that Hypothesis makes up."""

import metric_reference as reference
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamic_kd.metrics import e_measure, f_measure, mean_absolute_error, s_measure, weighted_f_measure

CLOSE = {"rel": 1e-10, "abs": 1e-10}
any_backend = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@any_backend
@given(data=st.data())
def test_mean_absolute_error(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    expected = reference.mean_absolute_error(reference.normalised(pred), target)
    assert float(mean_absolute_error(backend(pred), backend(target))) == pytest.approx(expected, **CLOSE)


@any_backend
@given(data=st.data())
def test_f_measure(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    x = reference.normalised(pred)
    expected = [reference.f_measure(cut, target) for cut in reference.cuts(x)]
    assert np.asarray(f_measure(backend(pred), backend(target))) == pytest.approx(expected, **CLOSE)


@any_backend
@given(data=st.data(), strict=st.booleans())
def test_e_measure(backend, pair_strategy, data, strict):
    pred, target = data.draw(pair_strategy())
    x = reference.normalised(pred)
    expected = [reference.e_measure(cut, target) for cut in reference.cuts(x, strict)]
    assert np.asarray(e_measure(backend(pred), backend(target), strict=strict)) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("backend", ["numba", "numpy"], indirect=True)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_adaptive_threshold_breaks_ties_as_numpy_does(backend, pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    x = reference.normalised(pred)
    threshold = reference.adaptive_threshold(x)
    f, e = f_measure(pred, target, reduce="adaptive"), e_measure(pred, target, reduce="adaptive")
    assert float(f) == pytest.approx(reference.f_measure(x >= threshold, target), **CLOSE)
    assert float(e) == pytest.approx(reference.e_measure(x >= threshold, target), **CLOSE)
    strict = e_measure(pred, target, reduce="adaptive", strict=True)
    assert float(strict) == pytest.approx(reference.e_measure(x > threshold, target), **CLOSE)


@any_backend
@given(data=st.data(), alpha=st.sampled_from([0.0, 0.5, 1.0]))
def test_s_measure(backend, pair_strategy, data, alpha):
    pred, target = data.draw(pair_strategy())
    expected = reference.s_measure(reference.normalised(pred), target, alpha)
    assert float(s_measure(backend(pred), backend(target), alpha=alpha)) == pytest.approx(expected, **CLOSE)


@any_backend
@given(data=st.data(), beta_squared=st.sampled_from([0.3, 1.0]))
def test_weighted_f_measure(backend, pair_strategy, data, beta_squared):
    pred, target = data.draw(pair_strategy())
    expected = reference.weighted_f_measure(reference.normalised(pred), target, beta_squared)
    value = weighted_f_measure(backend(pred), backend(target), beta_squared=beta_squared)
    assert float(value) == pytest.approx(expected, **CLOSE)
