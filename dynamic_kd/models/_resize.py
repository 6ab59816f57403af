"""Bilinear resizing whose gradient has the same bits on every run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize maps (B, C, H, W) to a height and width, as ``F.interpolate`` does without aligned corners.

    On a GPU its gradient adds up in whatever order threads come; where torch is told to be deterministic, it takes a
    way that is thirty times slower. There, the gradient is computed by two matrix products instead. Maps in half
    precision stay so under autocast, too, which would widen them and all that is added to them.
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
        # Called by its name, as F.interpolate would take the slow way in this direction, too.
        result: Tensor = torch.ops.aten.upsample_bilinear2d(maps, size, False)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return resize_gradient(gradient, ctx.size), None


def resize_gradient(gradient: Tensor, size: Sequence[int]) -> Tensor:
    """Return the gradient by maps of a size, (B, C, *size), from that by the resized maps; channels lie last."""
    shares = _shares if torch.compiler.is_compiling() else _kept_shares  # the compiler sees through no cache
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
    """Return how much of each source pixel goes into each pixel of the result, (source, result).

    Nothing is copied from the host, for this may become part of a CUDA graph.
    """
    return F.interpolate(torch.eye(source, device=device)[None], size=result, mode="linear")[0]


_kept_shares = cache(_shares)
