"""Plans of inputs like those met before, which are not checked again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from torch import Tensor

from dynamic_kd.torch._fused._settings import Settings

if TYPE_CHECKING:
    from dynamic_kd.torch._fused._plan import Plan

Batch = tuple[Tensor, Tensor, Tensor, Tensor | None]

MOST_PLANS = 4096

_plans: dict[Hashable, Plan] = {}


def likeness(given: Batch) -> Hashable:
    """Return all of the inputs that a plan depends on, or that they may be refused for."""
    return tuple(
        each
        if each is None
        else (each.shape, each.stride(), each.dtype, each.device, each.data_ptr() % 16, each.requires_grad)
        for each in given
    )


def known_plan(settings: Settings, like: Hashable) -> Plan | None:
    """Return the plan of inputs that are like earlier ones."""
    return _plans.get((settings, like))


def new_plan(settings: Settings, like: Hashable, given: Batch) -> Plan:
    """Make a plan, which needs Triton, and keep it."""
    from dynamic_kd.torch._fused._plan import Plan

    if len(_plans) >= MOST_PLANS:
        _plans.clear()
    plan = _plans[settings, like] = Plan(*given, settings)
    return plan
