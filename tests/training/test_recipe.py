"""Recipes check themselves, and know what follows from them."""

import json
import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.training import Data, Recipe, Student, Teacher, Training  # noqa: E402


def test_the_papers_settings_are_the_defaults():
    loss, training, data = Recipe().loss, Recipe().training, Recipe().data
    assert (loss.p, loss.temperature, loss.threshold, loss.noise_weight) == (0.7, 5, 0.5, 0.01)
    assert (loss.weighting, loss.granularity) == ("dynamic", "image")
    assert (training.epochs, training.batch_size, training.learning_rate) == (40, 4, 1e-3)
    assert (training.momentum, training.weight_decay, training.schedule) == (0.9, 5e-4, "constant")
    assert (training.flip, data.size, data.channels) == (True, 256, 4)
    assert (Recipe().teacher.model, Recipe().precision, Recipe().deterministic) == ("rfb", "fp32", True)


def test_colour_alone_has_three_channels():
    assert Data(depth=False).channels == 3


@pytest.mark.parametrize(
    ("kind", "setting", "error", "message"),
    [
        (Training, {"epochs": 0}, ValueError, r"epochs: expected a whole number of at least 1, got 0"),
        (Training, {"epochs": 1.5}, TypeError, r"epochs: expected a whole number, got 1\.5"),
        (Training, {"epochs": True}, TypeError, r"epochs: expected a whole number, got True"),
        (Training, {"batch_size": 0}, ValueError, r"batch_size: expected a whole number of at least 1, got 0"),
        (Training, {"accumulation": 0}, ValueError, r"accumulation: expected a whole number of at least 1, got 0"),
        (Training, {"accumulation": 3}, ValueError, "accumulation: must divide the batch size 4, got 3"),
        (Training, {"learning_rate": 0}, ValueError, r"learning_rate: expected a number in \(0, inf\), got 0"),
        (Training, {"learning_rate": math.inf}, ValueError, "learning_rate: expected .*got inf"),
        (Training, {"clip_norm": 0}, ValueError, r"clip_norm: expected a number in \(0, inf\), got 0"),
        (Training, {"clip_norm": math.inf}, ValueError, "clip_norm: expected .*got inf"),
        (Training, {"momentum": 1.5}, ValueError, r"momentum: expected a number in \[0, 1\], got 1\.5"),
        (Training, {"weight_decay": -1}, ValueError, r"weight_decay: expected a number in \[0, inf\), got -1"),
        (Training, {"rotation": 181}, ValueError, r"rotation: expected a number in \[0, 180\], got 181"),
        (Training, {"flip": 1}, TypeError, "flip: expected True or False, got 1"),
        (Training, {"schedule": "step"}, ValueError, "schedule: expected one of 'constant', 'cosine', .*got 'step'"),
        (Data, {"source": "web"}, ValueError, "source: expected one of 'synthetic', 'folders', got 'web'"),
        (Data, {"source": "folders"}, ValueError, r"train: names no folders to train on; write train = \["),
        (Data, {"near": "far"}, ValueError, "near: expected one of 'auto', 'bright', 'dark', got 'far'"),
        (Data, {"depth": "yes"}, TypeError, "depth: expected True or False, got 'yes'"),
        (Data, {"root": 5}, TypeError, "root: expected text, got 5"),
        (Data, {"size": 31}, ValueError, r"size: expected a whole number of at least 32, got 31"),
        (Data, {"train_count": 0}, ValueError, r"train_count: expected a whole number of at least 1, got 0"),
        (Data, {"validation_count": -1}, ValueError, r"validation_count: expected a whole number of .*0, got -1"),
        (Data, {"spoilt_share": 1.1}, ValueError, r"spoilt_share: expected a number in \[0, 1\], got 1\.1"),
        (Data, {"train": "NJUD/train"}, ValueError, r"train: expected a list such as \[\"NJUD/train\", .*'NJUD/train'"),
        (Data, {"train": 5}, ValueError, "train: expected a list such as .*got 5"),
        (Data, {"train": [5]}, ValueError, "train: expected folders, or tables like .*got 5"),
        (Data, {"validation": [{"list": "a"}]}, ValueError, "validation: expected folders, or tables like"),
        (Data, {"validation": [{"folder": "a", "lst": "b"}]}, ValueError, "validation: expected folders, or tables"),
        (Data, {"validation": [{"folder": "a", "list": 5}]}, ValueError, "validation: expected folders, or tables"),
        (Teacher, {"model": "resnet"}, ValueError, "model: expected one of 'rfb', 'fpn', 'maps', got 'resnet'"),
        (Teacher, {"model": 5}, TypeError, "model: expected text, got 5"),
        (Teacher, {"backbone": "vgg11"}, ValueError, "backbone: expected one of 'vgg16', 'vgg19', 'tiny', got 'vgg11'"),
        (Teacher, {"weights": 5}, TypeError, "weights: expected text, got 5"),
        (Teacher, {"checkpoint": 5}, TypeError, "checkpoint: expected text, got 5"),
        (Teacher, {"model": "maps"}, ValueError, "maps: model = \"maps\" requires the folder of maps.*got None"),
        (Teacher, {"maps": "DANet"}, ValueError, "maps: .*no other model takes it; got 'DANet' with model = \"rfb\""),
        (Teacher, {"model": "a:b", "checkpoint": "c"}, ValueError, "checkpoint: only \"rfb\" and \"fpn\" take"),
        (Teacher, {"clip": 0}, ValueError, r"clip: expected a number in \[1.17549e-38, 0\.5\), got 0"),
        (Teacher, {"clip": 0.5}, ValueError, r"clip: expected a number in \[1.17549e-38, 0\.5\), got 0\.5"),
        (Teacher, {"output": "maps"}, ValueError, "output: expected one of 'logits', 'probabilities', got 'maps'"),
        (Teacher, {"output": "probabilities"}, ValueError, "output: only an imported network takes one, .* leave it"),
        (Recipe, {"loss": DynamicKDLoss(ignore_index=255)}, ValueError, "loss.ignore_index: training reads masks as 0"),
        (Recipe, {"loss": DynamicKDLoss(clip=0.1)}, ValueError, "loss.clip: a recipe has this as teacher.clip; set"),
        (
            Recipe,
            {"loss": DynamicKDLoss(teacher="probabilities")},
            ValueError,
            "loss.teacher: a recipe has this as teacher.output; set that instead",
        ),
        (Student, {"backbone": "vgg11"}, ValueError, "backbone: expected one of 'vgg16', 'vgg19', 'tiny', got 'vgg11'"),
        (Student, {"weights": 5}, TypeError, "weights: expected text, got 5"),
        (Recipe, {"name": 5}, TypeError, "name: expected text, got 5"),
        (Recipe, {"seed": -1}, ValueError, r"seed: expected a whole number of at least 0, got -1"),
        (Recipe, {"seed": 0.5}, TypeError, r"seed: expected a whole number, got 0\.5"),
        (Recipe, {"evaluate_every": -1}, ValueError, r"evaluate_every: expected a whole number of at least 0, got -1"),
        (Recipe, {"best_by": "F"}, ValueError, "best_by: expected one of 'MAE', 'maxF', .*got 'F'"),
        (Recipe, {"precision": "fp8"}, ValueError, "precision: expected one of 'fp32', 'bf16', 'fp16', got 'fp8'"),
        (Recipe, {"deterministic": 1}, TypeError, "deterministic: expected True or False, got 1"),
        (Recipe, {"compile": 1}, TypeError, "compile: expected True or False, got 1"),
        (Recipe, {"loss": DynamicKDLoss(reduction="sum")}, ValueError, "loss.reduction: training averages .*got 'sum'"),
        (
            Recipe,
            {"teacher": Teacher(model="maps", maps="DANet")},
            ValueError,
            'teacher.model: the synthetic set has no teacher maps; name a network',
        ),
    ],
)  # fmt: skip
def test_settings_that_are_wrong(kind, setting, error, message):
    with pytest.raises(error, match=message):
        kind(**setting)


def test_a_list_file_has_its_whole_path_and_the_callers_table_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = {"folder": "NJUD", "list": "train.txt"}
    data = Data(source="folders", train=["NLPR", table])
    assert data.train == ("NLPR", {"folder": "NJUD", "list": str(tmp_path.resolve() / "train.txt")})
    assert table["list"] == "train.txt"


def test_who_teaches():
    assert Recipe().teacher.trained_here
    assert not Teacher(checkpoint="teacher.safetensors").trained_here
    assert not Teacher(model="maps", maps="DANet").trained_here
    assert not Teacher(model="package.module:network").trained_here
    assert Recipe().needs_teacher
    assert not Recipe(loss=DynamicKDLoss(weighting="none")).needs_teacher


def test_stage_1_trains_as_stage_2_unless_it_says_otherwise():
    own = Training(epochs=7)
    assert Recipe(training=Training(epochs=3)).teacher_training.epochs == 3
    assert Recipe(teacher=Teacher(training=own)).teacher_training is own


def test_the_stages_and_their_settings():
    own = Training(epochs=7)
    recipe = Recipe(teacher=Teacher(training=own))
    assert (recipe.stages, recipe.training_of(1), recipe.training_of(2)) == ((1, 2), own, recipe.training)
    assert replace(recipe, teacher_only=True).stages == (1,)
    assert replace(recipe, loss=DynamicKDLoss(weighting="none")).stages == (2,)
    assert Recipe(teacher=Teacher(checkpoint="teacher.safetensors")).stages == (2,)


def test_as_plain_values():
    content = Recipe(data=Data(source="folders", train=["a", {"folder": "b"}])).as_dict()
    assert content["data"]["train"] == ["a", {"folder": "b"}]
    assert "weights" not in content["teacher"]
    assert content["training"]["epochs"] == 40
    json.dumps(content)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle", "poly"])
def test_schedules(schedule):
    training = Training(learning_rate=0.1, schedule=schedule)
    rates = [training.rate(t / 1000) for t in range(1001)]
    assert max(rates) == pytest.approx(0.1)
    assert min(rates) >= 0
    if schedule == "constant":
        assert set(rates) == {0.1}
        return
    assert rates[-1] == pytest.approx(0)
    peak = 150 if schedule == "one_cycle" else 0
    assert rates[peak] == pytest.approx(0.1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    middle = {"cosine": 0.05, "one_cycle": 0.1 * (1 + math.cos(math.pi * 0.35 / 0.85)) / 2, "poly": 0.1 * 0.5**0.9}
    assert training.rate(0.5) == pytest.approx(middle[schedule])
