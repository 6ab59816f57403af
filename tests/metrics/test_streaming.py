"""Streaming: choices of metrics, repeated names, padded batches, saved states, records."""

import pickle
import re
import tracemalloc
import zlib
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from dynamic_kd.metrics import (
    Records,
    SODMetrics,
    _tally,
    context_measure,
    f_measure,
    human_correction_effort,
    intersection_over_union,
    kappa,
    multi_scale_iou,
    pr_auc,
    roc_auc,
    size_invariant_f_measure,
    size_invariant_mean_absolute_error,
)
from dynamic_kd.metrics._pixels import PIXEL_MEASURES
from dynamic_kd.metrics._selection import MEASURES
from dynamic_kd.metrics._statistics import DeferredStatistics, contribution, recorded

FROM_STATISTICS = tuple(MEASURES)
EVERY = (*MEASURES, *PIXEL_MEASURES)


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
    chosen = ["F", "IoU", "OA", "AUC"]
    report = stream([(pred[None], target[None]) for pred, target in images], metrics=chosen).compute()
    joined = [np.concatenate(each)[None] for each in zip(*images, strict=True)]
    assert report.pooled["maxF"] == pytest.approx(f_measure(*joined, reduce="max"), abs=1e-12)
    assert report.pooled["meanIoU"] == pytest.approx(intersection_over_union(*joined, reduce="mean"), abs=1e-12)
    assert report.pooled["binIoU"] == pytest.approx(intersection_over_union(*joined, reduce="binary"), abs=1e-12)
    assert report.pooled["AUC-ROC"] == pytest.approx(roc_auc(*joined), abs=1e-12)
    assert report.pooled["AUC-PR"] == pytest.approx(pr_auc(*joined), abs=1e-12)
    assert not stream([(pred[None], target[None]) for pred, target in images], metrics=["MAE", "E"]).compute().pooled


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        ("MAE", TypeError, "metrics: expected a sequence of names, got 'MAE' (str); pass ['MAE']"),
        (7, TypeError, "metrics: expected a sequence of names, got 7 (int)"),
        (["maxF"], ValueError, "metrics: expected names of metrics, got 'maxF', a score of 'F'; pass that"),
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
    for count, listed in ((5, "a, b, c, d, e"), (6, "a, b, c, d, e and 1 more")):
        with pytest.raises(ValueError, match=f"got {listed} again"):
            stream(images[:count], names="abcdefgh").merge(stream(images[:count], names="abcdefgh"))
    many = stream(images[:8], names="abcdefgh")
    with pytest.raises(ValueError, match="got a, b, c, d, e and 3 more again"):
        many.merge(stream(images, names="abcdefgh"))


@pytest.mark.parametrize("strict", [False, True])
def test_repeated_names_count_once_by_option(images, strict):
    settings = {"duplicates": "once", "strict": strict, "metrics": ("MAE", "F", "SI-F", "E", "IoU")}
    expected = stream(images, names="abcdefgh", **settings).compute()
    assert_same(expected, stream(images, names="abcdefgh", **settings | {"duplicates": "refuse"}).compute())
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


def test_merging_takes_the_counts_of_repeated_images_back():
    """One without foreground, one of a single salient pixel, one full, one constant: of each kind by itself."""
    ramp, one = np.linspace(0, 1, 20).reshape(4, 5), np.zeros((4, 5), bool)
    one[1, 2] = True
    kinds = {"empty": (ramp, one & False), "one": (ramp, one), "full": (ramp, one | True), "flat": (ramp * 0, one)}
    for name, pair in kinds.items():
        left, right = (stream([(ramp, ~one), pair], ["a", name], duplicates="once") for _ in range(2))
        before = left.compute().counts
        left.merge(right)
        assert left.compute().counts == before | {"duplicates": 2}, name


def test_images_without_names_are_never_duplicates(images):
    left, right = stream(images[:4]), stream(images[4:])
    left.merge(right)
    assert left.compute().names == tuple("01234567")


SHARED = {"duplicates": "once", "empty_target": "skip", "metrics": ("E", "OA", "MSIoU", "MAE")}


def shards(images):
    """Two shards with one scored and one skipped image in common, and the same as one stream."""
    empty = (images[0][0], np.zeros_like(images[0][1]))
    left = stream([*images[:3], empty], [*"abc", "none"], **SHARED)
    right = stream([empty, images[3], images[1]], ["none", "d", "b"], **SHARED)
    together = stream([*images[:3], empty, empty, images[3], images[1]], [*"abc", "none", "none", *"db"], **SHARED)
    return left, right, together.compute()


def test_skipped_images_are_known_by_name(images):
    left, right, together = shards(images)
    with pytest.raises(ValueError, match="got none again"):
        stream([images[0]] * 2, ["none", "none"], empty_target="skip")
    left.merge(right)
    merged = left.compute()
    assert_same(merged, together)
    assert merged.counts == together.counts
    assert together.counts == {
        "images": 4,
        "empty_target": 1,
        "full_target": 0,
        "constant_prediction": 0,
        "skipped": 1,
        "duplicates": 2,
    }
    loaded = SODMetrics(**SHARED)
    loaded.load_state_dict(left.state_dict())
    loaded.update(images[0][0], images[0][1] & False, names="none")
    assert loaded.compute().counts == together.counts | {"duplicates": 3}


@pytest.mark.parametrize("keep", [False, True])
def test_skipped_images_leave_no_trace_in_curves_and_pools(images, keep):
    settings = {"empty_target": "skip", "metrics": (*FROM_STATISTICS, "MSIoU"), "per_image_curves": keep}
    empty = np.zeros_like(images[0][1])
    metrics = SODMetrics(**settings)
    metrics.update(np.stack([images[0][0]] * 2), np.stack([empty, images[0][1]]), names=["none", "a"])
    metrics.update(*images[1], names="b")
    assert_same(metrics.compute(), stream(images[:2], "ab", **settings).compute())


def test_pooled_scores_of_images_of_different_sizes_after_a_merge(images):
    settings = {"metrics": ("OA", "specificity")}
    left, right = stream(images[:3], **settings), stream(images[3:], **settings)
    left.merge(right)
    loaded = SODMetrics(**settings)
    loaded.load_state_dict(left.state_dict())
    assert loaded.compute().pooled == left.compute().pooled == stream(images, **settings).compute().pooled


@pytest.mark.parametrize("settings", [{}, {"duplicates": "once"}])
def test_images_without_names_keep_their_place(images, settings):
    settings = settings | {"empty_target": "skip"}
    left = stream(images[:2], **settings)
    left.update(images[0][0], images[0][1] & False)
    if settings.get("duplicates"):
        left.update(*images[2], names="x")
        left.update(*images[2], names="x")
    places = len(left) + 1 + (1 if settings.get("duplicates") else 0)
    other = SODMetrics(**settings)
    other.load_state_dict(left.state_dict())
    left.merge(stream(images[3:5], **settings))
    other.update(*images[5])
    assert left.compute().names[-2:] == (str(places), str(places + 1))
    assert other.compute().names[-1] == str(places)


def test_a_refused_batch_leaves_no_trace(images):
    refusing = {"empty_target": "refuse", "duplicates": "once"}
    metrics, untouched = (stream(images[:1], "a", **refusing) for _ in range(2))
    batch = [np.stack([each, each]) for each in images[0]]
    batch[1][1] = False
    with pytest.raises(ValueError, match="got none in new"):
        metrics.update(*batch, names=["a", "new"])
    with pytest.raises(ValueError, match="got none in 1"):
        metrics.update(batch[0][1], batch[1][1])
    for each in (metrics, untouched):
        each.update(*images[1])
        each.update(*images[2], names="new")
    assert metrics.compute().counts == untouched.compute().counts
    assert_same(metrics.compute(), untouched.compute())


class _Late(DeferredStatistics):
    """Statistics of a GPU, without the GPU."""

    def __init__(self, measured, flags=0):
        self.measured, self.flags = measured, flags
        super().__init__(np, recorded(measured, strict=False), pixels=measured.pixels, backend="late")

    def check(self):
        pass

    def start(self, formula, *, skip_empty, keep=()):
        raise NotImplementedError

    def evaluate(self, formula, *, skip_empty, keep=()):
        def wait():
            return contribution(self.measured, formula, skip_empty=skip_empty, keep=keep)._replace(
                flags=np.full(len(self.measured.foreground), self.flags)
            )

        return wait


@pytest.fixture
def late(monkeypatch):
    """Let statistics come late, and faulty when told so."""
    from dynamic_kd.metrics import _measured

    flags = [0]
    original = _measured.statistics
    monkeypatch.setattr(_measured, "statistics", lambda pairs: _Late(original(pairs), flags[0]))
    return flags


def test_batches_on_their_way_are_known_by_name(images, late):
    metrics = stream(images[:3], "abc")
    assert repr(metrics).startswith("SODMetrics(0 images and 3 on their way, ")
    with pytest.raises(ValueError, match="got c again"):
        metrics.update(*images[3], names="c")
    other = stream(images[3:5], "de")
    metrics.merge(other)
    assert metrics.compute().names == tuple("abcde")
    assert len(stream([*images, *images])) == 16  # more than may be on their way


def test_a_late_refusal_drops_its_batch_alone(images, late):
    metrics = stream(images[:2])
    late[0] = 1
    metrics.update(*images[2])
    late[0] = 0
    metrics.update(*images[3])
    assert "4 on their way" in repr(metrics)
    with pytest.raises(ValueError, match=r"pred: expected finite values in .* got NaN or infinity in 2"):
        metrics.compute()
    metrics.update(*images[4])
    report = metrics.compute()
    assert report.names == ("0", "1", "3", "4")
    assert report.counts["images"] == len(report.rows) == 4


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
    from dynamic_kd.metrics import _measured

    sizes = []
    original = _measured.statistics
    monkeypatch.setattr(_measured, "statistics", lambda pairs: sizes.append(len(pairs)) or original(pairs))
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
        (
            np.full((4, 4), 0.3),
            "valid: expected only 0 and 1 (or booleans), got other values; pass for example mask > 0",
        ),
    ],
)
def test_bad_valid_pixels(valid, message):
    metrics = SODMetrics()
    with pytest.raises(ValueError, match=re.escape(message)):
        metrics.update(np.eye(4), np.eye(4, dtype=bool), valid=valid)
    assert len(metrics) == 0


def test_valid_pixels_have_the_shape_of_pred_or_of_target():
    pred, target = np.stack([np.eye(5)] * 2)[:, None], np.stack([np.eye(5, dtype=bool)] * 2)
    for valid in (np.ones((2, 5, 5)), np.ones((2, 1, 5, 5))):
        metrics = SODMetrics()
        metrics.update(pred, target, valid=valid)
        assert len(metrics) == 2
    with pytest.raises(ValueError, match=re.escape("expected the shape of pred, (2, 1, 5, 5), got (1, 5, 5)")):
        SODMetrics().update(pred, target, valid=np.ones((1, 5, 5)))


# Lists


def test_a_list_scores_as_its_images_one_by_one(images):
    preds, targets = zip(*images, strict=True)
    metrics = SODMetrics()
    metrics.update(list(preds), list(targets), names=list("abcdefgh"))
    assert_same(metrics.compute(), stream(images, "abcdefgh").compute())


def test_a_list_may_hold_batches_and_valid_pixels():
    small, large = np.eye(4), np.stack([np.eye(6), np.eye(6)[::-1]])
    valid = np.zeros((6, 6), bool)
    valid[:4, :5] = True
    metrics, alone = SODMetrics(), SODMetrics()
    metrics.update(
        (large, small),
        (large > 0, small > 0),
        names=list("abc"),
        valid=[np.stack([valid, np.ones((6, 6), bool)]), None],
    )
    alone.update(large[0, :4, :5], large[0, :4, :5] > 0, names="a")
    alone.update(large[1], large[1] > 0, names="b")
    alone.update(small, small > 0, names="c")
    assert_same(metrics.compute(), alone.compute())


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ([np.eye(4)], np.eye(4), "target: expected a list with an entry for each of 1 predictions, got ndarray"),
        ([np.eye(4)] * 2, [np.eye(4)], "target: expected a list with an entry for each of 2 predictions, got 1"),
        ([], [], "pred: expected at least one image, got an empty list"),
        ([np.eye(4), 3 * np.eye(4)], [np.eye(4)] * 2, "pred: expected values in [0, 1], got 0 to 3; "),
        ([[0.5], [0.1]], [[0], [1]], "expected arrays (NumPy"),
    ],
)
def test_bad_lists(pred, target, message):
    metrics = SODMetrics()
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as caught:
        metrics.update(pred, target)
    if "values in" in message:
        assert str(caught.value).endswith("(entry 1 of the list)")
    with pytest.raises(ValueError, match="valid: expected a list with an entry for each of 1 predictions, got ndarray"):
        metrics.update([np.eye(4)], [np.eye(4) > 0], valid=np.eye(4))
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


def test_an_image_of_one_salient_pixel_is_not_skipped(images):
    target = np.zeros_like(images[0][1])
    target[1, 1] = True
    kinds = [(images[0][0], target), images[1]]
    skipping, counting = (
        stream(kinds, empty_target=each, metrics=("F", "MSIoU", "OA")).compute() for each in ("skip", "count")
    )
    assert_same(skipping, counting)
    assert skipping.counts["skipped"] == 0


def test_one_half_itself_is_background_to_the_correction_effort():
    target = np.zeros((30, 30), bool)
    target[5:20, 8:25] = True
    metrics = SODMetrics(["HCE"], normalize=False)
    metrics.update(target * 0.5, target)
    assert metrics.compute()["HCE"] == human_correction_effort(target * 0.0, target, normalize=False) > 0


@pytest.mark.parametrize(("length", "shown"), [(40, "0" * 40), (41, "0" * 40 + "...")])
def test_names_that_are_none_are_shown_up_to_40_characters(length, shown):
    class Nameless:
        def __repr__(self):
            return "0" * length

    with pytest.raises(TypeError, match=rf"names: expected strings, got {re.escape(shown)} \(Nameless\) among them"):
        SODMetrics().update(np.eye(3), np.eye(3, dtype=bool), names=[Nameless()])


@pytest.mark.parametrize("operation", ["update", "merge"])
def test_after_an_interrupt_in_the_middle_there_are_no_scores(images, operation, monkeypatch):
    metrics, other = stream(images[:2], "ab"), stream(images[2:3], "c")

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_tally.Tally, {"update": "add", "merge": "merge"}[operation], interrupt)
        with pytest.raises(KeyboardInterrupt):
            metrics.update(*images[3], names="d") if operation == "update" else metrics.merge(other)
    for action in (metrics.compute, lambda: len(metrics), lambda: metrics.merge(other), metrics.state_dict):
        with pytest.raises(
            ValueError, match=r"got an interrupted one, of which a part may be kept; reset\(\) and start"
        ):
            action()
    metrics.reset()
    metrics.update(*images[0])
    assert len(metrics) == 1


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


def test_a_state_is_a_copy(images):
    metrics = stream(images[:2])
    state, report = metrics.state_dict(), metrics.compute()
    kept = pickle.loads(pickle.dumps((state, report.counts)))
    metrics.update(*images[2])
    assert (state["counts"], report.counts) == (kept[0]["counts"], kept[1])
    for name in ("curves", "totals", "scores"):
        np.testing.assert_array_equal(state[name], kept[0][name])
    loaded = SODMetrics()
    loaded.load_state_dict(state)
    assert loaded.compute().settings["backend"] == report.settings["backend"] != ""


def test_strict_accumulators_pickle(images):
    metrics = pickle.loads(pickle.dumps(stream(images[:1], strict=True)))
    metrics.update(*images[1])
    assert_same(metrics.compute(), stream(images[:2], strict=True).compute())


def test_settings_that_do_not_mix(images):
    for settings in ({"duplicates": "once"}, {"per_image_curves": True}, {"metrics": ["F"]}, {"quantize": True}):
        (name,) = settings
        for act in (
            lambda other: SODMetrics().merge(other),
            lambda other: SODMetrics().load_state_dict(other.state_dict()),
        ):
            with pytest.raises(ValueError, match=f"expected the same settings, got {name}="):
                act(stream(images[:1], **settings))


def test_states_that_do_not_fit(images):
    metrics = stream(images[:2], "ab")
    before = metrics.compute()
    for name, value in {"scores": np.zeros((1, 3)), "names": ["x"], "curves": np.zeros((2, 5), int)}.items():
        with pytest.raises(ValueError, match=r"state: expected what state_dict.. returned, got what does not fit: "):
            metrics.load_state_dict(metrics.state_dict() | {name: value})
    for state in (None, {}, {"settings": None}):
        with pytest.raises(TypeError, match=r"state: expected what state_dict.. returned, got .* without settings"):
            metrics.load_state_dict(state)
    assert_same(metrics.compute(), before)
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
    records = SODMetrics().measure(*images[0])
    with pytest.raises(
        ValueError, match="records: expected strict cuts, got none; measure the images with strict=True"
    ):
        SODMetrics(strict=True).update_records(records)
    with pytest.raises(ValueError, match="records: expected these metrics from pixels: HCE, CM, got none; measure the"):
        SODMetrics(["F", "HCE", "CM"]).update_records(records)
    for settings in ({"normalize": False}, {"quantize": True}):
        with pytest.raises(ValueError, match=r"records: expected (normalize|quantize)=(True|False), got others"):
            SODMetrics().update_records(SODMetrics(**settings).measure(*images[0]))
    with pytest.raises(TypeError, match=r"records: expected Records, as measure\(\) returns them, got bytes"):
        SODMetrics().update_records(records.to_bytes())
    with pytest.raises(TypeError, match="content: expected bytes, got str"):
        Records.from_bytes("dkd1")
    SODMetrics(["F"], strict=True).update_records(records)  # only E is cut strictly
    for content in (b"", b"dkd0" + records.to_bytes()[4:], records.to_bytes()[:2000]):
        with pytest.raises(ValueError, match="records: expected the bytes of measured records, got others"):
            Records.from_bytes(content)


@pytest.mark.parametrize("pixels", [0, 1, 2**53 - 1, 2**53])
def test_pixels_of_records_are_whole_numbers_from_1(images, pixels):
    """Those below 2 to the power of 53, which float64 holds exactly, as the bytes do."""
    content = replace(SODMetrics().measure(*images[0]), pixels=np.array([pixels])).to_bytes()
    if 0 < pixels < 2**53:
        assert Records.from_bytes(content).pixels.tolist() == [pixels]
    else:
        with pytest.raises(ValueError, match="records: expected the bytes of measured records"):
            Records.from_bytes(content)


def test_bytes_of_records_have_a_beginning_and_a_checksum(images):
    content = SODMetrics().measure(*images[0]).to_bytes()
    other = b"dkd0" + content[4:-4]
    for damaged in (
        content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        other + zlib.crc32(other).to_bytes(4, "little"),
    ):
        assert not Records.is_whole(damaged)
        with pytest.raises(ValueError, match="records: expected the bytes of measured records"):
            Records.from_bytes(damaged)
    assert Records.is_whole(content)


def test_joined_records_keep_the_first_ones_backend(images):
    first = SODMetrics().measure(*images[0])
    other = replace(SODMetrics().measure(*images[1]), backend="another")
    assert Records.join([first]).backend == Records.join([first, other, other]).backend == first.backend
    assert Records.join([first, other]).pixel_curves.shape == (2, 0)


def test_records_are_not_changed_and_compared_only_by_identity(images):
    records = SODMetrics().measure(*images[0])
    assert records != Records.from_bytes(records.to_bytes())
    with pytest.raises(FrozenInstanceError):
        records.backend = "another"


def test_repeated_records_count_once(images):
    metrics = SODMetrics(duplicates="once")
    records = Records.join([metrics.measure(*image) for image in (*images[:2], images[0])])
    metrics.update_records(records, names=list("aba"))
    metrics.update_records(records, names=list("aba"))
    report = metrics.compute()
    assert_same(report, stream(images[:2], "ab", duplicates="once").compute())
    assert report.counts["duplicates"] == 4


def test_own_curves_of_many_images():
    metrics = SODMetrics(["MSIoU", "F"], per_image_curves=True)
    generator = np.random.default_rng(3)
    records = [metrics.measure(generator.random((3, 5)), generator.random((3, 5)) > 0.5) for _ in range(300)]
    for record in records:
        metrics.update_records(record)
    curves = metrics.compute().per_image_curves["multi_scale_iou"]
    np.testing.assert_array_equal(curves, np.concatenate([record.pixel_curves for record in records]))


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
    records = SODMetrics().measure(np.eye(9), np.eye(9, dtype=bool))
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


def test_kept_counts_are_summed_a_few_images_at_a_time():
    records = SODMetrics().measure(np.eye(9), np.eye(9, dtype=bool))
    metrics = SODMetrics(duplicates="once")
    for start in range(0, 10_000, 500):
        metrics.update_records(Records.join([records] * 500), names=[str(start + image) for image in range(500)])
    tracemalloc.start()
    try:
        metrics.compute()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 40e6
