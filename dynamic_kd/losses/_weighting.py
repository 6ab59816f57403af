"""What the setting ``weighting`` may be: the paper's weight and those it is compared with, behind one signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice, check_flag, check_number
from dynamic_kd.losses._dynamic_weight import dynamic_weight
from dynamic_kd.losses._eliminate_noise import eliminate_noise

WeightFunction = Callable[[Array, Array, Array], Array]
WeightName = Literal["dynamic", "dynamic_no_threshold", "a2dele", "none"]
Weighting = WeightName | float | WeightFunction

NAMES = ("dynamic", "dynamic_no_threshold", "a2dele", "none")
A2DELE_RATE = 70.0


def check_weighting(weighting: Weighting, noise_elimination: bool | None) -> None:
    """Raise unless the weighting is a known name, a number in [0, 1] or a function, and noise can be eliminated."""
    if isinstance(weighting, str):
        check_choice("weighting (or a number in [0, 1], or a function)", weighting, NAMES)
    elif not callable(weighting):
        check_number(f"weighting (or a function, or one of {', '.join(map(repr, NAMES))})", weighting, low=0, high=1)
    if noise_elimination is None:
        return
    check_flag("noise_elimination", noise_elimination)
    if noise_elimination and weighting in ("none", "dynamic_no_threshold"):
        raise ValueError(
            f"noise_elimination: expected False or None with weighting={weighting!r}, which listens to all teachers or "
            "to none, got True; take weighting='dynamic' or a number"
        )


def weight_function(
    weighting: Weighting,
    *,
    p: float,
    noise_elimination: bool | None,
    noise_threshold: float,
    noise_weight: float,
    xp: Namespace,
) -> WeightFunction:
    """Return the function (teacher_iou, student_error, teacher_cross_entropy) -> weight that the settings name."""
    strategy = _strategy(weighting, p, xp)
    if not (weighting == "dynamic" if noise_elimination is None else noise_elimination):
        return strategy

    def filtered(teacher_iou: Array, student_error: Array, teacher_cross_entropy: Array) -> Array:
        weight = strategy(teacher_iou, student_error, teacher_cross_entropy)
        return eliminate_noise(weight, teacher_iou, threshold=noise_threshold, noise_weight=noise_weight, xp=xp)

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
