"""The networks' input: red, green, blue and depth, each normalized."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406, 0.5)
"""Mean of red, green, blue and depth in [0, 1]. For colour it is ImageNet's, which VGG's published weights expect."""
DEVIATION = (0.229, 0.224, 0.225, 0.25)
"""Standard deviation of the same channels. Depth gets about the range of colour."""


def network_input(images: Tensor, depths: Tensor | None) -> Tensor:
    """Normalize images and depth maps for a network.

    Parameters
    ----------
    images : Tensor
        Shape (B, 3, H, W), uint8, red, green, blue.
    depths : Tensor or None
        Shape (B, 1, H, W), floating in [0, 1], near = bright.

    Returns
    -------
    Tensor
        Shape (B, 4, H, W), or (B, 3, H, W) without depth, float32, channels last in memory.

    Examples
    --------
    >>> import torch
    >>> network_input(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 4, 32, 32])
    """
    values = images.float() / 255
    if depths is not None:
        values = torch.cat([values, depths], dim=1)
    mean, deviation = _mean_and_deviation(values.shape[1], values.device)
    return ((values - mean) / deviation).contiguous(memory_format=torch.channels_last)


@cache
def _mean_and_deviation(channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and deviation on a device, made once: a CUDA graph cannot hold a copy from the host."""
    mean, deviation = (torch.tensor(each[:channels], device=device)[:, None, None] for each in (MEAN, DEVIATION))
    return mean, deviation
