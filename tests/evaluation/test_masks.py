"""Masks of every kind that people store: each gives the right number, or an error that names the options."""

import math

import cv2
import mask_files as files
import metric_reference as reference
import numpy as np
import pytest
from mask_files import labels
from PIL import Image

from dynamic_kd.cli import main
from dynamic_kd.evaluation import compare, comparison_tables, evaluate_folders, read_config, report_table

TRUTH = files.truth()
OPAQUE = np.full(TRUTH.shape, 255, np.uint8)


@pytest.fixture
def scored(tmp_path):
    """Return a function that writes masks and one noisy map for each, and scores them."""
    folders = tmp_path / "pred", tmp_path / "GT"
    for folder in folders:
        folder.mkdir()
    pred = np.clip(200 * TRUTH + np.random.default_rng(0).normal(20, 30, TRUTH.shape), 0, 255).astype(np.uint8)

    def score(*masks, suffix=".png", **settings):
        for number, save in enumerate(masks):
            save(folders[1] / f"{number}{suffix}")
            Image.fromarray(pred).save(folders[0] / f"{number}.png")
        return evaluate_folders(*folders, **settings)

    score.pred, score.folders = pred, folders
    return score


def expected(pred, target, valid=None):
    """MAE, maxF and maxE of one image by slow loops over its valid pixels."""
    valid = np.ones(target.shape, bool) if valid is None else valid
    x, g = reference.normalised(pred[valid])[None], target[valid][None]
    f = [reference.f_measure(cut, g) for cut in reference.cuts(x)]
    e = [reference.e_measure(cut, g) for cut in reference.cuts(x)]
    return {"MAE": reference.mean_absolute_error(x, g), "maxF": max(f), "maxE": max(e)}


def assert_scores(report, numbers):
    for name, number in numbers.items():
        assert math.isclose(report[name], number, abs_tol=1e-12), name


ONE_MEANING = {
    "palette of label 1": (lambda path: files.save_palette(path, labels(1)), ".png", "1"),
    "palette of label 15": (lambda path: files.save_palette(path, labels(15)), ".png", "15"),
    "palette of 4 bits": (lambda path: files.save_palette(path, labels(3), bits=4), ".png", "3"),
    "palette in a BMP": (lambda path: files.save_palette(path, labels(5)), ".bmp", "5"),
    "palette in a TIFF": (lambda path: files.save_palette(path, labels(7)), ".tif", "7"),
    "grey level 120": (lambda path: files.save_grey(path, labels(120)), ".png", "120"),
    "grey level 1": (lambda path: files.save_grey(path, labels(1)), ".bmp", "1"),
    "16 bits, level 300": (lambda path: files.save_grey(path, labels(1).astype(np.uint16) * 300), ".png", "300"),
    "16 bits": (lambda path: files.save_grey(path, labels(1).astype(np.uint16) * 65535), ".png", "65535"),
    "1 bit": (lambda path: Image.fromarray(TRUTH).save(path), ".png", "255"),
    "1 bit in a BMP": (lambda path: Image.fromarray(TRUTH).save(path), ".bmp", "255"),
    "dark red on black": (lambda path: files.save_colours(path, labels(1)), ".png", "#800000"),
    "white, opaque": (
        lambda path: files.save_alpha(path, OPAQUE, labels(255)[..., None]),
        ".png",
        "255",
    ),
}


@pytest.mark.parametrize("kind", ONE_MEANING)
def test_masks_of_one_meaning_need_no_option(scored, kind):
    save, suffix, level = ONE_MEANING[kind]
    report = scored(save, suffix=suffix)
    assert_scores(report, expected(scored.pred, TRUTH))
    assert report.settings["masks"]["salient"] == level
    note = f"Taken as salient: {level}."
    assert (note in report_table("a", report).notes) == (level != "255")


def test_jpeg_noise_and_antialiased_edges_are_0_and_255(scored):
    large = np.kron(labels(255), np.ones((3, 3), np.uint8))
    soft = cv2.resize(large, TRUTH.shape[::-1], interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(labels(255), (5, 5), 0.8)
    report = scored(
        lambda path: path.write_bytes(cv2.imencode(".jpg", labels(255), [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes()),
        lambda path: files.save_grey(path, soft),
        lambda path: files.save_grey(path, blurred),
    )
    assert report.settings["masks"]["levels"] == "0, 255"
    assert report.settings["masks"]["grey_edges"] == 2
    assert math.isclose(report.per_image[2]["MAE"], expected(scored.pred, blurred > 128)["MAE"], abs_tol=1e-12)


def test_labels_are_chosen_by_index_and_colour(scored):
    """Two objects of two labels; cutting the grey of their colours found neither."""
    kinds = [lambda path: files.save_palette(path, labels(1, 15)), lambda path: files.save_palette(path, labels(15, 1))]
    with pytest.raises(
        ValueError,
        match=r"GT: expected masks of two levels, 0 and a salient one, "
        r"got 0, 1, 15 in 2 masks \(the first is 0\.png\); "
        r"all but 0 may be salient: --salient 1,15 \(salient=\[1, 15\]\); "
        r"one of them may be, the others background: --salient 1 \(salient=1\)$",
    ):
        scored(*kinds)
    report = scored(*kinds, salient=1)
    corner = labels(0, 1) > 0
    for row, target in zip(report.per_image, (TRUTH, corner), strict=True):
        assert math.isclose(row["MAE"], expected(scored.pred, target)["MAE"], abs_tol=1e-12)
    both = scored(*kinds, salient="1,15")
    assert math.isclose(both["MAE"], expected(scored.pred, TRUTH | corner)["MAE"], abs_tol=1e-12)
    report = scored(*(lambda path: files.save_colours(path, labels(1, 2)),) * 2, salient="#800000")
    assert_scores(report, expected(scored.pred, TRUTH))


def test_void_is_left_out_of_what_counts_pixels(scored):
    mask = labels(1, void=255)
    files_of_set = [lambda path: files.save_grey(path, mask), lambda path: files.save_grey(path, labels(255))]
    message = (
        r"got 0, 1, 255 in 1 mask \(0\.png\); 0, 255 in 1 mask \(1\.png\); "
        r"255 may be void, not labelled: --void 255 \(void=255\); all but 0 may be salient: --salient 1,255"
    )
    with pytest.raises(ValueError, match=message):
        scored(*files_of_set)
    report = scored(*files_of_set, void=255)
    numbers = expected(scored.pred, TRUTH, mask != 255)
    assert all(math.isclose(report.per_image[0][name], numbers[name], abs_tol=1e-12) for name in numbers)
    assert report.counts["empty_target"] == 1  # what is void there is no object
    void = (mask == 255).sum() + TRUTH.sum()
    assert math.isclose(report.settings["masks"]["void_share"], void / (2 * TRUTH.size))
    table = report_table("a", report)
    assert dict(zip([column.name for column in table.columns], table.rows[0], strict=True))["Sm"] is None
    assert any(note.startswith("Not computed: wF and S, which look at where pixels are") for note in table.notes)
    for metric in ("S", "wF", "MSIoU"):
        with pytest.raises(ValueError, match=f"metrics: with void=, expected metrics that can leave .* got {metric},"):
            scored(*files_of_set, void=255, metrics=["MAE", metric])


def test_a_level_between_0_and_255_is_no_edge(scored):
    mask = labels(255, void=128)
    save = lambda path: files.save_grey(path, mask)  # noqa: E731
    with pytest.raises(ValueError, match=r"got 0, 128, 255 in .*; 128 may be void, not labelled: --void 128"):
        scored(save)
    assert_scores(scored(save, void=128), expected(scored.pred, TRUTH, mask != 128))
    assert_scores(scored(save, salient=255), expected(scored.pred, TRUTH))
    assert_scores(scored(save, salient=[128, 255]), expected(scored.pred, mask > 0))


def test_a_line_of_one_pixel_is_no_edge_either(scored):
    line = labels(255)
    line[5, 9:21] = 128
    with pytest.raises(ValueError, match="got 0, 128, 255 in 1 mask"):
        scored(lambda path: files.save_grey(path, line))


def test_a_saliency_map_with_plateaus_as_mask(scored):
    levels = np.repeat(np.repeat(np.arange(0, 256, 6, dtype=np.uint8)[:40].reshape(5, 8), 5, axis=0), 4, axis=1)[:24]
    with pytest.raises(ValueError, match=r"got 0, 6, 12, 18, …, 228, 234 \(40 levels\) .*--salient 129-255"):
        scored(lambda path: files.save_grey(path, levels))
    assert_scores(
        scored(lambda path: files.save_grey(path, levels), salient="129-255"), expected(scored.pred, levels > 128)
    )


@pytest.mark.parametrize("level", [0, 255])
def test_content_in_the_alpha_channel(scored, level):
    save = lambda path: files.save_alpha(path, labels(255), level)  # noqa: E731
    with pytest.raises(ValueError, match=r"0\.png: the content is in the alpha channel, .* say --channel alpha"):
        scored(save)
    assert_scores(scored(save, channel="alpha"), expected(scored.pred, TRUTH))


def test_alpha_and_grey_that_differ(scored):
    def save(path):
        files.save_alpha(path, labels(0, 255), labels(255)[..., None])

    with pytest.raises(ValueError, match="the alpha channel and the levels differ, and both could be the content; say"):
        scored(save)
    assert_scores(scored(save, channel="grey"), expected(scored.pred, TRUTH))
    assert_scores(scored(save, channel="alpha"), expected(scored.pred, labels(0, 255) > 0))


def test_maps_in_the_alpha_channel_beside_grey_masks(scored):
    """The option takes the alpha channel where it varies; masks without one keep their levels."""
    scored(lambda path: files.save_grey(path, labels(255)))
    pred, target = scored.folders
    files.save_alpha(pred / "0.png", scored.pred)
    with pytest.raises(ValueError, match=r"pred.0\.png: the content is in the alpha channel, .* say --channel alpha"):
        evaluate_folders(pred, target)
    assert_scores(evaluate_folders(pred, target, channel="alpha"), expected(scored.pred, TRUTH))
    files.save_alpha(pred / "0.png", OPAQUE, scored.pred[..., None])
    for channel in ("auto", "alpha", "grey"):
        assert_scores(evaluate_folders(pred, target, channel=channel), expected(scored.pred, TRUTH))


def test_a_palette_of_greys_is_read_as_it_looks_unless_that_reverses_it(scored):
    greys = [(0, 0, 0), (255, 255, 255)]
    assert_scores(scored(lambda path: files.save_palette(path, labels(1), greys)), expected(scored.pred, TRUTH))
    save = lambda path: files.save_palette(path, labels(1), greys[::-1])  # noqa: E731
    with pytest.raises(
        ValueError, match=r"palette and its greys have another order \(0: 255, 1: 0\); say --channel grey"
    ):
        scored(save)
    assert_scores(scored(save, channel="grey"), expected(scored.pred, ~TRUTH))


def test_levels_that_no_mask_has(scored):
    with pytest.raises(ValueError, match=r"expected the salient level 7 in some mask, got 0, 255 in 1 mask \(0\.png\)"):
        scored(lambda path: files.save_grey(path, labels(255)), salient=7)


def test_a_mask_that_is_void_everywhere(scored):
    with pytest.raises(ValueError, match=r"GT.0\.png: expected some pixels that are not void, got none"):
        scored(lambda path: files.save_grey(path, np.full_like(labels(1), 255)), void=255)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"salient": "1;2"}, ValueError, r"salient: expected levels such as 255, 1,15 or 129-255 .*, got '1;2'"),
        ({"salient": "9-2"}, ValueError, "salient: expected levels such as"),
        ({"void": 1.5}, TypeError, "void: expected levels such as"),
        ({"void": [True]}, TypeError, "void: expected levels such as"),
        ({"salient": []}, ValueError, "salient: expected at least one level, got none"),
        ({"salient": [1, 255], "void": 255}, ValueError, "void: expected levels that are not salient, got 255 in both"),
        ({"channel": "blue"}, ValueError, "channel: expected one of 'auto', 'grey', 'alpha', got 'blue'"),
    ],
)
def test_bad_settings(scored, settings, error, message):
    with pytest.raises(error, match=message):
        scored(lambda path: files.save_grey(path, labels(255)), **settings)


def test_the_command_line_takes_the_options(scored, capsys):
    scored(lambda path: files.save_grey(path, labels(1, void=255)), void=255)
    pred, target = map(str, scored.folders)
    assert main(["evaluate", "--pred", pred, "--target", target]) == 2
    assert "--void 255 (void=255)" in capsys.readouterr().err
    assert main(["evaluate", "--pred", pred, "--target", target, "--void", "255"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Void, left out: 255. Taken as salient: 1." in out
    assert "Stored as PNG, 8-bit grey; levels 0, 1." in out


def test_a_comparison_takes_them_too_and_its_cache_knows_them(tmp_path):
    for number in range(2):
        for folder in ("GT/A", "one/A", "two/A"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        files.save_palette(tmp_path / "GT" / "A" / f"{number}.png", labels(1, 15, void=255))
        files.save_grey(tmp_path / "one" / "A" / f"{number}.png", labels(255))
        files.save_grey(tmp_path / "two" / "A" / f"{number}.png", labels(200, 255))
    quick = {"resamples": 0}
    with pytest.raises(ValueError, match=r"GT.A: expected masks of two levels, .*, got 0, 1, 15, 255 in 2 masks"):
        compare(read_config(tmp_path, **quick))
    first, second = {"salient": 1, "void": 255}, {"salient": [1, 15], "void": 255}
    for options, fresh in ((first, 2), (second, 2), (first, 0)):  # two images of the same files share a record
        found = compare(read_config(tmp_path, **quick, **options))
        assert found.datasets["A"].fresh == fresh
        valid = labels(1, 15, void=255) != 255
        target = np.isin(labels(1, 15, void=255), options["salient"])
        for method, pred in (("one", labels(255)), ("two", labels(200, 255))):
            assert_scores(found.datasets["A"].reports[method], expected(pred, target, valid))
    [table, _] = comparison_tables(found)
    assert [column.name for column in table.columns][-2:] == ["wF", "Sm"]
    assert table.rows[0][-1] is None
