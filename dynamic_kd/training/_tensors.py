"""Samples as tensors, and the one geometric transform that image, depth and mask share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Generator, Tensor

    from dynamic_kd.data import Sample

# ImageNet's mean and standard deviation of red, green and blue; depth is brought to about the same range.
_MEAN = torch.tensor([0.485, 0.456, 0.406, 0.5])[:, None, None]
_DEVIATION = torch.tensor([0.229, 0.224, 0.225, 0.25])[:, None, None]


class Tensors(NamedTuple):
    """A data set in memory.

    Attributes
    ----------
    inputs : Tensor
        Colour and depth, normalised, shape (N, 4, H, W).
    targets : Tensor
        Masks as 0 and 1, shape (N, 1, H, W), float32.
    """

    inputs: Tensor
    targets: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Tensors:
        """Stack samples of one size."""
        images = torch.from_numpy(np.stack([sample.image for sample in samples])).permute(0, 3, 1, 2) / 255
        depths = torch.from_numpy(np.stack([sample.depth for sample in samples]))[:, None]
        masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))[:, None]
        return cls((torch.cat([images, depths], dim=1) - _MEAN) / _DEVIATION, masks.float())

    def take(self, index: Tensor) -> Tensors:
        """Return the images at the given positions."""
        return Tensors(self.inputs[index], self.targets[index])


def augmented(batch: Tensors, generator: Generator, rotation: float) -> Tensors:
    """Flip half of the images left to right and turn each by up to ``rotation`` degrees, masks alike.

    What comes into view is the edge repeated in the inputs, and background in the masks, whose edges become soft.
    """
    count = len(batch.inputs)
    mirror = torch.randint(0, 2, (count,), generator=generator) * 2.0 - 1
    turn = (torch.rand(count, generator=generator) * 2 - 1) * math.radians(rotation)
    cosine, sine, zero = turn.cos(), turn.sin(), torch.zeros(count)
    rows = torch.stack([cosine * mirror, -sine, zero, sine * mirror, cosine, zero], dim=1)
    grid = F.affine_grid(rows.view(count, 2, 3), list(batch.inputs.shape), align_corners=False)
    inputs = F.grid_sample(batch.inputs, grid, padding_mode="border", align_corners=False)
    return Tensors(inputs, F.grid_sample(batch.targets, grid, align_corners=False))
