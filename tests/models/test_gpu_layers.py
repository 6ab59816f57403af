"""Layers that stand in for torch's on a GPU: the same numbers, and a training step that runs through them."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch.nn import functional as F  # noqa: E402

from dynamic_kd.models import RFBTeacher, _layers  # noqa: E402

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def normalized(maps, weight, bias, groups):
    return _layers._GroupNorm.apply(maps.contiguous(memory_format=torch.channels_last), weight, bias, groups, 1e-5)


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    maps = 3 + 2 * torch.randn(3, 16, 5, 7, dtype=torch.float64, generator=generator)
    weight, bias = (torch.randn(16, dtype=torch.float64, generator=generator) for _ in range(2))
    return [each.requires_grad_() for each in (maps, weight, bias)]


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_group_norm_and_its_gradients_are_torchs(given, groups):
    maps, weight, bias = given
    result, expected = normalized(*given, groups), F.group_norm(maps, groups, weight, bias)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    incoming = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    slopes = (torch.autograd.grad(each, given, incoming) for each in (result, expected))
    for slope, exact in zip(*slopes, strict=True):
        torch.testing.assert_close(slope, exact, rtol=1e-10, atol=1e-11)


def test_group_norm_keeps_halves_and_the_order_in_memory(given):
    maps, weight, bias = (each.detach().float() for each in given)
    result = normalized(maps.bfloat16(), weight, bias, 4)
    assert result.dtype == torch.bfloat16
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.float(), F.group_norm(maps, 4, weight, bias), rtol=0.02, atol=0.03)


def test_what_follows_group_norm_may_change_it_in_place(given):
    torch.relu_(normalized(*given, 4)).sum().backward()
    slope, given[0].grad = given[0].grad, None
    F.relu(F.group_norm(given[0], 4, *given[1:])).sum().backward()
    torch.testing.assert_close(slope, given[0].grad, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("size", "wanted"), [((4, 5), (8, 10)), ((8, 6), (4, 3)), ((5, 5), (5, 5)), ((1, 3), (2, 6))])
def test_the_gradient_of_resizing_by_matrices_is_torchs(size, wanted):
    maps = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    incoming = torch.randn(2, 3, *wanted, dtype=torch.float64)
    F.interpolate(maps, size=wanted, mode="bilinear").backward(incoming)
    torch.testing.assert_close(_layers.resize_gradient(incoming, size), maps.grad, rtol=1e-6, atol=1e-6)


@needs_gpu
def test_a_step_on_a_gpu_is_one_on_the_cpu(monkeypatch):
    monkeypatch.setattr(_layers, "LARGE", 1)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model, images = RFBTeacher("tiny"), torch.rand(2, 4, 64, 64)
    slopes = []
    for device in ("cpu", "cuda"):
        torch.use_deterministic_algorithms(device == "cuda")
        model = model.to(device, memory_format=torch.channels_last)
        model.zero_grad()
        model(images.to(device, memory_format=torch.channels_last)).square().mean().backward()
        slopes.append([parameter.grad.cpu().clone() for parameter in model.parameters()])
    torch.use_deterministic_algorithms(False)
    for cpu, gpu in zip(*slopes, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-3, atol=1e-4 * float(cpu.abs().max()) + 1e-7)
