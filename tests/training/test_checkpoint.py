"""Checkpoints: whole or not there, and all that the next step depends on."""

import copy
import os

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")
pytest.importorskip("safetensors", reason="safetensors is not installed")

from safetensors.torch import load_file, save_file  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, save_model  # noqa: E402
from dynamic_kd.training import CrossEntropy, Tensors, Training, accelerator_of, fit, sgd  # noqa: E402
from dynamic_kd.training._checkpoint import Place, load_checkpoint, read_place, save_checkpoint  # noqa: E402

PLACE = Place(2, 1, 0.25, {})


class Trained:
    """A network with its optimizer, as a run holds them."""

    def __init__(self, seed=1, **settings):
        torch.manual_seed(seed)
        self.training = Training(**{"epochs": 2, "learning_rate": 0.05} | settings)
        self.accelerator = accelerator_of(cpu=True)
        model = FPNStudent("tiny").to(memory_format=torch.channels_last)
        self.model, self.optimizer = self.accelerator.prepare(model, sgd(model, self.training))
        self.data = Tensors.of(synthetic_rgbd(6, size=32))

    @property
    def parts(self):
        return self.model, self.optimizer, self.accelerator

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
            save_checkpoint(path, *whole.parts, PLACE)
    resumed = Trained(seed=9, momentum=momentum)
    assert load_checkpoint(path, *resumed.parts) == read_place(path) == PLACE
    list(resumed.epochs(first=2))
    for key, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value), key


def test_the_momentum_lies_in_memory_as_its_parameter_does(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    whole, resumed = Trained(), Trained(seed=9)
    next(whole.epochs())
    save_checkpoint(path, *whole.parts, PLACE)
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
    save_checkpoint(path, *trained.parts, Place(1, 1, None, {"scale": 512.0}))
    trained.accelerator.scaler = Scaler()
    load_checkpoint(path, *trained.parts)
    assert trained.accelerator.scaler.state == {"scale": 512.0}


def test_a_checkpoint_half_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    trained = Trained()
    epochs = trained.epochs()
    next(epochs)
    save_checkpoint(path, *trained.parts, PLACE)
    before = copy.deepcopy(load_file(path))
    next(epochs)

    def full(number):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            save_checkpoint(path, *trained.parts, Place(2, 2, 0.3, {}))
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
        message = rf"{path.name}: expected a checkpoint of dynamic-kd train, got another safetensors file"
        with pytest.raises(ValueError, match=message):
            read_place(path)
    with pytest.raises(ValueError, match=r"broken\.safetensors: not a safetensors file, or a damaged one"):
        read_place(broken)
