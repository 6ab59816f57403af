"""Receptive field block: parallel dilated convolutions, which let a pixel see its wide surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import Tensor


class ReceptiveFieldBlock(nn.Module):
    """Add to a shortcut what three branches see, 3, 9 and 15 pixels wide.

    A branch is a k x k convolution, in two strips, and a 3x3 one of dilation k, for k = 1, 3 and 5: like the
    receptive fields of the eye, it samples the more coarsely the further it looks.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of the input and of the output, which has the same size.

    References
    ----------
    Liu, Huang, Wang: Receptive Field Block Net for Accurate and Fast Object Detection, ECCV 2018.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(in_channels, out_channels, k) for k in (1, 3, 5))
        self.mix = nn.Conv2d(3 * out_channels, out_channels, 1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        seen = self.mix(torch.cat([branch(features) for branch in self.branches], dim=1))
        return F.relu(seen + self.shortcut(features))


def _branch(in_channels: int, channels: int, k: int) -> nn.Sequential:
    strips = [
        nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2)),
        nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0)),
    ]
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1),
        *(strips if k > 1 else ()),
        nn.Conv2d(channels, channels, 3, padding=k, dilation=k),
    )
