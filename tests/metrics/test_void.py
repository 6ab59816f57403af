"""Pixels that are left out: void levels and valid pixels in any shape, against slow loops over what remains."""

import math
import re

import metric_reference as reference
import numpy as np
import pytest

from dynamic_kd import metrics
from dynamic_kd.metrics import SODMetrics


def batch(seed=0, size=3, shape=(9, 11)):
    """Maps, label maps of 0, 1 and void 255 in any shape, and their valid pixels."""
    generator = np.random.default_rng(seed)
    target = (generator.random((size, *shape)) < 0.4).astype(np.uint8)
    valid = generator.random((size, *shape)) < 0.7
    return (
        generator.integers(0, 256, target.shape).astype(np.uint8),
        np.where(valid, target, 255).astype(np.uint8),
        valid,
    )


def expected(pred, target, valid):
    """Scores of one image from its valid pixels, in a row."""
    x, g = reference.normalised(pred[valid])[None], target[valid][None] == 1
    curves = [[of(cut, g) for cut in reference.cuts(x)] for of in (reference.f_measure, reference.e_measure)]
    cut = x >= reference.adaptive_threshold(x)
    half = x > 0.5
    return {
        "MAE": reference.mean_absolute_error(x, g),
        "meanF": math.fsum(curves[0]) / 256,
        "adpF": reference.f_measure(cut, g),
        "meanE": math.fsum(curves[1]) / 256,
        "adpE": reference.e_measure(cut, g),
        "binIoU": (half & g).sum() / (half | g).sum(),
    }


@pytest.mark.parametrize("kind", ["uint8", "float64", "torch", "jax", "array_api_strict"])
def test_scores_are_those_of_the_other_pixels(kind):
    pred, target, valid = batch()
    given = pred if kind in ("uint8", "jax") else pred / 255
    arrays = given, target
    if kind not in ("uint8", "float64"):
        library = pytest.importorskip(kind if kind != "jax" else "jax.numpy")
        arrays = tuple(library.asarray(array) for array in arrays)
    scores = SODMetrics(["MAE", "F", "E", "IoU"], void=255)
    scores.update(*arrays, names=["a", "b", "c"])
    report = scores.compute()
    for row, image in zip(report.per_image, zip(pred, target, valid, strict=True), strict=True):
        for name, value in expected(*image).items():
            assert math.isclose(row[name], value, rel_tol=0, abs_tol=1e-6 if kind == "jax" else 1e-12), name
    errors = metrics.mean_absolute_error(*arrays, void=255)
    assert type(errors) is type(arrays[0])
    np.testing.assert_allclose(np.asarray(errors), [row["MAE"] for row in report.per_image], rtol=1e-6)


def test_what_void_pixels_hold_changes_nothing():
    pred, target, valid = batch()
    other = np.where(valid, pred, 255 - pred)
    assert (metrics.f_measure(pred, target, void=255) == metrics.f_measure(other, target, void=255)).all()


def test_valid_pixels_in_any_shape_do_the_same():
    pred, target, valid = batch()
    void, gaps = SODMetrics(["MAE", "E"], void=255), SODMetrics(["MAE", "E"])
    void.update(pred, target)
    gaps.update(pred, target == 1, valid=valid)
    assert gaps.compute().as_dict() == void.compute().as_dict()
    measured = SODMetrics(["MAE", "E"])
    measured.update_records(measured.measure(pred, target == 1, valid=valid))
    assert measured.compute().as_dict() == void.compute().as_dict()
    with pytest.raises(ValueError, match="got gaps in image 0 of the batch, around which wF, S are not defined; leave"):
        SODMetrics().update(pred, target == 1, valid=valid)
    with pytest.raises(ValueError, match="records: expected those of whole images, got some without their void pixels"):
        SODMetrics().update_records(measured.measure(pred, target == 1, valid=valid))


def test_parts_merge_and_no_order_changes_a_bit():
    pred, target, _ = batch(size=4)
    whole, one, two = (SODMetrics(void=255, duplicates="once") for _ in range(3))
    whole.update(pred, target, names=list("abcd"))
    two.update(pred[2:], target[2:], names=list("cd"))
    one.update(pred[:3], target[:3], names=list("abc"))
    one.merge(two)
    assert one.compute().as_dict() == whole.compute().as_dict()
    resumed = SODMetrics(void=255, duplicates="once")
    resumed.load_state_dict(one.state_dict())
    assert resumed.compute().as_dict() == whole.compute().as_dict()
    with pytest.raises(ValueError, match=re.escape("void=(255,) and None")):
        whole.merge(SODMetrics(duplicates="once"))


def test_structural_metrics_are_left_out_by_default_and_refused_by_name():
    assert SODMetrics(void=255).columns == SODMetrics(["MAE", "F", "E"]).columns
    for name in ("S", "wF", "SI-F"):
        with pytest.raises(
            ValueError, match=f"metrics: with void=, expected metrics .* got {name}, which look at where"
        ):
            SODMetrics(["MAE", name], void=255)
    pred, target, _ = batch()
    for function, name in ((metrics.s_measure, "S-measure"), (metrics.weighted_f_measure, "weighted F-measure")):
        with pytest.raises(ValueError, match=f"void: the {name} looks at where pixels are, so none can be left out"):
            function(pred, target, void=255)


def test_void_alone_and_no_void_at_all():
    pred, target, _ = batch()
    clean = (target == 1).astype(np.uint8)
    assert metrics.mean_absolute_error(pred, clean, void=255) == pytest.approx(
        metrics.mean_absolute_error(pred, clean), abs=1e-15
    )
    with pytest.raises(
        ValueError, match="target: expected some pixels to score in each image, got only void ones in image 1"
    ):
        metrics.mean_absolute_error(pred[:2], np.stack([target[0], np.full_like(target[0], 255)]), void=255)


def test_labels_and_void_together():
    pred, target, valid = batch()
    labels = np.where(target == 1, 15, np.where(target == 0, 7, 255)).astype(np.int64)
    found = metrics.intersection_over_union(pred, labels, reduce="binary", salient="15", void=[255])
    for value, image in zip(found, zip(pred, target, valid, strict=True), strict=True):
        assert value == pytest.approx(expected(*image)["binIoU"], abs=1e-12)


def test_torchmetrics_classes_take_them():
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchmetrics")
    from dynamic_kd.torch import SODMetric

    pred, target, _ = batch()
    metric, scores = SODMetric(void=255), SODMetrics(void=255)
    for image in range(3):
        metric.update(torch.from_numpy(pred[image]), torch.from_numpy(target[image]), names=str(image))
        scores.update(pred[image], target[image], names=str(image))
    assert metric.report().as_dict() == scores.compute().as_dict()
    whole, labels = SODMetric(["MAE"]), torch.from_numpy((target == 1).astype(np.uint8))
    whole.update(torch.from_numpy(pred), labels)
    whole.update(torch.from_numpy(pred), 255 * labels)
    with pytest.raises(ValueError, match=r"got 0, 1 in 3 masks .*; 0, 255 in 3 masks"):
        whole.compute()
