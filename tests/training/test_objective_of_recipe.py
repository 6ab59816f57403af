"""A recipe may name a loss of the user's own: an nn.Module, whose state a run resumes with."""

import importlib
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import rows, same_run, tensors  # noqa: E402

from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.training import _train, read_recipe, recipe_toml, train  # noqa: E402
from dynamic_kd.training._networks import check_objective  # noqa: E402
from dynamic_kd.training._objective import Distillation, teacher_maps  # noqa: E402

MODULE = """\
import torch
from torch import nn

class Same(nn.Module):
    '''The package's loss, in a module.'''
    replayable = True

    def __init__(self, loss, samples):
        super().__init__()
        self.loss = loss

    def forward(self, student_logits, teacher, target, valid, positions):
        return self.loss.with_terms(student_logits, teacher, target, valid)

class Counting(Same):
    '''Samples count the more, the oftener they were seen.'''
    def __init__(self, loss, samples):
        super().__init__(loss, samples)
        self.register_buffer("visits", torch.zeros(samples))

    def forward(self, student_logits, teacher, target, valid, positions):
        self.visits[positions] += 1
        losses, terms = super().forward(student_logits, teacher, target, valid, positions)
        return losses * (1 + self.visits[positions]), terms

class Trainable(Same):
    def __init__(self, loss, samples):
        super().__init__(loss, samples)
        self.scale = nn.Parameter(torch.ones(()))

class Mean(Same):
    def forward(self, *batch):
        losses, terms = super().forward(*batch)
        return losses.mean(), terms

class Three(Same):
    def forward(self, *batch):
        losses, terms = super().forward(*batch)
        return losses, terms[:3]

def broken(loss):
    return None
"""


@pytest.fixture(autouse=True)
def own_losses(tmp_path, monkeypatch):
    (tmp_path / "own_losses.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()


def test_the_packages_loss_in_a_module_trains_the_same_network(tiny, whole, tmp_path, no_figures):
    recipe = tiny("objective=own_losses:Same")
    train(recipe, tmp_path / "run")
    same_run(tmp_path / "run", whole)
    assert read_recipe(tmp_path / "run").objective == "own_losses:Same"
    assert 'objective = "own_losses:Same"' in recipe_toml(recipe)
    assert "objective" not in recipe_toml(tiny())


def test_a_stopped_run_resumes_with_the_state_of_its_loss(tiny, tmp_path, no_figures, monkeypatch):
    recipe = tiny("objective=own_losses:Counting", "data.train_count=8")
    train(recipe, tmp_path / "whole")
    log = _train._log

    def stopping(*arguments):
        if arguments[2].epoch == 2 and arguments[2].stage == 2:
            raise KeyboardInterrupt
        log(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(_train, "_log", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "run", checkpoint_every=0)
    checkpoint = tensors(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint["loss.visits"].tolist() == [1.0] * 8  # the first epoch of stage 2
    train(recipe, tmp_path / "run", resume=True)
    same_run(tmp_path / "run", tmp_path / "whole")
    assert tensors(tmp_path / "run" / "checkpoint.safetensors")["loss.visits"].tolist() == [3.0] * 8
    assert rows(tmp_path / "run" / "epochs.csv") != []


def test_a_checkpoint_of_another_version_of_the_loss_is_refused(tiny, tmp_path, no_figures, monkeypatch):
    recipe = tiny("objective=own_losses:Same")
    train(recipe, tmp_path / "run")
    module = importlib.import_module("own_losses")
    monkeypatch.setattr(module, "Same", module.Counting)
    with pytest.raises(ValueError, match=r"not a checkpoint of the recipe's objective \((?s:.*)Missing key.*visits"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_loss_decides_whether_a_cuda_graph_may_hold_it():
    module = importlib.import_module("own_losses").Same(DynamicKDLoss(), 4)
    for says, expected in ((True, True), (False, False)):
        module.replayable = says
        assert Distillation(DynamicKDLoss(), teacher_maps, replayable=True, module=module).replayable is expected
    assert not Distillation(DynamicKDLoss(), teacher_maps, replayable=True, module=torch.nn.Identity()).replayable


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("own_losses:Trainable", "own_losses:Trainable has parameters, which training does not update; make them buff"),
        ("own_losses:Mean", r"own_losses:Mean must return losses and terms of shape \(2,\) for 2 images, got \(\)"),
        ("own_losses:Three", "own_losses:Three must be a function of a DynamicKDLoss and .* got TypeError: .*missing"),
        ("own_losses:broken", r"own_losses:broken must be a function .* got TypeError: broken\(\) takes 1 positional"),
        (
            "own_losses:gone",
            "own_losses:gone must be a function .* got AttributeError: module 'own_losses' has no attr",
        ),
        ("no_such_module:x", "no_such_module:x must be .* got ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_wrong_loss_is_named_before_anything_is_written(tiny, tmp_path, objective, message):
    with pytest.raises(ValueError, match=rf"^objective: {message}"):
        train(tiny(f"objective={objective}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_state_for_each_sample_takes_one_process(tiny):
    accelerator = SimpleNamespace(device=torch.device("cpu"), num_processes=2)
    check_objective(tiny("objective=own_losses:Same"), accelerator)
    with pytest.raises(ValueError, match="own_losses:Counting has a state, which 2 processes would each have for them"):
        check_objective(tiny("objective=own_losses:Counting"), accelerator)


def test_the_setting_is_checked(tiny):
    with pytest.raises(ValueError, match=r"objective: takes a teacher, which loss.weighting = .none. leaves out; "):
        tiny("objective=own_losses:Same", "loss.weighting=none")
    with pytest.raises(ValueError, match="objective: expected text, got 3"):
        tiny("objective=3")
    with pytest.raises(ValueError, match=r"objective: expected .package.module:name., got 'Same'"):
        tiny("objective=Same")
