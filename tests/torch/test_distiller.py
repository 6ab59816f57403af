"""Student, teachers and loss as one module."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402  (after torch is known to be there)

from dynamic_kd.torch import DeepSupervision, Distiller, DynamicKDLoss  # noqa: E402


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 3, 12, 12, generator=generator), (torch.rand(2, 1, 12, 12, generator=generator) > 0.6).float()


def network(seed, channels=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.5), nn.BatchNorm2d(4), nn.Conv2d(4, channels, 1))


def test_loss_and_terms_are_those_of_the_loss(images):
    """The teacher predicts without dropout, with its running statistics, while the student trains."""
    image, mask = images
    student, teacher = nn.Conv2d(3, 1, 1), network(1)
    distiller = Distiller(student, teacher, DynamicKDLoss()).train()
    loss, terms = distiller(image, mask)
    expected = DynamicKDLoss().with_terms(student(image), teacher.eval()(image).detach(), mask)
    torch.testing.assert_close((loss, terms), expected, rtol=0, atol=0)
    loss.backward()
    assert student.weight.grad.abs().sum() > 0
    assert not any(parameter.grad is not None for parameter in teacher.parameters())


def test_the_teacher_is_hidden_and_frozen():
    student, teacher = network(0), network(1)
    distiller = Distiller(student, teacher, DynamicKDLoss())
    assert {id(p) for p in distiller.parameters()} == {id(p) for p in student.parameters()}
    assert all(name.startswith("student.") for name in distiller.state_dict())
    distiller.train()
    assert student.training
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    before = copy.deepcopy(teacher.state_dict())
    distiller(torch.rand(2, 3, 8, 8), torch.ones(2, 1, 8, 8))
    torch.testing.assert_close(teacher.state_dict(), before, rtol=0, atol=0)


def test_the_teacher_moves_along():
    distiller = Distiller(network(0), [network(1), network(2)], DynamicKDLoss()).double()
    assert {p.dtype for teacher in distiller.teachers for p in teacher.parameters()} == {torch.float64}
    distiller.to("meta")
    assert {p.device.type for teacher in distiller.teachers for p in teacher.parameters()} == {"meta"}


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_it_can_be_copied(images, copied):
    distiller = Distiller(nn.Conv2d(3, 1, 1), network(1), DynamicKDLoss())
    torch.testing.assert_close(copied(distiller)(*images), distiller(*images), rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_several_teachers_teach_the_mean_of_their_maps(images, channels):
    image, mask = images
    student, teachers = nn.Conv2d(3, 1, 1), [network(1, channels).eval(), network(2, channels).eval()]
    with torch.no_grad():
        logits = [teacher(image).double() for teacher in teachers]
        maps = [z.sigmoid() if channels == 1 else z.softmax(1)[:, 1:] for z in logits]
        mean = (maps[0] + maps[1]) / 2
    loss, _ = Distiller(student, teachers, DynamicKDLoss())(image, mask)
    torch.testing.assert_close(loss, DynamicKDLoss()(student(image), torch.logit(mean).float(), mask))


def test_the_mean_of_saturated_teachers_stays_finite(images):
    image, mask = images
    sure = nn.Conv2d(3, 1, 1)
    nn.init.zeros_(sure.weight)
    nn.init.constant_(sure.bias, 200.0)
    student = nn.Conv2d(3, 1, 1)
    loss, _ = Distiller(student, [sure, copy.deepcopy(sure)], DynamicKDLoss())(image, mask)
    torch.testing.assert_close(loss, DynamicKDLoss()(student(image), sure(image), mask))


def test_outputs_are_chosen(images):
    image, mask = images

    class Wrapped(nn.Module):
        def __init__(self, seed):
            super().__init__()
            self.body = network(seed).eval()

        def forward(self, pixel_values):
            return SimpleNamespace(logits=self.body(pixel_values))

    student, teacher = Wrapped(0), Wrapped(1)
    plain, _ = Distiller(student.body.eval(), teacher.body, DynamicKDLoss())(image, mask)
    by_keyword, _ = Distiller(student, teacher, DynamicKDLoss())({"pixel_values": image}, mask)
    chosen, _ = Distiller(student, teacher, DynamicKDLoss(), output=lambda out: out.logits)((image,), mask)
    torch.testing.assert_close((by_keyword, chosen), (plain, plain), rtol=0, atol=0)


def test_the_teacher_may_have_inputs_of_its_own(images):
    image, mask = images
    student, teacher = nn.Conv2d(3, 1, 1), nn.Conv2d(4, 1, 1)
    depth = torch.rand(2, 4, 12, 12)
    loss, _ = Distiller(student, teacher, DynamicKDLoss())(image, mask, teacher_inputs=depth)
    torch.testing.assert_close(loss, DynamicKDLoss()(student(image), teacher(depth).detach(), mask), rtol=0, atol=0)


def test_side_outputs(images):
    image, mask = images

    class Sides(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(nn.Conv2d(3, 1, size, padding="same") for size in (1, 3))

        def forward(self, image):
            return [head(image) for head in self.heads]

    teacher = network(1)
    distiller = Distiller(Sides(), teacher, DeepSupervision(DynamicKDLoss(), weights=[1, 0.5]))
    loss, terms = distiller(image, mask)
    first, second = (DynamicKDLoss()(side, teacher(image), mask) for side in distiller.student(image))
    torch.testing.assert_close(loss, first + 0.5 * second)
    assert list(terms) == [0, 1]


def test_it_compiles_whole(images):
    distiller = Distiller(nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 3, padding=1), DynamicKDLoss())
    loss, terms = torch.compile(distiller, fullgraph=True, backend="aot_eager")(*images)
    torch.testing.assert_close((loss, terms), distiller(*images))
    loss.backward()
    assert distiller.student.weight.grad is not None


def test_terms_are_logged_as_means(images):
    _, terms = Distiller(nn.Conv2d(3, 1, 1), network(1), DynamicKDLoss())(*images)
    logged = terms.log("train/")
    assert list(logged) == [f"train/{name}" for name in terms._fields]
    assert not any(value.requires_grad or value.ndim for value in logged.values())
    torch.testing.assert_close(logged["train/reliable"], terms.reliable.float().mean())
    torch.testing.assert_close(logged["train/weight"], terms.weight.mean())


def test_wrong_teachers_are_refused(images):
    student = nn.Conv2d(3, 1, 1)
    with pytest.raises(ValueError, match="teacher: expected at least one network, got none"):
        Distiller(student, [], DynamicKDLoss())
    with pytest.raises(ValueError, match=r"teacher: .* got one that shares parameters with the student; pass a copy"):
        Distiller(student, student, DynamicKDLoss())
    sides = nn.Sequential(nn.Conv2d(3, 1, 1)), nn.Conv2d(3, 2, 1)
    with pytest.raises(ValueError, match=r"teacher: expected outputs of one shape from several teachers, got \[\(2, 1"):
        Distiller(student, sides, DynamicKDLoss())(*images)
    several = Distiller(student, sides, DynamicKDLoss(), output=lambda output: [output])
    with pytest.raises(TypeError, match="teacher: expected one tensor from each of several teachers, got list; choose"):
        several(*images)
