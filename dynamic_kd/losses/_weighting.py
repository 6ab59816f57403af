"""What the setting ``weighting`` may be: the paper's weight and those it is compared with, behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.losses._dynamic_weight import dynamic_weight
from dynamic_kd.losses._eliminate_noise import eliminate_noise

WeightFunction = Callable[[Array, Array, Array], Array]
WeightName = Literal["dynamic", "dynamic_no_threshold", "a2dele", "none"]
Weighting = WeightName | float | WeightFunction

NAMES = ("dynamic", "dynamic_no_threshold", "a2dele", "none")
A2DELE_RATE = 70.0


def check_weighting(weighting: Weighting) -> None:
    """Raise unless the setting is a known name, a number in [0, 1] or a function."""
    if isinstance(weighting, str):
        check_choice("weighting (or a number in [0, 1], or a function)", weighting, NAMES)
    elif not callable(weighting):
        check_number(f"weighting (or a function, or one of {', '.join(map(repr, NAMES))})", weighting, low=0, high=1)


def weight_function(
    weighting: Weighting, *, p: float, noise_threshold: float, noise_weight: float, xp: Namespace
) -> WeightFunction:
    """Return the function (teacher_iou, student_error, teacher_cross_entropy) -> weight that the setting names."""

    def unfiltered(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return dynamic_weight(teacher_iou, student_error, p=p, xp=xp)

    def dynamic(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        weight = unfiltered(teacher_iou, student_error, teacher_cross_entropy)
        return eliminate_noise(weight, teacher_iou, threshold=noise_threshold, noise_weight=noise_weight, xp=xp)

    def a2dele(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return xp.exp(-A2DELE_RATE * teacher_cross_entropy)

    def fixed(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        return xp.full_like(teacher_iou, 0.0 if weighting == "none" else weighting)

    if callable(weighting):
        return weighting
    named = {"dynamic": dynamic, "dynamic_no_threshold": unfiltered, "a2dele": a2dele}
    return named.get(str(weighting), fixed)
