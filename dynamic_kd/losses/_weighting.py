"""What the setting ``weighting`` may be: the paper's weight and those it is compared with, behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import TYPE_CHECKING, Literal

import numpy as np

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.losses._dynamic_weight import dynamic_weight
from dynamic_kd.losses._eliminate_noise import eliminate_noise

if TYPE_CHECKING:
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss

WeightFunction = Callable[[Array, Array, Array], Array]
WeightName = Literal["dynamic", "dynamic_no_threshold", "a2dele", "none"]
Weighting = WeightName | float | WeightFunction
NoiseElimination = bool | Literal["relative"] | None

NAMES = ("dynamic", "dynamic_no_threshold", "a2dele", "none")
A2DELE_RATE = 70.0


def check_weighting(weighting: Weighting, noise_elimination: NoiseElimination) -> None:
    """Raise unless the weighting is a known name, a number in [0, 1] or a function, and noise can be eliminated."""
    if isinstance(weighting, str):
        check_choice("weighting (or a number in [0, 1], or a function)", weighting, NAMES)
    elif not callable(weighting):
        check_number(f"weighting (or a function, or one of {', '.join(map(repr, NAMES))})", weighting, low=0, high=1)
    if not isinstance(noise_elimination, (bool, np.bool_, NoneType)) and noise_elimination != "relative":
        raise TypeError(f"noise_elimination: expected True, False, None or 'relative', got {noise_elimination!r}")
    if noise_elimination and weighting in ("none", "dynamic_no_threshold"):
        raise ValueError(
            f"noise_elimination: expected False or None with weighting={weighting!r}, which listens to all teachers or "
            f"to none, got {noise_elimination!r}; take weighting='dynamic' or a number"
        )


def eliminates_noise(settings: DynamicKDLoss) -> bool:
    """Whether teachers that fail the threshold get the weight ε: by default with the paper's weight alone."""
    chosen = settings.noise_elimination
    return settings.weighting == "dynamic" if chosen is None else bool(chosen)


def threshold_of(settings: DynamicKDLoss, student_error: Array) -> float | Array:
    """Return what α has to exceed: a number, or a share of the student's IoU, 1 - β, in the shape of β."""
    if settings.noise_elimination == "relative":
        return settings.noise_ratio * (1 - student_error)
    return settings.noise_threshold


def weight_function(settings: DynamicKDLoss, xp: Namespace) -> WeightFunction:
    """Return the function (teacher_iou, student_error, teacher_cross_entropy) -> weight that the settings name."""
    strategy = _strategy(settings.weighting, settings.p, xp)
    if not eliminates_noise(settings):
        return strategy

    def filtered(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        weight = strategy(teacher_iou, student_error, teacher_cross_entropy)
        threshold = threshold_of(settings, student_error)
        return eliminate_noise(weight, teacher_iou, threshold=threshold, noise_weight=settings.noise_weight, xp=xp)

    return filtered


def _strategy(weighting: Weighting, p: float, xp: Namespace) -> WeightFunction:
    """Return the weight before noise is eliminated."""

    def dynamic(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return dynamic_weight(teacher_iou, student_error, p=p, xp=xp)

    def a2dele(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return xp.exp(-A2DELE_RATE * teacher_cross_entropy)

    def fixed(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return xp.full_like(teacher_iou, 0.0 if weighting == "none" else weighting)

    if callable(weighting):
        return weighting
    named = {"dynamic": dynamic, "dynamic_no_threshold": dynamic, "a2dele": a2dele}
    return named.get(str(weighting), fixed)
