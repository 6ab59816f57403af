"""Streaming: choices of metrics, repeated names, padded batches, saved states, records."""

import pickle
import re
import tracemalloc

import numpy as np
import pytest

from dynamic_kd.metrics import (
    Records,
    SODMetrics,
    context_measure,
    f_measure,
    human_correction_effort,
    intersection_over_union,
    kappa,
    multi_scale_iou,
    size_invariant_f_measure,
    size_invariant_mean_absolute_error,
)
from dynamic_kd.metrics._host_measures import HOST_MEASURES
from dynamic_kd.metrics._measures import MEASURES
from dynamic_kd.metrics._records import measure_records

FROM_STATISTICS = tuple(MEASURES)
EVERY = (*MEASURES, *HOST_MEASURES)


@pytest.fixture
def images(random_pair):
    generator = np.random.default_rng(21)
    return [random_pair(generator, *generator.integers(4, 40, 2)) for _ in range(8)]


def stream(images, names=None, **settings):
    metrics = SODMetrics(**settings)
    for index, image in enumerate(images):
        metrics.update(*image, names=[names[index]] if names else None)
    return metrics


def assert_same(report, expected):
    """The same bits."""
    assert report.as_dict() == expected.as_dict()
    assert report.pooled == expected.pooled
    assert report.names == expected.names
    np.testing.assert_array_equal(report.rows, expected.rows)
    for name, curve in expected.curves.items():
        np.testing.assert_array_equal(report.curves[name], curve)


# Choices of metrics


@pytest.mark.parametrize("chosen", [["MAE"], ["wF"], ["S"], ["E"], ["F"], ["IoU", "HCE", "MAE"], ["MSIoU"], EVERY])
def test_a_choice_of_metrics_gives_the_numbers_of_all(images, chosen):
    report, everything = stream(images, metrics=chosen).compute(), stream(images, metrics=EVERY).compute()
    assert report.settings["metrics"] == list(chosen)
    assert report.as_dict() == {name: everything[name] for name in report}
    columns = [everything.columns.index(name) for name in report.columns]
    np.testing.assert_array_equal(report.rows, everything.rows[:, columns])
    assert report.pooled == {name: everything.pooled[name] for name in report.pooled}
    assert list(report.per_image[0]) == ["name", *report.columns]


def test_rates_are_those_of_the_functions(images):
    report = stream(images, metrics=["IoU", "kappa"]).compute()
    for function, name, curve in (
        (intersection_over_union, "IoU", "intersection_over_union"),
        (kappa, "Kappa", "kappa"),
    ):
        mean = np.mean([function(*image) for image in images], axis=0)
        np.testing.assert_allclose(report.curves[curve], mean, rtol=0, atol=1e-12)
        assert report[f"max{name}"] == pytest.approx(mean.max(), abs=1e-12)
        assert report[f"mean{name}"] == pytest.approx(mean.mean(), abs=1e-12)
        for prefix, reduce in (("adp", "adaptive"), ("bin", "binary")):
            expected = np.mean([function(*image, reduce=reduce) for image in images])
            assert report[f"{prefix}{name}"] == pytest.approx(expected, abs=1e-12)


def test_metrics_from_pixels_are_those_of_the_functions(images):
    report = stream(images, metrics=["SI-MAE", "MSIoU", "HCE", "SI-F", "CM"], per_image_curves=True).compute()
    for name, function in (
        ("SI-MAE", size_invariant_mean_absolute_error),
        ("HCE", human_correction_effort),
        ("CM", context_measure),
    ):
        assert report[name] == pytest.approx(np.mean([function(*image) for image in images]), abs=1e-12)
    for name, curve, function in (
        ("MSIoU", "multi_scale_iou", multi_scale_iou),
        ("SI-F", "size_invariant_f_measure", size_invariant_f_measure),
    ):
        each = np.stack([function(*image) for image in images])
        np.testing.assert_allclose(report.per_image_curves[curve], each, rtol=0, atol=1e-15)
        assert report[f"max{name}"] == pytest.approx(each.mean(axis=0).max(), abs=1e-12)
        assert report[f"max{name}_per_image"] == pytest.approx(each.max(axis=1).mean(), abs=1e-12)
        for prefix, reduce in (("adp", "adaptive"), ("bin", "binary")):
            expected = np.mean([function(*image, reduce=reduce) for image in images])
            assert report[f"{prefix}{name}"] == pytest.approx(expected, abs=1e-12)


def test_pooled_scores_are_those_of_one_large_image(random_pair):
    generator = np.random.default_rng(5)
    images = [random_pair(generator, 12, 12) for _ in range(5)]
    # Every map reaches 0 and 255, so that normalising them together changes nothing.
    images = [
        (np.r_[pred.ravel(), 0, 255].astype(np.uint8), np.r_[target.ravel(), 0, 0] > 0) for pred, target in images
    ]
    report = stream([(pred[None], target[None]) for pred, target in images], metrics=["F", "IoU", "OA"]).compute()
    joined = [np.concatenate(each)[None] for each in zip(*images, strict=True)]
    assert report.pooled["maxF"] == pytest.approx(f_measure(*joined, reduce="max"), abs=1e-12)
    assert report.pooled["meanIoU"] == pytest.approx(intersection_over_union(*joined, reduce="mean"), abs=1e-12)
    assert report.pooled["binIoU"] == pytest.approx(intersection_over_union(*joined, reduce="binary"), abs=1e-12)
    assert not stream([(pred[None], target[None]) for pred, target in images], metrics=["MAE", "E"]).compute().pooled


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ("MAE", TypeError, "metrics: expected a sequence of names, got the string 'MAE'; pass ['MAE']"),
        (["mae"], ValueError, "metrics: expected one of 'MAE', 'F', 'wF', 'S', 'E', 'precision'"),
        ([], ValueError, "metrics: expected at least one, each once, got []"),
        (["F", "F"], ValueError, "metrics: expected at least one, each once, got ['F', 'F']"),
    ],
)
def test_bad_choices(metrics, error, message):
    with pytest.raises(error, match=re.escape(message)):
        SODMetrics(metrics)


# Names seen twice


def test_repeated_names_are_refused(images):
    metrics = stream(images[:2], names="ab")
    with pytest.raises(ValueError, match="names: expected each image once, got b again; give every image its own name"):
        metrics.update(*images[2], names="b")
    with pytest.raises(ValueError, match="got c again"):
        metrics.update(*(np.stack([each, each]) for each in images[2]), names=["c", "c"])
    with pytest.raises(ValueError, match="got a, b again"):
        metrics.merge(stream(images[:3], names="abc"))
    assert len(metrics) == 2
    metrics.update(*images[2], names="c")  # a refused batch leaves no name behind
    many = stream(images[:8], names="abcdefgh")
    with pytest.raises(ValueError, match="got a, b, c, d, e and 3 more again"):
        many.merge(stream(images, names="abcdefgh"))


@pytest.mark.parametrize("strict", [False, True])
def test_repeated_names_count_once_by_option(images, strict):
    settings = {"duplicates": "once", "strict": strict, "metrics": ("MAE", "F", "SI-F", "E", "IoU")}
    expected = stream(images, names="abcdefgh", **settings).compute()
    repeated = stream([*images, images[0], images[3]], names="abcdefghad", **settings).compute()
    assert repeated.counts["duplicates"] == 2
    assert_same(repeated, expected)
    # Two shards of a sampler that fills up the second one from the beginning.
    left, right = stream(images[:5], names="abcde", **settings), stream([*images[5:], images[0]], "fgha", **settings)
    right_before = right.compute()
    left.merge(right)
    report = left.compute()
    assert_same(report, expected)
    assert report.counts == expected.counts | {"duplicates": 1}
    assert_same(right.compute(), right_before)


def test_a_batch_with_repeated_names_counts_the_new_ones(random_pair):
    generator = np.random.default_rng(1)
    images = [random_pair(generator, 9, 9) for _ in range(3)]
    metrics = stream(images[:1], names="a", duplicates="once")
    batch = [np.stack(each) for each in zip(images[1], images[0], images[2], images[1], strict=True)]
    metrics.update(*batch, names=list("bacb"))
    assert_same(metrics.compute(), stream(images, names="abc", duplicates="once").compute())
    assert metrics.compute().counts["duplicates"] == 2
    metrics.update(*(each[:2] for each in batch), names=list("ba"))
    assert len(metrics) == 3


def test_counting_once_corrects_the_counts():
    pred, empty, full = np.full((5, 5), 0.5), np.zeros((5, 5), bool), np.ones((5, 5), bool)
    left, right = SODMetrics(duplicates="once"), SODMetrics(duplicates="once")
    left.update(np.stack([pred, pred]), np.stack([empty, full]), names=["empty", "full"])
    right.update(np.stack([pred, pred]), np.stack([full, empty]), names=["full", "other"])
    left.merge(right)
    assert left.compute().counts == {
        "images": 3,
        "empty_target": 2,
        "full_target": 1,
        "constant_prediction": 3,
        "skipped": 0,
        "duplicates": 1,
    }


def test_images_without_names_are_never_duplicates(images):
    left, right = stream(images[:4]), stream(images[4:])
    left.merge(right)
    assert left.compute().names == tuple("01234567")


# Padded batches


def test_padded_images_score_as_if_they_had_come_alone(images):
    shape = len(images), 50, 45
    pred, target, valid = np.full(shape, np.nan), np.ones(shape, bool), np.zeros((len(images), 1, 50, 45), np.uint8)
    for index, (image, mask) in enumerate(images):
        place = index, slice(index, index + mask.shape[0]), slice(2, 2 + mask.shape[1])
        pred[place], target[place], valid[(index, 0, *place[1:])] = image / 255, mask, 1
    metrics = SODMetrics(quantize=True)
    metrics.update(pred[:, None], target[:, None], names=list("abcdefgh"), valid=valid)
    assert_same(metrics.compute(), stream([(p / 255, g) for p, g in images], "abcdefgh", quantize=True).compute())


def test_equal_rectangles_stay_a_batch(monkeypatch):
    from dynamic_kd.metrics import _sod_metrics

    sizes = []
    original = _sod_metrics.statistics
    monkeypatch.setattr(_sod_metrics, "statistics", lambda pairs: sizes.append(len(pairs)) or original(pairs))
    valid = np.zeros((3, 6, 6), bool)
    valid[:, :4, :5] = True
    valid[2, 4] = [True] * 5 + [False]
    metrics = SODMetrics()
    metrics.update(np.stack([np.eye(6)] * 3), np.stack([np.eye(6, dtype=bool)] * 3), names=list("abc"), valid=valid)
    assert sizes == [2, 1]
    assert metrics.compute().names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("valid", "message"),
    [
        (np.eye(4, dtype=bool), "expected the valid pixels of each image to fill a rectangle, got gaps in image 0"),
        (np.zeros((4, 4)), "valid: expected some valid pixels in each image, got none in image 0 of the batch"),
        (np.ones((4, 5)), "valid: expected the shape of pred, (4, 4), got (4, 5)"),
    ],
)
def test_bad_valid_pixels(valid, message):
    metrics = SODMetrics()
    with pytest.raises(ValueError, match=re.escape(message)):
        metrics.update(np.eye(4), np.eye(4, dtype=bool), valid=valid)
    assert len(metrics) == 0


def test_a_batch_is_kept_as_a_whole_or_not_at_all():
    valid = np.zeros((2, 5, 5), bool)
    valid[0], valid[1, :3] = True, True
    target = np.stack([np.eye(5, dtype=bool), np.zeros((5, 5), bool)])
    metrics = SODMetrics(empty_target="refuse")
    with pytest.raises(ValueError, match="got none in b"):
        metrics.update(np.stack([np.eye(5)] * 2), target, names=list("ab"), valid=valid)
    assert len(metrics) == 0
    metrics.update(np.eye(4), np.eye(4, dtype=bool), names="a")  # its name is free


# States and records


@pytest.mark.parametrize(
    "settings", [{}, {"per_image_curves": True, "strict": True, "metrics": ("MSIoU", "E", "Dice", "CM")}]
)
def test_a_state_goes_on_elsewhere(images, settings):
    state = pickle.loads(pickle.dumps(stream(images[:5], names="abcde", **settings).state_dict()))
    metrics = SODMetrics(**settings)
    metrics.update(*images[7], names="forgotten")
    metrics.load_state_dict(state)
    with pytest.raises(ValueError, match="got a again"):
        metrics.update(*images[0], names="a")
    for name, image in zip("fgh", images[5:], strict=True):
        metrics.update(*image, names=name)
    assert_same(metrics.compute(), stream(images, names="abcdefgh", **settings).compute())


def test_states_that_do_not_fit(images):
    state = stream(images[:1]).state_dict()
    with pytest.raises(ValueError, match="state: expected the same settings, got strict=True and False; their scores"):
        SODMetrics(strict=True).load_state_dict(state)
    del state["curves"]
    with pytest.raises(ValueError, match=r"state: expected what state_dict\(\) returned, got nothing for curves"):
        SODMetrics().load_state_dict(state)


@pytest.mark.parametrize("settings", [{}, {"strict": True, "quantize": True}, {"metrics": EVERY, "strict": True}])
def test_records_give_the_scores_of_their_images(images, settings):
    metrics, at_once = SODMetrics(**settings), SODMetrics(**settings)
    kept = []
    for name, image in zip("abcdefgh", images, strict=True):
        content = metrics.measure(*image).to_bytes()
        if "metrics" not in settings:
            assert len(content) < (4800 if "strict" in settings else 2800)
        kept.append(Records.from_bytes(content))
        metrics.update_records(kept[-1], names=name)
    at_once.update_records(Records.join(kept), names=list("abcdefgh"))
    expected = stream(images, "abcdefgh", **settings).compute()
    assert_same(metrics.compute(), expected)
    assert_same(at_once.compute(), expected)


def test_records_that_do_not_fit(images):
    records = measure_records(*images[0])
    with pytest.raises(
        ValueError, match="records: expected strict cuts, got none; measure the images with strict=True"
    ):
        SODMetrics(strict=True).update_records(records)
    with pytest.raises(ValueError, match="records: expected these metrics from pixels: HCE, CM, got none; measure the"):
        SODMetrics(["F", "HCE", "CM"]).update_records(records)
    for content in (b"", b"dkd0" + records.to_bytes()[4:], records.to_bytes()[:2000]):
        with pytest.raises(ValueError, match="records: expected the bytes of measured records, got others"):
            Records.from_bytes(content)


def test_each_images_own_curves(images):
    report = stream(images, names="abcdefgh", per_image_curves=True).compute()
    assert_same(report, stream(images, names="abcdefgh").compute())
    expected = np.stack([f_measure(*image) for image in images])
    np.testing.assert_array_equal(report.per_image_curves["f_measure"], expected)
    assert report.per_image_curves["e_measure"].shape == (8, 256)
    assert stream(images).compute().per_image_curves == {}
    assert stream(images, metrics=["MAE", "HCE"], per_image_curves=True).compute().per_image_curves == {}


# Memory


@pytest.mark.parametrize(("settings", "limit"), [({}, 256), ({"per_image_curves": True}, 2.3 * 1024)])
def test_bytes_kept_of_an_image(settings, limit):
    records = measure_records(np.eye(9), np.eye(9, dtype=bool))
    many = Records.join([records] * 500)
    tracemalloc.start()
    try:
        metrics = SODMetrics(**settings)
        for start in range(0, 20_000, 500):
            metrics.update_records(many, names=[f"ILSVRC2012_{start + image:08}" for image in range(500)])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / 20_000 <= limit
    assert len(metrics) == 20_000
