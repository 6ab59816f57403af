"""The noise report against counts made by hand."""

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from weights_csv import write_log

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.training import (  # noqa: E402
    NoiseReport,
    noise_report_from_log,
    noise_report_from_maps,
    read_noise_report,
    read_weights_log,
)
from dynamic_kd.training._contact_sheet import contact_sheet  # noqa: E402
from dynamic_kd.training._image_set import ImageSet  # noqa: E402


def truth(samples):
    return {sample.name: sample.spoilt for sample in samples}


@pytest.fixture
def report():
    return NoiseReport(
        names=("a", "b", "c", "d", "e"),
        teacher_iou=np.array([0.9, 0.2, 0.5, 0.4, 0.6]),
        threshold=0.5,
        spoilt=(None, "dominated", "distorted", None, "low_contrast"),
    )


def test_flagged_is_what_equation_6_does_not_call_reliable(report):
    assert report.flagged.tolist() == [False, True, True, True, False]  # α > threshold is reliable; 0.5 is not


def test_precision_recall_and_auc(report):
    # flagged b c d, spoilt b c e; of the 6 pairs (spoilt, clean) only (e, d) and (c, d) are in the wrong order
    assert report.summary() == {
        "samples": 5,
        "flagged": 3,
        "spoilt": 3,
        "precision": 2 / 3,
        "recall": 2 / 3,
        "auc": pytest.approx(4 / 6),
        "kinds": {  # each against the clean a and d
            "distorted": {"spoilt": 1, "recall": 1, "auc": 0.5},
            "dominated": {"spoilt": 1, "recall": 1, "auc": 1},
            "low_contrast": {"spoilt": 1, "recall": 0, "auc": 0.5},
        },
    }


def test_the_roc_goes_from_the_lowest_alpha_to_the_highest(report):
    false_positive_rate, true_positive_rate = report.roc()  # b, d, c, e, a
    np.testing.assert_allclose(false_positive_rate, [0, 0, 1 / 2, 1 / 2, 1 / 2, 1])
    np.testing.assert_allclose(true_positive_rate, [0, 1 / 3, 1 / 3, 2 / 3, 1, 1])
    area = np.sum(np.diff(false_positive_rate) * (true_positive_rate[1:] + true_positive_rate[:-1]) / 2)
    assert area == pytest.approx(report.summary()["auc"])


def test_equal_alphas_are_one_point_of_the_roc():
    report = NoiseReport(("a", "b", "c"), np.array([0.3, 0.3, 0.2]), 0.5, (None, "dominated", "dominated"))
    assert [rates.tolist() for rates in report.roc()] == [[0, 0, 1], [0, 0.5, 1]]


@pytest.mark.parametrize("spoilt", [None, (None, None), ("dominated", "distorted")])
def test_the_roc_needs_both(spoilt):
    report = NoiseReport(("a", "b"), np.array([0.3, 0.8]), 0.5, spoilt)
    with pytest.raises(ValueError, match="roc: requires spoilt and clean samples"):
        report.roc()


def test_samples_with_thresholds_of_their_own():
    report = NoiseReport(("a", "b", "c"), np.array([0.3, 0.8, 0.1]), np.array([0.3, 0.9, 0.05]))
    assert report.flagged.tolist() == [True, True, False]
    assert report.csv().splitlines()[1:] == ["c,0.100000,0.050000,0", "a,0.300000,0.300000,1", "b,0.800000,0.900000,1"]


def test_ties_count_half():
    report = NoiseReport(("a", "b"), np.array([0.3, 0.3]), 0.5, (None, "dominated"))
    assert report.summary()["auc"] == 0.5


def test_where_the_truth_is_unknown_there_are_counts_alone():
    report = NoiseReport(("a", "b"), np.array([0.3, 0.8]), 0.5)
    assert report.summary() == {"samples": 2, "flagged": 1}
    assert report.csv() == "sample,teacher_iou,threshold,flagged\na,0.300000,0.500000,1\nb,0.800000,0.500000,0\n"


def test_quotients_of_nothing_are_none():
    report = NoiseReport(("a",), np.array([0.8]), 0.5, (None,))
    quotients = dict.fromkeys(("precision", "recall", "auc"))
    assert report.summary() == {"samples": 1, "flagged": 0, "spoilt": 0, **quotients, "kinds": {}}


def test_rows_go_from_the_lowest_alpha_to_the_highest(report):
    rows = list(csv.DictReader(io.StringIO(report.csv())))
    assert [row["sample"] for row in rows] == ["b", "d", "c", "e", "a"]
    limit = {"threshold": "0.500000", "flagged": "1"}
    assert rows[0] == {"sample": "b", "teacher_iou": "0.200000", **limit, "spoilt": "1", "kind": "dominated"}
    assert rows[1] == {"sample": "d", "teacher_iou": "0.400000", **limit, "spoilt": "0", "kind": ""}


@pytest.fixture
def samples():
    """Samples with a teacher's map, brighter in one mask than in the next."""
    made = synthetic_rgbd(3, size=32, seed=1, spoilt_share=1)
    levels = (np.float32(0.9), np.float32(0.3), np.float32(0.6))
    return [replace(sample, teacher=level * sample.mask) for sample, level in zip(made, levels, strict=True)]


def test_a_teacher_given_as_maps(samples):
    report = noise_report_from_maps(samples, 0.5)
    np.testing.assert_allclose(report.teacher_iou, [0.9, 0.3, 0.6], rtol=1e-6)  # G = 1 where P > 0: ΣP / ΣG
    assert report.names == tuple(sample.name for sample in samples)
    assert report.flagged.tolist() == [False, True, False]
    assert report.spoilt == tuple(sample.spoilt for sample in samples)


def test_where_no_sample_is_spoilt_the_truth_is_taken_as_unknown(samples):
    real = [replace(sample, spoilt=None) for sample in samples]
    assert noise_report_from_maps(real, 0.5).spoilt is None


def test_a_missing_map_is_named(samples):
    message = f"sample {samples[1].name}: has no teacher map; find the data with teacher=..."
    with pytest.raises(ValueError, match=re.escape(message)):
        noise_report_from_maps([samples[0], replace(samples[1], teacher=None)], 0.5)


class TestFromLog:
    @pytest.fixture
    def log(self, samples, tmp_path):
        """Four epochs, the last of which has come to the first sample alone."""
        rows = [
            (epoch, sample.name, alpha + 0.01 * epoch, 0.5, 0.5)
            for epoch in (1, 2, 3)
            for sample, alpha in zip(samples, (0.2, 0.45, 0.8), strict=True)
        ]
        return read_weights_log(write_log(tmp_path / "log.csv", [*rows, (4, samples[0].name, 0.3, 0.5, 0.5)]))

    def test_alpha_is_the_mean_over_the_last_epochs(self, log, samples):
        report = noise_report_from_log(log, 0.5)
        np.testing.assert_allclose(report.teacher_iou, [(0.21 + 0.22 + 0.23 + 0.3) / 4, 0.47, 0.82])
        assert report.names == tuple(sorted(sample.name for sample in samples))
        assert report.spoilt is None
        report = noise_report_from_log(log, 0.5, epochs=2)
        np.testing.assert_allclose(report.teacher_iou, [(0.23 + 0.3) / 2, 0.48, 0.83])

    def test_a_sample_that_the_last_epochs_have_not_come_to_is_left_out(self, log, samples):
        assert noise_report_from_log(log, 0.5, epochs=1).names == (samples[0].name,)
        assert noise_report_from_log(log, 0.5, spoilt=truth(samples), epochs=1).names == (samples[0].name,)

    def test_samples_give_the_order_and_the_truth(self, log, samples):
        report = noise_report_from_log(log, 0.5, spoilt=truth(samples[::-1]))
        assert report.names == tuple(sample.name for sample in samples[::-1])
        np.testing.assert_allclose(report.teacher_iou[:2], [0.82, 0.47])
        assert report.spoilt == tuple(sample.spoilt for sample in samples[::-1])

    def test_relative_to_the_student(self, log, samples):
        report = noise_report_from_log(log, 0.8, relative=True)  # β is 0.5 throughout
        np.testing.assert_allclose(report.threshold, 0.4)
        assert report.flagged.tolist() == [True, False, False]
        assert report.rule == "α too far below the student's IoU"
        assert noise_report_from_log(log, 0.5).rule == "α ≤ 0.5"

    def test_a_student_that_learns_raises_what_is_asked_of_its_teacher(self, tmp_path):
        rows = [(epoch, name, 0.5, error, 0.5) for epoch, error in ((1, 0.8), (2, 0.2)) for name in "ab"]
        log = read_weights_log(write_log(tmp_path / "log.csv", [*rows, (3, "b", 0.5, 0.2, 0.5)]))
        report = noise_report_from_log(log, 0.9, relative=True)
        np.testing.assert_allclose(report.threshold, [0.9 * (0.2 + 0.8) / 2, 0.9 * (0.2 + 0.8 + 0.8) / 3])
        assert report.flagged.tolist() == [False, True]

    def test_samples_of_another_set(self, log, samples):
        with pytest.raises(ValueError, match=f"1 samples of the log are missing, the first is {samples[1].name}; pass"):
            noise_report_from_log(log, 0.5, spoilt=truth([samples[0], samples[2]]))


class TestFile:
    @pytest.mark.parametrize("threshold", [0.5, np.array([0.9, 0.1, 0.5, 0.25, 0.75])])
    @pytest.mark.parametrize("spoilt", [None, (None, "dominated", "distorted", None, "low_contrast")])
    def test_what_is_written_is_read(self, tmp_path, threshold, spoilt):
        report = NoiseReport(("a", "b", "c", "d", "e"), np.array([0.9, 0.2, 0.5, 0.4, 0.6]), threshold, spoilt)
        (tmp_path / "noise.csv").write_text(report.csv(), encoding="utf-8")
        read = read_noise_report(tmp_path / "noise.csv")
        assert read.names == ("b", "d", "c", "e", "a")
        assert read.csv() == report.csv()
        assert read.rule == report.rule
        assert read.summary() == report.summary()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "no such file; name the noise.csv of a run"),
            ("", "has no column sample, teacher_iou, threshold; name the noise.csv of a run"),
            (
                "sample,teacher_iou,threshold\na,0.3,0.5\nb,low,0.5\n",
                "line 3: teacher_iou must be a number, got 'low'",
            ),
            ("sample,teacher_iou,threshold\na,0.3\n", "line 2: threshold must be a number, got None"),
        ],
    )
    def test_mistakes(self, tmp_path, text, message):
        if text is not None:
            (tmp_path / "noise.csv").write_text(text)
        with pytest.raises(ValueError, match=re.escape(message)):
            read_noise_report(tmp_path / "noise.csv")


class TestFigures:
    @pytest.mark.parametrize(
        ("changes", "pictures"),
        [({}, 4), ({"teacher": None}, 3), ({"depth": None}, 3), ({"depth": None, "teacher": None}, 2)],
    )
    def test_the_contact_sheet_shows_what_there_is(self, samples, changes, pictures):
        shown = [replace(sample, **changes) for sample in samples]
        report = noise_report_from_maps(samples, 0.5)
        data = ImageSet.from_samples(shown, depth="depth" not in changes)
        cells = contact_sheet(data, report).axes
        assert [cell.images[0].get_array().shape for cell in cells] == [(32, 32 * pictures, 3)] * 3
        kinds = [samples[position].spoilt.replace("_", " ") for position in (1, 2, 0)]
        what = "depth" if "teacher" in changes else "map"
        titles = [f"α = 0.30: {kinds[0]} {what}", f"α = 0.60 (kept): {kinds[1]} {what}"]
        titles.append(f"α = 0.90 (kept): {kinds[2]} {what}")
        assert [cell.get_title() for cell in cells] == titles

    def test_the_contact_sheet_shows_a_networks_maps_and_says_so(self, samples):
        shown = [replace(sample, teacher=None) for sample in samples]
        maps = np.stack([sample.teacher for sample in samples])
        report = noise_report_from_maps(samples, 0.5)
        figure = contact_sheet(ImageSet.from_samples(shown), report, lambda places: maps[places])
        [cell, *_] = figure.axes
        np.testing.assert_array_equal(cell.images[0].get_array()[:, 96:, 0], (255 * maps[1]).astype(np.uint8))
        assert figure.get_suptitle().endswith("with the mask. Left to right: image, depth, mask, teacher's map")

    def test_mask_and_teachers_map_are_beside_the_image(self, samples):
        colour = [replace(sample, depth=None, spoilt=None) for sample in samples]
        [cell, *_] = contact_sheet(ImageSet.from_samples(colour, depth=False), noise_report_from_maps(colour, 0.5)).axes
        picture = cell.images[0].get_array()
        np.testing.assert_array_equal(picture[:, :32], samples[1].image)
        np.testing.assert_array_equal(picture[:, 32:64, 0], 255 * samples[1].mask)
        np.testing.assert_array_equal(picture[:, 64:, 0], (255 * samples[1].teacher).astype(np.uint8))
        assert cell.get_title() == f"α = 0.30: {samples[1].name}"
