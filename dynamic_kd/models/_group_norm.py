"""Group normalisation of maps whose channels lie last in memory, as convolutions on GPUs want them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

LARGE = 2**20


class GroupNorm(nn.GroupNorm):
    """The same numbers as torch's, up to rounding.

    On a GPU torch's own first brings channels back to the front, then gives each group of each image one block of
    threads, which leaves most of the device idle with a few images; under autocast it widens the maps, too. This one
    reads them as they lie and adds up in float32. On small maps launching its dozen kernels would take longer.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        large = maps.is_cuda and maps.numel() >= LARGE
        if large and maps.is_contiguous(memory_format=torch.channels_last):
            with torch.autocast("cuda", enabled=False):
                settings = self.weight, self.bias, self.num_groups, self.eps
                result: Tensor = _GroupNorm.apply(maps, *settings)  # type: ignore[no-untyped-call]
            return result
        return super().forward(maps)


class _GroupNorm(torch.autograd.Function):
    """y = x scale + shift, both (B, C); sums over pixels by channel, then over the channels of a group."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        pixels = _pixels(maps)
        count = pixels.shape[1] * pixels.shape[2] // groups
        wide = torch.promote_types(maps.dtype, torch.float32)
        total = pixels.sum(dim=1, dtype=wide)
        squares = torch.linalg.vector_norm(pixels, dim=1, dtype=wide).square()
        mean = _by_group(total, groups) / count
        deviation = (_by_group(squares, groups) / count - mean.square()).clamp(min=0).add(eps).rsqrt()
        scale = weight * deviation
        ctx.save_for_backward(maps, weight, mean, deviation)
        ctx.groups, ctx.count = groups, count
        result = torch.empty_like(maps)  # not a view of pixels, which nobody could change in place
        _scaled(pixels, scale, bias - mean * scale, out=_pixels(result))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, mean, deviation = ctx.saved_tensors
        pixels, slopes = _pixels(maps), _pixels(gradient.contiguous(memory_format=torch.channels_last))
        total = slopes.sum(dim=1, dtype=mean.dtype)
        normalized = ((slopes * pixels).sum(dim=1, dtype=mean.dtype) - mean * total) * deviation
        level = _by_group(weight * total, ctx.groups) / ctx.count
        tilt = _by_group(weight * normalized, ctx.groups) / ctx.count
        along = -tilt * deviation.square()
        result = torch.empty_like(maps)
        rest = _scaled(pixels, along, -level * deviation - along * mean, out=_pixels(result))
        rest.addcmul_(slopes, (weight * deviation)[:, None].to(slopes.dtype))
        return result, normalized.sum(dim=0), total.sum(dim=0), None, None


def _pixels(maps: Tensor) -> Tensor:
    """Return (B, H W, C) without moving anything."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _by_group(sums: Tensor, groups: int) -> Tensor:
    """Add up the channels of each group, (B, C) again."""
    size = sums.shape[1] // groups
    return sums.view(len(sums), groups, size).sum(dim=2, keepdim=True).expand(-1, -1, size).flatten(1)


def _scaled(pixels: Tensor, scale: Tensor, shift: Tensor, *, out: Tensor) -> Tensor:
    """Write pixels scale + shift in the pixels' dtype, in one pass."""
    return torch.addcmul(shift[:, None], pixels, scale[:, None], out=out)
