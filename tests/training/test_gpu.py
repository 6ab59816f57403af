"""Training on a GPU: graphs change nothing, runs repeat bit by bit, also through a stop."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import load_file  # noqa: E402

from dynamic_kd.training import _loop, read_recipe, train  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

# Maps this large take the layers that stand in for torch's on a GPU.
SMALL = [
    "data.size=256", "data.train_count=22", "data.validation_count=6", "training.epochs=3", "teacher.training.epochs=2",
    "teacher.backbone=vgg16", "student.backbone=vgg16", "training.learning_rate=0.001",
    "teacher.training.learning_rate=0.001",
]  # fmt: skip


def trained(folder, *changes, **options):
    train(read_recipe("cpu", [*SMALL, *changes]), folder, **options)
    return load_file(folder / "student-last.safetensors")


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_repeat_with_graphs_and_without(tmp_path, monkeypatch, precision):
    graphed = trained(tmp_path / "graphed", f"precision={precision}")
    monkeypatch.setattr(_loop, "_replayable", lambda *_: False)
    assert equal(graphed, trained(tmp_path / "eager", f"precision={precision}"))


def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path):
    whole = trained(tmp_path / "whole")
    for stage, epoch in (("teacher", 1), ("student", 2)):
        folder = tmp_path / f"{stage}-{epoch}"

        def stop(step, done, total, stage=stage, epoch=epoch):
            if step == stage and done > epoch * 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            trained(folder, progress=stop)
        assert equal(whole, trained(folder, resume=True))


def test_fp16_scales_its_gradients(tmp_path):
    assert all(tensor.isfinite().all() for tensor in trained(tmp_path / "run", "precision=fp16").values())
