"""Backends of the statistics, golden pairs, and random pairs."""

import json
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from dynamic_kd import metrics
from dynamic_kd.metrics._statistics import _cpu, _numpy

GOLDEN = Path(__file__).parents[1] / "golden"
BACKENDS = ("numba", "numpy", "generic")
FUNCTIONS = {
    "MAE": metrics.mean_absolute_error,
    "F": metrics.f_measure,
    "adpF": lambda pred, target, **settings: metrics.f_measure(pred, target, reduce="adaptive", **settings),
    "wF": metrics.weighted_f_measure,
    "S": metrics.s_measure,
    "E": metrics.e_measure,
    "adpE": lambda pred, target, **settings: metrics.e_measure(pred, target, reduce="adaptive", **settings),
}


@pytest.fixture(scope="session")
def golden():
    """The 22 pairs with the original's outputs: (name, pred, target, expected)."""
    cases = json.loads((GOLDEN / "golden.json").read_text())["cases"]
    arrays = np.load(GOLDEN / "inputs.npz")
    return [(case["name"], arrays[f"p{i:02}"], arrays[f"g{i:02}"], case) for i, case in enumerate(cases)]


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    """Convert NumPy arrays so that one backend scores them: the compiled loops, their twins, or the generic path."""
    if request.param == "numba":
        numba = pytest.importorskip("dynamic_kd.metrics._statistics._numba")
        monkeypatch.setattr(_cpu, "kernels", lambda: numba)
    elif request.param == "numpy":
        monkeypatch.setattr(_cpu, "kernels", lambda: _numpy)
    else:
        return pytest.importorskip("array_api_strict").asarray
    return lambda array: array


@pytest.fixture(scope="session")
def functions():
    """Every metric by name, curves as curves."""
    return FUNCTIONS


@st.composite
def pairs(draw, max_side=14):
    """An 8-bit map and a mask, empty, full, sparse and structured ones among them."""
    shape = draw(st.tuples(st.integers(1, max_side), st.integers(1, max_side)))
    levels = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 255]), st.sampled_from([0, 64, 128, 255])]))
    pred = draw(hnp.arrays(np.uint8, shape, elements=levels, fill=st.nothing()))
    fill = st.booleans() if draw(st.booleans()) else st.nothing()
    return pred, draw(hnp.arrays(bool, shape, elements=st.booleans(), fill=fill))


@pytest.fixture(scope="session")
def random_pair():
    """Return a function that makes a noisy map and a mask of any size from a generator."""

    def make(generator, height, width):
        rows, columns = np.indices((height, width))
        center = generator.uniform(0.2, 0.8, 2) * (height, width)
        radius = generator.uniform(0.1, 0.4) * min(height, width)
        target = np.hypot(rows - center[0], columns - center[1]) < max(radius, 1)
        noise = generator.normal(0, 60, (height, width))
        return np.clip(generator.integers(60, 255) * target + noise, 0, 255).astype(np.uint8), target

    return make


@pytest.fixture(scope="session")
def pair_strategy():
    return pairs
