"""The recipe checks itself and makes the loss."""

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.training import Recipe


def test_the_papers_settings_of_the_loss_are_the_defaults():
    loss = Recipe().loss()
    assert (loss.p, loss.temperature, loss.noise_threshold, loss.noise_weight) == (0.7, 5, 0.5, 0.01)
    assert (loss.weighting, Recipe().loss(0.5).weighting) == ("dynamic", 0.5)


def test_the_teachers_epochs_follow_in_proportion():
    recipe = Recipe(epochs=12, teacher_epochs=20).with_epochs(6)
    assert (recipe.epochs, recipe.teacher_epochs) == (6, 10)
    with pytest.raises(ValueError, match=r"epochs: expected a number in \[1, inf\), got 0"):
        recipe.with_epochs(0)


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"epochs": 0}, ValueError, r"epochs: expected a number in \[1, inf\), got 0"),
        ({"teacher_epochs": 1.5}, TypeError, r"teacher_epochs: expected a whole number, got 1\.5"),
        ({"batch_size": 0}, ValueError, "batch_size: expected"),
        ({"seed": -1}, ValueError, r"seed: expected a number in \[0, inf\), got -1"),
        ({"learning_rate": 0}, ValueError, r"learning_rate: expected a number in \(0, inf\), got 0"),
        ({"clip_norm": 0}, ValueError, "clip_norm: expected"),
        ({"momentum": 1.5}, ValueError, "momentum: expected"),
        ({"weight_decay": -1}, ValueError, "weight_decay: expected"),
        ({"rotation": 181}, ValueError, "rotation: expected"),
        ({"temperature": 0}, ValueError, "temperature: expected"),
        ({"noise_threshold": 2}, ValueError, "noise_threshold: expected"),
    ],
)
def test_settings_out_of_range(setting, error, message):
    with pytest.raises(error, match=message):
        Recipe(**setting)
