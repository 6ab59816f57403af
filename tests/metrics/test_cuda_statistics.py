"""The CUDA kernels against the CPU's statistics: on a GPU where there is one, else interpreted on the CPU."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dynamic_kd._mask import LevelsSeen, interpreted
from dynamic_kd.metrics import SODMetrics, f_measure, mean_absolute_error, weighted_f_measure
from dynamic_kd.metrics._inputs import LEVEL, as_pairs
from dynamic_kd.metrics._selection import MEASURES
from dynamic_kd.metrics._statistics import statistics

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if GPU else "cpu"
# What lies in memory that no kernel has written yet may be no number, which the interpreter's NumPy remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
runs_kernels = pytest.mark.skipif(not (GPU or INTERPRETED), reason="needs a CUDA device, or Triton's interpreter")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a CUDA device")

# The interpreter takes a second for the weighted error of an image, whatever its size: there, of some batches only the
# second image is weighed, and scores that are there for something else leave the weighted F-measure out.
FEW = slice(None) if GPU else slice(1, 2)
MOST = {} if GPU else {"metrics": ("MAE", "F", "S", "E")}
SHAPES = [(1, 1), (13, 39)] + ([(1, 9), (7, 300), (300, 7), (480, 640), (1031, 517)] if GPU else [])


@pytest.mark.skipif(GPU or INTERPRETED, reason="the kernels run in this process")
def test_the_kernels_under_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def tensor(array):
    return torch.as_tensor(np.ascontiguousarray(array)).to(DEVICE)


def masks(generator, shape):
    """A disc, scattered pixels, none, and all."""
    rows, columns = np.indices(shape)
    disc = np.hypot(rows - 0.3 * shape[0], columns - 0.6 * shape[1]) < 0.3 * min(shape) + 1
    return [disc, generator.random(shape) < 0.1, np.zeros(shape, bool), np.ones(shape, bool)]


def both(pred, target, mask, normalize):
    """Statistics of tensors by the kernels, and of the same arrays by the CPU's loops."""
    ours = statistics(as_pairs(pred[:, None], tensor(mask)[:, None], normalize=normalize))
    assert ours.backend == "triton"
    array = pred.cpu().numpy() if pred.dtype == torch.uint8 else pred.double().cpu().numpy()
    return ours, statistics(as_pairs(array[:, None], target[:, None], normalize=normalize))


def equal(value, expected, tolerance=0.0):
    np.testing.assert_allclose(value.cpu().numpy(), expected, rtol=tolerance, atol=tolerance)


def assert_equal(pred, target, *, mask=None, normalize=True, weighed=slice(None)):
    """Compare the kernels on tensors with the CPU's loops on arrays: integers exactly, floats within 1e-9."""
    mask = target if mask is None else mask
    ours, theirs = both(pred, target, mask, normalize)
    levels = pred.dtype == torch.uint8
    equal(ours.foreground, theirs.foreground)
    equal(ours.constant, theirs.constant)
    equal(ours.mean, theirs.mean, 1e-14 if levels else 0)  # of floating values, the bits of NumPy's own sum
    for cut in ({}, {"strict": True}):
        for value, expected in zip(
            (*ours.threshold_counts(**cut), *ours.adaptive_counts(**cut)),
            (*theirs.threshold_counts(**cut), *theirs.adaptive_counts(**cut)),
            strict=True,
        ):
            equal(value, expected)
    for value, expected in zip(ours.binary_counts(), theirs.binary_counts(), strict=True):
        equal(value, expected)
    for name in ("class_moments", "quadrant_moments"):
        mine, other = getattr(ours, name)(), getattr(theirs, name)()
        equal(mine.count, other.count)
        filled = other.count > 0  # the CPU leaves 1 as the mean of an empty foreground
        for value, expected in zip(mine, other, strict=True):
            equal(value * tensor(filled), expected * filled, 1e-9)
        for square in ("squares_x", "squares_g", "products"):  # exactly 0 where the CPU's are
            assert not getattr(mine, square).cpu().numpy()[getattr(other, square) == 0].any(), (name, square)
    if weighed != slice(None):
        ours, theirs = both(pred[weighed], target[weighed], mask[weighed], normalize)
    for value, expected in zip(ours.weighted_errors(), theirs.weighted_errors(), strict=True):
        equal(value, expected, 1e-9)


@runs_kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_levels(shape):
    generator = np.random.default_rng(0)
    target = np.stack(masks(generator, shape))
    # Few levels make pixels tie with the adaptive threshold, where only NumPy's order of additions decides right.
    few = generator.choice([0, 64, 128, 255], target.shape).astype(np.uint8)
    few[1] = generator.integers(0, 256, shape)
    few[2] = 7
    assert_equal(tensor(few), target)
    assert_equal(tensor(few // 2 + 20), target, normalize=False, weighed=FEW)


@runs_kernels
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_floating_values(dtype):
    generator = np.random.default_rng(1)
    for shape in SHAPES[-1:] if not GPU else SHAPES:
        target = np.stack(masks(generator, shape))
        pred = generator.choice([0, 0.25, 0.5, 1], target.shape)
        pred[1] = generator.random(shape)
        pred[2] = 0.3
        pred[3] = -0.0
        assert_equal(tensor(pred).to(getattr(torch, dtype)), target, normalize=dtype != "float16", weighed=FEW)


@runs_kernels
@pytest.mark.parametrize("shape", [(1, 128), (1, 129), (6, 42), (96, 97)])
def test_the_mean_has_the_bits_of_numpys(shape):
    """Of pixels that NumPy adds up as they come, in halves, in unequal parts, in more parts than a program takes."""
    pred = np.random.default_rng(2).random((2, *shape))
    target = pred > 0.9
    for normalize in (False, True):
        ours, theirs = both(tensor(pred), target, target, normalize)
        equal(ours.mean, theirs.mean)


@runs_kernels
@pytest.mark.parametrize(
    "mask",
    [
        lambda target: target.astype(np.uint8) * 255,
        lambda target: target.astype(np.int64),
        lambda target: target.astype(np.int8) * 100,
        lambda target: target.astype(np.float32) * 0.5 + 0.4,
        lambda target: np.asfortranarray(target.astype(np.int16) * 200),
    ],
)
def test_masks_are_read_as_they_are(mask):
    generator = np.random.default_rng(2)
    target = np.stack(masks(generator, (9, 14))[:2])
    pred = generator.integers(0, 256, target.shape).astype(np.uint8)
    assert_equal(tensor(pred), target, mask=mask(target), weighed=FEW)


@runs_kernels
def test_ties_between_nearest_foreground_pixels():
    target = np.zeros((2, 11, 11), bool)
    target[0, [1, 1, 9, 9, 5], [1, 9, 1, 9, 5]] = True
    target[1, [0, 10, 5, 5], [5, 5, 0, 10]] = True
    pred = np.arange(242).reshape(target.shape).astype(np.uint8)  # every pixel has another error
    assert_equal(tensor(pred), target)


def batch(size=3, shape=(12, 21)):
    generator = np.random.default_rng(3)
    target = generator.random((size, *shape)) < 0.3
    return np.clip(150 * target + generator.integers(0, 106, target.shape), 0, 255).astype(np.uint8), target


@runs_kernels
def test_scores_of_a_stream_equal_the_cpus():
    pred, target = batch()
    target[1] = False
    every = tuple(MEASURES)
    for settings in (
        {},
        MOST | {"strict": True, "empty_target": "skip"},
        MOST | {"strict": True, "empty_target": "skip", "per_image_curves": True},
        {"quantize": True, "normalize": False, "metrics": every},
    ):
        ours, theirs = SODMetrics(**settings), SODMetrics(**settings)
        given = pred / 255 if settings.get("quantize") else pred
        for part in (slice(0, 2), slice(2, 3)):
            ours.update(tensor(given[part]), tensor(target[part]))
            theirs.update(given[part], target[part])
        report, expected = ours.compute(), theirs.compute()
        assert report.settings["backend"] == "triton"
        assert report.as_dict() == pytest.approx(expected.as_dict(), abs=1e-9)
        assert report.pooled == pytest.approx(expected.pooled, abs=1e-9)
        assert report.counts == expected.counts
        assert report.names == expected.names
        for name, curve in expected.per_image_curves.items():
            np.testing.assert_array_equal(report.per_image_curves[name], curve)
        for name, curve in expected.curves.items():
            np.testing.assert_allclose(report.curves[name], curve, rtol=0, atol=1e-9)
        np.testing.assert_allclose(report.rows, expected.rows, rtol=0, atol=1e-9)


@runs_kernels
def test_results_do_not_depend_on_batches_or_runs():
    pred, target = batch()
    together, apart, again = (SODMetrics(**MOST) for _ in range(3))
    together.update(tensor(pred), tensor(target))
    again.update(tensor(pred), tensor(target))
    for image in range(3):
        apart.update(tensor(pred[image]), tensor(target[image]))
    first, *others = together.compute(), apart.compute(), again.compute()
    for report in others:
        assert report.as_dict() == first.as_dict()
        assert (report.rows == first.rows).all()
        assert all((report.curves[name] == curve).all() for name, curve in first.curves.items())


@runs_kernels
def test_a_stream_in_flight_merges_pickles_and_resets():
    pred, target = batch()
    ours, other, expected = (SODMetrics(**MOST) for _ in range(3))
    ours.update(tensor(pred[:2]), tensor(target[:2]), names=["a", "b"])
    other.update(tensor(pred[2:]), tensor(target[2:]), names=["c"])
    ours.merge(pickle.loads(pickle.dumps(other)))
    expected.update(pred, target, names=["a", "b", "c"])
    assert ours.compute().as_dict() == pytest.approx(expected.compute().as_dict(), abs=1e-9)
    ours.update(tensor(pred), tensor(target))
    ours.reset()
    assert len(ours) == 0


BAD = [
    (lambda x: x * np.nan, lambda g: g, "pred: expected finite values in [0, 1], got NaN or infinity in b"),
    (lambda x: x * 255, lambda g: g, "pred: expected values in [0, 1], got others in b; pass probabilities"),
    (lambda x: x, lambda g: g * 128 - np.eye(4, 6, dtype=int), "expected masks of two levels, 0 and a salient one, or"),
    (lambda x: x, lambda g: g * 300 - np.eye(4, 6, dtype=int), "expected masks of two levels, 0 and a salient one, or"),
    (lambda x: x, lambda g: g * -1, "target: expected integers from 0 to 255 or floating values in [0, 1], got"),
    (lambda x: x, lambda g: g * np.inf, "target: expected finite values in [0, 1], got NaN or infinity in b"),
    (lambda x: x, lambda g: g * -0.5, "target: expected integers from 0 to 255 or floating values in [0, 1], got"),
]


@runs_kernels
@pytest.mark.parametrize(("spoil", "mask", "message"), BAD)
def test_bad_values_are_refused_by_name_when_scores_are_read(spoil, mask, message):
    pred, target = batch(2, (4, 6))
    values, spoilt = pred / 255, mask(np.ones_like(target))
    values[1] = spoil(values[1])
    spoilt[0] = 0
    metrics = SODMetrics(**MOST, quantize=True)
    metrics.update(tensor(pred), tensor(target * np.uint8(129)), names=["x", "y"])
    metrics.update(tensor(values), tensor(spoilt), names=["a", "b"])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole message is looked at)
        metrics.compute()
    assert message in str(caught.value)
    assert len(metrics) == 2
    with pytest.raises(ValueError, match="expected"):
        mean_absolute_error(tensor(values[1]), tensor(spoilt[1]))


@runs_kernels
def test_values_that_are_not_checked_are_taken():
    pred, target = batch(2, (4, 6))
    trusting = SODMetrics(**MOST, check="off")
    trusting.update(tensor(pred), tensor(target.astype(np.uint8)))
    assert trusting.compute().counts["empty_target"] == 0


def edged(values):
    """Masks of 32 x 40 with these values in a row of three pixels on an edge between 0 and 255."""
    mask = np.zeros((32, 40), np.uint8)
    mask[:, 20:] = 255
    mask[4 : 4 + len(values), 19] = values
    return mask


def smooth(shape=(32, 40), top=255):
    rows, columns = np.indices(shape)
    return np.clip((columns + rows - 20) * top // 30, 0, top).astype(np.uint8)


LEVELS = {
    "binary": edged([]),
    "empty": np.zeros((32, 40), np.uint8),
    "labels 0 and 1": edged([]) // 255,
    "one level between": edged([128]),
    "two": edged([64, 128]),
    "three": edged([64, 128, 200]),
    "three, far from 255": np.roll(edged([64, 128, 200]), -4, axis=1) * (edged([]) == 0) + edged([]),
    "wide edges": smooth(),
    "wide edges below 239": smooth(top=238),
    "with noise": np.clip(edged([]).astype(int) + np.arange(1280).reshape(32, 40) % 13 - 6, 0, 255).astype(np.uint8),
    "areas": np.kron(np.arange(0, 256, 8, dtype=np.uint8).reshape(4, 8), np.ones((8, 5), np.uint8)),
    "void": np.where(np.indices((32, 40))[0] > 20, 255, edged([]) // 255).astype(np.uint8),
}


@runs_kernels
@pytest.mark.parametrize("kind", LEVELS)
def test_levels_mean_on_the_device_what_they_mean_on_the_host(kind):
    mask = LEVELS[kind]
    found = interpreted(mask)
    from dynamic_kd.metrics._statistics._cuda_steps import Steps

    steps = Steps([tensor(mask[None]), tensor(mask[None])], normalize=True)
    np.testing.assert_array_equal(steps._target[0].cpu().numpy(), found.values > 128)
    [flags] = steps._flags.tolist()
    try:
        seen = LevelsSeen()
        seen.add("", found.found)
        level = max(seen.decide(), default=0)
        assert flags == LEVEL * level
    except ValueError:
        assert flags == 16


@runs_kernels
def test_levels_that_differ_from_batch_to_batch_are_refused():
    pred, target = batch(2, (4, 6))
    metrics = SODMetrics(metrics=["MAE"])
    metrics.update(tensor(pred), tensor(target * np.uint8(255)), names=["a", "b"])
    metrics.update(tensor(pred), tensor(target * np.uint8(1)), names=["c", "d"])
    with pytest.raises(
        ValueError, match=r"got 0, 1 in 2 masks \(the first is c\); 0, 255 in 2 masks \(the first is a\)"
    ):
        metrics.compute()
    chosen = SODMetrics(metrics=["MAE"], salient=[1, 255])
    for level in (1, 255):
        chosen.update(tensor(pred), tensor(target * np.uint8(level)))
    assert chosen.compute()["MAE"] == mean_absolute_error(pred, target).mean()


@runs_kernels
def test_refused_empty_targets_are_named():
    pred, target = batch(2, (4, 6))
    metrics = SODMetrics(**MOST, empty_target="refuse")
    metrics.update(tensor(pred), tensor(target & np.array([True, False])[:, None, None]), names=["a", "b"])
    with pytest.raises(ValueError, match="got none in b"):
        metrics.compute()


@runs_kernels
def test_functions_return_tensors():
    pred, target = batch(1, (6, 7))
    for function in (mean_absolute_error, f_measure, weighted_f_measure):
        value = function(tensor(pred[0]), tensor(target[0]))
        assert isinstance(value, torch.Tensor)
        assert value.device.type == DEVICE
        np.testing.assert_allclose(value.cpu().numpy(), function(pred[0], target[0]), rtol=0, atol=1e-9)


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nobody_waits_for_the_device_before_scores_are_read():
    pred, target = (tensor(each) for each in batch())
    metrics = SODMetrics()
    metrics.update(pred, target)
    f_measure(pred, target, check="off")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):  # the last by a graph
            metrics.update(pred, target)
        metrics.update(pred.double() / 255, target)
        f_measure(pred, target, check="off")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(metrics) == 15


@needs_gpu
@pytest.mark.parametrize("settings", [{}, {"quantize": True, "strict": True}, {"duplicates": "once"}])
def test_graphs_compute_the_same(settings):
    generator = np.random.default_rng(8)
    ours, theirs = SODMetrics(**settings), SODMetrics(**settings)
    for _ in range(8):  # captured at the third, replayed from then on
        target = generator.random((2, 33, 47)) < 0.4
        pred = np.clip(0.5 * target + generator.random(target.shape) * 0.5, 0, 1)
        ours.update(tensor(pred), tensor(target))
        theirs.update(pred, target)
    report, expected = ours.compute(), theirs.compute()
    np.testing.assert_allclose(report.rows, expected.rows, rtol=0, atol=1e-9)
    assert report.pooled == pytest.approx(expected.pooled, abs=1e-9)
    for name, curve in expected.curves.items():
        np.testing.assert_allclose(report.curves[name], curve, rtol=0, atol=1e-9)


@needs_gpu
def test_graphs_of_many_threads_and_streams():
    pairs = [batch(2, (20 + 3 * index, 31)) for index in range(6)] * 6

    def score(pair):
        metrics = SODMetrics()
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(4):
                metrics.update(tensor(pair[0]), tensor(pair[1]))
            return metrics.compute().as_dict()

    with ThreadPoolExecutor(4) as pool:
        for pair, scores in zip(pairs, pool.map(score, pairs), strict=True):
            metrics = SODMetrics()
            metrics.update(*pair)
            assert scores == pytest.approx(metrics.compute().as_dict(), abs=1e-9)


@needs_gpu
def test_graphs_are_few_and_for_work_that_comes_often(monkeypatch):
    from dynamic_kd.metrics._statistics import _replay

    captured = []
    original = _replay._captured
    monkeypatch.setattr(_replay, "_captured", lambda *given: captured.append(1) or original(*given))
    monkeypatch.setattr(_replay, "_graphs", {})
    monkeypatch.setattr(_replay, "_seen", _replay.Counter())
    pairs = [batch(1, (21 + index, 40)) for index in range(2 * _replay.MOST_GRAPHS)]
    metrics, expected = SODMetrics(), SODMetrics()
    for pair in pairs * 8:  # more shapes than graphs, in turn
        metrics.update(*map(tensor, pair))
        expected.update(*pair)
    assert len(captured) == len(_replay._graphs) == _replay.MOST_GRAPHS
    for _ in range(40):  # then one of those without
        metrics.update(*map(tensor, pairs[-1]))
        expected.update(*pairs[-1])
    assert len(captured) == _replay.MOST_GRAPHS + 1
    assert len(_replay._graphs) == _replay.MOST_GRAPHS
    assert metrics.compute().as_dict() == pytest.approx(expected.compute().as_dict(), abs=1e-9)


@needs_gpu
def test_batches_on_their_way_hold_no_memory_of_the_device():
    pred, target = (tensor(each) for each in batch(16, (480, 640)))
    metrics = SODMetrics()
    metrics.update(pred, target)
    before = torch.cuda.memory_allocated()
    for _ in range(6):
        metrics.update(pred.clone(), target.clone())
    assert torch.cuda.memory_allocated() - before < pred.numel()


@needs_gpu
@pytest.mark.parametrize("offsets", [(0, 0, 0, 1, 1, 3, 0, 1), (1, 1, 1, 1, 3, 0, 0)])
def test_kernels_know_tensors_that_are_not_aligned(offsets):
    pred, target = batch(3, (31, 33 + len(offsets)))
    memory = torch.zeros(pred.size + 16, dtype=torch.uint8, device="cuda")
    for offset in offsets:
        given = memory[offset : offset + pred.size].view(pred.shape)
        given.copy_(tensor(pred))
        assert_equal(given, target)
        metrics, expected = SODMetrics(), SODMetrics()
        metrics.update(given, tensor(target))
        expected.update(pred, target)
        assert metrics.compute().as_dict() == pytest.approx(expected.compute().as_dict(), abs=1e-9)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_working_memory_is_at_most_24_bytes_a_pixel(dtype):
    pred, target = (tensor(each) for each in batch(4, (480, 640)))
    pred = pred if dtype == torch.uint8 else (pred / 255).to(dtype)
    SODMetrics().update(pred, target)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    SODMetrics().update(pred, target)
    assert torch.cuda.max_memory_allocated() - before <= 24 * pred.numel()


@runs_kernels
@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16"])
def test_the_kernels_clip_what_rounding_pushed_beyond_0_and_1(name):
    dtype = getattr(torch, name)
    eps, mask = torch.finfo(dtype).eps, np.indices((9, 13)).sum(axis=0) % 5 < 2
    clean = torch.linspace(0, 1, 117).reshape(9, 13).to(dtype)
    clean[3:5, 2:6], clean[0, 1] = 1, 0
    for units in (4, 5):
        rounded = torch.where(clean == 1, 1 + units * eps, torch.where(clean == 0, -units * eps, clean)).to(dtype)
        scores = []
        for pred in (rounded, clean):
            metrics = SODMetrics(normalize=False)
            metrics.update(pred.to(DEVICE), tensor(mask), names=["first"])
            if units == 5 and pred is rounded:
                with pytest.raises(ValueError, match=r"pred: expected values in \[0, 1\], got others in first"):
                    metrics.compute()
                return
            scores.append(metrics.compute())
        assert scores[0].scores == scores[1].scores


@runs_kernels
def test_the_kernels_take_booleans_as_0_and_1():
    pred, mask = np.indices((9, 13)).sum(axis=0) % 3 < 2, np.indices((9, 13)).sum(axis=0) % 5 < 2
    found = mean_absolute_error(tensor(pred), tensor(mask), normalize=False)
    assert float(found) == pytest.approx((pred != mask).mean(), abs=1e-15)
