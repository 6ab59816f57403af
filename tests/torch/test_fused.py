"""The fused loss against float64: on a GPU where there is one, else its kernels interpreted on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dynamic_kd.losses import DynamicKDLoss

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from dynamic_kd.torch import DynamicKDLoss as DynamicKDModule  # noqa: E402  (needs what is looked for above)
from dynamic_kd.torch import fused_unavailable_reason  # noqa: E402
from dynamic_kd.torch._fused import _available  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if GPU else "cpu"
# What lies in memory that no kernel has written may be no number, which the interpreter's NumPy remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
runs_kernels = pytest.mark.skipif(not (GPU or INTERPRETED), reason="needs a CUDA device, or Triton's interpreter")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a CUDA device")

HALVES = [torch.float16, torch.bfloat16]
DTYPES = [torch.float32, *HALVES]
REDUCTIONS = ["mean", "sum", "none"]
STRATEGIES = {
    "the paper's": {},
    "dynamic for every teacher": {"noise_elimination": None},
    "A2dele": {"weighting": "a2dele", "noise_elimination": None},
    "none": {"weighting": "none"},
    "fixed": {"weighting": 0.3},
}


@pytest.mark.skipif(GPU or INTERPRETED, reason="the kernels run in this process")
def test_the_kernels_under_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def normal(shape, generator):
    student, teacher = (3 * torch.randn(shape, generator=generator) for _ in range(2))
    return student, teacher, (torch.rand(shape, generator=generator) > 0.6).float()


def saturated(shape, generator, *, right):
    student, teacher, target = normal(shape, generator)
    side = (2 * target - 1) * (1 if right else -1)
    return side * (15 + student.abs()), side * (15 + teacher.abs()), target


def mixed(shape, generator):
    """The first teacher is right and counts, by every weighting; the others are noise."""
    student, teacher, target = normal(shape, generator)
    teacher[0] = (2 * target[0] - 1) * (3 + teacher[0].abs())
    return student, teacher, target


REGIMES = {
    "first teacher right": mixed,
    "normal": normal,
    "sure and right": lambda *given: saturated(*given, right=True),
    "sure and wrong": lambda *given: saturated(*given, right=False),
    "student near the teacher": lambda *given: (lambda s, t, y: (t + 1e-3 * s / 3, t, y))(*normal(*given)),
    "soft targets": lambda *given: (lambda s, t, y: (s, t, 0.9 * y + 0.05))(*normal(*given)),
}


def fused_loss(**settings):
    return DynamicKDLoss(**settings, impl="fused")


def batch(regime="first teacher right", shape=(2, 1, 23, 37), dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [each.to(dtype).to(DEVICE) for each in REGIMES[regime](shape, generator)]


def value_and_gradient(loss, student, teacher, target, valid=None, seed=0):
    """Loss and gradient, for a gradient coming in that is not one."""
    student = student.detach().requires_grad_()
    value = loss(student, teacher, target, valid)
    generator = torch.Generator().manual_seed(seed)
    value.backward((0.5 + torch.rand(value.shape, generator=generator)).to(value))
    return value.detach().double(), student.grad.double()


def assert_as_good_as_eager(inputs, valid=None, **settings):
    """Fused errors against float64 are at most the eager ones and a little more; gradients are taken per pixel."""
    wide = [each.double() for each in inputs]
    (exact, exact_slope), (eager, eager_slope), (fused, fused_slope) = (
        value_and_gradient(DynamicKDLoss(**settings, impl=impl), *given, valid)
        for impl, given in (("eager", wide), ("eager", inputs), ("fused", inputs))
    )
    pixels = inputs[2][0].numel()
    # Triton's interpreter cuts float32 to bfloat16 instead of rounding it: its gradients may be off by a whole unit.
    unit = 2**-7 if INTERPRETED and inputs[0].dtype == torch.bfloat16 else 0
    assert_close_enough(fused, eager, exact)
    assert_close_enough(fused_slope * pixels, eager_slope * pixels, exact_slope * pixels, unit)


def assert_close_enough(fused, eager, exact, unit=0):
    assert fused.shape == exact.shape
    allowed = (eager - exact).abs().max() + (unit + 1e-6) * exact.abs() + 1e-7
    excess = ((fused - exact).abs() / allowed).max().item()
    assert excess <= 1, f"{excess:.2f} times what is allowed"


@runs_kernels
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_less_exact_than_plain_operations(regime, dtype):
    turn = list(REGIMES).index(regime) + DTYPES.index(dtype)
    for reduction in REDUCTIONS if GPU else [REDUCTIONS[turn % 3]]:
        assert_as_good_as_eager(batch(regime, dtype=dtype), reduction=reduction)


@pytest.fixture
def new_launches(monkeypatch):
    """Let launches be worked out anew, and be forgotten afterwards."""
    monkeypatch.setattr("dynamic_kd.torch._fused._op._launches", {})


def some_valid(shape):
    """Mark some pixels of each image but the second, which has none."""
    valid = torch.rand(shape, generator=torch.Generator().manual_seed(1)) > 0.3
    valid[1] = False
    return valid.to(DEVICE)


@runs_kernels
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_combination(strategy, masked, channels):
    """Each dtype meets each reduction in one of the cases; the interpreter takes one dtype a case."""
    turn = list(STRATEGIES).index(strategy) + masked + channels
    for place, dtype in enumerate(DTYPES):
        if not GPU and place != (turn + masked) % 3:
            continue
        student, teacher, target = batch(dtype=dtype)
        if channels == 2:
            student, teacher = (torch.cat([-0.3 * each, 0.7 * each], dim=1) for each in (student, teacher))
        valid = some_valid(target.shape) if masked else None
        reduction = REDUCTIONS[(turn + place) % 3]
        assert_as_good_as_eager([student, teacher, target], valid, **STRATEGIES[strategy], reduction=reduction)


@runs_kernels
@pytest.mark.parametrize("weighting", [0.4, "a2dele", "dynamic"])
@pytest.mark.parametrize("noise_elimination", [None, "absolute"])
def test_noise_may_be_eliminated_from_any_weight(weighting, noise_elimination):
    settings = {"weighting": weighting, "noise_elimination": noise_elimination, "noise_weight": 0.07}
    inputs = batch()
    assert_as_good_as_eager(inputs, **settings)
    _, terms = fused_loss(**settings).with_terms(*inputs)
    assert terms.reliable.tolist() == [True, False]
    assert (abs(terms.weight - 0.07) < 1e-7).tolist() == [False, noise_elimination is not None]


@runs_kernels
@pytest.mark.parametrize("noise_elimination", [None, "absolute", "relative"])
def test_without_a_weighting_no_teacher_counts(noise_elimination):
    settings = {"weighting": "none", "noise_elimination": noise_elimination}
    assert_as_good_as_eager(batch(), **settings)
    _, terms = fused_loss(**settings).with_terms(*batch())
    assert not terms.weight.any()
    assert torch.equal(terms.loss, terms.ce)


@runs_kernels
@pytest.mark.parametrize("weighting", [0.4, "dynamic"])
def test_noise_may_be_what_is_worse_than_the_student(weighting):
    """The second teacher is bad, and so is its student only in the second batch."""
    student, teacher, target = batch()
    settings = {"weighting": weighting, "noise_elimination": "relative", "noise_weight": 0.07}
    for student_is_right, kept in ((True, [True, False]), (False, [True, True])):
        inputs = [(2 * target - 1) * 0.7 * student.abs() if student_is_right else 0.01 * student - 1, teacher, target]
        assert_as_good_as_eager(inputs, **settings)
        _, terms = fused_loss(**settings).with_terms(*inputs)
        assert terms.reliable.tolist() == kept
        assert (abs(terms.weight - 0.07) > 1e-7).tolist() == kept
    inputs[0] = 0.1 * student
    assert_as_good_as_eager(inputs, **settings, noise_threshold=0.0)


def map_batch(dtype=torch.float32, shape=(2, 1, 23, 37)):
    """A student's logits, and maps that are 0 or 1 at most pixels, right in the first image and mostly in the other."""
    student, _, target = batch(shape=shape, dtype=dtype)
    generator = torch.Generator().manual_seed(5)
    values, kind = (torch.rand(shape, generator=generator).to(DEVICE) for _ in range(2))
    maps = torch.where(kind < 0.6, target.float(), values)
    maps[1:] = torch.where(kind[1:] > 0.9, 1 - target[1:].float(), maps[1:])
    return [student, maps.to(dtype), target]


@runs_kernels
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("masked", [False, True])
def test_a_teacher_given_as_maps(strategy, masked):
    for place, dtype in enumerate(DTYPES):
        if not GPU and place != (list(STRATEGIES).index(strategy) + masked) % 3:
            continue
        inputs = map_batch(dtype)
        valid = some_valid(inputs[2].shape) if masked else None
        for settings in ({}, {"clip": 1e-6, "temperature": 2.5}):
            assert_as_good_as_eager(inputs, valid, teacher="probabilities", **STRATEGIES[strategy], **settings)


@runs_kernels
@pytest.mark.parametrize("teacher", ["logits", "probabilities"])
@pytest.mark.parametrize("temperature", [5.0, 1e4])
def test_maps_a_high_temperature_a_label_and_another_size_together(teacher, temperature):
    student, maps, target = map_batch(shape=(2, 1, 8, 9))
    labels = target.repeat_interleave(4, -1).repeat_interleave(4, -2).to(torch.uint8)
    labels[..., :3, :] = 255
    inputs = [student, maps if teacher == "probabilities" else 6 * maps - 3]
    settings = {"teacher": teacher, "temperature": temperature, "resize": "bilinear", "ignore_index": 255}
    exact = value_and_gradient(DynamicKDLoss(**settings, impl="eager"), *(each.double() for each in inputs), labels)
    found = value_and_gradient(fused_loss(**settings), *inputs, labels)
    for pair in zip(found, exact, strict=True):
        torch.testing.assert_close(*pair, rtol=3e-6, atol=1e-9)


@runs_kernels
@pytest.mark.parametrize("masked", [False, True])
def test_a_label_of_unknown_pixels(masked):
    student, teacher, target = batch()
    known = torch.rand(target.shape, generator=torch.Generator().manual_seed(3)).to(DEVICE) > 0.3
    valid = some_valid(target.shape) if masked else None
    labels = torch.where(known, target, 255).to(torch.uint8)
    expected = value_and_gradient(fused_loss(), student, teacher, target, known & valid if masked else known)
    found = value_and_gradient(fused_loss(ignore_index=255), student, teacher, labels, valid)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@runs_kernels
@pytest.mark.parametrize("student_dtype", DTYPES)
@pytest.mark.parametrize("map_dtype", DTYPES)
def test_maps_may_have_another_dtype(student_dtype, map_dtype):
    student, maps, target = map_batch()
    given = [student.to(student_dtype), maps.to(map_dtype), target.to(torch.uint8)]
    assert_as_good_as_eager(given, teacher="probabilities")


@runs_kernels
@pytest.mark.parametrize("clip", [2.0**-126, 1e-10, 0.3])
@pytest.mark.parametrize("temperature", [0.5, 5.0, 50.0])
def test_any_clip_of_maps(clip, temperature):
    assert_as_good_as_eager(map_batch(), teacher="probabilities", clip=clip, temperature=temperature)


@runs_kernels
@pytest.mark.parametrize("masked", [False, True])
def test_maps_of_any_layout_and_their_terms(masked):
    inputs = map_batch()
    valid = some_valid(inputs[2].shape) if masked else None
    settings = {"teacher": "probabilities", "weighting": "a2dele", "noise_elimination": None}
    _, expected = DynamicKDLoss(**settings, impl="eager").with_terms(*(each.double() for each in inputs), valid)
    plain = fused_loss(**settings).with_terms(*inputs, valid)
    for arrange in LAYOUTS.values():
        given = [inputs[0], arrange(inputs[1]), inputs[2]]
        if torch.equal(given[1].reshape(inputs[1].shape), inputs[1]):
            assert torch.equal(fused_loss(**settings)(*given, valid), plain[0])
    for name, value in plain[1]._asdict().items():
        torch.testing.assert_close(value.double(), getattr(expected, name).double(), rtol=1e-6, atol=1e-6)


@runs_kernels
def test_a_perfect_map_of_few_pixels_is_kept_whole():
    target = torch.zeros(1, 1, 256, 256, device=DEVICE)
    target[..., :8, :8] = 1
    _, terms = fused_loss(teacher="probabilities").with_terms(torch.zeros_like(target), target, target)
    assert (terms.teacher_iou.item(), terms.reliable.item()) == (1, True)


@runs_kernels
@pytest.mark.parametrize("weighting", ["dynamic", "a2dele"])
def test_what_is_no_number_in_a_map_shows(weighting):
    student, maps, target = map_batch()
    loss = fused_loss(teacher="probabilities", weighting=weighting, check="off")
    maps[0, 0, 3, 4] = torch.nan
    assert loss(student, maps, target).isnan()
    valid = ~maps.isnan()
    expected = value_and_gradient(loss, student, maps.nan_to_num(0.7), target, valid)
    found = value_and_gradient(loss, student, maps, target, valid)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    maps[0, 0, 3, 4] = 1 + 2**-23
    assert loss(student, maps, target) == loss(student, maps.clamp(0, 1), target)


@runs_kernels
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_maps_compile_to_one_graph():
    torch.compiler.reset()
    inputs = map_batch(torch.bfloat16)
    loss = DynamicKDModule(impl="fused", teacher="probabilities", clip=0.01)
    compiled = torch.compile(loss, fullgraph=True, backend="inductor" if GPU else "aot_eager")
    for pair in zip(value_and_gradient(compiled, *inputs), value_and_gradient(loss, *inputs), strict=True):
        assert torch.equal(*pair)


@runs_kernels
def test_the_cross_entropy_of_right_answers_keeps_its_digits():
    """By log(1 + e) it would lose them all."""
    inputs = batch("sure and right")
    exact = DynamicKDLoss(weighting="none", impl="eager")(*(each.double() for each in inputs))
    fused = DynamicKDLoss(weighting="none", impl="fused")(*inputs)
    torch.testing.assert_close(fused.double(), exact, rtol=1e-5, atol=0)


@runs_kernels
@pytest.mark.parametrize("p", [0, 0.7, 1])
def test_empty_and_full_targets(p):
    student, teacher, target = batch()
    for full in (0, 1):
        given = [student, teacher, torch.full_like(target, full)]
        assert_as_good_as_eager(given, p=p, noise_elimination=None)


@runs_kernels
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_without_valid_pixels_it_is_zero(reduction):
    inputs = batch()
    value, gradient = value_and_gradient(DynamicKDLoss(impl="fused", reduction=reduction), *inputs, inputs[2] > 2)
    assert not value.any()
    assert not gradient.any()


@runs_kernels
@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 2.5},
        {"temperature": 40.0, "temperature_squared": False},
        {"temperature": 0.05},
        {"temperature": 9.0},
        {"temperature": 50.0},
        {"temperature": 1e4},
        {"temperature": 1e6, "noise_elimination": None},
        {"p": 0.0},
        {"p": 1, "noise_threshold": 0.0},
        {"noise_threshold": 1, "noise_weight": 0.2},
    ],
)
def test_every_setting(settings):
    assert_as_good_as_eager(batch(seed=4), **settings)


@runs_kernels
@pytest.mark.parametrize("temperature", [10.0, 1e3, 1e6])
@pytest.mark.parametrize("regime", ["first teacher right", "student near the teacher", "sure and wrong"])
def test_a_high_temperature_loses_no_digits(temperature, regime):
    """The divergence is close to a quarter of half the squared difference, and its gradient to a quarter of that."""
    inputs = batch(regime)
    settings = {"temperature": temperature, "weighting": 1.0, "noise_elimination": None, "reduction": "sum"}
    exact = value_and_gradient(DynamicKDLoss(**settings, impl="eager"), *(each.double() for each in inputs))
    found = value_and_gradient(fused_loss(**settings), *inputs)
    for pair in zip(found, exact, strict=True):
        torch.testing.assert_close(*pair, rtol=3e-6, atol=1e-10)


@runs_kernels
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (3, 1, 1, 7), (1, 1, 129, 1), (2, 4, 6), (1, 1, 64, 64), (5, 1, 17, 240)]
)
def test_any_shape(shape):
    assert_as_good_as_eager(batch(shape=shape))


@runs_kernels
@pytest.mark.parametrize("shape", [(1, 1, 180, 190), (70, 1, 2, 3)])
def test_more_tiles_and_images_than_are_added_at_a_time(shape, new_launches, monkeypatch):
    monkeypatch.setattr("dynamic_kd.torch._fused._launches._multiprocessors", lambda device: 132)
    assert_as_good_as_eager(batch(shape=shape))


@runs_kernels
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_steps_of_one_program(dtype, new_launches, monkeypatch):
    """Without the least bit of agreement, where a running product of quotients is largest and smallest."""
    monkeypatch.setattr("dynamic_kd.torch._fused._launches._multiprocessors", lambda device: 1)
    monkeypatch.setattr("dynamic_kd.torch._fused._plans.PROGRAMS", 1)
    _, _, target = batch(shape=(1, 1, 90, 90), dtype=dtype)  # as many steps as one takes
    sure = 200 * (2 * target - 1)
    for student, teacher in ((0 * sure, sure), (sure, 0 * sure), (sure, -sure)):
        assert_as_good_as_eager([student, teacher, target], temperature=1.0)


@runs_kernels
@pytest.mark.parametrize("size", [1e4, 6e4])
@pytest.mark.parametrize("side", [1, -1])
def test_enormous_logits(size, side):
    student, teacher, target = batch()
    inputs = [side * size * student.sign(), size * teacher.sign(), target]
    assert_as_good_as_eager(inputs)
    assert value_and_gradient(DynamicKDLoss(impl="fused"), *inputs)[0].isfinite()


@runs_kernels
@pytest.mark.parametrize("student_dtype", DTYPES)
def test_dtypes_may_differ(student_dtype):
    student, teacher, target = batch()
    for teacher_dtype in DTYPES:
        given = [student.to(student_dtype), teacher.to(teacher_dtype), target.to(torch.uint8)]
        assert_as_good_as_eager(given)
        assert DynamicKDLoss(impl="fused")(*given).dtype == torch.float32


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64])
def test_targets_and_valid_pixels_are_read_as_they_are(dtype):
    student, teacher, target = batch()
    valid = torch.rand(target.shape, generator=torch.Generator().manual_seed(2)).to(DEVICE) > 0.2
    plain = value_and_gradient(DynamicKDLoss(impl="fused"), student, teacher, target, valid)
    other = value_and_gradient(DynamicKDLoss(impl="fused"), student, teacher, target.to(dtype), valid.to(dtype))
    assert all(torch.equal(*pair) for pair in zip(plain, other, strict=True))


LAYOUTS = {
    "channels last": lambda maps: maps.contiguous(memory_format=torch.channels_last),
    "every other column": lambda maps: torch.stack([maps, maps.flip(-1)], dim=-1)[..., 0],
    "transposed": lambda maps: maps.mT.contiguous().mT,
    "one element further": lambda maps: torch.cat([maps.new_zeros(1), maps.flatten()])[1:].view(maps.shape),
    "a slice of a larger batch": lambda maps: torch.nn.functional.pad(maps, (3, 2, 1, 4))[..., 1:-4, 3:-2],
    "images apart": lambda maps: torch.stack([maps, maps], dim=1)[:, 1],
    "without the channel": lambda maps: maps[:, 0],
    "expanded": lambda maps: maps[:1].expand(maps.shape),
}


@runs_kernels
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout):
    inputs = batch()
    arrange = LAYOUTS[layout]
    valid = some_valid(inputs[2].shape)
    assert_as_good_as_eager([arrange(each) for each in inputs], arrange(valid))
    # Each input by itself: nothing but the student's gradient may depend on how another one lies.
    plain = value_and_gradient(DynamicKDLoss(impl="fused"), *inputs, valid)
    if layout != "expanded":
        for place in range(4) if GPU else (list(LAYOUTS).index(layout) % 3, 3):
            given = [*inputs, valid]
            given[place] = arrange(given[place])
            value, gradient = value_and_gradient(DynamicKDLoss(impl="fused"), *given)
            assert torch.equal(value, plain[0])
            assert torch.equal(gradient.view(plain[1].shape), plain[1])


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_logits_beside_one(dtype):
    student, teacher, target = batch(dtype=dtype)
    two = [torch.cat([-0.3 * each, 0.7 * each], dim=1) for each in (student, teacher)]
    last = [each.contiguous(memory_format=torch.channels_last) for each in two]
    assert_as_good_as_eager([*last, target])
    assert_as_good_as_eager([two[0], teacher, target])
    assert_as_good_as_eager([student, last[1], target])


@runs_kernels
def test_inputs_are_never_written():
    inputs = batch()
    inputs.append(some_valid(inputs[2].shape))
    copies = [each.clone() for each in inputs]
    value_and_gradient(DynamicKDLoss(impl="fused"), *inputs)
    assert all(torch.equal(*pair) for pair in zip(inputs, copies, strict=True))


@runs_kernels
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighting", ["dynamic", "a2dele"])
def test_everything_is_written_that_is_read(weighting, masked):
    inputs = batch()
    inputs.append(some_valid(inputs[2].shape) if masked else None)
    loss = DynamicKDLoss(impl="fused", weighting=weighting)
    plain = value_and_gradient(loss, *inputs)
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.ones(4).new_empty(4).isnan().all(), "expected new memory to hold NaN"
        poisoned = value_and_gradient(loss, *inputs)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(*pair) for pair in zip(plain, poisoned, strict=True))


@runs_kernels
def test_what_invalid_pixels_hold_does_not_matter():
    student, teacher, target = batch()
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, 3:9, 5:20] = False
    plain = value_and_gradient(DynamicKDLoss(impl="fused"), student, teacher, target, valid)
    spoilt = [each.masked_fill(~valid, torch.nan) for each in (student, teacher, target)]
    other = value_and_gradient(DynamicKDLoss(impl="fused"), *spoilt, valid)
    assert all(torch.equal(*pair) for pair in zip(plain, other, strict=True))
    assert value_and_gradient(DynamicKDLoss(impl="fused", check="off"), *spoilt)[0].isnan()
    with pytest.raises(ValueError, match="teacher_logits: expected finite values"):
        DynamicKDLoss(impl="fused")(*spoilt)


@runs_kernels
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_terms_are_there_at_no_cost(strategy):
    inputs = batch()
    valid = torch.ones_like(inputs[2])
    valid[1] = 0
    settings = STRATEGIES[strategy]
    loss, terms = fused_loss(**settings).with_terms(*inputs, valid)
    _, expected = DynamicKDLoss(**settings, impl="eager").with_terms(*(each.double() for each in inputs), valid)
    assert loss == fused_loss(**settings)(*inputs, valid)
    for name, value in terms._asdict().items():
        assert value.dtype == (torch.bool if name == "reliable" else torch.float32)
        torch.testing.assert_close(value.double(), getattr(expected, name).double(), rtol=1e-6, atol=1e-6)


@runs_kernels
def test_second_derivatives_raise():
    student, teacher, target = batch()
    student.requires_grad_()
    loss = DynamicKDLoss(impl="fused")(student, teacher, target)
    (gradient,) = torch.autograd.grad(loss, student, create_graph=True)
    with pytest.raises(RuntimeError, match="the fused loss cannot be differentiated twice; use impl='eager'"):
        (loss + gradient.square().sum()).backward()


@runs_kernels
@pytest.mark.filterwarnings("ignore::UserWarning")  # of the profiler's
def test_backward_is_one_kernel():
    student, teacher, target = batch()
    loss = DynamicKDLoss(impl="fused")(student.requires_grad_(), teacher, target)
    incoming = torch.ones_like(loss)
    with torch.profiler.profile() as profile:
        torch.autograd.grad(loss, student, incoming)
    assert not {"aten::zeros", "aten::zero_", "aten::fill_"} & {event.name for event in profile.events()}


@runs_kernels
def test_the_loss_may_be_changed_in_place():
    student, teacher, target = batch()
    expected = value_and_gradient(lambda *given: DynamicKDLoss(impl="fused")(*given) / 4, student, teacher, target)
    changed = value_and_gradient(lambda *given: DynamicKDLoss(impl="fused")(*given).div_(4), student, teacher, target)
    assert all(torch.equal(*pair) for pair in zip(expected, changed, strict=True))


@runs_kernels
@pytest.mark.parametrize("masked", [False, True])
def test_the_op_that_compilers_see(masked):
    student, teacher, target = batch(shape=(2, 1, 5, 7))
    valid = (target >= 0) if masked else None
    for settings in (
        {},
        {"noise_elimination": "relative", "reduction": "none", "weighting": 0.3},
        {"teacher": "probabilities"},
    ):
        given = (student.requires_grad_(), teacher, target, valid, DynamicKDLoss(**settings)._json)
        torch.library.opcheck(torch.ops.dynamic_kd.fused_loss.default, given)


@runs_kernels
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_it_compiles_to_one_graph(reduction, dynamic):
    torch.compiler.reset()
    loss = DynamicKDModule(reduction=reduction, impl="fused")
    backend = "inductor" if GPU else "aot_eager"
    compiled = torch.compile(lambda s, *given: loss(1.5 * s, *given), fullgraph=True, dynamic=dynamic, backend=backend)
    for shape in ((2, 1, 9, 11), (3, 1, 8, 13)):
        inputs = batch(shape=shape)
        expected = value_and_gradient(lambda s, *given: loss(1.5 * s, *given), *inputs)
        for mine, other in zip(value_and_gradient(compiled, *inputs), expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


@runs_kernels
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_the_loss_and_its_terms_compile_to_one_graph(dtype, reduction):
    torch.compiler.reset()
    student, teacher, target = batch(shape=(2, 1, 9, 11), dtype=dtype)
    student.requires_grad_()
    loss = DynamicKDModule(reduction=reduction, impl="fused", weighting=0.3)
    backend = "inductor" if GPU else "aot_eager"
    compiled = torch.compile(loss.with_terms, fullgraph=True, backend=backend)
    results = [call(student, teacher, target) for call in (loss.with_terms, compiled)]
    slopes = []
    for value, terms in results:
        assert not any(term.requires_grad for term in terms)
        slopes.append(torch.autograd.grad(value.sum(), student)[0])
    (value, terms), (compiled_value, compiled_terms) = results
    pairs = [(value, compiled_value), slopes, *zip(terms, compiled_terms, strict=True)]
    assert all(torch.equal(*pair) for pair in pairs)


@runs_kernels
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_a_loss_made_inside_a_compiled_function():
    def function(*given):
        return DynamicKDLoss(temperature=3.0, weighting=0.4, impl="fused")(*given)

    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="inductor" if GPU else "aot_eager")
    inputs = batch(shape=(2, 1, 9, 11))
    assert torch.equal(compiled(*inputs), function(*inputs))


@runs_kernels
@pytest.mark.parametrize("dtype", HALVES)
def test_automatic_mixed_precision(dtype):
    layer = torch.nn.Conv2d(3, 1, 1).to(DEVICE)
    torch.nn.init.constant_(layer.bias, -1.0)  # logits below 0, unlike maps
    _, teacher, target = batch()
    images = torch.rand(2, 3, 23, 37, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    scaler = torch.amp.GradScaler(DEVICE)
    slopes = []
    for impl in ("fused", "eager"):
        with torch.autocast(DEVICE, dtype=dtype):
            logits = layer(images)
            loss = DynamicKDLoss(impl=impl)(logits, teacher, target)
        assert logits.dtype == dtype
        assert loss.dtype == torch.float32
        slopes.append(torch.autograd.grad(scaler.scale(loss), layer.weight)[0])
    torch.testing.assert_close(*slopes, rtol=2e-2, atol=1e-5 * scaler.get_scale())


@pytest.fixture
def one_process():
    """A process group of this process alone."""
    distributed = torch.distributed
    distributed.init_process_group("nccl" if GPU else "gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@runs_kernels
@pytest.mark.parametrize("way", ["DDP", "FSDP"])
def test_distributed_training(way, one_process):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    _, teacher, target = batch()
    images = torch.rand(2, 3, 23, 37, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    slopes = []
    for impl in ("fused", "eager"):
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(3, 1, 1).to(DEVICE)
        torch.nn.init.constant_(layer.bias, -1.0)  # logits below 0, unlike maps
        wrap = torch.nn.parallel.DistributedDataParallel
        model = wrap(layer) if way == "DDP" else fully_shard(layer, mesh=init_device_mesh(DEVICE, (1,)))
        DynamicKDModule(impl=impl)(model(images), teacher, target).backward()
        slope = layer.weight.grad
        slopes.append(slope.full_tensor() if way == "FSDP" else slope)
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-7)


# Where it is not available


def test_reasons():
    maps = torch.zeros(1, 1, 4, 4)
    for settings, reason in (
        ({"granularity": "pixel"}, "granularity='pixel' is computed by plain operations"),
        ({"detach_weight": False}, "detach_weight=False needs a gradient through the weight"),
        ({"weighting": lambda a, b, c: a}, "a function as weighting is called on arrays"),
    ):
        assert reason in fused_unavailable_reason(maps, maps, maps, **settings)
        message = re.escape(f"impl: 'fused' is not available: {reason}")
        with pytest.raises(ValueError, match=message):
            DynamicKDLoss(impl="fused", **settings)(maps, maps, maps)
    assert "dense real torch tensors" in fused_unavailable_reason(maps, maps, maps.to_sparse())
    assert "dense real torch tensors" in fused_unavailable_reason(maps, maps, maps.numpy())
    for device in ("meta", *(() if INTERPRETED else ("cpu",))):
        there = maps.to(device)
        assert f"on a device of type {device}" in fused_unavailable_reason(there, there, there)


@runs_kernels
def test_reasons_of_logits():
    maps = torch.zeros(1, 1, 4, 4, device=DEVICE)
    wide = maps.double()
    reason = fused_unavailable_reason(maps, wide, maps)
    assert reason == "it computes in float32, and teacher_logits are torch.float64"
    with pytest.raises(ValueError, match="impl: 'fused' is not available: it computes in float32, and student_logits"):
        fused_loss()(wide, wide, wide)
    large = maps[:, :, :1, :1].expand(1, 1, 2**16, 2**15)
    assert "images of more than 2147450880 pixels" in fused_unavailable_reason(large, large, large)
    with pytest.raises(ValueError, match=r"function transforms \(torch.func\) need plain operations"):
        torch.func.vmap(DynamicKDLoss(impl="fused"))(maps[None], maps[None], maps[None])


def test_tensors_on_a_gpu_take_the_kernels_where_they_can(monkeypatch):
    """Whether the kernels are asked, without a GPU: the tensors only say that they are on one."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    answers = []
    monkeypatch.setattr("dynamic_kd.torch._fused.loss_and_packed_terms", lambda *given: answers.pop(0))
    monkeypatch.setattr(DynamicKDLoss, "_eager", lambda *given: ("by array operations", None))
    with FakeTensorMode():
        maps = torch.empty(1, 1, 4, 4, device="cuda")
    answers += [("by kernels", None), "the kernels do not take these", ("by kernels", None)]
    assert DynamicKDLoss()(maps, maps, maps) == "by kernels"
    assert DynamicKDLoss()(maps, maps, maps) == "by array operations"
    assert DynamicKDLoss(impl="eager")(maps, maps, maps) == "by array operations"
    assert DynamicKDLoss()(*[torch.empty(1, 1, 4, 4)] * 3) == "by array operations"
    assert len(answers) == 1


@pytest.fixture
def cuda_maps():
    """Tensors that say they are on a GPU, wherever the test runs."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    _available._failure_of_triton.cache_clear()
    with FakeTensorMode():
        yield torch.empty(1, 1, 4, 4, device="cuda")
    _available._failure_of_triton.cache_clear()


def test_reasons_of_triton(cuda_maps, monkeypatch):
    class Broken:
        @property
        def active(self):
            raise RuntimeError("no C compiler")

    monkeypatch.setattr("triton.runtime.driver", Broken())
    expected = "Triton does not work here: no C compiler"
    assert fused_unavailable_reason(cuda_maps, cuda_maps, cuda_maps) == expected
    _available._failure_of_triton.cache_clear()
    monkeypatch.setattr(_available, "installed", lambda name: False)
    assert fused_unavailable_reason(cuda_maps, cuda_maps, cuda_maps) == "Triton is not installed"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert "this is an AMD one" in fused_unavailable_reason(cuda_maps, cuda_maps, cuda_maps)


def test_other_libraries_are_told():
    import numpy as np

    maps = np.zeros((1, 1, 4, 4))
    with pytest.raises(ValueError, match="impl: 'fused' is not available: the kernels take torch tensors; use"):
        DynamicKDLoss(impl="fused")(maps, maps, maps)
    with pytest.raises(ValueError, match="impl: expected one of 'auto', 'eager', 'fused', got 'cuda'"):
        DynamicKDLoss(impl="cuda")


@runs_kernels
def test_inputs_are_checked_as_ever():
    student, teacher, target = batch()
    with pytest.raises(ValueError, match="teacher_logits: expected a constant"):
        fused_loss()(student, teacher.requires_grad_(), target)
    with pytest.raises(ValueError, match="teacher_logits: expected the resolution of student_logits"):
        fused_loss()(student, teacher.detach()[..., :-1], target)
    with pytest.raises(ValueError, match="teacher_logits: 2 channels: expected 1 with teacher='probabilities'"):
        fused_loss(teacher="probabilities")(student, teacher.detach().expand(-1, 2, -1, -1), target)


@runs_kernels
def test_what_earlier_inputs_passed_is_asked_again_of_others():
    """Launches are remembered by all that an input may be refused for, and by all that a kernel is compiled for."""
    inputs = student, teacher, target = batch(shape=(2, 1, 8, 16))
    loss = DynamicKDLoss(impl="fused", reduction="none")
    loss(*inputs)
    with pytest.raises(ValueError, match="requires grad"):
        loss(student, teacher.clone().requires_grad_(), target)
    with pytest.raises(ValueError, match="resolution"):
        loss(student, teacher[..., :15], target)
    with pytest.raises(ValueError, match="float64"):
        loss(student, teacher.double(), target)
    shifted = torch.empty(student.numel() + 1, device=DEVICE)[1:].view(student.shape).copy_(student)
    for other in (shifted, student.half(), student.mT.contiguous().mT):
        assert_as_good_as_eager([other, teacher, target], reduction="none")
    assert_as_good_as_eager([student, teacher, target.to(torch.uint8)], reduction="none", noise_threshold=0.1)


@runs_kernels
@pytest.mark.parametrize("spread", [lambda ones: ones[:1].expand(3), lambda ones: ones.repeat(4)[::4]])
def test_gradients_that_come_in_strided(spread):
    inputs = batch(shape=(3, 1, 5, 7))
    slopes = []
    for gradient in (torch.ones(3, device=DEVICE), spread(torch.ones(3, device=DEVICE))):
        student = inputs[0].clone().requires_grad_()
        DynamicKDLoss(impl="fused", reduction="none")(student, *inputs[1:]).backward(gradient)
        slopes.append(student.grad)
    assert torch.equal(*slopes)


def test_double_precision_has_the_right_gradient():
    student, teacher, target = (each.double() for each in batch(shape=(2, 1, 3, 4)))
    loss = DynamicKDLoss(weighting=0.3, noise_elimination=None)
    assert torch.autograd.gradcheck(lambda logits: loss(logits, teacher, target), student.requires_grad_())


# On a GPU alone


@needs_gpu
def test_cuda_tensors_take_it_by_themselves(monkeypatch):
    from dynamic_kd.torch._fused._launches import Launches

    calls = []
    original = Launches.forward
    monkeypatch.setattr(Launches, "forward", lambda *given: calls.append(1) or original(*given))
    student, teacher, target = batch()
    DynamicKDLoss()(student, teacher, target)
    DynamicKDModule()(student, teacher, target)
    assert len(calls) == 2
    DynamicKDLoss(impl="eager")(student, teacher, target)
    DynamicKDLoss(granularity="pixel")(student, teacher, target)
    DynamicKDLoss()(student.double(), teacher, target)
    assert len(calls) == 2


@needs_gpu
@pytest.mark.parametrize("settings", [{}, {"granularity": "pixel"}, {"impl": "eager"}], ids=str)
def test_the_first_call_on_a_gpu_looks_at_values(settings):
    student, teacher, target = batch(shape=(2, 1, 32, 32))
    loss = DynamicKDLoss(**settings)
    with pytest.raises(ValueError, match=r"target: .* divide a 0-255 map by 255"):
        loss(student, teacher, 255 * target)
    with pytest.warns(UserWarning, match="student_logits: all values lie in"):
        loss(student.sigmoid(), teacher, target)
    loss(student, teacher, 255 * target)
    captured = DynamicKDLoss(**settings)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured(student, teacher, 255 * target)
    with pytest.raises(ValueError, match="divide a 0-255 map by 255"):
        captured(student, teacher, 255 * target)


@needs_gpu
def test_the_same_bits_ten_thousand_times():
    student, *rest = batch(shape=(9, 1, 130, 150))
    student.requires_grad_()
    loss = DynamicKDLoss()
    first = loss(student, *rest)
    (slope,) = torch.autograd.grad(first, student)
    with torch.no_grad():
        values = torch.stack([loss(student, *rest) for _ in range(10_000)])
    assert (values == first).all()
    for _ in range(100):
        assert torch.equal(torch.autograd.grad(loss(student, *rest), student)[0], slope)


@needs_gpu
def test_more_images_than_counters_are_kept_for():
    for _ in range(3):
        assert_as_good_as_eager(batch(shape=(5000, 1, 2, 2)))


@needs_gpu
# Loss and gradient come from streams of the test's choice, of which autograd warns.
@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream:UserWarning")
def test_cuda_graphs():
    shape = (3, 1, 64, 65)
    student, *rest = batch(shape=shape)
    student.requires_grad_()
    loss = DynamicKDLoss()
    loss(student, *rest).backward()
    captured = []
    for _ in range(2):  # replayed at the same time, so they may not share counters
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = loss(student, *rest)
            (slope,) = torch.autograd.grad(value, student)
        captured.append((graph, torch.cuda.Stream(), value, slope))
    with torch.no_grad():
        student.copy_(batch(shape=shape, seed=7)[0])
    expected = loss(student, *rest)
    (expected_slope,) = torch.autograd.grad(expected, student)
    torch.cuda.synchronize()
    for _ in range(50):
        for graph, stream, _, _ in captured:
            with torch.cuda.stream(stream):
                graph.replay()
    torch.cuda.synchronize()
    for _, _, value, slope in captured:
        assert torch.equal(value, expected)
        assert torch.equal(slope, expected_slope)


@needs_gpu
def test_streams_do_not_share_counters():
    inputs = batch(shape=(40, 1, 96, 96))
    loss = DynamicKDLoss()
    expected = loss(*inputs)
    streams = [torch.cuda.Stream() for _ in range(4)]
    torch.cuda.synchronize()
    values = []
    for _ in range(100):
        for stream in streams:
            with torch.cuda.stream(stream):
                values.append(loss(*inputs))
    torch.cuda.synchronize()
    assert (torch.stack(values) == expected).all()


@needs_gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_a_call_does_not_synchronize_with_the_device():
    student, teacher, target = batch()
    student.requires_grad_()
    loss = DynamicKDLoss()
    loss(student, teacher, target).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _, terms = loss.with_terms(student, teacher, target, target >= 0)
        loss(student, teacher, target).backward()
        DynamicKDLoss(check="off")(student, teacher, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert terms.weight.shape == (2,)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_the_gradient_and_less_than_a_megabyte(dtype):
    student, teacher, target = batch(shape=(16, 1, 512, 512), dtype=dtype)
    student.requires_grad_()
    loss = DynamicKDLoss()
    loss(student, teacher, target).backward()
    student.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss(student, teacher, target).backward()
    beyond = torch.cuda.max_memory_allocated() - before
    assert beyond - student.numel() * student.element_size() < 1e6


@needs_gpu
def test_more_than_two_thousand_million_pixels():
    if torch.cuda.mem_get_info()[0] < 24e9:
        pytest.skip("needs 24 GB of free memory")
    generator = torch.Generator(device="cuda").manual_seed(0)
    shape = (33, 1, 8192, 8192)
    student, teacher = (torch.randn(shape, generator=generator, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    target = torch.rand(shape, generator=generator, device="cuda", dtype=torch.bfloat16) > 0.5
    student.requires_grad_()
    losses = DynamicKDLoss(reduction="none")(student, teacher, target)
    losses.sum().backward()
    for image in (0, 32):
        alone = student.detach()[image : image + 1].requires_grad_()
        value = DynamicKDLoss()(alone, teacher[image : image + 1], target[image : image + 1])
        value.backward()
        assert value == losses[image]
        assert torch.equal(alone.grad[0], student.grad[image])
