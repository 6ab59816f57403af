"""An epoch's plan, and the loop that follows it."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("accelerate", reason="accelerate is not installed")

from tiny_runs import saliency  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from dynamic_kd.data import synthetic_rgbd  # noqa: E402
from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.metrics import SODMetrics  # noqa: E402
from dynamic_kd.models import FPNStudent, RFBTeacher  # noqa: E402
from dynamic_kd.training import Training  # noqa: E402
from dynamic_kd.training._augmentation import epoch_steps  # noqa: E402
from dynamic_kd.training._image_set import ImageSet  # noqa: E402
from dynamic_kd.training._loop import fit, sgd  # noqa: E402
from dynamic_kd.training._objective import CrossEntropy, Distillation, Losses, from_network  # noqa: E402
from dynamic_kd.training._processes import accelerator_of  # noqa: E402
from dynamic_kd.training._scoring import scores  # noqa: E402

STILL = {"flip": False, "rotation": 0.0}


@pytest.fixture(scope="module")
def data():
    return ImageSet.from_samples(synthetic_rgbd(10, size=32, seed=4))


@pytest.fixture
def student():
    torch.manual_seed(1)
    return FPNStudent("tiny")


@pytest.fixture
def trained(data):
    """Return a function that trains a copy of a model, and returns it with its epochs."""

    def train(model, *, objective=None, seed=(0,), data=data, first=1, advance=lambda done, total: None, **settings):
        training = Training(**({"epochs": 2, "batch_size": 4, "learning_rate": 0.05} | settings))
        accelerator, model = accelerator_of(cpu=True), copy.deepcopy(model)
        model, optimizer = accelerator.prepare(model, sgd(model, training))
        epochs = fit(
            model, optimizer, data, objective or CrossEntropy(), training,
            accelerator=accelerator, seed=seed, first=first, advance=advance,
        )  # fmt: skip
        return model, list(epochs)

    return train


@st.composite
def plans(draw):
    """Settings of a plan whose batch can be shared out among its ranks and rounds."""
    ranks, rounds, images = (draw(st.integers(1, 3)) for _ in range(3))
    count, seed = draw(st.integers(1, 40)), draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    return count, ranks * rounds * images, rounds, ranks, tuple(seed)


@given(plans())
def test_an_epoch_takes_every_sample_once_whoever_takes_it(settings):
    count, batch, rounds, ranks, seed = settings
    whole = epoch_steps(count, batch, 1, 20.0, True, seed, 0, 1)
    parts = [epoch_steps(count, batch, rounds, 20.0, True, seed, rank, ranks) for rank in range(ranks)]
    steps = math.ceil(count / batch)
    for column, shards in zip(whole, zip(*parts, strict=True), strict=True):
        assert shards[0].shape == (steps, rounds, batch // (rounds * ranks))
        together = torch.stack(shards, dim=2)  # a step's images in the same order, by round and then by rank
        assert torch.equal(together.reshape(steps, 1, batch), column)
    taken = whole.position[whole.share > 0]
    assert sorted(taken.tolist()) == list(range(count))
    torch.testing.assert_close(whole.share.sum(dim=(1, 2)), torch.ones(steps, dtype=torch.float64))
    assert all(len(set(step[step > 0].tolist())) == 1 for step in whole.share)
    assert int((whole.share == 0).sum()) == steps * batch - count
    assert bool(((whole.position >= 0) & (whole.position < count)).all())


def test_a_plan_depends_on_its_seed_and_epoch_alone():
    def plan(*seed, batch=5):
        return epoch_steps(40, batch, 1, 20.0, True, seed, 0, 1)

    first = plan(3, 1, 1)
    torch.manual_seed(5)
    np.random.default_rng(5).random()
    assert all(map(torch.equal, first, plan(3, 1, 1)))
    for other in ((3, 1, 2), (3, 2, 1), (4, 1, 1)):
        assert not any(torch.equal(a, b) for a, b in zip(first[:3], plan(*other)[:3], strict=True))
    # Another batch size takes the same images in the same order, moved in the same way.
    assert torch.equal(first.position.flatten(), plan(3, 1, 1, batch=8).position.flatten())
    assert torch.equal(first.angle.flatten(), plan(3, 1, 1, batch=8).angle.flatten())


def test_how_images_move_keeps_to_the_settings():
    plan = epoch_steps(2000, 4, 1, 20.0, True, (0,), 0, 1)
    assert set(plan.mirror.flatten().tolist()) == {-1.0, 1.0}
    assert abs(plan.mirror.mean()) < 0.1
    assert -20 <= plan.angle.min() < -19
    assert 19 < plan.angle.max() <= 20
    still = epoch_steps(2000, 4, 1, 0.0, False, (0,), 0, 1)
    assert set(still.mirror.flatten().tolist()) == {1.0}
    assert not still.angle.any()


def by_hand(model, data, training, seed):
    """Train as the paper's optimizer is defined, in plain torch: cross-entropy, no augmentation."""
    weights = list(model.parameters())
    velocity = [torch.zeros_like(weight) for weight in weights]
    steps = math.ceil(len(data) / training.batch_size)
    done, total = 0, steps * training.epochs
    for epoch in range(1, training.epochs + 1):
        order = epoch_steps(len(data), len(data), 1, 0.0, False, (*seed, epoch), 0, 1).position.flatten().long()
        for index in order.split(training.batch_size):
            done += 1
            batch = data.batch(index)
            loss = F.binary_cross_entropy_with_logits(model(batch.inputs), batch.targets)
            gradients = torch.autograd.grad(loss, weights)
            norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
            scale = min(1.0, (training.clip_norm or math.inf) / float(norm))
            rate = training.rate(done / (total + 1))
            with torch.no_grad():
                for weight, speed, gradient in zip(weights, velocity, gradients, strict=True):
                    speed.mul_(training.momentum).add_(gradient * scale + training.weight_decay * weight)
                    weight.sub_(rate * speed)


@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_steps_are_those_of_the_papers_optimizer(trained, student, data, schedule, clip_norm):
    """Ten images in batches of four: the last step of an epoch has two, each of which counts a half."""
    settings = {**STILL, "schedule": schedule, "clip_norm": clip_norm, "weight_decay": 0.01}
    model, _ = trained(student, seed=(3, 1), **settings)
    expected = copy.deepcopy(student)
    by_hand(expected, data, Training(epochs=2, batch_size=4, learning_rate=0.05, **settings), (3, 1))
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


class InDouble(torch.nn.Module):
    """A network that computes in float64, where the order of a sum does not matter to a dozen digits."""

    def __init__(self, network):
        super().__init__()
        self.network = network.double()

    def forward(self, images):
        return self.network(images.double())


@pytest.mark.parametrize("rounds", [2, 4])
def test_rounds_of_accumulation_change_nothing(trained, student, rounds):
    student = InDouble(student)
    model, epochs = trained(student, accumulation=rounds)
    expected, others = trained(student)
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(epochs[-1].kept, others[-1].kept)


def test_a_launchers_settings_change_nothing(trained, student, monkeypatch):
    expected, _ = trained(student)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    model, _ = trained(student)
    for found, wanted in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, wanted)


def test_training_lowers_the_loss_and_reports_every_step(trained, student, data):
    steps = []
    model, epochs = trained(student, epochs=6, advance=lambda done, total: steps.append((done, total)))
    assert steps == [(done, 18) for done in range(1, 19)]
    assert [epoch.number for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].loss < 0.7 * epochs[0].loss
    assert all(epoch.seconds > 0 for epoch in epochs)
    before, after = (np.abs(saliency(each, data) - data.targets.numpy()).mean() for each in (student, model))
    assert after < 0.7 * before


def test_each_epoch_keeps_what_it_saw_of_each_sample_in_the_samples_order(trained, student, data):
    _, epochs = trained(student, learning_rate=1e-12, momentum=0, **STILL)
    batch = data.batch(torch.arange(10))
    with torch.no_grad():
        by_pixel = F.binary_cross_entropy_with_logits(student(batch.inputs), batch.targets, reduction="none")
    losses = by_pixel.mean((1, 2, 3))
    for epoch in epochs:
        torch.testing.assert_close(epoch.kept, losses[:, None])
        assert epoch.loss == pytest.approx(float(losses.mean()))
    # Epochs that are kept do not change with those after them.
    first, second = trained(student)[1]
    assert not torch.equal(first.kept, second.kept)


def test_training_is_repeatable_and_depends_on_the_seed(trained, student, data):
    first = saliency(trained(student)[0], data)
    torch.manual_seed(99)
    np.testing.assert_array_equal(saliency(trained(student)[0], data), first)
    assert not np.array_equal(saliency(trained(student, seed=(1,))[0], data), first)


def test_going_on_from_an_epoch_takes_the_schedule_from_there(trained, student):
    settings = {"epochs": 5, "schedule": "cosine"}
    rates = [epoch.rate for epoch in trained(student, **settings)[1]]
    assert rates == sorted(rates, reverse=True)
    later = trained(student, first=4, **settings)[1]
    assert [(epoch.number, epoch.rate) for epoch in later] == [(4, rates[3]), (5, rates[4])]
    assert trained(student, first=6, **settings)[1] == []


@pytest.mark.parametrize(
    "settings", [{"weighting": 0.5, "noise_elimination": None}, {"noise_elimination": None}, {}], ids=str
)
def test_distilling_brings_the_student_towards_the_teacher_and_leaves_the_teacher(trained, student, data, settings):
    torch.manual_seed(2)
    teacher, _ = trained(RFBTeacher("tiny"), epochs=8)
    weights = copy.deepcopy(teacher.state_dict())
    taught = saliency(teacher, data)
    objective = Distillation(DynamicKDLoss(**settings), from_network(teacher))
    model, epochs = trained(student, objective=objective, epochs=6)
    before, after = (np.abs(saliency(each, data) - taught).mean() for each in (student, model))
    assert after < 0.8 * before
    assert epochs[0].kept.shape == (10, 7)
    for key, value in teacher.state_dict().items():
        assert torch.equal(value, weights[key])


def test_a_weight_of_zero_is_training_alone(trained, student):
    torch.manual_seed(2)
    objective = Distillation(DynamicKDLoss(weighting=0.0, noise_elimination=None), from_network(RFBTeacher("tiny")))
    taught, alone = trained(student, objective=objective)[0], trained(student)[0]
    for found, wanted in zip(taught.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_network_of_colour_alone(trained):
    colours = ImageSet.from_samples(synthetic_rgbd(6, size=32), depth=False)
    model, _ = trained(FPNStudent("tiny", in_channels=3), data=colours, epochs=1)
    assert saliency(model, colours).shape == (6, 1, 32, 32)


def test_a_loss_that_is_no_number_ends_the_training(trained, student):
    with pytest.raises(
        ValueError, match=r"the loss of epoch \d is (nan|inf); lower training.learning_rate \(1e\+30\) or"
    ):
        trained(student, learning_rate=1e30)

    class Failing(CrossEntropy):
        def __call__(self, logits, batch):
            loss = super().__call__(logits, batch).loss * math.nan
            return Losses(loss, loss.detach()[:, None])

    with pytest.raises(
        ValueError, match=r"the loss of epoch 1 is nan; .*\(0\.05\) or training\.clip_norm, or set precision=fp32"
    ):
        trained(student, objective=Failing())


def test_a_batch_that_cannot_be_shared_out(data, student):
    training = Training(batch_size=6, accumulation=3)
    other = type("", (), {"num_processes": 4})()
    message = r"batch_size: must be a multiple of 4 processes times 3 rounds of accumulation, got 6"
    with pytest.raises(ValueError, match=message):
        next(fit(student, sgd(student, training), data, CrossEntropy(), training, accelerator=other, seed=(0,)))


def test_parameters_that_are_frozen_stay_as_they_are(student):
    frozen = next(student.parameters()).requires_grad_(False)
    assert all(parameter is not frozen for parameter in sgd(student, Training()).param_groups[0]["params"])


def test_maps_are_the_networks_and_its_mode_stays(student, data):
    student.train()
    maps = saliency(student, data)
    assert student.training
    assert (maps.dtype, maps.shape) == (np.float32, (10, 1, 32, 32))
    with torch.no_grad():
        expected = torch.sigmoid(student.eval()(data.batch(torch.arange(10)).inputs))
    np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_scores_are_those_of_the_maps_as_files_hold_them(student, data):
    metrics = SODMetrics()
    metrics.update(np.rint(255 * saliency(student, data)).astype(np.uint8), data.targets.numpy())
    report = scores(student, data, accelerator_of(cpu=True))
    assert report.as_dict() == pytest.approx(metrics.compute().as_dict())
    assert report.counts["images"] == 10


def test_groups_of_parameters_keep_their_own_rates(student, data):
    """The schedule scales each group's rate: the poly schedule's last of six steps is at 6/7 of the way."""
    training = Training(**STILL, epochs=2, batch_size=4, learning_rate=0.5, schedule="poly")
    trunk, head = list(student.parameters())[:4], list(student.parameters())[4:]
    optimizer = torch.optim.SGD([{"params": trunk, "lr": 0.002}, {"params": head, "lr": 0.0}])
    before = [parameter.clone() for parameter in head]
    accelerator = accelerator_of(cpu=True)
    model, optimizer = accelerator.prepare(student, optimizer)
    *_, last = fit(model, optimizer, data, CrossEntropy(), training, accelerator=accelerator, seed=(0,))
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == pytest.approx([0.002 * (1 / 7) ** 0.9, 0.0], rel=1e-12)
    assert last.rate == rates[0]
    assert all(torch.equal(old, new) for old, new in zip(before, head, strict=True))
