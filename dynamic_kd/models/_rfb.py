"""Receptive field block: parallel dilated convolutions, which widen the context of a pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from dynamic_kd.models._layers import GroupNorm

if TYPE_CHECKING:
    from torch import Tensor


class ReceptiveFieldBlock(nn.Module):
    """Sum a shortcut and four branches whose receptive fields are 3, 9, 15 and 21 pixels wide.

    A branch is a k x k convolution, split into 1 x k and k x 1, and a 3x3 convolution of dilation k, for k = 1, 3, 5
    and 7. Like the receptive fields of the eye, it samples more coarsely further away. Every convolution is normalized
    in groups of 8 channels; the original normalizes over the batch. A ReLU follows each convolution except before the
    sum of branches and shortcut.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    out_channels : int
        Channels of the output, which has the same size; a multiple of 8.

    References
    ----------
    Liu, Huang, Wang: Receptive Field Block Net for Accurate and Fast Object Detection, ECCV 2018. Four branches, up to
    k = 7, as in Wu, Su, Huang: Cascaded Partial Decoder for Fast and Accurate Salient Object Detection, CVPR 2019.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(in_channels, out_channels, k) for k in (1, 3, 5, 7))
        self.mix = _convolution(4 * out_channels, out_channels, (1, 1))
        self.shortcut = _convolution(in_channels, out_channels, (1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H, W)."""
        wide = self.mix(torch.cat([branch(features) for branch in self.branches], dim=1))
        return F.relu(wide + self.shortcut(features))


def _branch(in_channels: int, channels: int, k: int) -> nn.Sequential:
    layers = [_convolution(in_channels, channels, (1, 1))]
    if k > 1:
        layers += [_convolution(channels, channels, (1, k)), _convolution(channels, channels, (k, 1))]
    layers.append(_convolution(channels, channels, (3, 3), dilation=k))
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU(inplace=True))))


def _convolution(in_channels: int, channels: int, size: tuple[int, int], dilation: int = 1) -> nn.Sequential:
    padding = (dilation * (size[0] // 2), dilation * (size[1] // 2))
    convolution = nn.Conv2d(in_channels, channels, size, padding=padding, dilation=dilation)
    return nn.Sequential(convolution, GroupNorm(channels // 8, channels))
