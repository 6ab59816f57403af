"""Whether a data set has room in memory is known before it is read."""

import sys
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

import numpy as np  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.training import Data, Recipe, Tensors, _memory, train  # noqa: E402
from dynamic_kd.training._memory import check_room, free_memory  # noqa: E402

CPU = SimpleNamespace(device=torch.device("cpu"))
COUNTS = {"train": 10_000, "validation": 0, "report": 0}
GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """Return a function that sets how much memory is free, in GiB."""
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return lambda size: monkeypatch.setattr(_memory, "free_memory", lambda: size * GIB)


def notes_of(recipe, counts=COUNTS, accelerator=CPU):
    notes = []
    check_room(recipe, counts, accelerator, notes.append)
    return notes


def test_what_is_too_large_is_refused_and_what_is_large_is_noted(free):
    # 10,000 images of 256² with depth: 65,536 pixels of 8 bytes, twice while they are stacked: 9.8 GiB.
    free(9.7)
    message = (
        r"data: expected what memory holds, got 10000 images of 256², which take up to 9\.8 GiB of memory, where "
        r"9\.7 GiB are free; lower data\.size, or train on fewer images"
    )
    with pytest.raises(ValueError, match=message):
        notes_of(Recipe())
    free(9.8)
    assert notes_of(Recipe()) == ["10000 images of 256², which take up to 9.8 GiB of memory, where 9.8 GiB are free"]
    free(20)
    assert notes_of(Recipe()) == []


@pytest.mark.parametrize(
    ("recipe", "counts", "expected"),
    [
        (Recipe(data=Data(depth=False)), COUNTS, 2 * 4),
        (Recipe(data=Data(size=512)), COUNTS, 4 * 2 * 8),
        (Recipe(), {"train": 10_000, "validation": 5_000, "report": 5_000}, 3 * 8),
        (Recipe(), {"train": 5_000, "validation": 10_000, "report": 0}, 2.5 * 8),
    ],
)
def test_how_much_is_needed(free, recipe, counts, expected):
    needed = expected * 10_000 * 256**2 / GIB
    free(needed * 1.001)
    notes_of(recipe, counts)
    free(needed * 0.999)
    with pytest.raises(ValueError, match="data: expected what memory holds"):
        notes_of(recipe, counts)


def test_maps_count_for_training_alone_and_every_process_of_the_computer(free, monkeypatch):
    teacher = {"model": "maps", "maps": "DANet"}
    data = Data(source="folders", train=["a"])
    recipe = Recipe(data=data, teacher=type(Recipe().teacher)(**teacher))
    for taught, counts in ((12, {"train": 100, "validation": 0, "report": 0}), (8, {"train": 0, "validation": 100})):
        free(2 * taught * 100 * 256**2 / GIB * 1.001)
        assert len(notes_of(recipe, counts)) == 1
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        with pytest.raises(ValueError, match="data: expected what memory holds"):
            notes_of(recipe, counts)
        monkeypatch.delenv("LOCAL_WORLD_SIZE")
    alone = recipe.with_weighting("none")
    free(2 * 8 * 100 * 256**2 / GIB * 1.001)
    assert len(notes_of(alone, {"train": 100, "validation": 0, "report": 0})) == 1


def test_a_gpu_holds_all_images_once(free, monkeypatch):
    free(100)
    gpu = SimpleNamespace(device=torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(4.8 * GIB), 80 * GIB))
    with pytest.raises(ValueError, match=r"take up to 4\.9 GiB of the GPU's memory, where 4\.8 GiB are free"):
        notes_of(Recipe(), accelerator=gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    assert notes_of(Recipe(), accelerator=gpu) == []


def test_what_is_left_of_a_containers_limit_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "_CGROUP", tmp_path)
    assert free_memory() > 2**20
    (tmp_path / "memory.max").write_text("1048576\n")
    assert free_memory() == 2**20
    (tmp_path / "memory.current").write_text("600000\n")
    assert free_memory() == 2**20
    (tmp_path / "memory.stat").write_text("anon 350000\ninactive_file 200000\nactive_file 50000\n")
    assert free_memory() == 2**20 - 400000
    (tmp_path / "memory.current").write_text("150000\n")  # read a moment apart, they may not agree
    assert free_memory() == 2**20
    (tmp_path / "memory.current").write_text("2000000\n")
    assert free_memory() == 0
    (tmp_path / "memory.stat").write_text("anon 350000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_memory() == 48576
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 2**20
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert free_memory() == float("inf")


def test_so_it_does_where_the_containers_are_of_the_first_version(tmp_path, monkeypatch):
    monkeypatch.setattr(_memory, "_CGROUP", tmp_path)
    (tmp_path / "memory").mkdir()
    content = {
        "limit_in_bytes": "1048576\n",
        "usage_in_bytes": "600000\n",
        "stat": "inactive_file 7\ntotal_inactive_file 200000\n",  # of it alone, and with the groups below it
    }
    for name, text in content.items():
        (tmp_path / "memory" / f"memory.{name}").write_text(text)
    assert free_memory() == 2**20 - 400000
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")  # none
    assert 2**20 < free_memory() < 2**50


def test_a_run_asks_before_it_reads_or_writes(tmp_path, free):
    free(1e-6)
    recipe = Recipe(data=Data(train_count=50, validation_count=6, report_count=4, size=32))
    with pytest.raises(ValueError, match=r"got 60 images of 32², .*; lower data\.size"):
        train(recipe, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


def test_samples_are_lent_the_memory_of_the_tensors():
    samples = synthetic_rgbd(4, size=32, seed=1, spoilt_share=0.5)
    for depth in (True, False):
        data = Tensors.of(samples, depth=depth)
        lent = data.lent(samples)
        for one, other in zip(samples, lent, strict=True):
            assert (one.name, one.spoilt) == (other.name, other.spoilt)
            for field in ("image", "depth", "mask"):
                assert np.array_equal(getattr(one, field), getattr(other, field))
        assert all(np.shares_memory(each.image, data.images.numpy()) for each in lent)
        assert all(np.shares_memory(each.mask, data.targets.numpy()) for each in lent)
        assert all(depth == (each.depth is not one.depth) for one, each in zip(samples, lent, strict=True))
