"""Maps that rounding pushed beyond 0 or 1 by a few units in the last place, and maps of booleans, on every backend."""

import numpy as np
import pytest

from dynamic_kd.compat import py_sod_metrics
from dynamic_kd.metrics import SODMetrics, mean_absolute_error

TARGET = np.zeros((12, 15), bool)
TARGET[3:9, 4:11] = True
CLEAN = np.where(TARGET, 0.9, 0.2) + np.linspace(-0.2, 0.1, 180).reshape(12, 15)
CLEAN[4, 5], CLEAN[0, 0], CLEAN[11, 14] = 1, 0, 1


def beyond(dtype, units):
    """The clean map with its 0 and its ones moved outwards by units in the last place of 1."""
    eps = np.finfo(dtype).eps
    pred = CLEAN.clip(0, 1).astype(dtype)
    return np.where(CLEAN >= 1, dtype(1 + units * eps), np.where(CLEAN <= 0, dtype(-units * eps), pred)).astype(dtype)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_four_units_in_the_last_place_are_clipped(functions, backend, dtype, normalize):
    target, rounded, clean = backend(TARGET), backend(beyond(dtype, 4)), backend(beyond(dtype, 0))
    for name, function in functions.items():
        for check in ("auto", "off"):
            found = np.asarray(function(rounded, target, normalize=normalize, check=check))
            assert np.array_equal(found, np.asarray(function(clean, target, normalize=normalize))), name


@pytest.mark.parametrize(
    ("dtype", "found"),
    [(np.float32, "-5.96046e-07 to 1.0000005960464478"), (np.float64, "-1.11022e-15 to 1.000000000000001")],
)
def test_five_are_an_error_that_shows_enough_digits(backend, dtype, found):
    message = rf"pred: expected values in \[0, 1\], got {found}\d*; clip them if rounding has pushed them there$"
    with pytest.raises(ValueError, match=message):
        mean_absolute_error(backend(beyond(dtype, 5)), backend(TARGET))


def test_a_map_that_is_constant_but_for_rounding_is_constant():
    for value, expected in ((1.0, 1 - TARGET.mean()), (0.0, TARGET.mean())):
        pred = np.full(TARGET.shape, value, np.float32)
        pred[2:5] += np.float32(np.finfo(np.float32).eps * (1 if value else -1))
        metrics = SODMetrics(["MAE"])
        metrics.update(pred, TARGET)
        assert metrics.compute()["MAE"] == pytest.approx(expected, abs=1e-15)
        assert metrics.compute().counts["constant_prediction"] == 1


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@pytest.mark.parametrize("quantize", [True, False])
def test_the_tolerance_is_that_of_the_dtype_that_came(name, quantize):
    """NumPy has no bfloat16 and takes it as float32."""
    torch = pytest.importorskip("torch")
    dtype, target = getattr(torch, name), torch.from_numpy(TARGET)
    eps, clean = torch.finfo(dtype).eps, torch.from_numpy(CLEAN.clip(0, 1)).to(dtype)
    for units in (4, 5):
        pred = torch.where(clean == 1, 1 + units * eps, torch.where(clean == 0, -units * eps, clean)).to(dtype)
        if units == 4:
            found = mean_absolute_error(pred, target, quantize=quantize, normalize=False)
            assert found == mean_absolute_error(clean, target, quantize=quantize, normalize=False)
        else:
            with pytest.raises(ValueError, match=r"pred: expected values in \[0, 1\], got -0\.0\d+ to 1\.0\d+;"):
                mean_absolute_error(pred, target, quantize=quantize)


def test_antialiased_resizing_of_a_map_of_ones_is_scored():
    torch = pytest.importorskip("torch")
    ones, metrics = torch.ones(1, 1, 64, 64), SODMetrics(["MAE"], normalize=False)
    resized = [
        torch.nn.functional.interpolate(ones, size, mode="bilinear", antialias=True) for size in ((55, 300), (100, 130))
    ]
    assert max(float(each.max()) for each in resized) > 1  # the case
    for each in resized:
        metrics.update(each, torch.ones_like(each) > 0)
    assert metrics.compute()["MAE"] < 1e-7


def test_jax_with_and_without_tracing():
    jax = pytest.importorskip("jax")
    target = jax.numpy.asarray(TARGET)
    rounded, clean = (jax.numpy.asarray(beyond(np.float32, units)) for units in (4, 0))
    for function in (mean_absolute_error, jax.jit(mean_absolute_error)):
        assert function(rounded, target) == function(clean, target)
    with pytest.raises(ValueError, match=r"pred: expected values in \[0, 1\], got"):
        mean_absolute_error(jax.numpy.asarray(beyond(np.float32, 5)), target)


def test_the_classes_of_pysodmetrics():
    for units, normalize in ((4, True), (4, False), (5, True), (5, False)):
        measure, pred = py_sod_metrics.MAE(), beyond(np.float64, units) * (255 if normalize else 1)
        if units == 4:
            measure.step(pred, TARGET, normalize)
            expected = np.abs(CLEAN.clip(0, 1) - TARGET).mean()
            assert measure.get_results()["mae"] == pytest.approx(expected, abs=1e-14)
        elif not normalize:
            with pytest.raises(
                ValueError, match=r"in \[0, 1\] with normalize=False, got -1.11022e-15 to 1.000000000000001\d*; "
            ):
                measure.step(pred, TARGET, normalize)


def test_a_map_of_booleans_is_0_and_1(functions, backend):
    pred = CLEAN > 0.5
    for normalize in (True, False):
        for function in functions.values():
            found = function(backend(pred), backend(TARGET), normalize=normalize)
            expected = function(backend(pred.astype(float)), backend(TARGET), normalize=normalize)
            assert np.allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-12)
    full = SODMetrics(["MAE"], normalize=False)
    full.update(np.ones_like(TARGET), TARGET)
    assert full.compute()["MAE"] == pytest.approx(1 - TARGET.mean(), abs=1e-15)


def test_booleans_and_rounded_maps_of_torch():
    torch = pytest.importorskip("torch")
    target = torch.from_numpy(TARGET)
    assert mean_absolute_error(target, target, normalize=False) == 0
    assert mean_absolute_error(torch.from_numpy(beyond(np.float32, 4)), target) == mean_absolute_error(
        torch.from_numpy(beyond(np.float32, 0)), target
    )
