"""Streaming: what is kept, merged, forgotten and refused."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_kd.metrics import Records, SODMetrics

CONSTANT = np.full((5, 5), 0.5)
MASK = np.eye(5, dtype=bool)
EMPTY = np.zeros((5, 5), bool)
NONE = {"skipped": 0, "duplicates": 0}


@pytest.fixture
def images(random_pair):
    generator = np.random.default_rng(11)
    return [random_pair(generator, *generator.integers(4, 40, 2)) for _ in range(12)]


def stream(images, names=None, **settings):
    metrics = SODMetrics(**settings)
    for index, (pred, target) in enumerate(images):
        metrics.update(pred, target, names=[names[index]] if names else None)
    return metrics


def test_scores_are_means_and_maxima_of_mean_curves(functions, images):
    report = stream(images).compute()
    each = {name: [function(*image) for image in images] for name, function in functions.items()}
    assert report["MAE"] == pytest.approx(np.mean(each["MAE"]), abs=1e-12)
    assert report["wF"] == pytest.approx(np.mean(each["wF"]), abs=1e-12)
    assert report["Sm"] == pytest.approx(np.mean(each["S"]), abs=1e-12)
    for letter in "FE":
        curve = np.mean(each[letter], axis=0)
        assert report[f"max{letter}"] == pytest.approx(curve.max(), abs=1e-12)
        assert report[f"mean{letter}"] == pytest.approx(curve.mean(), abs=1e-12)
        assert report[f"adp{letter}"] == pytest.approx(np.mean(each[f"adp{letter}"]), abs=1e-12)
        per_image = np.mean(np.max(each[letter], axis=1))
        assert report[f"max{letter}_per_image"] == pytest.approx(per_image, abs=1e-12)
        assert report[f"max{letter}_per_image"] >= report[f"max{letter}"]


def test_batches_equal_single_images(random_pair):
    generator = np.random.default_rng(2)
    images = [random_pair(generator, 20, 30) for _ in range(5)]
    batched = SODMetrics()
    batched.update(*(np.stack(each) for each in zip(*images, strict=True)))
    assert batched.compute().as_dict() == stream(images).compute().as_dict()


@settings(max_examples=20)
@given(order=st.permutations(range(12)), cut=st.integers(0, 12))
def test_order_and_sharding_do_not_change_a_bit(order, cut):
    generator = np.random.default_rng(4)
    images = [(generator.random((6, 7)), generator.random((6, 7)) > 0.5) for _ in range(12)]
    shuffled = [images[index] for index in order]
    left, right = stream(shuffled[:cut]), stream(shuffled[cut:])
    left.merge(right)
    whole, merged = stream(images).compute(), left.compute()
    assert merged.as_dict() == whole.as_dict()
    for name, curve in whole.curves.items():
        np.testing.assert_array_equal(merged.curves[name], curve)


def test_merge_keeps_names_rows_and_counts(images):
    left, right = stream(images[:5], names="abcde"), stream(images[5:], names="fghijkl")
    left.merge(right)
    report = left.compute()
    assert "".join(report.names) == "abcdefghijkl"
    assert report.counts["images"] == 12
    assert len(right) == 7  # left as it was


ONCE = {"duplicates": "once", "empty_target": "skip", "metrics": ("MAE", "OA")}


def test_a_skipped_image_that_both_have_is_skipped_once(images):
    nothing = images[0][0], np.zeros_like(images[0][1])
    left = stream([images[0], nothing], ["a", "none"], **ONCE)
    left.merge(stream([nothing, images[1], nothing], ["none", "b", "void"], **ONCE))
    report = left.compute()
    assert report.names == ("a", "b")
    expected = {"images": 2, "empty_target": 2, "skipped": 2, "duplicates": 1}
    assert {name: report.counts[name] for name in expected} == expected
    for again, name in enumerate(("none", "void"), start=2):
        left.update(*nothing, names=name)
        assert left.compute().counts == report.counts | {"duplicates": again}


def test_an_image_that_one_skipped_and_the_other_scored_is_what_it_was_first(images):
    nothing = images[0][0], np.zeros_like(images[0][1])
    scored, skipped = (stream([images[1], pair], ["b", "a"], **ONCE) for pair in (images[0], nothing))
    third = stream([images[2], nothing], ["c", "a"], **ONCE)
    scored.merge(third)
    expected = {"images": 3, "empty_target": 0, "skipped": 0, "duplicates": 1}
    assert {name: scored.compute().counts[name] for name in expected} == expected
    skipped.merge(stream([images[2], images[0]], ["c", "a"], **ONCE))
    report = skipped.compute()
    expected = {"images": 2, "empty_target": 1, "skipped": 1, "duplicates": 1}
    assert {name: report.counts[name] for name in expected} == expected
    assert report.names == ("b", "c")
    assert report.pooled == stream(images[1:3], "bc", **ONCE).compute().pooled


def test_repeated_images_have_their_place_in_the_stream():
    def seen(*names):
        metrics = SODMetrics(duplicates="once")
        metrics.update(np.stack([np.eye(5)] * len(names)), np.stack([MASK] * len(names)), names=names)
        metrics.update(np.eye(5), MASK)
        return metrics

    left, right = seen("a", "b", "a", "b"), seen("a", "c", "c", "b")
    assert left.compute().names == ("a", "b", "4")
    left.merge(right)  # its unnamed image is the last of five, after the five before
    assert left.compute().names == ("a", "b", "4", "c", "9")
    left.update(np.eye(5), MASK)
    assert left.compute().names[-1] == "10"


@pytest.mark.parametrize("merged", [False, True])
def test_pixels_of_repeated_images_count_once(images, merged):
    expected = stream(images[:3], "abc", **ONCE).compute()
    if merged:
        metrics = stream(images[:2], "ab", **ONCE)
        metrics.merge(stream([images[1], images[2], images[0]], "bca", **ONCE))
    else:
        metrics = stream([*images[:2], images[0], images[2], images[1]], "abacb", **ONCE)
    assert metrics.compute().pooled == expected.pooled
    assert metrics.compute().pooled


def test_pixels_of_skipped_records_do_not_count(images):
    metrics = SODMetrics(empty_target="skip", metrics=("MAE", "OA"))
    nothing = images[0][0], np.zeros_like(images[0][1])
    metrics.update_records(Records.join([metrics.measure(*pair) for pair in (nothing, *images[1:3])]))
    report = metrics.compute()
    assert report.names == ("1", "2")
    assert report.pooled == stream(images[1:3], empty_target="skip", metrics=("MAE", "OA")).compute().pooled


def test_merge_refuses_what_does_not_mix(images):
    metrics = stream(images[:2])
    with pytest.raises(TypeError, match="other: expected SODMetrics, got dict"):
        metrics.merge({})
    with pytest.raises(ValueError, match="other: expected another accumulator, got this one"):
        metrics.merge(metrics)
    with pytest.raises(
        ValueError, match="expected the same settings, got strict=False and True; their scores do not mix"
    ):
        metrics.merge(SODMetrics(strict=True))
    assert len(metrics) == 2


def test_reset_forgets(images):
    metrics = stream(images)
    metrics.reset()
    assert len(metrics) == 0
    with pytest.raises(ValueError, match="compute: expected at least one scored image, got none; call update first"):
        metrics.compute()
    metrics.update(*images[0])
    assert metrics.compute().as_dict() == stream(images[:1]).compute().as_dict()


def test_compute_can_be_followed_by_more(images):
    metrics = stream(images[:4])
    before = metrics.compute()
    for index, image in enumerate(images[4:], start=4):
        metrics.update(*image, names=[str(index)])
    assert metrics.compute().as_dict() == stream(images).compute().as_dict()
    assert len(before.names) == 4


def test_pickling(images):
    metrics = pickle.loads(pickle.dumps(stream(images[:6])))
    metrics.merge(stream(images[6:]))
    assert metrics.compute().as_dict() == stream(images).compute().as_dict()


def test_counts():
    metrics = SODMetrics()
    metrics.update(np.stack([CONSTANT, np.eye(5), np.eye(5)]), np.stack([MASK, EMPTY, ~EMPTY]))
    counts = metrics.compute().counts
    assert counts == {"images": 3, "empty_target": 1, "full_target": 1, "constant_prediction": 1} | NONE


def test_counts_are_those_of_scored_images():
    metrics = SODMetrics(empty_target="skip")
    metrics.update(np.stack([CONSTANT, np.eye(5), CONSTANT]), np.stack([EMPTY, ~EMPTY, ~EMPTY]))
    counts = metrics.compute().counts
    assert counts == {"images": 2, "empty_target": 1, "full_target": 2, "constant_prediction": 1} | NONE | {
        "skipped": 1
    }


def test_a_stream_of_skipped_images_says_so():
    metrics = SODMetrics(empty_target="skip")
    metrics.update(np.eye(5), EMPTY)
    with pytest.raises(ValueError, match="got 1 skipped for their empty targets; check the masks"):
        metrics.compute()


def test_merge_remembers_every_backend():
    strict = pytest.importorskip("array_api_strict")
    left, right = SODMetrics(), SODMetrics()
    left.update(np.eye(5), MASK)
    right.update(strict.asarray(np.eye(5)), strict.asarray(MASK))
    left.merge(right)
    assert left.compute().settings["backend"] in (
        "generic (array_api_strict) + numba",
        "generic (array_api_strict) + numpy",
    )


def test_a_short_representation(images):
    assert repr(stream(images)) == "SODMetrics(12 images, strict=False, empty_target='count')"
    assert repr(stream(images).compute()).startswith("MetricReport(12 images: MAE=0.")


def test_empty_targets_are_counted_by_default_skipped_or_refused():
    pred, target = np.stack([np.eye(5), np.eye(5)]), np.stack([EMPTY, MASK])
    skipping = SODMetrics(empty_target="skip")
    skipping.update(pred, target, names=["nothing", "diagonal"])
    report = skipping.compute()
    assert report.names == ("diagonal",)
    assert report["MAE"] == 0
    assert (report.counts["skipped"], report.counts["empty_target"]) == (1, 1)
    counting = SODMetrics()
    counting.update(pred, target)
    assert counting.compute()["wF"] == 0.5
    refusing = SODMetrics(empty_target="refuse")
    with pytest.raises(ValueError, match="expected salient pixels in every mask, got none in nothing; fix the masks"):
        refusing.update(pred, target, names=["nothing", "diagonal"])
    assert len(refusing) == 0


def test_default_names_are_positions_in_the_stream():
    metrics = SODMetrics(empty_target="skip")
    metrics.update(np.stack([np.eye(5), np.eye(5)]), np.stack([EMPTY, MASK]))
    metrics.update(np.eye(5), MASK)
    assert metrics.compute().names == ("1", "2")


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_names_must_be_one_for_each_image(names):
    with pytest.raises(ValueError, match=f"names: expected one for each of 1 images, got {len(names)}"):
        SODMetrics().update(np.eye(5), MASK, names=names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (1, "names: expected a list of strings, one for each image, got 1 (int)"),
        (b"a", "names: expected a list of strings, one for each image, got b'a' (bytes)"),
        ({"a"}, "names: expected a list of strings, one for each image, got {'a'} (set)"),
        ([None], "names: expected strings, got None (NoneType) among them"),
        ([1.5], "names: expected strings, got 1.5 (float) among them"),
        (np.ones((1, 5, 5)), "names: expected strings, got array([[1., 1., 1., 1., 1.],"),
    ],
)
def test_names_must_be_strings(names, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        SODMetrics().update(np.eye(5), MASK, names=names)


def test_whole_numbers_are_names_too():
    metrics = SODMetrics()
    metrics.update(np.stack([np.eye(5)] * 2), np.stack([MASK] * 2), names=np.array([7, 9]))
    assert metrics.compute().names == ("7", "9")


def test_names_may_come_from_a_generator():
    metrics = SODMetrics()
    metrics.update(np.stack([np.eye(5)] * 2), np.stack([MASK] * 2), names=(f"{k}" for k in "ab"))
    assert metrics.compute().names == ("a", "b")


def test_one_name_may_come_as_a_string():
    metrics = SODMetrics()
    metrics.update(np.eye(5), MASK, names="diagonal")
    assert metrics.compute().names == ("diagonal",)


def test_strict_changes_e_alone(images):
    loose, strict = stream(images).compute(), stream(images, strict=True).compute()
    differing = {name for name in loose if loose[name] != strict[name]}
    assert {"meanE"} <= differing <= {"maxE", "meanE", "adpE", "maxE_per_image"}


def test_settings_say_what_made_the_scores(images):
    report = stream(images[:1], strict=True, normalize=False).compute()
    assert report.settings["strict"] is True
    assert report.settings["normalize"] is False
    assert report.settings["backend"] in ("numba", "numpy")
    assert {"version", "quantize", "empty_target", "f_beta_squared", "wf_beta_squared", "s_alpha"} <= set(
        report.settings
    )


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"normalize": 1}, TypeError, "normalize: expected True or False, got 1 (int)"),
        ({"strict": "yes"}, TypeError, "strict: expected True or False, got 'yes' (str)"),
        ({"quantize": None}, TypeError, "quantize: expected True or False, got None (NoneType)"),
        ({"empty_target": "drop"}, ValueError, "empty_target: expected one of 'count', 'skip', 'refuse', got 'drop'"),
        ({"check": "never"}, ValueError, "check: expected one of 'auto', 'off', got 'never'"),
    ],
)
def test_bad_settings(setting, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SODMetrics(**setting)


@pytest.mark.parametrize("strict", [False, True])
def test_thresholds_are_counted_once_for_each_cut(images, monkeypatch, strict):
    from dynamic_kd.metrics._statistics import _cpu

    calls = []
    monkeypatch.setattr(_cpu, "_regroup", lambda *pair, regroup=_cpu._regroup: calls.append(1) or regroup(*pair))
    stream(images[:1], strict=strict)
    assert len(calls) == 1 + strict


def test_a_long_stream_keeps_little_of_an_image():
    metrics = SODMetrics()
    metrics.update(
        np.zeros((2000, 1, 2), np.uint8), np.ones((2000, 1, 2), bool), names=[f"{i:07}" for i in range(2000)]
    )
    assert len(pickle.dumps(metrics)) < 256 * 2000
