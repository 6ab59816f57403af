"""Training on a GPU: graphs change nothing, runs repeat bit by bit, also through a stop and want of memory."""

import gc
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from safetensors.torch import load_file  # noqa: E402
from tiny_runs import rows  # noqa: E402

from dynamic_kd.cli import main  # noqa: E402
from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402
from dynamic_kd.training import _loop, _train, read_recipe, train  # noqa: E402
from dynamic_kd.training._image_set import ImageSet  # noqa: E402

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
    monkeypatch.setattr(_loop, "_is_replayable", lambda *_: False)
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


@pytest.mark.filterwarnings("default")  # those of torch's own compiler are no errors
@pytest.mark.parametrize("graphs", [True, False])
def test_compiled_networks_learn_the_same_and_go_on_with_the_same_bits(tmp_path, monkeypatch, graphs):
    if not graphs:
        monkeypatch.setattr(_loop, "_is_replayable", lambda *_: False)
    plain, whole = trained(tmp_path / "plain"), trained(tmp_path / "compiled", "compile=true")
    # Of three epochs from random weights rounding leaves three digits.
    assert max(float((plain[name] - whole[name]).norm() / plain[name].norm()) for name in plain) < 1e-2

    def stop(step, done, total):
        if step == "student" and done > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "stopped", "compile=true", progress=stop)
    assert equal(whole, trained(tmp_path / "stopped", "compile=true", resume=True))


def test_fp16_scales_its_gradients(tmp_path):
    assert all(tensor.isfinite().all() for tensor in trained(tmp_path / "run", "precision=fp16").values())


def test_images_that_are_copied_to_the_gpu_need_no_copy_for_a_batch():
    data = ImageSet.from_samples(synthetic_rgbd(3, size=32)).for_device(torch.device("cuda"), move=True)
    assert data.is_on_device
    assert data.batch(torch.tensor([1])).inputs.is_cuda


def test_images_that_stay_on_the_computer_train_to_the_same_bits(tmp_path, monkeypatch):
    whole = trained(tmp_path / "whole")
    place = ImageSet.for_device
    monkeypatch.setattr(ImageSet, "for_device", lambda data, device, *, move: place(data, device, move=False))
    assert equal(whole, trained(tmp_path / "other"))


def leave_memory(size):
    """Leave the process so many bytes of the GPU's memory beyond what it holds."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + size) / total)


@pytest.fixture
def unlimited():
    """Return a function that gives the process all memory of the GPU again, as it has after the test."""
    unlimited = partial(torch.cuda.set_per_process_memory_fraction, 1.0)
    yield unlimited
    unlimited()


# The first is called before either stage, the second between them.
@pytest.mark.parametrize(("moment", "finished"), [("_run_stage", 0), ("student_objective", 2)])
def test_a_run_that_wants_for_memory_says_so_and_goes_on_with_the_same_bits(
    tmp_path, monkeypatch, capsys, unlimited, moment, finished
):
    whole = trained(tmp_path / "whole")
    work = getattr(_train, moment)

    def narrowed(*arguments):
        leave_memory(2**25)
        return work(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(_train, moment, narrowed)
        assert main(["train", "cpu", "--out", str(tmp_path / "run"), "--set", *SMALL]) == 2
    hint, last = capsys.readouterr().err.splitlines()[-2:]
    assert hint.endswith(f"dynamic-kd train --resume {tmp_path / 'run'}")
    assert last.startswith("dynamic-kd: error: the GPU's memory is too small; lower training.batch_size")
    assert len(rows(tmp_path / "run" / "epochs.csv")) == finished
    unlimited()
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0
    assert equal(whole, load_file(tmp_path / "run" / "student-last.safetensors"))


def test_prediction_that_wants_for_memory_is_one_line(tmp_path, capsys, unlimited):
    cv2 = pytest.importorskip("cv2")
    (tmp_path / "images").mkdir()
    for sample in synthetic_rgbd(4, size=64, seed=3):
        cv2.imwrite(str(tmp_path / "images" / f"{sample.name}.png"), sample.image)
    save_model(FPNStudent("tiny", in_channels=3), tmp_path / "student.safetensors")
    places = [str(tmp_path / name) for name in ("student.safetensors", "images")]
    words = ["predict", *places, "--out", str(tmp_path / "maps")]
    leave_memory(2**25)
    assert main([*words, "--size", "2048"]) == 2
    said = "the GPU's memory is too small; lower batch_size (--batch) or size (--size)"
    assert capsys.readouterr().err.splitlines()[-1] == f"dynamic-kd: error: {said}"
    assert not (tmp_path / "maps").exists()
    unlimited()
    assert main([*words, "--size", "256"]) == 0
