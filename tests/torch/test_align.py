"""Bringing a teacher's output to the student's resolution."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dynamic_kd.torch import DynamicKDLoss, align_teacher  # noqa: E402  (after torch is known to be there)


@pytest.fixture
def logits():
    return torch.randn(2, 1, 4, 6, dtype=torch.float64, generator=torch.manual_seed(0))


@pytest.mark.parametrize("size", [(8, 12), (3, 5), (7, 6), (1, 1)])
def test_probabilities_are_what_is_interpolated(logits, size):
    expected = torch.nn.functional.interpolate(torch.sigmoid(logits), size, mode="bilinear", align_corners=False)
    aligned = align_teacher(logits, size)
    assert aligned.shape == (2, 1, *size)
    torch.testing.assert_close(torch.sigmoid(aligned), expected)


def test_pixel_centres_keep_their_places():
    """Twice the size puts new pixels at a quarter and three quarters between old ones, as align_corners=False does."""
    resized = torch.sigmoid(align_teacher(torch.logit(torch.tensor([[[0.2, 0.8]]])), (1, 4)))
    torch.testing.assert_close(resized, torch.tensor([[[0.2, 0.35, 0.65, 0.8]]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("level", [-60.0, -1.0, 0.0, 20.0, 80.0])
def test_a_constant_map_stays_what_it_is(dtype, level):
    aligned = align_teacher(torch.full((1, 1, 4, 4), level, dtype=dtype), (7, 9))
    assert aligned.dtype == dtype
    torch.testing.assert_close(aligned, torch.full((1, 1, 7, 9), level, dtype=dtype))


def test_extreme_logits_stay_finite():
    checkered = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], dtype=torch.float16)
    assert torch.isfinite(align_teacher(checkered, (5, 5))).all()
    assert align_teacher(torch.full((1, 2, 2), 1e4), (3, 3)).min() > 87


def test_two_channels_keep_their_margin(logits):
    two = torch.cat((torch.full_like(logits, 3.0), logits + 3), dim=1)
    aligned = align_teacher(two, (8, 12))
    assert aligned.shape == (2, 2, 8, 12)
    torch.testing.assert_close(aligned[:, 1:] - aligned[:, :1], align_teacher(logits, (8, 12)))


def test_the_channel_axis_is_optional(logits):
    torch.testing.assert_close(align_teacher(logits[:, 0], (8, 12)), align_teacher(logits, (8, 12))[:, 0])


@pytest.mark.parametrize("shape", [(2, 4, 6), (2, 1, 4, 6), (2, 2, 4, 6)])
def test_the_right_size_is_left_alone(shape):
    teacher = torch.zeros(shape)
    assert align_teacher(teacher, torch.Size((4, 6))) is teacher


def test_the_loss_accepts_what_it_returns(logits):
    student, mask = torch.zeros(2, 1, 8, 8, dtype=torch.float64), torch.ones(2, 8, 8)
    with pytest.raises(ValueError, match=r"dynamic_kd\.torch\.align_teacher"):
        DynamicKDLoss()(student, logits, mask)
    assert torch.isfinite(DynamicKDLoss()(student, align_teacher(logits, student.shape[-2:]), mask))


@pytest.mark.parametrize("shape", [(4, 6), (2, 3, 4, 6), (2, 1, 1, 4, 6), (0, 1, 4, 6)])
def test_wrong_shapes(shape):
    with pytest.raises(
        ValueError, match=r"teacher_logits: expected shape \(B, 1, H, W\), \(B, 2, H, W\) or \(B, H, W\)"
    ):
        align_teacher(torch.zeros(shape), (8, 8))


def test_other_libraries_are_refused():
    with pytest.raises(TypeError, match="teacher_logits: expected a torch tensor, got list"):
        align_teacher([[[0.0]]], (2, 2))


def test_integers_are_refused():
    with pytest.raises(TypeError, match=r"teacher_logits: expected floating point, got torch\.uint8; cast them"):
        align_teacher(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), (8, 8))


@pytest.mark.parametrize("size", [8, (8,), (8, 8, 8), (8.0, 8), "ab"])
def test_the_size_is_a_pair_of_integers(size):
    with pytest.raises(TypeError, match=r"size: expected two integers \(H, W\), got"):
        align_teacher(torch.zeros(1, 1, 4, 4), size)


def test_the_size_is_positive():
    with pytest.raises(ValueError, match=r"size: expected positive \(H, W\), got \(0, 8\)"):
        align_teacher(torch.zeros(1, 1, 4, 4), (0, 8))
