"""Loss and metrics on an NVIDIA GPU: the CPU's numbers, and no waiting for the device."""

import numpy as np
import pytest

from dynamic_kd import SODMetrics, e_measure, f_measure, mean_absolute_error, s_measure, weighted_f_measure
from dynamic_kd.metrics import (
    context_measure,
    human_correction_effort,
    multi_scale_iou,
    size_invariant_f_measure,
)
from dynamic_kd.metrics._pixels import PIXEL_MEASURES
from dynamic_kd.metrics._selection import MEASURES

torch = pytest.importorskip("torch")

from dynamic_kd.torch import DynamicKDLoss  # noqa: E402  (after torch is known to be there)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(4, 1, 48, 64, generator=generator) for _ in range(2))
    target = (torch.rand(4, 1, 48, 64, generator=generator) > 0.6).float()
    return student, teacher, target


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("weighting", ["dynamic", "a2dele", 0.5])
def test_the_loss_equals_the_cpus(batch, dtype, weighting):
    student, teacher, target = (each.to(dtype) for each in batch)
    loss = DynamicKDLoss(weighting=weighting)
    here, there = (student.detach().to(device).requires_grad_() for device in ("cpu", "cuda"))
    expected, value = loss(here, teacher, target), loss(there, teacher.cuda(), target.cuda())
    assert value.device.type == "cuda"
    assert value.dtype == expected.dtype
    torch.testing.assert_close(value.cpu(), expected, rtol=1e-5, atol=1e-6)
    expected.backward()
    value.backward()
    torch.testing.assert_close(there.grad.cpu(), here.grad)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_the_loss_never_waits_for_the_device(batch):
    student, teacher, target = (each.cuda() for each in batch)
    student.requires_grad_()
    valid = target >= 0
    loss = DynamicKDLoss()
    loss(student, teacher, target, valid).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(student, teacher, target, valid).backward()
        loss.with_terms(student, teacher, target, valid)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_metrics_equal_the_cpus(batch):
    saliency, _, target = (each.sigmoid() if each.min() < 0 else each > 0.5 for each in batch)
    levels = (saliency * 255).to(torch.uint8)
    for pred in (levels, saliency.double()):
        for function in (mean_absolute_error, f_measure, weighted_f_measure, s_measure, e_measure):
            value = function(pred.cuda(), target.cuda())
            assert value.device.type == "cuda"
            np.testing.assert_allclose(value.cpu(), function(pred, target), rtol=0, atol=1e-12)
    here, there = SODMetrics(), SODMetrics()
    here.update(levels, target)
    there.update(levels.cuda(), target.cuda())
    assert there.compute().as_dict() == pytest.approx(here.compute().as_dict(), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_every_metric_equals_the_cpus(batch, dtype):
    saliency, _, target = (each.sigmoid() if each.min() < 0 else each > 0.5 for each in batch)
    pred = (saliency * 255).to(dtype) if dtype == torch.uint8 else saliency.to(dtype)
    every = (*MEASURES, *PIXEL_MEASURES)
    here, there = SODMetrics(every), SODMetrics(every)
    here.update(pred, target)
    there.update(pred.cuda(), target.cuda())
    assert there.compute().as_dict() == pytest.approx(here.compute().as_dict(), abs=1e-9)
    assert there.compute().pooled == pytest.approx(here.compute().pooled, abs=1e-9)
    for function in (multi_scale_iou, human_correction_effort, size_invariant_f_measure, context_measure):
        value = function(pred.cuda(), target.cuda())
        assert value.device.type == "cuda"
        np.testing.assert_allclose(value.cpu(), function(pred, target), rtol=0, atol=1e-12)


def test_integer_targets_mean_on_the_device_what_they_mean_elsewhere(batch):
    """Two levels are binary, whatever the salient one; three have several meanings."""
    _, _, target = batch
    levels = target.cuda().to(torch.uint8)
    for salient in (1, 7, 255):
        assert mean_absolute_error(target.cuda(), salient * levels).max() == 0
    levels[0, 0, 0, :2] = torch.tensor([2, 1], device="cuda", dtype=torch.uint8)
    with pytest.raises(ValueError, match="expected masks of two levels"):
        mean_absolute_error(target.cuda(), levels)
