"""Checkpoints: whole or not there, and all that the next step depends on."""

import copy
import os
import signal
import time

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402
from dynamic_kd.training import Training, _checkpoint  # noqa: E402
from dynamic_kd.training._checkpoint import (  # noqa: E402
    Checkpoints,
    Place,
    load_checkpoint,
    read_place,
    save_checkpoint,
    state_of,
)
from dynamic_kd.training._image_set import ImageSet  # noqa: E402
from dynamic_kd.training._loop import fit, sgd  # noqa: E402
from dynamic_kd.training._objective import CrossEntropy  # noqa: E402
from dynamic_kd.training._processes import accelerator_of  # noqa: E402

PLACE = Place(2, 1, 0.25, {})


class Trained:
    """A network with its optimizer, as a run holds them."""

    def __init__(self, seed=1, **settings):
        torch.manual_seed(seed)
        self.training = Training(**{"epochs": 2, "learning_rate": 0.05} | settings)
        self.accelerator = accelerator_of(cpu=True)
        model = FPNStudent("tiny").to(memory_format=torch.channels_last)
        self.model, self.optimizer = self.accelerator.prepare(model, sgd(model, self.training))
        self.data = ImageSet.from_samples(synthetic_rgbd(6, size=32))

    @property
    def parts(self):
        return self.model, self.optimizer, self.accelerator

    @property
    def state(self):
        return state_of(*self.parts)

    def epochs(self, first=1):
        return fit(
            self.model, self.optimizer, self.data, CrossEntropy(), self.training,
            accelerator=self.accelerator, seed=(0,), first=first,
        )  # fmt: skip


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_what_goes_on_from_a_checkpoint_ends_with_the_same_bits(tmp_path, momentum):
    path = tmp_path / "checkpoint.safetensors"
    whole = Trained(momentum=momentum)
    for epoch in whole.epochs():
        if epoch.number == 1:
            save_checkpoint(path, whole.state, PLACE)
    resumed = Trained(seed=9, momentum=momentum)
    assert load_checkpoint(path, *resumed.parts) == read_place(path) == PLACE
    list(resumed.epochs(first=2))
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


def test_the_momentum_lies_in_memory_as_its_parameter_does(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, resumed = Trained(), Trained(seed=9)
    next(whole.epochs())
    save_checkpoint(path, whole.state, PLACE)
    load_checkpoint(path, *resumed.parts)
    for of_whole, of_resumed in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        expected = whole.optimizer.state[of_whole]["momentum_buffer"]
        found = resumed.optimizer.state[of_resumed]["momentum_buffer"]
        assert torch.equal(found, expected)
        assert found.stride() == of_resumed.stride()
        assert found.data_ptr() != of_resumed.data_ptr()


def test_a_gradient_scaler_goes_on_where_it_was(tmp_path):
    class Scaler:
        def load_state_dict(self, state):
            self.state = state

    path = tmp_path / "checkpoint.safetensors"
    trained = Trained()
    next(trained.epochs())
    save_checkpoint(path, trained.state, Place(1, 1, None, {"scale": 512.0}))
    trained.accelerator.scaler = Scaler()
    load_checkpoint(path, *trained.parts)
    assert trained.accelerator.scaler.state == {"scale": 512.0}


def test_a_checkpoint_half_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    trained = Trained()
    epochs = trained.epochs()
    next(epochs)
    save_checkpoint(path, trained.state, PLACE)
    before = copy.deepcopy(load_file(path))
    next(epochs)

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, trained.state, Place(2, 2, 0.3, {}))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert read_place(path) == PLACE
    assert all(torch.equal(value, before[key]) for key, value in load_file(path).items())


def test_files_that_are_no_checkpoints(tmp_path):
    other, broken = tmp_path / "other.safetensors", tmp_path / "broken.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    broken.write_bytes(b"half a checkpoint")
    for path in (other, tmp_path / "model.safetensors"):
        if not path.exists():
            save_model(FPNStudent("tiny"), path)
        message = rf"{path.name}: not a checkpoint of dynamic-kd train, but another"
        with pytest.raises(ValueError, match=message):
            read_place(path)
    with pytest.raises(ValueError, match=r"broken\.safetensors: not a safetensors file, or a damaged one"):
        read_place(broken)


class StoppedError(Exception):
    """Stands for whatever ends a run."""


class Disk:
    """What is written instead of checkpoints: the number that the state holds, and the epoch."""

    def __init__(self):
        self.written, self.errors = [], []

    def save(self, path, state, place):
        if self.errors:
            raise self.errors.pop(0)
        self.written.append((float(state["weight"]), place.epoch))


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(_checkpoint, "save_checkpoint", disk.save)
    return disk


@pytest.fixture
def clock(monkeypatch):
    """Set the time."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 1000.0 + seconds)


def epochs(checkpoints, *numbers, now=(), end=None):
    """Keep epochs of a state that each of them changes in place, and maybe end amid the next."""
    weight = torch.zeros(())
    for number in numbers:
        weight.fill_(number)
        checkpoints.keep({"weight": weight}, Place(1, number, None, {}), now=number in now)
    weight.fill_(-1)
    if end is not None:
        raise end


def test_a_checkpoint_is_due_when_the_time_has_come_or_it_has_to_be(tmp_path, disk, clock):
    with Checkpoints(tmp_path, every=30) as checkpoints:
        for number, seconds in enumerate((10, 29, 30, 45, 59, 61, 62, 91, 92), start=1):
            clock(seconds)
            epochs(checkpoints, number, now=[7])
    assert [epoch for _, epoch in disk.written] == [3, 6, 7, 9]


@pytest.mark.parametrize("every", [0, 0.0])
def test_without_time_between_them_every_epoch_has_one(tmp_path, disk, clock, every):
    with Checkpoints(tmp_path, every) as checkpoints:
        epochs(checkpoints, 1, 2, 3)
    assert disk.written == [(1, 1), (2, 2), (3, 3)]


@pytest.mark.parametrize("end", [StoppedError, KeyboardInterrupt, OSError, RuntimeError])
@pytest.mark.parametrize(("now", "written"), [((), [(3, 3)]), ((2,), [(2, 2), (3, 3)]), ((3,), [(3, 3)])])
def test_what_ends_a_stage_has_its_last_epoch_written_once_as_it_was(tmp_path, disk, end, now, written):
    with pytest.raises(end), Checkpoints(tmp_path, every=1e9) as checkpoints:
        epochs(checkpoints, 1, 2, 3, now=now, end=end)
    assert disk.written == written


def test_what_ends_a_stage_before_its_first_epoch_writes_nothing(tmp_path, disk):
    with pytest.raises(StoppedError), Checkpoints(tmp_path, every=0):
        raise StoppedError
    assert disk.written == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("CUDA error: unspecified")])
def test_what_ended_a_stage_counts_even_if_nothing_can_be_written(tmp_path, disk, error):
    disk.errors.append(error)
    with pytest.raises(StoppedError), Checkpoints(tmp_path, every=1e9) as checkpoints:
        epochs(checkpoints, 1, end=StoppedError)
    assert disk.written == []


def test_an_interrupted_checkpoint_is_written_again(tmp_path, disk):
    disk.errors.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path, every=1e9) as checkpoints:
        epochs(checkpoints, 1, 2, now=[2])
    assert disk.written == [(2, 2)]


def test_a_stop_while_the_state_is_copied_finds_it_whole(tmp_path, monkeypatch, disk):
    copy_, calls = torch.Tensor.copy_, []

    def interrupted(self, source):
        calls.append(source)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return copy_(self, source)

    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path, every=1e9) as checkpoints:
        epochs(checkpoints, 1, 2)
    assert disk.written == [(2, 2)]


def test_who_asks_twice_does_not_lose_what_the_first_time_saves(tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGINT)

    def save(path, state, place):
        signal.raise_signal(signal.SIGINT)
        saved.append(place.epoch)

    saved = []
    monkeypatch.setattr(_checkpoint, "save_checkpoint", save)
    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path, every=1e9) as checkpoints:
        epochs(checkpoints, 1, end=KeyboardInterrupt)
    assert saved == [1]
    assert signal.getsignal(signal.SIGINT) is before
