"""The loss as a torch module."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import shutil
import subprocess
import sys
import warnings

import pytest
from loss_reference import random_batch

from dynamic_kd import losses

torch = pytest.importorskip("torch")

from array_api_compat import torch as xp  # noqa: E402  (after torch is known to be there)

from dynamic_kd.torch import DynamicKDLoss  # noqa: E402

NEEDS_COMPILER = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="torch's inductor needs a C++ compiler"
)
CUSTOM = {"p": 0.4, "temperature": 3.0, "weighting": "a2dele", "granularity": "pixel", "reduction": "sum"}


@pytest.fixture
def batch():
    student, *rest = map(torch.from_numpy, random_batch())
    return student.requires_grad_(), *rest


def value_and_gradient(loss, student, *rest):
    student = student.detach().requires_grad_()
    value = loss(student, *rest)
    value.backward()
    return value.detach(), student.grad


@pytest.mark.parametrize("settings", [{}, CUSTOM, {"detach_weight": False}], ids=str)
def test_it_is_the_core_loss(batch, settings):
    ours = value_and_gradient(DynamicKDLoss(**settings), *batch)
    theirs = value_and_gradient(losses.DynamicKDLoss(**settings), *batch)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_valid_is_optional(batch):
    loss = DynamicKDLoss()
    torch.testing.assert_close(loss(*batch[:3]), losses.DynamicKDLoss()(*batch[:3]))


def test_terms_are_those_of_the_core(batch):
    ours, theirs = (kind(**CUSTOM).with_terms(*batch) for kind in (DynamicKDLoss, losses.DynamicKDLoss))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_every_setting_is_accepted_and_shown():
    shown = repr(DynamicKDLoss(**CUSTOM))
    for field in dataclasses.fields(losses.DynamicKDLoss):
        assert f"{field.name}={CUSTOM.get(field.name, field.default)!r}" in shown
    assert inspect.signature(DynamicKDLoss) == inspect.signature(losses.DynamicKDLoss)


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match=r"p: expected a number in \[0, 1\], got 2"):
        DynamicKDLoss(p=2)
    with pytest.raises(TypeError, match="temprature"):
        DynamicKDLoss(temprature=4)


def test_it_has_no_state():
    loss = DynamicKDLoss()
    assert not list(loss.parameters())
    assert not list(loss.buffers())
    assert not loss.state_dict()


def test_it_can_be_copied_and_pickled(batch):
    loss = DynamicKDLoss(**CUSTOM)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert twin.settings == loss.settings
        assert twin(*batch) == loss(*batch)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DynamicKDLoss().settings.p = 0.1


def test_a_teacher_in_the_graph_is_refused(batch):
    student, teacher, target, _ = batch
    with pytest.raises(ValueError, match=r"teacher_logits: expected a constant.*torch\.no_grad"):
        DynamicKDLoss()(student, teacher * torch.ones((), requires_grad=True), target)


@pytest.mark.parametrize("settings", [{}, {"granularity": "pixel", "detach_weight": False}], ids=str)
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=NEEDS_COMPILER)])
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_it_compiles_to_one_graph(batch, settings, backend):
    torch.compiler.reset()
    loss = DynamicKDLoss(**settings)
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    torch.testing.assert_close(
        value_and_gradient(compiled, *batch), value_and_gradient(loss, *batch), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_compile_to_one_graph(batch, dtype):
    torch.compiler.reset()
    halves = [each.to(dtype) for each in batch]
    compiled = torch.compile(DynamicKDLoss(), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(value_and_gradient(compiled, *halves), value_and_gradient(DynamicKDLoss(), *halves))


DTYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("student_dtype", DTYPES)
@pytest.mark.parametrize("teacher_dtype", DTYPES)
def test_dtypes_may_differ_in_one_graph(batch, student_dtype, teacher_dtype):
    torch.compiler.reset()
    target_dtype = [torch.bool, torch.uint8, torch.float16, torch.float32][
        (DTYPES.index(student_dtype) + DTYPES.index(teacher_dtype)) % 4
    ]
    student, teacher, target, valid = batch
    inputs = student.to(student_dtype), teacher.to(teacher_dtype), target.to(target_dtype), valid
    loss = losses.DynamicKDLoss()  # without xp=, which finds the namespace in the graph
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        found = value_and_gradient(compiled, *inputs)
    assert found[0].dtype == (torch.float64 if torch.float64 in (student_dtype, teacher_dtype) else torch.float32)
    torch.testing.assert_close(found, value_and_gradient(loss, *inputs))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_in_one_graph(dtype):
    torch.compiler.reset()
    generator = torch.manual_seed(0)
    head = torch.nn.Conv2d(3, 1, 1)
    images, mask = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 1, 16, 16, generator=generator) < 0.5
    teacher, loss = torch.where(mask, 4.0, -4.0), losses.DynamicKDLoss()

    def step(images):
        with torch.autocast("cpu", dtype=dtype):
            return loss(head(images), teacher, mask)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")(images)
    assert compiled.dtype == torch.float32
    torch.testing.assert_close(compiled, step(images))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("settings", [{}, {"reduction": "none"}, {"reduction": "sum", "granularity": "pixel"}], ids=str)
def test_the_loss_and_its_terms_compile_to_one_graph(batch, settings, dtype):
    torch.compiler.reset()
    student, teacher, *maps = batch
    inputs = (student.detach().to(dtype).requires_grad_(), teacher.to(dtype), *maps)
    loss = DynamicKDLoss(**settings)
    compiled = torch.compile(loss.with_terms, fullgraph=True, backend="aot_eager")
    (value, terms), (expected, expected_terms) = compiled(*inputs), loss.with_terms(*inputs)
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close((value, terms), (expected, expected_terms), **close)
    assert not any(term.requires_grad for term in terms)
    slopes = [torch.autograd.grad(each.sum(), inputs[0])[0] for each in (value, expected)]
    torch.testing.assert_close(*slopes, **close)


@pytest.mark.parametrize("impl", ["eager", "auto"])
def test_a_loss_made_inside_a_compiled_function(batch, impl):
    def function(*given):
        return losses.DynamicKDLoss(temperature=3.0, weighting=0.4, impl=impl)(*given, xp=xp)

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*batch), function(*batch), rtol=1e-9, atol=1e-12)


def test_vmap_over_images_is_the_batch(batch):
    loss = DynamicKDLoss()
    images = torch.func.vmap(lambda *image: loss(*(array[None] for array in image)))(*batch)
    torch.testing.assert_close(images, DynamicKDLoss(reduction="none")(*batch))


def test_functional_gradient(batch):
    loss = DynamicKDLoss()
    _, expected = value_and_gradient(loss, *batch)
    torch.testing.assert_close(torch.func.grad(loss)(*(array.detach() for array in batch)), expected)


def test_autocast_leaves_the_loss_in_single_precision():
    generator = torch.manual_seed(0)
    head = torch.nn.Conv2d(3, 1, 1)
    images, mask = torch.rand(2, 3, 16, 16, generator=generator), torch.rand(2, 1, 16, 16, generator=generator) < 0.5
    teacher = torch.where(mask, 4.0, -4.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(images)
        loss = DynamicKDLoss()(logits, teacher, mask)
    loss.backward()
    assert logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), DynamicKDLoss()(logits.detach().float(), teacher, mask))
    assert torch.isfinite(head.weight.grad).all()


def test_views_are_read_as_they_look(batch):
    student, teacher, target, valid = (array.detach() for array in batch)
    turned = [array.transpose(1, 2).contiguous().transpose(1, 2) for array in (student, teacher, target, valid)]
    assert not turned[0].is_contiguous()
    torch.testing.assert_close(DynamicKDLoss()(*turned), DynamicKDLoss()(student, teacher, target, valid))


def test_importing_the_losses_imports_no_framework():
    code = "import sys, dynamic_kd.losses; sys.exit(bool({'torch', 'jax'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("place", range(4))
def test_arrays_of_other_libraries_are_named(place):
    given = [torch.zeros(1, 1, 2, 2) for _ in range(4)]
    given[place] = given[place].numpy()
    name = ("student_logits", "teacher_logits", "target", "valid")[place]
    for call in (DynamicKDLoss(), DynamicKDLoss().with_terms):
        with pytest.raises(TypeError, match=rf"^{name}: expected a torch tensor, got numpy.ndarray; dynamic_kd.losses"):
            call(*given)
