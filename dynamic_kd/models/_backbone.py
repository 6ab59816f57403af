"""VGG-style trunks: stages of 3x3 convolutions, each stage at half the resolution of the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from dynamic_kd._checks import check_choice
from dynamic_kd.models._layers import GroupNorm

if TYPE_CHECKING:
    from torch import Tensor


class Trunk(NamedTuple):
    """Widths of a trunk's convolutions by stage, and of the pyramids on top of it."""

    stages: tuple[tuple[int, ...], ...]
    student: int
    teacher: int
    stride: int = 1
    normalized: bool = False


_TRUNKS = {
    "vgg16": Trunk(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), student=64, teacher=64),
    "vgg19": Trunk(((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4), student=64, teacher=64),
    "tiny": Trunk(((8,), (16,), (24,), (32,), (32,)), student=8, teacher=24, stride=2, normalized=True),
}
BACKBONES = tuple(_TRUNKS)
"""Names of the trunks."""


def trunk(backbone: str) -> Trunk:
    """Return the widths of a trunk; a ``ValueError`` lists the known names."""
    check_choice("backbone", backbone, BACKBONES)
    return _TRUNKS[backbone]


class Backbone(nn.Module):
    """Turn images into one feature map per stage.

    The layers form one flat ``features`` sequence, so that the state dicts of ``"vgg16"`` and ``"vgg19"`` have
    torchvision's keys. ``"tiny"`` is for training on a CPU: it starts at half resolution, and normalizes in groups of 8
    channels because it starts from random weights.

    Parameters
    ----------
    name : {"vgg16", "vgg19", "tiny"}
        The trunk.
    in_channels : int
        Channels of the input: 4 for colour and depth, 3 for colour alone.

    Attributes
    ----------
    channels : tuple of int
        Channels of each stage's feature map, from fine to coarse.
    reduction : int
        The input's height over the coarsest map's, which is also the least height and width of an input.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        stages, _, _, stride, normalized = trunk(name)
        self.channels = tuple(stage[-1] for stage in stages)
        self.reduction = stride * 2 ** (len(stages) - 1)
        layers: list[nn.Module] = []
        self._ends = []
        for stage in stages:
            for width in stage:
                layers.append(nn.Conv2d(in_channels, width, 3, stride=stride, padding=1))
                if normalized:
                    layers.append(GroupNorm(width // 8, width))
                layers.append(nn.ReLU(inplace=True))
                in_channels, stride = width, 1
            self._ends.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (B, C, H, W) to the stages' feature maps, from fine to coarse."""
        maps = []
        start = 0
        for end in self._ends:
            images = self.features[start:end](images)
            maps.append(images)
            start = end
        return maps
