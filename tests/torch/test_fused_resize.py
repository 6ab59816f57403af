"""Logits of other sizes in the fused loss, against float64: on a GPU, else interpreted on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamic_kd.losses import DynamicKDLoss

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from dynamic_kd.torch import fused_unavailable_reason  # noqa: E402  (needs what is looked for above)
from dynamic_kd.torch._fused import _available, _op  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = "cuda" if GPU else "cpu"
# What lies in memory that no kernel has written may be no number, which the interpreter's NumPy remarks on.
pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
runs_kernels = pytest.mark.skipif(not (GPU or INTERPRETED), reason="needs a CUDA device, or Triton's interpreter")
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a CUDA device")


@pytest.mark.skipif(GPU or INTERPRETED, reason="the kernels run in this process")
def test_the_kernels_under_tritons_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    root = Path(__file__).parents[2]
    result = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout


def loss_of(impl="fused", **settings):
    return DynamicKDLoss(resize="bilinear", impl=impl, **settings)


def batch(size, target_size, teacher_size=None, *, channels=1, maps=False, dtype=torch.float32, images=2):
    """Student and teacher logits (or the teacher's maps) and a target; the first teacher is mostly right."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return 3 * torch.randn(images, *shape, generator=generator)

    target = (torch.rand(images, 1, *target_size, generator=generator) > 0.6).float()
    student, teacher = normal(channels, *size), normal(1, *(teacher_size or target_size))
    if teacher_size is None:
        teacher[0] = (2 * target[0] - 1) * (3 + teacher[0].abs())
    teacher = teacher.sigmoid() if maps else teacher
    return [each.to(DEVICE) for each in (student.to(dtype), teacher.to(dtype), target)]


def some_valid(target):
    """Mark some pixels of each image but the second, which has none."""
    valid = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) > 0.3
    valid[1:2] = False
    return valid.to(DEVICE)


def value_and_gradient(loss, student, *rest):
    """Loss and gradient, for a gradient coming in that is not one."""
    student = student.detach().requires_grad_()
    value = loss(student, *rest)
    generator = torch.Generator().manual_seed(0)
    value.backward((0.5 + torch.rand(value.shape, generator=generator)).to(value))
    return value.detach().double(), student.grad.double()


def assert_as_good_as_eager(inputs, valid=None, unit=1e-6, **settings):
    """Fused errors against float64 are at most the eager ones and a little more; gradients by the largest of them."""
    wide = [each.double() for each in inputs]
    (exact, exact_slope), (eager, eager_slope), (fused, fused_slope) = (
        value_and_gradient(loss_of(impl, **settings), *given, valid)
        for impl, given in (("eager", wide), ("eager", inputs), ("fused", inputs))
    )
    if INTERPRETED and inputs[0].dtype == torch.bfloat16:
        unit = 2**-7  # Triton's interpreter cuts float32 to bfloat16 instead of rounding it
    torch.testing.assert_close(fused, exact, rtol=1e-6, atol=1e-7 + (eager - exact).abs().max().item())
    allowed = (eager_slope - exact_slope).abs().max() + unit * exact_slope.abs().max() + 1e-9
    assert ((fused_slope - exact_slope).abs() <= allowed).all()


@pytest.fixture
def kernels_alone(monkeypatch):
    """Fail where PyTorch's interpolation is called."""
    monkeypatch.setattr(_op.F, "interpolate", lambda *given, **options: pytest.fail("interpolated outside"))
    monkeypatch.setattr(_op, "_launches", {})


SIZES = {
    "a quarter": ((3, 4), (12, 16)),
    "an eighth": ((3, 2), (24, 16)),
    "a half": ((5, 7), (10, 14)),
    "a sixteenth": ((2, 3), (32, 48)),
    "ratios that differ": ((2, 5), (50, 10)),
    "one axis": ((4, 6), (4, 12)),
    "one pixel": ((1, 1), (9, 16)),
    "one row": ((1, 7), (9, 14)),
    "one column": ((7, 1), (21, 32)),
    "many rows": ((19, 2), (38, 4)),
}


@runs_kernels
@pytest.mark.parametrize("ratio", SIZES)
def test_any_ratio(ratio, kernels_alone):
    inputs = batch(*SIZES[ratio])
    assert_as_good_as_eager(inputs, some_valid(inputs[2]) if list(SIZES).index(ratio) % 2 else None)


@runs_kernels
@pytest.mark.parametrize("teacher_size", [(3, 4), (12, 16), (2, 7), (12, 4), (1, 1), (11, 15)], ids=str)
@pytest.mark.parametrize("maps", [False, True])
def test_the_teacher_has_its_own_size(teacher_size, maps, kernels_alone):
    inputs = batch((3, 4), (12, 16), teacher_size, maps=maps)
    settings = {"teacher": "probabilities", "weighting": "a2dele"} if maps else {}
    valid = some_valid(inputs[2]) if teacher_size[0] % 2 else None
    assert_as_good_as_eager(inputs, valid, noise_elimination=None, **settings)


@runs_kernels
@pytest.mark.parametrize(
    ("sizes", "teacher_size", "warps"),
    [(((3, 70), (6, 140)), None, 1), (((3, 40), (12, 160)), (3, 40), 8), (((2, 33), (4, 66)), (1, 9), 8)],
    ids=str,
)
def test_rows_of_several_tiles(sizes, teacher_size, warps, kernels_alone, monkeypatch):
    """As on wide maps: neighbours beyond a tile are computed twice, and nothing is counted twice."""
    monkeypatch.setattr("dynamic_kd.torch._fused._plans.FEWEST_PIXELS", 16)
    monkeypatch.setattr("dynamic_kd.torch._fused._plans.MOST_PIXELS", 64)
    monkeypatch.setattr("dynamic_kd.torch._fused._plans.MOST_WARPS", warps)
    inputs = batch(*sizes, teacher_size)
    assert_as_good_as_eager(inputs, some_valid(inputs[2]))


@runs_kernels
@pytest.mark.parametrize(
    ("multiprocessors", "sizes"), [(1, ((17, 4), (17, 16))), (8, ((9, 4), (45, 16))), (1000, ((3, 4), (9, 16)))]
)
def test_strips_of_any_height(multiprocessors, sizes, kernels_alone, monkeypatch):
    monkeypatch.setattr("dynamic_kd.torch._fused._launches._multiprocessors", lambda device: multiprocessors)
    assert_as_good_as_eager(batch(*sizes))


@runs_kernels
@pytest.mark.parametrize(
    ("dtype", "target_dtype", "channels", "reduction"),
    [
        (torch.float32, torch.uint8, 2, "sum"),
        (torch.float16, torch.bool, 1, "none"),
        (torch.bfloat16, torch.int64, 1, "mean"),
        (torch.bfloat16, torch.float64, 2, "none"),
    ],
)
def test_dtypes_and_channels(dtype, target_dtype, channels, reduction, kernels_alone):
    student, teacher, target = batch((3, 4), (12, 16), channels=channels, dtype=dtype)
    assert_as_good_as_eager([student, teacher, target.to(target_dtype)], reduction=reduction)


@runs_kernels
@pytest.mark.parametrize("temperature", [1.0, 2.5, 40.0])
def test_temperatures(temperature, kernels_alone):
    assert_as_good_as_eager(batch((3, 4), (12, 16)), temperature=temperature)


@runs_kernels
@pytest.mark.parametrize("size", [(4, 4), (1, 8)], ids=str)
def test_products_of_many_quotients(size, kernels_alone):
    """Where nothing agrees, a running product of quotients is largest and smallest."""
    _, _, target = batch(size, (64, 64), images=1)
    sure = 200 * (2 * target - 1)
    flat = torch.ones(1, 1, *size, device=DEVICE)
    for student, teacher in ((0 * flat, sure), (200 * flat, 0 * sure), (200 * flat, -200 + 0 * sure)):
        assert_as_good_as_eager([student, teacher, target], temperature=1.0)


@runs_kernels
def test_any_strides(kernels_alone):
    inputs = batch((3, 4), (12, 16), channels=2)
    given = [*inputs, some_valid(inputs[2])]
    plain = value_and_gradient(loss_of(), *given)
    turned = [each.mT.contiguous().mT for each in given]
    last = [each.contiguous(memory_format=torch.channels_last) for each in given]
    apart = [torch.stack([each, each], 1)[:, 1] for each in given]
    for others in (turned, last, apart, [*turned[:2], *apart[2:]]):
        result = value_and_gradient(loss_of(), *others)
        assert all(torch.equal(*pair) for pair in zip(plain, result, strict=True))


@runs_kernels
def test_terms(kernels_alone):
    inputs = batch((3, 4), (12, 16), (2, 7))
    valid = some_valid(inputs[2])
    loss, terms = loss_of().with_terms(*inputs, valid)
    _, expected = loss_of("eager").with_terms(*(each.double() for each in inputs), valid)
    assert loss == loss_of()(*inputs, valid)
    for name, value in terms._asdict().items():
        torch.testing.assert_close(value.double(), getattr(expected, name).double(), rtol=1e-6, atol=1e-6)


@runs_kernels
def test_what_invalid_pixels_hold_does_not_matter(kernels_alone):
    student, teacher, target = batch((3, 4), (12, 16))
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[:, :, 3:9, 5:12] = False
    plain = value_and_gradient(loss_of(), student, teacher, target, valid)
    spoilt = [each.masked_fill(~valid, torch.nan) for each in (teacher, target)]
    other = value_and_gradient(loss_of(), student, *spoilt, valid)
    assert all(torch.equal(*pair) for pair in zip(plain, other, strict=True))
    assert value_and_gradient(loss_of(check="off"), student, *spoilt)[0].isnan()


@runs_kernels
def test_a_bad_student_pixel_harms_its_neighbours_alone(kernels_alone):
    """Where the interpolation does not read it, its weight of 0 must not make it NaN."""
    student, teacher, target = batch((3, 4), (12, 16))
    student[0, 0, 1, 2] = torch.nan
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[0, :, 2:10, 6:14] = False  # from the centre of one neighbour to that of the other
    value, slope = value_and_gradient(loss_of(), student, teacher, target, valid)
    assert value.isfinite()
    assert slope.isfinite().all()


@runs_kernels
@pytest.mark.parametrize(
    ("size", "teacher_size"),
    [
        ((15, 4), None),
        ((3, 30), (3, 4)),
        ((12, 16), (3, 4)),
        ((3, 4), (15, 30)),
        ((3, 4), (2, 30)),
        ((20, 20), (20, 20)),
        ((5, 7), None),
        ((4, 2), (4, 2)),
        ((11, 15), (3, 4)),
        ((4, 16), None),
    ],
    ids=str,
)
def test_what_the_kernels_do_not_interpolate(size, teacher_size):
    maps = size[0] == 3
    inputs = batch(size, (12, 16), teacher_size, maps=maps, channels=2)
    assert_as_good_as_eager(inputs, some_valid(inputs[2]), teacher="probabilities" if maps else "logits", unit=1e-5)


@runs_kernels
@pytest.mark.parametrize(
    ("target_size", "inside"),
    [
        ((12, 16), True),
        ((192, 256), True),
        ((3, 8), True),
        ((195, 8), False),
        ((3, 512), False),
        ((12, 12), False),
        ((13, 16), False),
        ((12, 17), False),
        ((12, 4), False),
        ((2, 8), False),
        ((3, 2), False),
    ],
)
def test_ratios_that_the_kernels_interpolate(target_size, inside):
    assert _available.interpolates_student(torch.Size((3, 4)), torch.Size(target_size)) == inside


def test_teachers_that_the_kernels_interpolate():
    assert _available.interpolates_teacher(torch.Size((3, 4)), torch.Size((5, 4)))
    assert not _available.interpolates_teacher(torch.Size((3, 5)), torch.Size((5, 4)))
    assert not _available.interpolates_teacher(torch.Size((2**14, 4)), torch.Size((2**15, 4)))


@runs_kernels
def test_the_op_that_compilers_see():
    student, teacher, target = batch((2, 3), (4, 6))
    given = (student.requires_grad_(), teacher, target, None, loss_of()._json)
    torch.library.opcheck(torch.ops.dynamic_kd.fused_loss.default, given)


@runs_kernels
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # inductor's own import
def test_it_compiles_to_one_graph(dynamic):
    torch.compiler.reset()
    loss = loss_of()
    backend = "inductor" if GPU else "aot_eager"
    compiled = torch.compile(lambda s, *given: loss(1.5 * s, *given), fullgraph=True, dynamic=dynamic, backend=backend)
    for sizes in (((4, 3), (8, 12)), ((3, 5), (6, 10)), ((3, 5), (8, 13))):
        inputs = batch(*sizes)
        expected = value_and_gradient(lambda s, *given: loss(1.5 * s, *given), *inputs)
        for mine, other in zip(value_and_gradient(compiled, *inputs), expected, strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)


@runs_kernels
def test_equal_inputs_are_checked_by_their_own_settings():
    """Inputs that passed with the setting are refused without it."""
    student, teacher, target = batch((3, 4), (6, 8))
    loss_of()(student, teacher, target)
    with pytest.raises(ValueError, match=r"teacher_logits: .* set resize='bilinear', or resize the teacher with"):
        DynamicKDLoss(impl="fused")(student, teacher, target)
    with pytest.raises(ValueError, match="valid: expected the resolution of target"):
        loss_of()(student, teacher, target, student > 0)
    assert fused_unavailable_reason(student, teacher, target, resize="bilinear") is None


@needs_gpu
def test_the_same_bits_every_time():
    student, *rest = batch((33, 40), (132, 160), images=9)
    student.requires_grad_()
    loss = DynamicKDLoss(resize="bilinear")
    first = loss(student, *rest)
    (slope,) = torch.autograd.grad(first, student)
    for _ in range(300):
        value = loss(student, *rest)
        assert value == first
        assert torch.equal(torch.autograd.grad(value, student)[0], slope)


@needs_gpu
# Loss and gradient come from streams of the test's choice, of which autograd warns.
@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream:UserWarning")
def test_cuda_graphs():
    student, *rest = batch((16, 17), (64, 68))
    student.requires_grad_()
    loss = DynamicKDLoss(resize="bilinear")
    loss(student, *rest).backward()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = loss(student, *rest)
        (slope,) = torch.autograd.grad(value, student)
    with torch.no_grad():
        student.mul_(-0.7)
    expected = loss(student, *rest)
    (expected_slope,) = torch.autograd.grad(expected, student)
    for _ in range(50):
        graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(value, expected)
    assert torch.equal(slope, expected_slope)


@needs_gpu
@pytest.mark.parametrize("teacher_size", [None, (128, 128), (64, 96)], ids=str)
def test_memory_is_the_gradient_and_less_than_a_megabyte(teacher_size):
    student, teacher, target = batch((128, 128), (512, 512), teacher_size, images=16)
    target = target.to(torch.uint8)
    student.requires_grad_()
    loss = DynamicKDLoss(resize="bilinear")
    loss(student, teacher, target).backward()
    student.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    loss(student, teacher, target).backward()
    beyond = torch.cuda.max_memory_allocated() - before
    assert beyond - student.nbytes < 1e6


@needs_gpu
@pytest.mark.parametrize(
    "sizes",
    [((256, 256), (1024, 1024)), ((88, 88), (352, 352)), ((300, 300), (1200, 1200)), ((15, 20), (480, 640))],
    ids=str,
)
def test_sizes_of_networks(sizes):
    inputs = batch(*sizes)
    assert_as_good_as_eager(inputs)
    assert_as_good_as_eager([each.bfloat16() for each in inputs[:2]] + inputs[2:])
