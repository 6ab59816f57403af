"""Teachers are looked at before the training begins: those of others answer to a batch, ours are what was named."""

import importlib

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
for package in ("accelerate", "matplotlib", "safetensors", "tensorboard", "tomli_w"):
    pytest.importorskip(package, reason=f"{package} is not installed")

from tiny_runs import recipe_file, rows  # noqa: E402

from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher, save_model  # noqa: E402
from dynamic_kd.training import Data, Recipe, Teacher, _train, read_recipe, train  # noqa: E402
from dynamic_kd.training._networks import distillation_loss  # noqa: E402

MODULE = """\
import torch
from torch import nn

class Answer(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs):
        return self.answer(inputs)

def colour():
    return nn.Conv2d(3, 1, 3, padding=1)

def classes():
    return nn.Conv2d(4, 21, 1)

def several():
    return Answer(lambda inputs: (inputs[:, :1], inputs[:, :1]))

def boolean():
    return Answer(lambda inputs: inputs[:, :1] > 0)

def nothing():
    return Answer(lambda inputs: inputs[:, :1] * float("nan"))

def key():
    return Answer(lambda inputs: {}["logits"])

def broken():
    raise RuntimeError("no weights\\nfound")

def probabilities():
    return Answer(lambda inputs: inputs[:, :1].sigmoid())

def two():
    return nn.Conv2d(4, 2, 1)

def flat():
    return Answer(lambda inputs: inputs[:, 0])

def of_two(alpha, beta):
    return alpha

def mean(alpha, beta, cross_entropy):
    return alpha.mean()

def number(alpha, beta, cross_entropy):
    return 0.5

def double(alpha, beta, cross_entropy):
    return 1 + alpha

def detached(alpha, beta, cross_entropy):
    return torch.from_numpy(beta.numpy())

def fits(alpha, beta, cross_entropy):
    return alpha * (1 - beta)
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return a function that makes the recipe of a tiny run whose teacher is one of this file's."""
    (tmp_path / "modules_of_others.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
    importlib.invalidate_caches()
    path = recipe_file(tmp_path)
    return lambda name, *settings: read_recipe(path, [f"teacher.model=modules_of_others:{name}", *settings])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colour", r"RuntimeError: .*to have 3 channels, but got 4 channels instead; wrap it in a module that does "),
        ("classes", r"ValueError: teacher_logits: 21 channels: expected 1 or 2"),
        (
            "several",
            r"ValueError: teacher: must return a tensor of the images' size, \(4, 1, 32, 32\), got tuple; wrap",
        ),
        ("boolean", r"TypeError: teacher_logits: expected real floating-point values, got torch\.bool"),
        ("nothing", r"ValueError: teacher_logits: expected finite values, got NaN or infinity"),
        ("key", r"KeyError: 'logits'; wrap it"),
    ],
)
def test_an_answer_that_does_not_fit_is_one_error_before_anything_is_written(tiny, tmp_path, name, message):
    start = (
        rf"teacher\.model: modules_of_others:{name} must map inputs \(4, 4, 32, 32\) to logits "
        r"\(4, 1, 32, 32\), got "
    )
    with pytest.raises(ValueError, match=start + message) as error:
        train(tiny(name), tmp_path / "run", cpu=True)
    assert str(error.value).endswith("(data.depth = true: inputs have 4 channels)")
    assert not (tmp_path / "run").exists()


def test_the_error_says_how_many_channels_there_are(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"\(4, 3, 32, 32\).*\(data\.depth = false: inputs have 3 channels\)$"):
        train(tiny("classes", "data.depth=false"), tmp_path / "run", cpu=True)


def test_the_batch_is_that_of_a_round(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"must map inputs \(2, 4, 32, 32\)"):
        train(tiny("classes", "training.accumulation=2"), tmp_path / "run", cpu=True)
    with pytest.raises(ValueError, match=r"must map inputs \(3, 4, 32, 32\)"):
        train(tiny("classes", "data.train_count=3"), tmp_path / "run", cpu=True)


def test_a_module_that_cannot_be_made(tiny, tmp_path):
    with pytest.raises(ValueError, match=r":broken cannot be imported and called without arguments: no weights\nfound"):
        train(tiny("broken"), tmp_path / "run", cpu=True)


@pytest.mark.filterwarnings("ignore:teacher_logits. all values lie in")  # the loss says it as well
@pytest.mark.parametrize(("name", "noted"), [("probabilities", True), ("two", False), ("flat", False)])
def test_answers_that_fit_train_and_probabilities_are_noted(tiny, tmp_path, name, noted):
    notes = []
    train(tiny(name, "training.epochs=1"), tmp_path / "run", cpu=True, note=notes.append)
    assert len(rows(tmp_path / "run" / "weights.csv")) == 10
    said = f"all outputs of modules_of_others:{name} for a batch lie in [0, 1]; they should be logits, before any sig"
    assert any(note.startswith(said) for note in notes) == noted


def test_a_network_that_returns_maps(tiny, tmp_path):
    notes = []
    recipe = tiny("probabilities", "training.epochs=1", "teacher.output=probabilities", "teacher.clip=0.01")
    train(recipe, tmp_path / "run", cpu=True, note=notes.append)
    assert not any("lie in [0, 1]" in note for note in notes)
    assert read_recipe(tmp_path / "run") == recipe.with_whole_paths()
    with pytest.raises(ValueError, match=r"teacher\.model: .*:two must map inputs .* to probabilities .* 2 channels"):
        train(tiny("two", "teacher.output=probabilities"), tmp_path / "other", cpu=True)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("of_two", [], r"each image from .*, got TypeError: of_two\(\) takes 2 positional arguments but 3 were given"),
        ("mean", [], r"each image from .*, got ValueError: weighting: expected the function to return an array"),
        ("mean", ["loss.granularity=pixel"], r"each pixel from .*, got ValueError: .* of shape \(2, 32, 32\)"),
        ("number", [], "each image from .*, got ValueError: .*, got float; return one weight for each"),
        ("double", [], r"each image from .*, got ValueError: weighting's values: expected values in \[0, 1\]"),
        ("detached", ["loss.detach_weight=false"], r"each image from .*, got RuntimeError: Can't call numpy"),
    ],
)
def test_a_weight_that_does_not_fit_is_one_error_before_anything_is_read(
    tiny, tmp_path, monkeypatch, name, settings, message
):
    monkeypatch.setattr(_train, "read_recipe_data", lambda *arguments: pytest.fail("read"))
    start = rf"loss\.weighting: modules_of_others:{name} must return one weight for "
    recipe = tiny("two", f"loss.weighting=modules_of_others:{name}", *settings)
    with pytest.raises(ValueError, match=f"^{start}{message}"):
        train(recipe, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "settings"), [("fits", ["loss.granularity=pixel"]), ("detached", [])])
def test_weights_that_fit_train(tiny, tmp_path, name, settings):
    recipe = tiny("two", f"loss.weighting=modules_of_others:{name}", "training.epochs=1", *settings)
    train(recipe, tmp_path / "run", cpu=True)
    assert len(rows(tmp_path / "run" / "weights.csv")) == 10


def test_a_resumed_run_looks_again(tiny, tmp_path, monkeypatch):
    train(tiny("two", "training.epochs=1"), tmp_path / "run", cpu=True)
    module = importlib.import_module("modules_of_others")
    monkeypatch.setattr(module, "two", module.colour)
    with pytest.raises(ValueError, match=r"teacher\.model: modules_of_others:two must map inputs"):
        train(tiny("two", "training.epochs=1"), tmp_path / "run", resume=True, cpu=True)


@pytest.mark.parametrize(
    ("network", "settings", "message"),
    [
        (FPNStudent("tiny"), [], 'model = "fpn" and backbone = "tiny", but the recipe names "rfb" and "tiny"; change'),
        (
            RFBTeacher("tiny"),
            ["teacher.model=fpn"],
            'model = "rfb" and backbone = "tiny", but the recipe names "fpn" and "tiny"',
        ),
        (RFBTeacher("tiny"), ["teacher.backbone=vgg16"], 'backbone = "tiny", but the recipe names "rfb" and "vgg16"'),
    ],
)
def test_a_checkpoint_of_another_network_than_the_recipe_names(tmp_path, network, settings, message):
    save_model(network, tmp_path / "teacher.safetensors")
    recipe = read_recipe(recipe_file(tmp_path), [f"teacher.checkpoint={tmp_path}/teacher.safetensors", *settings])
    with pytest.raises(ValueError, match=f"teacher.checkpoint: is a network of .*{message}"):
        train(recipe, tmp_path / "run", cpu=True)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_the_fpn_that_is_named_teaches(tmp_path, monkeypatch):
    monkeypatch.setattr(_train, "write_insight", lambda *arguments, **limit: None)
    save_model(FPNStudent("tiny"), tmp_path / "teacher.safetensors")
    words = ["teacher.model=fpn", f"teacher.checkpoint={tmp_path}/teacher.safetensors", "training.epochs=1"]
    assert list(train(read_recipe(recipe_file(tmp_path), words), tmp_path / "run", cpu=True)["results"]) == ["student"]


def test_the_fused_loss_needs_a_gpu(tmp_path, monkeypatch, tiny):
    monkeypatch.setattr(_train, "read_recipe_data", lambda *arguments: pytest.fail("read"))
    with pytest.raises(ValueError, match=r'loss\.impl: "fused" requires a GPU; choose "auto" or "eager"'):
        train(tiny("two", "loss.impl=fused"), tmp_path / "run", cpu=True)


@pytest.mark.parametrize(
    ("teacher", "kind"),
    [
        ({"model": "maps", "maps": "DANet"}, "probabilities"),
        ({"model": "a:b", "output": "probabilities"}, "probabilities"),
        ({"model": "a:b"}, "logits"),
        ({}, "logits"),
    ],
)
def test_the_loss_is_told_what_the_teacher_gives(teacher, kind):
    data = Data(source="folders", train=("NJUD",))
    recipe = Recipe(data=data, teacher=Teacher(**teacher, clip=1e-3), loss=DynamicKDLoss(p=0.5))
    assert distillation_loss(recipe) == DynamicKDLoss(p=0.5, teacher=kind, clip=1e-3)
