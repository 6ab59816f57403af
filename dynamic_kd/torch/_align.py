"""Bringing a teacher's output to the student's resolution."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import Tensor


def align_teacher(teacher_logits: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Resize a teacher's logits to the student's resolution, as probabilities.

    Saliency and its complement are interpolated bilinearly and turned back into a logit:

    .. math:: z' = \log R(\sigma(z)) - \log R(\sigma(-z))

    If logits were averaged instead, one very confident pixel would outweigh its neighbours.

    Parameters
    ----------
    teacher_logits : Tensor, shape (B, 1, h, w), (B, 2, h, w) or (B, h, w)
        Logits, floating point; of two channels the second is the salient one.
    size : tuple of int
        (H, W), for example ``student_logits.shape[-2:]``.

    Returns
    -------
    Tensor, shape (B, 1, H, W), (B, 2, H, W) or (B, H, W)
        Logits with the same number of channels and dtype. If they already have the size, the same object.

    Raises
    ------
    TypeError
        If the logits are not floating point, or the size is not a pair of integers.
    ValueError
        If the logits have another shape, or the size is not positive.

    Notes
    -----
    The complement is interpolated too because a probability that rounds to 1 would lose its logit; a constant map is
    left unchanged. Logits beyond ±87 (float32) are returned as ±87. There is no antialiasing, as in torch's
    ``interpolate(mode="bilinear", align_corners=False)``.

    Examples
    --------
    >>> align_teacher(torch.tensor([[[4.0, -4.0]]]), (1, 3))[0, 0].round(decimals=3).abs()
    tensor([4., 0., 4.])
    """
    height, width = _size(size)
    if not isinstance(teacher_logits, Tensor):
        raise TypeError(f"teacher_logits: expected a torch tensor, got {type(teacher_logits).__name__}")
    shape = tuple(teacher_logits.shape)
    if not teacher_logits.is_floating_point():
        raise TypeError(f"teacher_logits: expected floating point, got {teacher_logits.dtype}; cast them")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[1] not in (1, 2)) or 0 in shape:
        raise ValueError(
            f"teacher_logits: expected shape (B, 1, H, W), (B, 2, H, W) or (B, H, W) without empty axes, got {shape}; "
            f"give one logit per pixel"
        )
    if shape[-2:] == (height, width):
        return teacher_logits

    wide = teacher_logits.to(torch.promote_types(teacher_logits.dtype, torch.float32))
    planes = wide[:, None] if wide.ndim == 3 else wide
    z = planes if planes.shape[1] == 1 else planes[:, 1:] - planes[:, :1]
    both = torch.sigmoid(torch.cat((-z, z), dim=1))
    resized = F.interpolate(both, size=(height, width), mode="bilinear", align_corners=False)
    logs = resized.clamp(min=torch.finfo(wide.dtype).tiny).log().to(teacher_logits.dtype)
    if planes.shape[1] == 2:
        return logs
    margin = logs[:, 1:] - logs[:, :1]
    return margin[:, 0] if len(shape) == 3 else margin


def _size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (H, W) as two positive Python integers."""
    try:
        height, width = map(operator.index, size)
    except (TypeError, ValueError):
        raise TypeError(f"size: expected two integers (H, W), got {size!r}") from None
    if min(height, width) < 1:
        raise ValueError(f"size: expected positive (H, W), got {(height, width)}")
    return height, width
