"""The counters by which a kernel's last program is found: zeros that every launch leaves zero again."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

COUNTERS = 4096
WORKSPACES = 64

_ready: dict[tuple[torch.device, int | None], Tensor] = {}
_spare: dict[torch.device, list[Tensor]] = {}
_captured: list[Tensor] = []


def counters(images: int, device: torch.device, stream: int | None) -> Tensor:
    """Return a counter for each image and one for all: a set for each stream, and for each launch in a graph."""
    if device.type != "cuda" or images >= COUNTERS:
        return torch.zeros(images + 1, dtype=torch.int32, device=device)
    if torch.cuda.is_current_stream_capturing():
        spare = _spare.get(device)
        if not spare:  # nothing ran before the capture, or very much was captured: zeros become part of the graph
            return torch.zeros(images + 1, dtype=torch.int32, device=device)
        _captured.append(spare.pop())
        return _captured[-1]
    if device not in _spare:
        _spare[device] = list(torch.zeros(WORKSPACES, COUNTERS, dtype=torch.int32, device=device))
    key = (device, stream)
    if key not in _ready:
        _ready[key] = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
    return _ready[key]


def stream_of(device: torch.device) -> int | None:
    """Return the current stream's handle, as launches take it, by Triton's way: torch's takes ten times as long."""
    return int(_driver().get_current_stream(device.index)) if device.type == "cuda" else None


@cache
def _driver() -> Any:
    from triton.runtime import driver

    return driver.active
