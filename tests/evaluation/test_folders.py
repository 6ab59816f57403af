"""Scores of folders: pairing, sizes, what is missing, and published numbers."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dynamic_kd.evaluation import evaluate_folders
from dynamic_kd.metrics import SODMetrics

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared research data lie beside the checkout only")


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def test_pairs_are_matched_by_stem(folders):
    pred, target = folders
    report = evaluate_folders(pred, target)
    metrics = SODMetrics()
    for path in sorted(pred.iterdir()):
        metrics.update(read(path), read(target / f"{path.stem}.png"))
    assert report.as_dict() == metrics.compute().as_dict()
    assert report.names == ("0", "1", "2", "3", "4")
    assert report.counts["images"] == 5
    assert (report.settings["pred"], report.settings["target"]) == (str(pred), str(target))


def test_workers_change_nothing_but_time(folders):
    done = []
    one = evaluate_folders(*folders)
    three = evaluate_folders(*folders, workers=3, progress=lambda *state: done.append(state))
    assert three.per_image == one.per_image
    assert three.as_dict() == one.as_dict()
    assert done == [(k, 5) for k in range(1, 6)]


def test_other_sizes_are_resized_and_counted(folders):
    pred, target = folders
    large = cv2.resize(read(pred / "0.png"), (80, 60))
    cv2.imwrite(str(pred / "0.png"), large)
    report = evaluate_folders(pred, target)
    assert report.counts["resized"] == 1
    metrics = SODMetrics()
    metrics.update(cv2.resize(large, (40, 30), interpolation=cv2.INTER_LINEAR), read(target / "0.png"))
    assert report.per_image[0]["MAE"] == metrics.compute()["MAE"]
    with pytest.raises(
        ValueError, match=r"0.png: expected the size of its mask, 40 x 30, got 80 x 60; save predictions"
    ):
        evaluate_folders(pred, target, strict_size=True)


@pytest.mark.parametrize(
    ("width", "height", "counted"),
    [
        (40, 30, {}),
        (80, 60, {"resized": 1}),
        (120, 91, {"resized": 1}),
        (101, 75, {"resized": 1}),  # 4.04 to 3
        (40, 31, {"other_shape": 1}),  # 4 to 3.1
        (30, 40, {"other_shape": 1}),
        (256, 256, {"other_shape": 1}),
    ],
)
def test_maps_of_another_shape_are_counted_apart(folders, width, height, counted):
    pred, target = folders
    cv2.imwrite(str(pred / "0.png"), cv2.resize(read(pred / "0.png"), (width, height)))
    counts = evaluate_folders(pred, target).counts
    assert {name: counts[name] for name in ("resized", "other_shape") if counts[name]} == counted


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_maps_in_colour_are_counted_whatever_they_are_stored_as(folders, suffix):
    pred, target = folders
    shutil.rmtree(pred)
    pred.mkdir()
    for path in target.iterdir():
        grey = cv2.GaussianBlur(read(path), (9, 9), 3)
        in_colour = cv2.applyColorMap(grey, cv2.COLORMAP_HOT)
        picture = {"0": grey, "1": cv2.merge([grey] * 3)}.get(path.stem, in_colour)
        cv2.imwrite(str(pred / f"{path.stem}{suffix}"), picture)
    assert evaluate_folders(pred, target).counts["colour_pred"] == 3


def test_greys_stored_as_colours_are_no_colours(folders):
    """Not even with a tint, as JPEG may leave it."""
    pred, target = folders
    grey = cv2.imread(str(pred / "0.png"), 0)
    cv2.imwrite(str(pred / "1.jpg"), cv2.merge([grey, grey, np.minimum(grey, 250) + 4]))
    cv2.imwrite(str(pred / "0.png"), cv2.merge([grey, grey, grey, grey]))
    assert evaluate_folders(pred, target).counts["colour_pred"] == 0


@needs_shared
def test_photographs_are_no_maps():
    root = SHARED / "rgbd-sod-mini" / "DES"
    assert evaluate_folders(root / "RGB", root / "GT").counts["colour_pred"] == 5
    assert evaluate_folders(root / "pred_JLDCF", root / "GT").counts["colour_pred"] == 0


def test_missing_files_are_listed_or_counted(folders):
    pred, target = folders
    (pred / "1.jpg").unlink()
    (target / "2.png").unlink()
    with pytest.raises(ValueError, match=r"1 missing in pred: 1; 1 missing in target: 2"):
        evaluate_folders(pred, target)
    report = evaluate_folders(pred, target, allow_missing=True)
    assert report.names == ("0", "3", "4")
    assert (report.counts["missing_pred"], report.counts["missing_target"]) == (1, 1)


def test_a_bad_file_is_named(folders):
    pred, target = folders
    mask = read(target / "3.png") // 255
    cv2.imwrite(str(target / "3.png"), mask)
    other = r"target: expected masks of two levels, 0 and a salient one, got .*0, {} in 1 mask \(3\.png\)"
    with pytest.raises(ValueError, match=other.format(1)):
        evaluate_folders(pred, target, workers=2)
    red = mask[..., None] * np.array([0, 0, 128], np.uint8)  # as the first colour of VOC's and DAVIS's palettes
    cv2.imwrite(str(target / "3.png"), red)
    with pytest.raises(ValueError, match=other.format("#800000")):
        evaluate_folders(pred, target)
    (target / "3.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"target.3\.png: expected an image \(PNG, JPEG, BMP, TIFF or WebP\), got"):
        evaluate_folders(pred, target)


def test_settings_are_those_of_the_accumulator(folders):
    assert evaluate_folders(*folders, strict=True).settings["strict"] is True
    with pytest.raises(ValueError, match="empty_target: expected one of"):
        evaluate_folders(*folders, empty_target="drop")


@pytest.mark.parametrize(("workers", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_bad_workers(folders, workers, error):
    with pytest.raises(error, match="workers: expected a whole number"):
        evaluate_folders(*folders, workers=workers)


@needs_shared
def test_the_published_row_of_icon_on_soc_ac():
    root = SHARED / "soc-ac-icon"
    report = evaluate_folders(root / "pred_ICON", root / "masks", workers=2)
    published = {"Sm": 0.832, "wF": 0.767, "MAE": 0.066, "meanE": 0.885, "maxE": 0.895}
    published |= {"adpF": 0.782, "meanF": 0.793, "maxF": 0.814}
    assert {name: round(report[name], 3) for name in published} == published
    assert report.counts["images"] == 79


@needs_shared
@pytest.mark.parametrize(("method", "images"), [("JLDCF", 5), ("ICNet", 3)])
def test_maps_of_des(method, images):
    root = SHARED / "rgbd-sod-mini" / "DES"
    report = evaluate_folders(root / f"pred_{method}", root / "GT", allow_missing=True)
    assert report.counts["images"] == images
    assert report.counts["missing_pred"] == 5 - images
    assert report["maxF"] > 0.85


def test_the_array_order_of_files_does_not_matter(folders, tmp_path):
    pred, target = folders
    renamed = tmp_path / "renamed"
    shutil.copytree(pred, renamed)
    assert evaluate_folders(renamed, target).as_dict() == evaluate_folders(pred, target).as_dict()
    assert np.isfinite(list(evaluate_folders(renamed, target).values())).all()
