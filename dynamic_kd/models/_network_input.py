"""The networks' input: red, green, blue and depth, each normalised."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from dynamic_kd.models._backbone import DEVIATION, MEAN


def network_input(images: Tensor, depths: Tensor | None) -> Tensor:
    """Normalise images and depth maps for a network.

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
