"""Types that users of the losses and metrics see; mypy checks this file, and nothing runs it."""

from collections.abc import Iterator, Mapping
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import dynamic_kd
from dynamic_kd import DynamicKDLoss, DynamicKDTerms, MetricReport, SODMetrics
from dynamic_kd.losses import dynamic_weight, eliminate_noise, soft_iou
from dynamic_kd.metrics import Records, e_measure, f_measure, s_measure, table

Maps = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]


def the_loss(student: Logits, teacher: Logits, target: Logits) -> None:
    loss = DynamicKDLoss(p=0.7, weighting="a2dele", reduction="none", noise_elimination=None)
    assert_type(loss(student, teacher, target), Any)
    assert_type(loss.with_terms(student, teacher, target, valid=target), tuple[Any, DynamicKDTerms])
    assert_type(loss.temperature, float)
    eliminate_noise(dynamic_weight(soft_iou(student, target), soft_iou(teacher, target)), student, threshold=0.4)
    DynamicKDLoss(weighting=0.5)
    DynamicKDLoss(weighting=lambda alpha, beta, xp: alpha * beta)
    assert_type(dynamic_kd.__version__, str)


def wrong_losses(student: Logits, teacher: Logits) -> None:
    DynamicKDLoss(0.7)  # type: ignore[call-arg]
    DynamicKDLoss(temperature="5")  # type: ignore[arg-type]
    DynamicKDLoss(reduction="avg")  # type: ignore[arg-type]
    DynamicKDLoss(impl="cuda")  # type: ignore[arg-type]
    DynamicKDLoss(granularity="pixels")  # type: ignore[arg-type]
    DynamicKDLoss(noise_elimination=True)  # type: ignore[arg-type]
    DynamicKDLoss(noise=0.5)  # type: ignore[call-arg]
    DynamicKDLoss().temperature = 3.0  # type: ignore[misc]
    DynamicKDLoss()(student, teacher)  # type: ignore[call-arg]
    dynamic_weight(student, teacher, 0.7)  # type: ignore[call-arg]


def the_metrics(pred: Maps, target: npt.NDArray[np.bool_]) -> None:
    metrics = SODMetrics(["F", "S"], strict=True)
    metrics.update(pred, target, names=["0001"])
    metrics.merge(SODMetrics())
    report = metrics.compute()
    assert_type(report, MetricReport)
    assert_type(report["maxF"], float)
    assert_type(report.as_dict(), dict[str, float])
    assert_type(report.per_image, list[dict[str, Any]])
    assert_type(report.curves["f_measure"], npt.NDArray[np.float64])
    assert_type(iter(report), Iterator[str])
    scores: Mapping[str, float] = report
    assert_type(metrics.measure(pred, target), Records)
    assert_type(len(metrics), int)
    assert_type(table({"ours": report}, "latex"), str)
    print(scores, s_measure(pred, target), f_measure(pred, target, reduce="max"), e_measure(pred, target, strict=True))


def wrong_metrics(pred: Maps, target: Maps, report: MetricReport) -> None:
    SODMetrics(strict="yes")  # type: ignore[arg-type]
    SODMetrics(["F"], True)  # type: ignore[call-arg]
    SODMetrics().update(pred)  # type: ignore[call-arg]
    SODMetrics().merge(report)  # type: ignore[arg-type]
    f_measure(pred, target, "max")  # type: ignore[call-arg]
    report["maxF"] = 1.0  # type: ignore[index]
    print(report.max_f)  # type: ignore[attr-defined]
    table(report)  # type: ignore[arg-type]
