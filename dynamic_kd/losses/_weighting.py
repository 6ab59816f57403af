"""The settings ``weighting`` and ``noise_elimination``: where the teacher's weight θ comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice, check_number
from dynamic_kd.losses._arguments import check_unit_range
from dynamic_kd.losses._dynamic_weight import tanh_of_powers
from dynamic_kd.losses._eliminate_noise import weight_if_reliable

if TYPE_CHECKING:
    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss

WeightFunction = Callable[[Array, Array, Array], Array]
Weighting = Literal["dynamic", "a2dele", "none"] | float | WeightFunction
NoiseElimination = Literal["absolute", "relative"] | None

WEIGHTINGS = ("dynamic", "a2dele", "none")
THRESHOLDS = {"absolute": 0.5, "relative": 0.75}
A2DELE_RATE = 70.0


def check_weighting(weighting: Weighting) -> None:
    """Raise unless the weighting is a known name, a number in [0, 1] or a function."""
    if isinstance(weighting, str):
        check_choice("weighting (or a number in [0, 1], or a function)", weighting, WEIGHTINGS)
    elif not callable(weighting):
        names = ", ".join(map(repr, WEIGHTINGS))
        check_number(f"weighting (or a function, or one of {names})", weighting, low=0, high=1)


def check_noise_elimination(noise_elimination: NoiseElimination, noise_threshold: float | None) -> None:
    """Raise unless both settings of equation 6 are valid."""
    if noise_elimination not in (None, *THRESHOLDS):
        raise ValueError(
            "noise_elimination: expected 'absolute', 'relative' or None ('none' in a recipe), "
            f"got {noise_elimination!r}"
        )
    if noise_threshold is not None:
        check_number("noise_threshold", noise_threshold, low=0, high=1)


def is_reliable(settings: DynamicKDLoss, teacher_iou: Array, student_error: Array) -> Array:
    """Return whether each teacher passes equation 6: α exceeds a number, or a share of the student's IoU, 1 - β."""
    if settings.noise_elimination == "relative":
        return teacher_iou > settings.threshold * (1 - student_error)
    return teacher_iou > settings.threshold


def needs_teacher_cross_entropy(settings: DynamicKDLoss) -> bool:
    """Whether the weighting depends on the teacher's cross-entropy."""
    return settings.weighting == "a2dele" or callable(settings.weighting)


def weight_of(
    settings: DynamicKDLoss,
    teacher_iou: Array,
    student_error: Array,
    teacher_cross_entropy: Array,
    reliable: Array,
    xp: Namespace,
) -> Array:
    """Return θ, in the shape of α, after noise elimination."""
    weighting = settings.weighting
    if callable(weighting):
        weight = weighting(teacher_iou, student_error, teacher_cross_entropy)
        _check_function_result(weight, teacher_iou, xp)
    elif weighting == "none":
        return xp.zeros_like(teacher_iou)
    elif weighting == "dynamic":
        weight = tanh_of_powers(teacher_iou, student_error, settings.p, xp)
    elif weighting == "a2dele":
        weight = xp.exp(-A2DELE_RATE * teacher_cross_entropy)
    else:
        weight = xp.full_like(teacher_iou, weighting)
    if settings.noise_elimination is None:
        return weight
    return weight_if_reliable(weight, reliable, settings.noise_weight, xp)


def _check_function_result(weight: Array, teacher_iou: Array, xp: Namespace) -> None:
    if getattr(weight, "shape", None) != teacher_iou.shape:
        raise ValueError(
            f"weighting: expected the function to return an array of shape {tuple(teacher_iou.shape)}, as its "
            f"arguments, got {getattr(weight, 'shape', type(weight).__name__)}; return one weight for each"
        )
    check_unit_range("weighting's values", weight, xp, allow_nan=True)
