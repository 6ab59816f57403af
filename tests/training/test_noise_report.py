"""The noise report against counts made by hand."""

import csv
import io

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.training import NoiseReport, Tensors, noise_report  # noqa: E402


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
            return (data.targets[: len(images)] - 0.5) * torch.tensor([40.0, -40.0, 0.0])[:, None, None, None]

    report = noise_report(Oracle(), samples, data, 0.5, truth_known=True)
    share = samples[2].mask.mean()
    np.testing.assert_allclose(report.teacher_iou, [1, 0, 0.5 * share / (0.5 + 0.5 * share)], atol=1e-5)
    assert report.spoilt == tuple(sample.spoilt for sample in samples)
    assert noise_report(Oracle(), samples, data, 0.5, truth_known=False).spoilt is None
