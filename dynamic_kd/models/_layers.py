"""Layers that give torch's numbers and suit training on GPUs better: group normalization, and bilinear resizing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Elements of a map from which on the layer below is faster than torch's: launching its dozen kernels takes time.
LARGE = 2**20


class GroupNorm(nn.GroupNorm):
    """Group normalization with the same numbers as torch's, up to rounding.

    On a GPU torch's layer first copies channels to the front, and then uses one block of threads for each group of each
    image, which leaves most of the device idle for small batches. Under autocast it also widens the maps. This layer
    reads large maps whose channels lie last in memory in place, and sums in float32.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalize (B, C, H, W)."""
        large = maps.is_cuda and maps.numel() >= LARGE
        if large and maps.is_contiguous(memory_format=torch.channels_last):
            with torch.autocast("cuda", enabled=False):
                settings = self.weight, self.bias, self.num_groups, self.eps
                result: Tensor = _GroupNorm.apply(maps, *settings)  # type: ignore[no-untyped-call]
            return result
        return super().forward(maps)


class _GroupNorm(torch.autograd.Function):
    """y = x scale + shift, both (B, C), from sums over the pixels of a channel and over the channels of a group."""

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
        result = torch.empty_like(maps)  # a view of pixels could not be changed in place afterwards
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
    """Return a view of shape (B, H W, C)."""
    return maps.permute(0, 2, 3, 1).flatten(1, 2)


def _by_group(sums: Tensor, groups: int) -> Tensor:
    """Sum over the channels of each group; shape (B, C) as before."""
    size = sums.shape[1] // groups
    return sums.view(len(sums), groups, size).sum(dim=2, keepdim=True).expand(-1, -1, size).flatten(1)


def _scaled(pixels: Tensor, scale: Tensor, shift: Tensor, *, out: Tensor) -> Tensor:
    """Write pixels scale + shift in the pixels' dtype, in one pass."""
    return torch.addcmul(shift[:, None], pixels, scale[:, None], out=out)


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (B, C, H, W) to a height and width, as ``F.interpolate`` does without aligned corners.

    On a GPU torch sums the gradient in no fixed order, and its deterministic version is thirty times slower. If torch
    is set to be deterministic, two matrix products compute the gradient instead. Under autocast, maps in half precision
    stay in half precision.
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if not maps.is_cuda:
        return F.interpolate(maps, size=tuple(size), mode="bilinear")
    with torch.autocast("cuda", enabled=False):
        if not torch.are_deterministic_algorithms_enabled():
            return F.interpolate(maps, size=tuple(size), mode="bilinear")
        result: Tensor = _Resize.apply(maps, size)  # type: ignore[no-untyped-call]
        return result


class _Resize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: Sequence[int]) -> Tensor:
        ctx.size = maps.shape[-2:]
        # F.interpolate would be slow in this direction too.
        result: Tensor = torch.ops.aten.upsample_bilinear2d(maps, size, False)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return resize_gradient(gradient, ctx.size), None


def resize_gradient(gradient: Tensor, size: Sequence[int]) -> Tensor:
    """Return the gradient with respect to the maps, (B, C, *size), from that of the resized maps; channels lie last."""
    shares = _shares if torch.compiler.is_compiling() else _kept_shares  # torch.compile does not trace the cache
    by_row, by_column = (
        shares(source, result, gradient.device).to(gradient.dtype)
        for source, result in zip(size, gradient.shape[-2:], strict=True)
    )
    last = gradient.permute(0, 2, 3, 1).contiguous()
    narrow = by_column @ last
    low = by_row @ narrow.flatten(2)
    result: Tensor = low.view(len(low), *size, -1).permute(0, 3, 1, 2)
    return result


def _shares(source: int, result: int, device: torch.device) -> Tensor:
    """Return the share of each source pixel in each pixel of the result, (source, result).

    Nothing is copied from the host, because this may become part of a CUDA graph.
    """
    return F.interpolate(torch.eye(source, device=device)[None], size=result, mode="linear")[0]


_kept_shares = cache(_shares)
