"""The candidates of the study, against loops in float64 and by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from candidates_reference import image_loss  # noqa: E402
from loss_reference import random_maps  # noqa: E402

from benchmarks.experiments import candidates  # noqa: E402
from dynamic_kd.losses import DynamicKDLoss  # noqa: E402

LOSS = DynamicKDLoss(weighting=0.5, noise_elimination=None, teacher="probabilities", clip=1e-3, reduction="none")
NAMES = ("Replace", "PixelGate", "Ratio", "SmoothRelative")


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(array))[:, None].float() for array in arrays]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_is_its_loop_in_float64(name, seed):
    student, maps, target, valid = random_maps(seed, (4, 9, 12))
    target = np.round(target * np.random.default_rng(seed).uniform(0.7, 1, target.shape), 3)  # edges become soft
    module = getattr(candidates, name)(LOSS, 7)
    positions, means = np.array([6, 0, 3, 2]), [None] * 4
    for visit in range(3):
        logits, teacher, mask = tensors(student * (1 + visit), maps, target)
        logits.requires_grad_()
        losses, terms = module(logits, teacher, mask, torch.from_numpy(valid)[:, None], torch.from_numpy(positions))
        losses.sum().backward()
        for image in range(4):
            arguments = (logits.detach()[image, 0].double().numpy(), maps[image], target[image], valid[image])
            loss, theta, means[image] = image_loss(name, *arguments, clip=1e-3, mean=means[image])
            assert float(losses[image].detach()) == pytest.approx(loss, rel=2e-5), (visit, image)
            assert float(terms.weight[image]) == pytest.approx(theta, rel=2e-5)
        assert losses.shape == (4,)
        assert all(term.shape == (4,) and not term.requires_grad for term in terms)
        assert float(losses[3].detach()) == 0  # without a valid pixel
        assert torch.isfinite(logits.grad).all()


def by_hand(name, student, maps, target, valid=None):
    """Loss, gradient and terms of one image of two pixels, salient and not."""
    logits = torch.tensor(student).view(1, 1, 1, 2).requires_grad_()
    maps, target = (torch.tensor(each).view(1, 1, 1, 2) for each in (maps, target))
    loss, terms = getattr(candidates, name)(LOSS, 1)(logits, maps, target, valid, torch.zeros(1, dtype=torch.long))
    loss.sum().backward()
    return float(loss.detach()), logits.grad.flatten().tolist(), terms


def test_replace_teaches_the_clipped_mask_where_the_teacher_is_worse():
    """With z = 0, a swapped map has α = 0 < .75 · (.5 / 1.5). So the mask teaches, with logits ± log(.999 / .001)."""
    _, gradient, terms = by_hand("Replace", [0.0, 0.0], [0.0, 1.0], [1.0, 0.0])
    assert float(terms.student_error) == pytest.approx(1 - 0.5 / 1.5)
    assert (float(terms.teacher_iou), bool(terms.reliable), float(terms.weight)) == (0, False, 0.5)
    softened = 1 / (1 + math.exp(-math.log(999) / 5))
    slope = 0.5 * 5 * (0.5 - softened) / 2 + 0.5 * (0.5 - 1) / 2  # T² KL has the slope T (s - t), the mean halves it
    assert gradient == pytest.approx([slope, -slope], rel=1e-5)
    _, gradient, terms = by_hand("Replace", [0.0, 0.0], [0.6, 0.4], [1.0, 0.0])
    assert bool(terms.reliable)  # α = .6 / 1.4, more than .25
    softened = 1 / (1 + math.exp(-math.log(1.5) / 5))
    slope = 0.5 * 5 * (0.5 - softened) / 2 - 0.125
    assert gradient == pytest.approx([slope, -slope], rel=1e-5)


def test_the_pixel_gate_is_open_where_the_teacher_is_right_and_near_the_edge():
    target = torch.zeros(1, 12, 12)
    target[:, :, :3] = 1
    near = candidates.near_edge(target > 0.5)
    assert near[0, 5].tolist() == [True] * 7 + [False] * 5  # columns 3 to 6 are at most 4 from column 2
    corner = torch.zeros(1, 12, 12, dtype=torch.bool)
    corner[0, 0, 0] = True
    found = {tuple(each) for each in candidates.near_edge(corner)[0].nonzero().tolist()}
    assert found == {(y, x) for y in range(5) for x in range(5) if y * y + x * x <= 16}
    assert not candidates.near_edge(torch.ones(1, 12, 12, dtype=torch.bool)).any()  # the image's border is no edge
    teacher = torch.full((1, 1, 12, 12), 0.5)  # half a unit off everywhere: not wrong
    teacher[:, :, :, 11] = 0.51
    teacher[:, :, :, 5] = 1.0  # wrong, but near
    _, terms = candidates.PixelGate(LOSS, 1)(
        torch.zeros_like(teacher), teacher, target[None], None, torch.zeros(1).long()
    )
    assert float(terms.weight) == pytest.approx((11 * 0.5 + 0.01) / 12)


def test_the_ratio_weighs_a_teacher_by_both_cross_entropies():
    """The student's is log 2, the teacher's -log .8; of a perfect teacher the least counts, .001."""
    _, _, terms = by_hand("Ratio", [0.0, 0.0], [0.8, 0.2], [1.0, 0.0])
    assert float(terms.weight) == pytest.approx(0.5 * (1 - math.exp(math.log(2) / math.log(0.8))), rel=1e-5)
    _, _, terms = by_hand("Ratio", [8.0, -8.0], [1.0, 0.0], [1.0, 0.0])
    entropy = math.log1p(math.exp(-8))
    assert float(terms.weight) == pytest.approx(0.5 * (1 - math.exp(-entropy / -math.log(0.999))), rel=1e-4)


def test_the_smooth_rule_follows_the_students_iou_of_each_image():
    module = candidates.SmoothRelative(LOSS, 3)
    target, maps = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.5, 0.0]]]])
    means, visits = None, []
    for logit, position in ((0.0, 1), (2.0, 1), (0.0, 2), (4.0, 1)):
        logits = torch.tensor([[[[logit, -logit]]]])
        _, terms = module(logits, maps, target, None, torch.tensor([position]))
        own = 1 / (1 + math.exp(-logit)) / (2 - 1 / (1 + math.exp(-logit)))
        if position == 1:
            means = own if means is None else 0.8 * means + 0.2 * own
            visits.append((float(terms.weight), 0.5 / (1 + math.exp(-(0.5 - 0.75 * means) / 0.05))))
    assert [found for found, _ in visits] == pytest.approx([expected for _, expected in visits], rel=1e-5)
    assert module.means[0].isnan()
    assert module.means.tolist()[1:] == pytest.approx([means, 1 / 3], rel=1e-6)
    assert list(module.state_dict()) == ["means"]  # so that a run can resume


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_a_candidate_on_a_gpu_never_waits_and_agrees_with_the_cpu(name):
    """A CUDA graph cannot hold a step that waits for the device."""
    student, maps, target, valid = random_maps(0, (4, 64, 64))
    inputs = [*tensors(student, maps, target), torch.from_numpy(valid)[:, None], torch.tensor([6, 0, 3, 2])]
    modules = [getattr(candidates, name)(LOSS, 7).to(device) for device in ("cpu", "cuda")]
    on_gpu = [each.cuda() for each in inputs]
    expected = [modules[0](*inputs)[0] for _ in range(4)]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        found = [modules[1](*on_gpu)[0].cpu() for _ in range(3)]
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        losses, _ = modules[1](*on_gpu)
    graph.replay()
    torch.cuda.synchronize()
    for one, other in zip([*found, losses.cpu()], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert all(
        torch.allclose(a.cpu(), b, equal_nan=True)
        for a, b in zip(modules[1].buffers(), modules[0].buffers(), strict=True)
    )


def test_a_candidate_takes_maps():
    with pytest.raises(ValueError, match="a candidate of the study takes maps; set teacher"):
        candidates.Ratio(DynamicKDLoss(), 3)
