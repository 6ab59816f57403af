"""Augmentation and training loops."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher  # noqa: E402
from dynamic_kd.training import Recipe, Tensors, distil, saliency, train_alone  # noqa: E402
from dynamic_kd.training._loop import _one_cycle  # noqa: E402
from dynamic_kd.training._tensors import augmented  # noqa: E402


@pytest.fixture(scope="module")
def data():
    return Tensors.of(synthetic_rgbd(16, size=32, seed=4))


@pytest.fixture
def student():
    torch.manual_seed(1)
    return FPNStudent("tiny")


def test_inputs_are_normalised_colour_and_depth():
    [sample] = synthetic_rgbd(1, size=32)
    inputs, targets = Tensors.of([sample])
    expected = [
        *(
            (sample.image[..., c] / 255 - mean) / std
            for c, mean, std in ((0, 0.485, 0.229), (1, 0.456, 0.224), (2, 0.406, 0.225))
        ),
        (sample.depth - 0.5) / 0.25,
    ]
    np.testing.assert_allclose(inputs[0], expected, atol=1e-5)
    np.testing.assert_array_equal(targets[0, 0], sample.mask)


def test_image_depth_and_mask_move_together():
    """A mask in every channel stays equal to the target wherever nothing came in from outside."""
    target = torch.zeros(8, 1, 32, 32)
    target[:, :, 8:20, 10:26] = 1
    moved = augmented(Tensors(target.expand(-1, 4, -1, -1), target), torch.Generator().manual_seed(0), 25.0)
    torch.testing.assert_close(moved.inputs, moved.targets.expand(-1, 4, -1, -1))
    assert len({float(image[0, 8:20, 10:26].sum()) for image in moved.inputs}) == 8  # each in its own way


def test_without_rotation_half_of_the_images_are_mirrored(data):
    moved = augmented(data, torch.Generator().manual_seed(0), 0.0)
    kinds = []
    for before, after in zip(data.targets, moved.targets, strict=True):
        same, mirrored = (torch.allclose(after, other, atol=1e-5) for other in (before, before.flip(-1)))
        kinds.append((same, mirrored))
    assert set(kinds) == {(True, False), (False, True)}


def test_a_rotation_stays_within_its_limit():
    rows, _ = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    bar = ((rows - 31.5).abs() < 3)[None, None].float()
    moved = augmented(Tensors(bar.repeat(60, 4, 1, 1), bar.repeat(60, 1, 1, 1)), torch.Generator().manual_seed(2), 30.0)
    weight = moved.targets[:, 0, :, 12:52]
    height = (weight * rows[:, 12:52]).sum(1) / weight.sum(1)
    degrees = torch.rad2deg(torch.atan((height[:, -1] - height[:, 0]) / 39))
    assert degrees.min() < -20
    assert degrees.max() > 20
    assert degrees.abs().max() < 31


def test_a_rotation_leaves_a_disc_as_it_is():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    disc = ((rows - 31.5) ** 2 + (columns - 31.5) ** 2 < 20**2)[None, None].float()
    moved = augmented(
        Tensors(disc.repeat(20, 4, 1, 1), disc.repeat(20, 1, 1, 1)), torch.Generator().manual_seed(0), 45.0
    )
    assert (moved.targets - disc).abs().mean() < 0.01


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [_one_cycle(t / 100) for t in range(1, 101)]
    assert max(rates) == rates[14] == 1
    assert rates[:15] == sorted(rates[:15])
    assert rates[14:] == sorted(rates[14:], reverse=True)
    assert rates[-1] == 0


def test_training_lowers_the_loss_and_reports_every_step(data, student):
    steps = []
    before = np.abs(saliency(student, data) - data.targets.numpy()).mean()
    train_alone(student, data, Recipe(epochs=6, seed=1), lambda done, total: steps.append((done, total)))
    assert steps == [(done, 12) for done in range(1, 13)]
    assert np.abs(saliency(student, data) - data.targets.numpy()).mean() < 0.7 * before


def test_training_is_repeatable_and_depends_on_the_seed(data, student):
    def trained(seed):
        model = copy.deepcopy(student)
        train_alone(model, data, Recipe(epochs=2, seed=seed))
        return saliency(model, data)

    first = trained(0)
    np.testing.assert_array_equal(trained(0), first)
    assert not np.array_equal(trained(1), first)


@pytest.mark.parametrize("weighting", [0.5, "dynamic_no_threshold", "dynamic"])
def test_distilling_brings_the_student_towards_the_teacher_and_leaves_the_teacher(data, student, weighting):
    torch.manual_seed(2)
    teacher = RFBTeacher("tiny")
    train_alone(teacher, data, Recipe(epochs=8))
    weights = copy.deepcopy(teacher.state_dict())
    taught = saliency(teacher, data)
    before = np.abs(saliency(student, data) - taught).mean()
    distil(student, teacher, data, Recipe(epochs=6), weighting=weighting)
    assert np.abs(saliency(student, data) - taught).mean() < 0.8 * before
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, weights[key])


def test_a_weight_of_zero_is_training_alone(data, student):
    alone, taught = copy.deepcopy(student), copy.deepcopy(student)
    train_alone(alone, data, Recipe(epochs=1))
    distil(taught, RFBTeacher("tiny"), data, Recipe(epochs=1), weighting=0.0)
    np.testing.assert_allclose(saliency(taught, data), saliency(alone, data), atol=1e-5)


def test_a_model_of_colours_alone_trains_on_three_channels(data):
    colours = Tensors(data.inputs[:, :3], data.targets)
    model = FPNStudent("tiny", in_channels=3)
    train_alone(model, colours, Recipe(epochs=1))
    assert saliency(model, colours).shape == (16, 1, 32, 32)
