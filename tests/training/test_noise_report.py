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
from dynamic_kd.training import NoiseReport, Tensors, noise_report  # noqa: E402
from dynamic_kd.training._figures import contact_sheet, picture_grid  # noqa: E402
from dynamic_kd.training._noise_report import noise_report_from_log, noise_report_from_maps  # noqa: E402
from dynamic_kd.training._weights_log import read_weights_log  # noqa: E402


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
    }


def test_ties_count_half():
    report = NoiseReport(("a", "b"), np.array([0.3, 0.3]), 0.5, (None, "dominated"))
    assert report.summary()["auc"] == 0.5


def test_where_the_truth_is_unknown_there_are_counts_alone():
    report = NoiseReport(("a", "b"), np.array([0.3, 0.8]), 0.5)
    assert report.summary() == {"samples": 2, "flagged": 1}
    assert report.csv() == "sample,teacher_iou,flagged\na,0.300000,1\nb,0.800000,0\n"


def test_quotients_of_nothing_are_none():
    report = NoiseReport(("a",), np.array([0.8]), 0.5, (None,))
    assert report.summary() == {"samples": 1, "flagged": 0, "spoilt": 0, "precision": None, "recall": None, "auc": None}


def test_rows_go_from_the_lowest_alpha_to_the_highest(report):
    rows = list(csv.DictReader(io.StringIO(report.csv())))
    assert [row["sample"] for row in rows] == ["b", "d", "c", "e", "a"]
    assert rows[0] == {"sample": "b", "teacher_iou": "0.200000", "flagged": "1", "spoilt": "1", "kind": "dominated"}
    assert rows[1] == {"sample": "d", "teacher_iou": "0.400000", "flagged": "1", "spoilt": "0", "kind": ""}


def test_alpha_is_the_soft_iou_of_the_teachers_map():
    samples = synthetic_rgbd(3, size=32, seed=1, spoilt_share=1)
    data = Tensors.of(samples)

    class Oracle(torch.nn.Module):
        def forward(self, images):
            return (data.targets[: len(images)].float() - 0.5) * torch.tensor([40.0, -40.0, 0.0])[:, None, None, None]

    report = noise_report(Oracle(), samples, data, 0.5, truth_known=True)
    share = samples[2].mask.mean()
    np.testing.assert_allclose(report.teacher_iou, [1, 0, 0.5 * share / (0.5 + 0.5 * share)], atol=1e-5)
    assert report.spoilt == tuple(sample.spoilt for sample in samples)
    assert noise_report(Oracle(), samples, data, 0.5, truth_known=False).spoilt is None


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
    message = f"sample {samples[1].name}: expected a teacher's map, got none; read the data with teacher=..."
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
        assert noise_report_from_log(log, 0.5, samples, epochs=1).names == (samples[0].name,)

    def test_samples_give_the_order_and_the_truth(self, log, samples):
        report = noise_report_from_log(log, 0.5, samples[::-1])
        assert report.names == tuple(sample.name for sample in samples[::-1])
        np.testing.assert_allclose(report.teacher_iou[:2], [0.82, 0.47])
        assert report.spoilt == tuple(sample.spoilt for sample in samples[::-1])

    def test_samples_of_another_set(self, log, samples):
        with pytest.raises(ValueError, match=f"expected those of the log, got none named {samples[1].name}; pass the"):
            noise_report_from_log(log, 0.5, [samples[0], samples[2]])


class TestFigures:
    @pytest.mark.parametrize(
        ("changes", "pictures"),
        [({}, 3), ({"teacher": None}, 2), ({"depth": None}, 2), ({"depth": None, "teacher": None}, 1)],
    )
    def test_the_contact_sheet_shows_what_there_is(self, samples, changes, pictures):
        shown = [replace(sample, **changes) for sample in samples]
        report = noise_report_from_maps(samples, 0.5)
        cells = contact_sheet(shown, report).axes
        assert [cell.images[0].get_array().shape for cell in cells] == [(32, 32 * pictures, 3)] * 3
        kinds = [samples[position].spoilt.replace("_", " ") for position in (1, 2, 0)]
        titles = [f"α = 0.30: {kinds[0]}", f"α = 0.60 (kept): {kinds[1]}", f"α = 0.90 (kept): {kinds[2]}"]
        assert [cell.get_title() for cell in cells] == titles

    def test_the_teachers_map_is_beside_the_image(self, samples):
        colour = [replace(sample, depth=None, spoilt=None) for sample in samples]
        [cell, *_] = contact_sheet(colour, noise_report_from_maps(colour, 0.5), limit=2).axes
        picture = cell.images[0].get_array()
        np.testing.assert_array_equal(picture[:, :32], samples[1].image)
        np.testing.assert_array_equal(picture[:, 32:, 0], (255 * samples[1].teacher).astype(np.uint8))
        assert cell.get_title() == f"α = 0.30: {samples[1].name}"

    def test_colour_images_alone_have_no_depth_column(self, samples):
        maps = {"ours": [255 * sample.mask.astype(np.uint8) for sample in samples]}
        titles = ["image", "depth\n(near = bright)", "truth", "ours"]
        for shown, expected in (
            (samples, titles),
            ([replace(sample, depth=None) for sample in samples], [titles[0], *titles[2:]]),
            ([replace(samples[0], depth=None), *samples[1:]], [titles[0], *titles[2:]]),
        ):
            axes = picture_grid(shown, maps, truth_known=False).axes
            assert [cell.get_title() for cell in axes if cell.get_title()] == expected
