"""What networks are trained for, against loops in float64."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from loss_reference import batch_terms, binary_cross_entropy, random_batch, random_maps  # noqa: E402

from dynamic_kd.losses import DynamicKDLoss  # noqa: E402
from dynamic_kd.models import FPNStudent  # noqa: E402
from dynamic_kd.training._image_set import TrainingBatch  # noqa: E402
from dynamic_kd.training._objective import CrossEntropy, Distillation, from_network, teacher_maps  # noqa: E402

TERMS = ("teacher_iou", "student_error", "weight", "reliable", "kl", "ce", "loss")


@pytest.fixture
def case():
    """Margins of student and teacher, and a batch, of random images whose last has no valid pixel."""
    student, teacher, target, valid = random_batch()
    target, valid = (torch.from_numpy(each)[:, None] for each in (target, valid))
    student, teacher = (torch.from_numpy(each)[:, None].float() for each in (student, teacher))
    return student.requires_grad_(), teacher, TrainingBatch(torch.zeros(3, 4, 4, 5), target.float(), None, valid)


def numbers(*tensors):
    return [tensor.detach()[:, 0].double().numpy() for tensor in tensors]


def test_cross_entropy_is_the_mean_over_each_images_valid_pixels(case):
    student, _, batch = case
    loss, kept = CrossEntropy()(student, batch)
    logits, target = numbers(student, batch.targets)
    for image in range(2):
        pixels = [
            binary_cross_entropy(float(logits[image][at]), float(target[image][at]))
            for at in np.ndindex(logits[image].shape)
            if batch.valid[image, 0][at]
        ]
        assert float(loss.detach()[image]) == pytest.approx(sum(pixels) / len(pixels), rel=1e-5)
    assert float(loss.detach()[2]) == 0
    torch.testing.assert_close(kept, loss.detach()[:, None])
    assert (CrossEntropy.columns, CrossEntropy.replayable) == (("loss",), True)
    whole = CrossEntropy()(student, batch._replace(valid=None)).loss
    expected = torch.nn.functional.binary_cross_entropy_with_logits(student, batch.targets, reduction="none")
    torch.testing.assert_close(whole, expected.mean(dim=(1, 2, 3)))


def test_a_shifted_teacher_has_the_sign_of_the_targets(case):
    student, teacher, batch = case
    mended = torch.where(batch.targets > 0.5, teacher.abs(), -teacher.abs())
    shifted = Distillation(DynamicKDLoss(), lambda batch: teacher, shift=True)(student, batch)
    expected = Distillation(DynamicKDLoss(), lambda batch: mended)(student, batch)
    torch.testing.assert_close(shifted.kept, expected.kept, rtol=0, atol=0)
    assert not torch.equal(shifted.loss, Distillation(DynamicKDLoss(), lambda batch: teacher)(student, batch).loss)


@pytest.mark.parametrize("granularity", ["image", "pixel"])
@pytest.mark.parametrize("noise_elimination", ["absolute", None])
@pytest.mark.parametrize("weighting", ["dynamic", "a2dele", 0.3])
def test_distillation_is_equations_1_to_6_and_keeps_their_terms(case, granularity, weighting, noise_elimination):
    student, teacher, batch = case
    settings = {"granularity": granularity, "weighting": weighting, "noise_elimination": noise_elimination}
    expected = batch_terms(*numbers(student, teacher, batch.targets, batch.valid), **settings)
    objective = Distillation(DynamicKDLoss(**settings), lambda batch: teacher)
    loss, kept = objective(student, batch)
    assert objective.columns == TERMS
    assert (kept.dtype, kept.requires_grad, kept.shape) == (torch.float32, False, (3, 7))
    for image in range(2):
        assert float(loss.detach()[image]) == pytest.approx(expected[image].loss, rel=1e-4)
        for name, found in zip(TERMS, kept[image].tolist(), strict=True):
            wanted = getattr(expected[image], name)
            if not isinstance(wanted, list):
                assert found == pytest.approx(float(wanted), rel=1e-4), name


def test_what_is_kept_at_pixel_granularity_is_the_mean_of_the_maps(case):
    student, teacher, batch = case
    batch = batch._replace(valid=None)
    settings = DynamicKDLoss(granularity="pixel")
    kept = Distillation(settings, lambda batch: teacher)(student, batch).kept
    _, terms = settings.with_terms(student, teacher, batch.targets)
    torch.testing.assert_close(kept[:, 0], terms.teacher_iou.mean(dim=(1, 2)))
    torch.testing.assert_close(kept[:, 2], terms.weight.mean(dim=(1, 2)))


@pytest.mark.parametrize("objective", ["cross-entropy", "distillation"])
def test_what_a_turn_brought_into_view_changes_neither_loss_nor_gradient(case, objective):
    student, teacher, batch = case
    made = CrossEntropy() if objective == "cross-entropy" else Distillation(DynamicKDLoss(), lambda batch: teacher)
    loss = made(student, batch).loss
    [gradient] = torch.autograd.grad(loss.sum(), student)
    other = batch._replace(targets=torch.where(batch.valid, batch.targets, 1 - batch.targets))
    spoilt = torch.where(batch.valid, student.detach(), 30.0).requires_grad_()
    changed = made(spoilt, other).loss
    torch.testing.assert_close(changed, loss)
    torch.testing.assert_close(torch.autograd.grad(changed.sum(), spoilt)[0], gradient)
    assert not gradient[~batch.valid].any()


def test_the_losses_of_images_are_not_yet_reduced(case):
    student, teacher, batch = case
    settings = DynamicKDLoss()
    loss = Distillation(settings, lambda batch: teacher)(student, batch).loss
    torch.testing.assert_close(loss[:2].mean(), settings(student, teacher, batch.targets, batch.valid))


def test_a_function_as_the_weighting_is_not_replayed():
    function = DynamicKDLoss(weighting=lambda iou, error, ce: iou)
    assert Distillation(DynamicKDLoss(), teacher_maps, replayable=True).replayable
    assert not Distillation(DynamicKDLoss(), teacher_maps).replayable
    assert not Distillation(function, teacher_maps, replayable=True).replayable


@pytest.mark.parametrize("clip", [1e-3, 0.1])
@pytest.mark.parametrize("shift", [False, True])
def test_a_teachers_maps_are_taken_as_they_are(case, clip, shift):
    student, _, batch = case
    maps, target = (each[:, None] for each in random_maps()[1:3])
    batch = batch._replace(teacher_maps=torch.from_numpy(maps).float())
    if shift:
        maps = np.where(target, np.maximum(maps, 1 - maps), np.minimum(maps, 1 - maps))
    settings = DynamicKDLoss(teacher="probabilities", clip=clip)
    loss, kept = Distillation(settings, teacher_maps, shift=shift)(student, batch)
    expected = batch_terms(
        *numbers(student, torch.from_numpy(maps), batch.targets, batch.valid), teacher="probabilities", clip=clip
    )
    for image in range(2):
        assert float(loss.detach()[image]) == pytest.approx(expected[image].loss, rel=1e-4)
        assert float(kept[image, 0]) == pytest.approx(expected[image].teacher_iou, rel=1e-6)
    with pytest.raises(ValueError, match="teacher: the images have no teacher maps; name their folder"):
        teacher_maps(batch._replace(teacher_maps=None))


def test_a_network_as_teacher_sees_the_students_images_and_learns_nothing():
    network = FPNStudent("tiny").train()
    inputs = torch.rand(2, 4, 32, 32)
    batch = TrainingBatch(inputs, torch.zeros(2, 1, 32, 32))
    teacher = from_network(network)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        torch.testing.assert_close(teacher(batch), network(inputs))
    student = torch.zeros(2, 1, 32, 32, requires_grad=True)
    loss = Distillation(DynamicKDLoss(weighting=0.5), teacher)(student, batch).loss
    loss.sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("answer", "got"),
    [(torch.zeros(2, 1, 16, 16), r"\(2, 1, 16, 16\)"), ([torch.zeros(1)], "list"), (None, "NoneType")],
)
def test_a_teacher_whose_answer_does_not_fit(answer, got):
    network = torch.nn.Identity()
    network.forward = lambda inputs: answer
    batch = TrainingBatch(torch.zeros(2, 4, 32, 32), torch.zeros(2, 1, 32, 32))
    message = rf"teacher: must return a tensor of the images' size, \(2, 1, 32, 32\), got {got}; wrap the module in one"
    with pytest.raises(ValueError, match=message):
        from_network(network)(batch)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_fused_loss_is_taken_where_it_is_asked_for_or_refused(case):
    student, teacher, batch = case
    objective = Distillation(DynamicKDLoss(impl="fused"), lambda batch: teacher)
    with pytest.raises(ValueError, match="'fused' is not available"):
        objective(student, batch)
