"""One loss for several outputs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from loss_reference import random_batch

torch = pytest.importorskip("torch")

from dynamic_kd import losses  # noqa: E402  (after torch is known to be there)
from dynamic_kd.torch import DeepSupervision, DynamicKDLoss  # noqa: E402


def batch(seed):
    student, *rest = map(torch.from_numpy, random_batch(seed=seed))
    return student.requires_grad_(), *rest


def test_side_outputs_share_the_loss_the_teacher_and_the_target():
    """As in U-2-Net: seven maps of one size, all of weight 1."""
    sides = [batch(seed)[0] for seed in range(7)]
    _, teacher, target, valid = batch(0)
    loss = DynamicKDLoss()
    total, terms = DeepSupervision(loss).with_terms(sides, teacher, target, valid)
    alone = [loss.with_terms(side, teacher, target, valid) for side in sides]
    torch.testing.assert_close(total, sum(value for value, _ in alone))
    torch.testing.assert_close(list(terms.values()), [of_side for _, of_side in alone], rtol=0, atol=0)
    assert list(terms) == list(range(7))
    torch.testing.assert_close(DeepSupervision(loss)(tuple(sides), teacher, target, valid), total, rtol=0, atol=0)


def test_weights_scale_value_and_gradient():
    first, teacher, target, valid = batch(0)
    second = batch(1)[0]
    loss = DynamicKDLoss(reduction="none")
    total = DeepSupervision(loss, weights=[2, 0.25])([first, second], teacher, target, valid)
    expected = 2 * loss(first, teacher, target, valid) + 0.25 * loss(second, teacher, target, valid)
    torch.testing.assert_close(total, expected)
    gradients = torch.autograd.grad(total.sum(), (first, second))
    torch.testing.assert_close(gradients, torch.autograd.grad(expected.sum(), (first, second)))


def test_branches_have_settings_teachers_and_targets_of_their_own():
    student, teacher, target, valid = batch(0)
    edges, edge_teacher, edge_target, edge_valid = batch(1)
    settings = {"map": DynamicKDLoss(), "edge": losses.DynamicKDLoss(noise_threshold=0.2, temperature=2)}
    both = DeepSupervision(settings, weights={"edge": 0.5, "map": 1})
    total, terms = both.with_terms(
        {"map": student, "edge": edges},
        {"map": teacher, "edge": edge_teacher},
        {"map": target, "edge": edge_target},
        {"map": valid, "edge": edge_valid},
    )
    of_map = settings["map"].with_terms(student, teacher, target, valid)
    of_edge = settings["edge"].with_terms(edges, edge_teacher, edge_target, edge_valid)
    torch.testing.assert_close(total, of_map[0] + 0.5 * of_edge[0])
    torch.testing.assert_close((terms["map"], terms["edge"]), (of_map[1], of_edge[1]), rtol=0, atol=0)


def test_an_object_with_logits_is_unwrapped():
    """As Hugging Face's models return one, for the student and the teacher."""
    student, teacher, target, valid = batch(0)
    output, taught = SimpleNamespace(logits=student), SimpleNamespace(logits=teacher)
    expected = DynamicKDLoss()(student, teacher, target, valid)
    torch.testing.assert_close(DeepSupervision(DynamicKDLoss())(output, taught, target, valid), expected)
    listed = SimpleNamespace(logits=[student, student])
    torch.testing.assert_close(DeepSupervision(DynamicKDLoss())(listed, taught, target, valid), 2 * expected)


def test_one_tensor_is_one_output():
    inputs = batch(0)
    torch.testing.assert_close(DeepSupervision(DynamicKDLoss())(*inputs), DynamicKDLoss()(*inputs))


def test_it_compiles_whole():
    student, teacher, target, valid = batch(0)
    loss = DeepSupervision(DynamicKDLoss(), weights=[1, 0.5])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    outputs = [student, batch(1)[0]]
    value, expected = compiled(outputs, teacher, target, valid), loss(outputs, teacher, target, valid)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, outputs), torch.autograd.grad(expected, outputs))


def test_entries_that_do_not_fit_the_outputs_are_refused():
    student, teacher, target, _ = batch(0)
    loss = DeepSupervision(DynamicKDLoss())
    with pytest.raises(
        ValueError, match=r"teacher_logits: expected one entry for each output, \[0, 1\], got \[0\]; pa"
    ):
        loss([student, student], [teacher], target)
    with pytest.raises(ValueError, match=r"target: .* \['map'\], got \['mask'\]"):
        loss({"map": student}, teacher, {"mask": target})
    with pytest.raises(ValueError, match="weights: expected one entry"):
        DeepSupervision(DynamicKDLoss(), weights=[1, 1])(student, teacher, target)
    with pytest.raises(ValueError, match="student_logits: expected at least one output, got none"):
        loss([], teacher, target)


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf")])
def test_a_weight_is_finite_and_not_negative(weight):
    with pytest.raises(ValueError, match=r"weights\[1\]: expected a number in \[0, inf\)"):
        DeepSupervision(DynamicKDLoss(), weights=[1, weight])


def test_weights_are_listed():
    with pytest.raises(TypeError, match=r"weights: expected a list or mapping of numbers, got 0\.5"):
        DeepSupervision(DynamicKDLoss(), weights=0.5)


@pytest.mark.parametrize("listed", ["student_logits", "teacher_logits"])
@pytest.mark.parametrize("kind", [losses.DynamicKDLoss, DynamicKDLoss])
def test_the_plain_loss_names_it_for_lists(kind, listed):
    names = ["student_logits", "teacher_logits", "target"]
    arguments = {name: array.detach() for name, array in zip(names, batch(0), strict=False)}
    arguments[listed] = [arguments[listed]]
    with pytest.raises(TypeError, match=rf"{listed}: expected a.*, got .*list; .*DeepSupervision"):
        kind()(**arguments)
