"""When the fused op is asked, and what is made of its answer."""

from types import SimpleNamespace

import numpy as np
import pytest

from dynamic_kd.losses import DynamicKDLoss, _dispatch

BATCH = np.zeros((1, 2, 2)), np.ones((1, 2, 2)), np.ones((1, 2, 2))


@pytest.fixture
def answers(monkeypatch):
    """Let the op answer with what is put here: its results, or the reason why it has none."""
    pytest.importorskip("torch", reason="torch is not installed")
    fused = pytest.importorskip("dynamic_kd.torch._fused")
    listed = []
    monkeypatch.setattr(fused, "loss_and_terms", lambda *arguments: listed.pop(0))
    return listed


@pytest.fixture
def batch(answers):
    torch = pytest.importorskip("torch")
    return [torch.from_numpy(each) for each in BATCH]


def test_the_ops_loss_is_the_loss(answers, batch):
    answers.append(("its loss", "its terms", "more"))
    assert DynamicKDLoss(impl="fused")(*batch) == "its loss"


def test_where_the_op_is_asked_for_its_reason_is_the_error(answers, batch):
    answers.append("it has none on Sundays")
    with pytest.raises(ValueError, match="it has none on Sundays"):
        DynamicKDLoss(impl="fused")(*batch)
    with pytest.raises(ValueError, match="it takes torch tensors"):
        DynamicKDLoss(impl="fused")(*BATCH)


@pytest.mark.parametrize("impl", ["auto", "eager"])
def test_on_the_cpu_it_is_not_asked(answers, batch, impl):
    expected = DynamicKDLoss(impl="eager")(*BATCH)
    assert float(DynamicKDLoss(impl=impl)(*batch)) == pytest.approx(expected)
    assert float(DynamicKDLoss(impl=impl)(*BATCH)) == expected


def test_on_a_gpu_it_is_asked_unless_plain_operations_are(answers, monkeypatch):
    monkeypatch.setattr(_dispatch, "is_torch", lambda array: True)
    on_gpu = SimpleNamespace(is_cuda=True)
    answers += [("its loss",), "it has none for such tensors"]
    assert _dispatch.fused_loss(DynamicKDLoss(), on_gpu, *BATCH[1:], None) == "its loss"
    assert _dispatch.fused_loss(DynamicKDLoss(), on_gpu, *BATCH[1:], None) is None
    assert answers == []
    answers.append(("its loss",))
    assert DynamicKDLoss()(on_gpu, *BATCH[1:]) == "its loss"
