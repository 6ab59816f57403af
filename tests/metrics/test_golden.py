"""The original MATLAB code's outputs, and PySODMetrics', on 22 pairs with the corner cases among them."""

import math

import metric_reference as reference
import numpy as np
import pytest

from dynamic_kd.metrics import (
    e_measure,
    f_measure,
    mean_absolute_error,
    precision,
    recall,
    s_measure,
    weighted_f_measure,
)

# What the library gives where the original gives NaN or fails.
DOCUMENTED = {"wF": lambda pred, target: 0.0, "S": lambda x, g: reference.s_measure(x, g)}


def scores(pred, target):
    f_curve, e_curve = np.asarray(f_measure(pred, target)), np.asarray(e_measure(pred, target))
    strict = np.asarray(e_measure(pred, target, strict=True))
    return {
        "MAE": mean_absolute_error(pred, target),
        "S": s_measure(pred, target),
        "wF": weighted_f_measure(pred, target),
        "maxF": f_curve.max(),
        "meanF": f_curve.mean(),
        "adpF": f_measure(pred, target, reduce="adaptive"),
        "maxE_ge": e_curve.max(),
        "meanE_ge": e_curve.mean(),
        "adpE_ge": e_measure(pred, target, reduce="adaptive"),
        "maxE_gt": strict.max(),
        "meanE_gt": strict.mean(),
        "adpE_gt": e_measure(pred, target, reduce="adaptive", strict=True),
    }


@pytest.mark.parametrize("case", range(22))
def test_scores_equal_the_originals(golden, backend, case):
    name, pred, target, expected = golden[case]
    for score, value in scores(backend(pred), backend(target)).items():
        if expected[score] is None:
            documented = DOCUMENTED[score](reference.normalised(pred), target > 128)
            assert float(value) == pytest.approx(documented, abs=1e-11), (name, score)
        else:
            # MATLAB breaks ties between equally near foreground pixels its own way.
            tolerance = 2e-4 if score == "wF" else 1e-11
            assert abs(float(value) - expected[score]) < tolerance, (name, score)


@pytest.mark.parametrize("case", range(22))
def test_scores_under_jax_jit_equal_the_originals(golden, jax, case):
    """A compiler that divides by multiplying with the reciprocal would put levels on the wrong side of thresholds."""
    _, pred, target, expected = golden[case]
    for function, curve in ((f_measure, "F_curve"), (e_measure, "E_ge_curve")):
        compiled = np.asarray(jax.jit(function)(pred, target))
        assert np.max(np.abs(compiled[::-1] - np.array(expected[curve], dtype=float))) < 1e-11, curve


@pytest.mark.parametrize("case", range(22))
def test_curves_equal_the_originals(golden, backend, case):
    name, pred, target, expected = golden[case]
    pred, target = backend(pred), backend(target)
    curves = {
        "F_curve": f_measure(pred, target),
        "E_ge_curve": e_measure(pred, target),
        "P_curve": precision(pred, target),
        "R_curve": recall(pred, target),
    }
    for curve, values in curves.items():
        # Golden curves run from threshold 255 down; where nothing is predicted the original's precision is 0 / 0.
        original = np.array(expected[curve], dtype=float)[::-1]
        known = np.isfinite(original)
        assert known.any() or not np.any(np.asarray(target) > 128), (name, curve)
        assert np.max(np.abs(np.asarray(values) - original)[known], initial=0) < 1e-11, (name, curve)


@pytest.mark.parametrize("case", range(22))
def test_scores_equal_pysodmetrics(golden, backend, case):
    name, pred, target, expected = golden[case]
    for score, value in scores(backend(pred), backend(target)).items():
        peer = expected["pysodmetrics_1_6_2"].get(score)
        rounds_half_to_even = (name, score) == ("halfcentroid", "S")
        if peer is not None and not rounds_half_to_even:
            assert abs(float(value) - peer) < 1e-9, (name, score)
    assert all(math.isfinite(float(value)) for value in scores(backend(pred), backend(target)).values())
