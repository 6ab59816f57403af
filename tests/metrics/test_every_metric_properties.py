"""What holds of every metric, those from statistics and those from pixels, whatever the image."""

import json
import struct
import zlib
from contextlib import contextmanager

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from long_runs import examples

from dynamic_kd import metrics
from dynamic_kd.metrics import Records, SODMetrics
from dynamic_kd.metrics._statistics import _cpu, _numpy

pytest.importorskip("cv2")
pytest.importorskip("numba")

some = settings(
    max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def adaptive(function):
    return lambda pred, target, **more: function(pred, target, reduce="adaptive", **more)


# Metrics that count pixels on either side of thresholds: where the pixels lie does not matter.
COUNTED = {
    "MAE": metrics.mean_absolute_error,
    "F": metrics.f_measure,
    "adpF": adaptive(metrics.f_measure),
    "E": metrics.e_measure,
    "adpE": adaptive(metrics.e_measure),
    "precision": metrics.precision,
    "recall": metrics.recall,
    "specificity": metrics.specificity,
    "FPR": metrics.false_positive_rate,
    "IoU": metrics.intersection_over_union,
    "adpIoU": adaptive(metrics.intersection_over_union),
    "Dice": metrics.dice,
    "BER": metrics.balanced_error_rate,
    "OA": metrics.overall_accuracy,
    "kappa": metrics.kappa,
    "AUC-ROC": metrics.roc_auc,
    "AUC-PR": metrics.pr_auc,
}
# Metrics of places that a mirror leaves as they are.
MIRRORED = {
    "SI-F": metrics.size_invariant_f_measure,
    "SI-IoU": lambda pred, target, **more: metrics.size_invariant_rate(
        pred, target, "intersection_over_union", reduce="mean", **more
    ),
    "SI-MAE": metrics.size_invariant_mean_absolute_error,
    "CM": metrics.context_measure,
}
# And those that it changes: rounding of the centroid, ties of the nearest pixel, cells counted from one corner, where a
# contour begins.
SIDED = {
    "S": metrics.s_measure,
    "wF": metrics.weighted_f_measure,
    "MSIoU": metrics.multi_scale_iou,
    "HCE": metrics.human_correction_effort,
}
EVERY = COUNTED | MIRRORED | SIDED
FROM_STATISTICS = COUNTED | {name: SIDED[name] for name in ("S", "wF")}
# The value of a perfect map, where both classes are there.
PERFECT = {
    **dict.fromkeys(["adpF", "adpIoU", "AUC-ROC", "AUC-PR", "S", "wF"], 1),
    **dict.fromkeys(["MAE", "SI-MAE", "HCE"], 0),
}
PERFECT_ABOVE_0 = {
    **dict.fromkeys(["F", "precision", "recall", "specificity", "IoU", "Dice", "OA", "kappa", "SI-F"], 1),
    **dict.fromkeys(["FPR", "BER"], 0),
}


@st.composite
def stacks(draw, images=3, max_side=8):
    """A batch of 8-bit maps and masks of one size."""
    shape = (images, draw(st.integers(2, max_side)), draw(st.sampled_from([2, 5, 6, 7, max_side])))
    levels = draw(st.sampled_from([st.integers(0, 255), st.sampled_from([0, 255]), st.sampled_from([0, 64, 128, 255])]))
    pred = draw(hnp.arrays(np.uint8, shape, elements=levels, fill=st.nothing()))
    return pred, draw(hnp.arrays(bool, shape))


@some
@given(data=st.data())
def test_bounds(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    for name, function in EVERY.items():
        values = np.asarray(function(pred, target))
        low = -1 if name == "kappa" else 0
        high = target.size / max(target.size - 1, 1) if name in ("E", "adpE") else 1
        if name == "MSIoU":  # half precision, of the original
            high += 2**-11
        if name == "HCE":
            high = 4 * target.size
            assert values == int(values)
        assert np.all((values >= low - 1e-12) & (values <= high + 1e-12)), name


@some
@given(data=st.data(), axis=st.sampled_from([0, 1]))
def test_mirrors(pair_strategy, data, axis):
    pred, target = data.draw(pair_strategy())
    for name, function in (COUNTED | MIRRORED).items():
        value, mirrored = function(pred, target), function(np.flip(pred, axis), np.flip(target, axis))
        np.testing.assert_allclose(mirrored, value, rtol=0, atol=1e-9 if name == "CM" else 1e-12, err_msg=name)


@some
@given(data=st.data(), axis=st.sampled_from([0, 1]))
def test_only_ties_of_the_nearest_pixel_make_weighted_f_sided(data, axis):
    shape = data.draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    target = np.zeros(shape, bool)
    for _ in range(data.draw(st.integers(1, 3))):
        target[data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))] = True
    rows, columns = np.indices(shape)
    distances = np.array([(rows - r) ** 2 + (columns - c) ** 2 for r, c in np.argwhere(target)])
    assume(np.all(np.sum(distances == distances.min(axis=0), axis=0) == 1))
    pred = data.draw(hnp.arrays(np.uint8, shape))
    value = metrics.weighted_f_measure(pred, target)
    mirrored = metrics.weighted_f_measure(np.flip(pred, axis), np.flip(target, axis))
    assert mirrored == pytest.approx(value, abs=1e-12)


def test_sided_metrics_are_sided():
    """What their notes say: none of these is the same for a mirrored image."""
    generator = np.random.default_rng(0)
    pred, target = generator.integers(0, 256, (3, 20, 23), dtype=np.uint8), generator.random((3, 20, 23)) > 0.6
    for name, function in SIDED.items():
        assert np.any(function(pred, target) != function(pred[..., ::-1], target[..., ::-1])), name
        assert "mirrored image" in " ".join(function.__doc__.split()), name


@some
@given(data=st.data(), random=st.randoms())
def test_where_counted_pixels_lie_does_not_matter(pair_strategy, data, random):
    pred, target = data.draw(pair_strategy())
    order = list(range(pred.size))
    random.shuffle(order)
    shuffled = [each.reshape(-1)[order].reshape(pred.shape) for each in (pred, target)]
    for name, function in COUNTED.items():
        np.testing.assert_allclose(function(*shuffled), function(pred, target), rtol=0, atol=1e-12, err_msg=name)


@some
@given(batch=stacks(), order=st.permutations(range(3)))
def test_a_batch_is_its_images_in_any_order(batch, order):
    for name, function in EVERY.items():
        values = function(*batch)
        alone = [function(*image) for image in zip(*batch, strict=True)]
        np.testing.assert_allclose(values, alone, rtol=1e-13, atol=1e-15, err_msg=name)
        np.testing.assert_array_equal(function(*(each[order] for each in batch)), values[order], err_msg=name)


@some
@given(data=st.data())
def test_a_perfect_map_is_the_best(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    assume(target.any() and not target.all())
    perfect = 255 * target.astype(np.uint8)
    for name, best in PERFECT.items():
        # S has the original's small constants in its denominators.
        assert EVERY[name](perfect, target) == pytest.approx(best, abs=1e-9 if name == "S" else 1e-12), name
    for name, best in PERFECT_ABOVE_0.items():
        np.testing.assert_allclose(EVERY[name](perfect, target)[1:], best, rtol=0, atol=1e-12, err_msg=name)
    assert np.all(metrics.multi_scale_iou(perfect, target)[1:] == pytest.approx(1, abs=2**-11))
    assert metrics.e_measure(perfect, target, reduce="max") >= metrics.e_measure(pred, target, reduce="max") - 1e-12


# Monotone where they should be


@some
@given(data=st.data())
def test_a_pixel_nearer_to_its_target_never_scores_worse(pair_strategy, data):
    """Of maps taken as they are; a stretched one changes everywhere with one pixel."""
    pred, target = data.draw(pair_strategy())
    pixel = tuple(data.draw(st.integers(0, side - 1)) for side in pred.shape)
    better = pred.copy()
    level = data.draw(st.integers(0, 255))
    better[pixel] = max(better[pixel], level) if target[pixel] else min(better[pixel], level)
    for name in ("precision", "recall", "specificity", "F", "IoU", "Dice", "OA", "kappa", "AUC-ROC"):
        gain = EVERY[name](better, target, normalize=False) - EVERY[name](pred, target, normalize=False)
        # Precision of nothing found is 0, and F's with it: one alarm less may be the last pixel that was found.
        assert np.all(gain >= -1e-12), name
    for name in ("MAE", "FPR", "BER", "SI-MAE"):
        gain = EVERY[name](better, target, normalize=False) - EVERY[name](pred, target, normalize=False)
        assert np.all(gain <= 1e-12), name


@some
@given(data=st.data())
def test_what_falls_with_the_threshold(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    assert np.all(np.diff(metrics.recall(pred, target)) <= 0)
    assert np.all(np.diff(metrics.false_positive_rate(pred, target)) <= 0)
    assert np.all(np.diff(metrics.specificity(pred, target)) >= 0)


@some
@given(data=st.data())
def test_areas_know_the_order_of_levels_alone(pair_strategy, data):
    pred, target = data.draw(pair_strategy())
    levels = np.unique(pred)
    others = np.sort(data.draw(st.lists(st.integers(0, 255), min_size=len(levels), max_size=len(levels), unique=True)))
    moved = others[np.searchsorted(levels, pred)].astype(np.uint8)
    for function in (metrics.roc_auc, metrics.pr_auc):
        value = function(pred, target, normalize=False)
        assert function(moved, target, normalize=False) == pytest.approx(value, abs=1e-12)
        assert function(pred, target) == pytest.approx(value, abs=1e-12)  # nor does stretching change it


@some
@given(data=st.data())
def test_reductions_are_those_of_the_curve(pair_strategy, data):
    pred, target = data.draw(pair_strategy(max_side=7))
    curves = [name for name in EVERY if np.shape(EVERY[name](pred, target)) == (256,)]
    assert len(curves) == 13
    for name in curves:
        curve = EVERY[name](pred, target)
        for reduce in ("max", "min", "mean"):
            value = EVERY[name](pred, target, reduce=reduce)
            assert value == pytest.approx(getattr(curve, reduce)(), abs=1e-12), name


# Backends and libraries


@contextmanager
def compiled(kernels):
    before = _cpu.kernels
    _cpu.kernels = lambda: kernels
    try:
        yield
    finally:
        _cpu.kernels = before


@some
@given(data=st.data(), floating=st.booleans(), normalize=st.booleans())
def test_every_backend_gives_the_same_values(pair_strategy, data, floating, normalize):
    from dynamic_kd.metrics._statistics import _numba

    strict = pytest.importorskip("array_api_strict")
    pred, target = data.draw(pair_strategy())
    pred = pred / 255 if floating else pred
    for name, function in FROM_STATISTICS.items():
        with compiled(_numpy):
            twin = function(pred, target, normalize=normalize)
        with compiled(_numba):
            loops = function(pred, target, normalize=normalize)
        generic = np.asarray(function(strict.asarray(pred), strict.asarray(target), normalize=normalize))
        np.testing.assert_allclose(loops, twin, rtol=0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(generic, twin, rtol=0, atol=1e-12, err_msg=name)


@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_every_library_gives_the_same_values(xp, to_numpy, data):
    """In one size, because JAX compiles each operation for each."""
    pred = data.draw(hnp.arrays(np.uint8, (2, 6, 7), fill=st.nothing()))
    target = data.draw(hnp.arrays(bool, (2, 6, 7)))
    for name, function in EVERY.items():
        value = to_numpy(function(xp.asarray(pred), xp.asarray(target)))
        np.testing.assert_allclose(value, function(pred, target), rtol=0, atol=1e-12, err_msg=name)


# What is kept and merged

ASKED = ("MAE", "F", "wF", "S", "E", "IoU", "kappa", "AUC", "MSIoU", "HCE", "SI-F", "SI-MAE", "CM")


@settings(max_examples=examples(8), suppress_health_check=[HealthCheck.too_slow])
@given(batch=stacks(images=5, max_side=6), cuts=st.lists(st.integers(0, 5), max_size=3).map(sorted))
def test_any_split_merged_is_one_pass(batch, cuts):
    whole = SODMetrics(ASKED)
    whole.update(*batch)
    merged = SODMetrics(ASKED)
    for first, last in zip([0, *cuts], [*cuts, 5], strict=True):
        part = SODMetrics(ASKED)
        if first < last:
            part.update(*(each[first:last] for each in batch))
        merged.merge(part)
    assert merged.compute().as_dict() == whole.compute().as_dict()
    assert merged.compute().pooled == whole.compute().pooled
    assert merged.compute().names == whole.compute().names


@some
@given(batch=stacks(max_side=5), strict=st.booleans())
def test_records_survive_their_bytes(batch, strict):
    records = SODMetrics(("E", "F", "SI-MAE"), strict=strict).measure(*batch)
    again = Records.from_bytes(records.to_bytes())
    for name in ("values", "pixels", "pixel_curves", "pixel_numbers"):
        np.testing.assert_array_equal(getattr(again, name), getattr(records, name))
    assert (again.backend, again.normalize, again.quantize, again.from_pixels) == (
        records.backend,
        records.normalize,
        records.quantize,
        records.from_pixels,
    )


KEPT = (
    SODMetrics(("E", "SI-F"))
    .measure(np.eye(5)[None].repeat(2, axis=0), np.eye(5)[None].repeat(2, axis=0) > 0)
    .to_bytes()
)


def sealed(body):
    return body + struct.pack("<I", zlib.crc32(body))


def parsed(content):
    """Records, or None where they are refused."""
    try:
        return Records.from_bytes(content)
    except ValueError as error:
        said = str(error)
    assert said == "records: expected the bytes of measured records, got others; measure the images again"
    return None


@settings(max_examples=examples(200))
@given(st.data())
def test_damaged_records_are_refused(data):
    """What a damaged cache may hold; and with a checksum that was made to fit, never another exception."""
    content = bytearray(KEPT)
    for _ in range(data.draw(st.integers(1, 3))):
        place = min(data.draw(st.integers(0, 200) | st.integers(0, len(KEPT))), len(content) - 1)
        kind = data.draw(st.sampled_from(["bit", "cut", "insert", "digit"]))
        if kind == "bit":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "cut":
            del content[place + 1 :]
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(max_size=9))
        else:
            content[place : place + 1] = data.draw(st.sampled_from([b"9" * 9, b"-1", b'"a"', b"[]", b"null", b"1.5"]))
    assert bytes(content) == KEPT or parsed(bytes(content)) is None
    forged = parsed(sealed(bytes(content[:-4])))
    assert forged is None or len(forged) <= len(content)


@pytest.mark.parametrize(
    "lie",
    [
        {"images": "a"},
        {"images": None},
        {"images": -1},
        {"images": 10**12},
        {"images": 10**9, "widths": [0, 0, 0, 0]},
        {"images": 1.0},
        {"widths": 5},
        {"widths": [1, 2, 3, "x"]},
        {"from_pixels": 5},
    ],
)
def test_records_that_lie_are_one_error(lie):
    (length,) = struct.unpack_from("<I", KEPT, 4)
    about = json.dumps(json.loads(KEPT[8 : 8 + length]) | lie).encode()
    content = sealed(KEPT[:4] + struct.pack("<I", len(about)) + about + KEPT[8 + length : -4])
    with pytest.raises(ValueError, match="records: expected the bytes of measured records, got others; measure the im"):
        Records.from_bytes(content)
