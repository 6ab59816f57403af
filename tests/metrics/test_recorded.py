"""Records: their layout, the way of a batch's numbers from a GPU, faults found there; and kernels on the CPU."""

import sys

import numpy as np
import pytest

from dynamic_kd.metrics import _measured, mean_absolute_error
from dynamic_kd.metrics import _statistics as package
from dynamic_kd.metrics._inputs import as_pairs
from dynamic_kd.metrics._statistics import (
    Contribution,
    _cpu,
    _numpy,
    _recorded,
    packed,
    recorded,
    refuse_faults,
    unpacked,
)

PRED, TARGET = np.linspace(0, 1, 60).reshape(1, 6, 10), np.zeros((1, 6, 10), bool)
TARGET[0, 2:, 3:7] = True
KERNELS = ("level_counts", "bin_counts", "class_moments", "quadrant_moments", "weighted_errors")


def test_the_layout_is_that_of_the_kernels_and_of_records_kept_before():
    """After a change of it, bytes of records need another beginning, so that old ones are refused."""
    layout = {
        "FOREGROUND": 0,
        "MEAN": 1,
        "CONSTANT": 2,
        "FLAGS": 3,
        "PEAK": 4,
        "ADAPTIVE": 5,
        "ERRORS": 9,
        "CLASSES": 12,
        "QUADRANTS": 24,
        "BINARY": 48,
        "COUNTS": 64,
    }
    assert {name: getattr(_recorded, name) for name in layout} == layout
    assert list(_recorded.FAULTS) == [1, 2, 4, 8, 16]
    assert (_recorded.STRICT_COUNTS, _recorded.SIZE) == (64 + 512, 64 + 1024)
    pytest.importorskip("triton")
    from dynamic_kd.metrics._statistics._triton import _values

    written = {name: getattr(_values, f"RECORD_{name}", None) for name in layout}
    assert {name: place.value for name, place in written.items() if place is not None}.items() <= layout.items()
    assert _values.RECORD.value == _recorded.SIZE


def test_a_record_holds_no_fault_and_no_strict_counts_unless_asked():
    measured = _cpu.CPUStatistics(PRED, TARGET, normalize=False)
    for strict in (False, True):
        record = recorded(measured, strict=strict)[0]
        assert (record[_recorded.FLAGS], record[_recorded.PEAK], record[_recorded.CONSTANT]) == (0, 0, 0)
        assert np.isnan(record[_recorded.STRICT_COUNTS :]).all() != strict
        assert np.isnan(record[[_recorded.ADAPTIVE + 2, _recorded.ADAPTIVE + 3]]).all() != strict
        again = _recorded.RecordedStatistics(np, record[None], pixels=60, backend="")
        assert not again.constant.any()
        for cut in {False, strict}:
            for counts in ("threshold_counts", "adaptive_counts"):
                for got, expected in zip(
                    getattr(again, counts)(strict=cut), getattr(measured, counts)(strict=cut), strict=True
                ):
                    np.testing.assert_array_equal(got, expected)


def test_records_know_constant_maps():
    flat = np.stack([PRED[0], np.full(PRED.shape[1:], 0.3)])
    measured = _cpu.CPUStatistics(flat, np.concatenate([TARGET] * 2), normalize=True)
    again = _recorded.RecordedStatistics(np, recorded(measured, strict=False), pixels=60, backend="")
    assert again.constant.tolist() == measured.constant.tolist() == [False, True]


def targets():
    """A block, one pixel, all but one, a row at the border, everything. (Without foreground few numbers are used.)"""
    block, one, row = (np.zeros((9, 13), bool) for _ in range(3))
    block[2:7, 3:8] = one[6, 2] = row[-1] = True
    return np.stack([block, one, ~one, row, one | ~one])


@pytest.mark.parametrize("kernels", ["numba", "numpy"])
@pytest.mark.parametrize("levels", [True, False])
def test_every_backend_writes_the_same_record(levels, kernels, monkeypatch):
    """Number by number, those of empty regions included."""
    xp = pytest.importorskip("array_api_strict")
    module = pytest.importorskip(f"dynamic_kd.metrics._statistics._{kernels}")
    monkeypatch.setattr(_cpu, "kernels", lambda: module)
    target = targets()
    pred = np.random.default_rng(1).integers(3, 200, target.shape, dtype=np.uint8)
    pred = pred if levels else pred / 255 + 1e-5
    generic = package.statistics(as_pairs(xp.asarray(pred), xp.asarray(target)))
    compiled = package.statistics(as_pairs(pred, target))
    assert (generic.backend, compiled.backend) == ("generic (array_api_strict)", kernels)
    np.testing.assert_allclose(recorded(compiled, strict=True), recorded(generic, strict=True), rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [7, 77, 255])
def test_constant_regions_vary_by_exactly_nothing(level, backend):
    """Not by rounding noise, which S would take for structure."""
    target = targets()
    pred = np.full(target.shape, level, np.uint8)
    for each in (pred, pred / 255):
        measured = package.statistics(as_pairs(backend(each), backend(target), normalize=False))
        for moments in (measured.class_moments(), measured.quadrant_moments()):
            for squares in (moments.squares_x, moments.products):
                assert not np.asarray(squares).any()


@pytest.mark.parametrize("kernels", ["numba", "numpy"])
def test_an_error_far_from_the_foreground_counts_twice(kernels, monkeypatch):
    """From 270 pixels on exactly, in float64."""
    monkeypatch.setattr(_cpu, "kernels", lambda: pytest.importorskip(f"dynamic_kd.metrics._statistics._{kernels}"))
    pred, target = np.zeros((1, 3, 400)), np.zeros((1, 3, 400), bool)
    target[0, 1, 0] = pred[0, 1, -1] = True
    errors = _cpu.CPUStatistics(pred, target, normalize=False).weighted_errors()
    assert errors.background.tolist() == [2.0]
    pred[0, 1, 5] = 1.0  # at half distance half of the way from 1 to 2
    errors = _cpu.CPUStatistics(pred, target, normalize=False).weighted_errors()
    assert errors.background.tolist() == [3.5]


def test_what_is_packed_is_unpacked():
    generator = np.random.default_rng(0)
    batch = Contribution(
        words=generator.integers(-(2**62), 2**62, (2, 7)),
        totals=generator.integers(0, 99, 3),
        numbers=generator.random((4, 5)),
        foreground=np.array([0.0, 3.0, 5.0, 9.0]),
        flags=np.array([0.0, 1.0, 24.0, 0.0]),
        constant=np.array([False, True, False, True]),
    )
    back = unpacked(packed(batch), curves=7, totals=3, images=4, kept=None)
    for name, value in batch._asdict().items():
        np.testing.assert_array_equal(getattr(back, name), value, err_msg=name)
    assert back.constant.dtype == bool


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        (1, r"pred: expected finite values in \[0, 1\], got NaN or infinity in b, d$"),
        (2, r"pred: expected values in \[0, 1\], got others in b, d; pass probabilities"),
        (4, r"target: expected finite values in \[0, 1\], got NaN or infinity in b, d$"),
        (8, r"target: expected integers from 0 to 255 or floating values in \[0, 1\], got others in b, d$"),
        (
            16,
            r"target: expected masks of two levels, .* got others in b, d; name the levels that are salient",
        ),
        (1 | 8, r"pred: expected finite values"),  # the first is enough
    ],
)
def test_faults_name_their_images(flag, message):
    with pytest.raises(ValueError, match=message):
        refuse_faults(np.array([0.0, flag, 0.0, flag]), ["a", "b", "c", "d"])


@pytest.mark.parametrize("flags", [[0.0, 0.0], [32.0, 0.0], [255 * 256.0, 0.0]])
def test_what_is_no_fault_is_not_refused(flags):
    refuse_faults(np.array(flags), ["a", "b"])


class Late(package.DeferredStatistics):
    """Statistics of a GPU, which finds a fault."""

    def check(self):
        raise ValueError("found at last")

    def start(self, formula, *, skip_empty, keep=()):
        raise NotImplementedError

    evaluate = start


def test_a_function_waits_for_the_gpus_check(monkeypatch):
    records = recorded(_cpu.CPUStatistics(PRED, TARGET, normalize=False), strict=False)
    late = Late(np, records, pixels=60, backend="late")
    monkeypatch.setattr(_measured, "statistics", lambda pairs: late)
    with pytest.raises(ValueError, match="found at last"):
        mean_absolute_error(PRED, TARGET)


@pytest.fixture
def calls(monkeypatch):
    """Note what numba's kernels are called with: the kinds of arguments for which they are compiled."""
    module = pytest.importorskip("dynamic_kd.metrics._statistics._numba")
    seen = set()

    def noting(name, kernel):
        def call(*arguments):
            arrays = [each for each in arguments if isinstance(each, np.ndarray)]
            flags = [(each.dtype.str, each.ndim, each.flags.c_contiguous, each.flags.writeable) for each in arrays]
            seen.add((name, *flags))
            return kernel(*arguments)

        return call

    for name in KERNELS:
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    monkeypatch.setattr(_cpu, "kernels", lambda: module)
    monkeypatch.setattr(package, "kernels", lambda: module)
    return seen


def test_every_kernel_is_warm_for_what_it_gets(calls):
    package._warm_up_once.__wrapped__()
    warm = set(calls)
    calls.clear()
    for pred in (PRED, (PRED * 255).astype(np.uint8)):
        recorded(_cpu.CPUStatistics(pred, TARGET, normalize=True), strict=True)
    assert {name for name, *_ in calls} == set(KERNELS)
    assert calls <= warm


def test_without_numba_the_twins_are_taken(monkeypatch):
    monkeypatch.setitem(sys.modules, "dynamic_kd.metrics._statistics._numba", None)
    monkeypatch.delattr(package, "_numba", raising=False)
    _cpu.kernels.cache_clear()
    try:
        assert _cpu.kernels() is _numpy
        _numpy.warm_up()  # which is nothing to them
        assert _cpu.CPUStatistics(PRED, TARGET, normalize=True).backend == "numpy"
    finally:
        _cpu.kernels.cache_clear()
