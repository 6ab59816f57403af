"""The arguments of the losses: checked, and brought to shape (B, H, W) and one dtype."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dynamic_kd._array import (
    Array,
    Namespace,
    accumulation_dtype,
    as_numpy,
    check_device,
    is_concrete,
    requires_grad,
    stop_gradient,
    unit_tolerance,
)
from dynamic_kd._checks import digits
from dynamic_kd._mask import divided_level
from dynamic_kd.losses._resize import resized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss

_CAST = "cast them to float32"
_FEW_LEVELS = 16  # of labels; more are grey levels
SMALLEST_MAP = 256  # with fewer pixels, all logits may lie in [0, 1] by chance
LARGE_LOGIT = 32  # few logits are larger, and most levels of 8-bit maps are
ROUNDED_SUM = 0.02  # how far from 1 rounding to bfloat16 may leave the sum of two probabilities
_FIX_OF_MAPS = {
    "student_logits": "if the network ends in a sigmoid or softmax, pass its output before that",
    "teacher_logits": "for saliency maps in [0, 1] set teacher='probabilities' (divide 8-bit maps by 255 first); of a "
    "network take what comes before the sigmoid or softmax",
}

Reads = Callable[[Array], bool]


class Pixels(NamedTuple):
    """Canonical inputs, each (B, H, W); invalid pixels hold 0, and ``valid`` is boolean or ``None`` (all valid).

    ``teacher`` is a logit, or a saliency map if the loss takes ``teacher="probabilities"``.
    """

    student: Array
    teacher: Array
    target: Array
    valid: Array | None


def without_ignored(target: Array, valid: Array | None, ignore_index: int, xp: Namespace) -> Array | None:
    """Return ``valid`` with 0 where an integer target is ``ignore_index``; unchanged where shapes do not match."""
    _check_array("target", target)
    if xp.isdtype(target.dtype, "real floating"):
        raise TypeError(
            f"target: expected integers with ignore_index={ignore_index}, got {target.dtype}; mark pixels of other "
            "targets by valid=0"
        )
    if xp.isdtype(target.dtype, "bool") or not xp.iinfo(target.dtype).min <= ignore_index <= xp.iinfo(target.dtype).max:
        return valid
    kept = target != ignore_index
    if valid is None:
        return kept
    if valid.ndim != kept.ndim:
        kept = kept[:, 0, :, :] if kept.ndim == 4 else kept[:, None, :, :]
    return xp.where(kept, valid, xp.zeros_like(valid)) if valid.shape == kept.shape else valid


def refuse_lists(**arguments: Any) -> None:
    """Raise if an argument is a network's list of outputs instead of an array."""
    for name, value in arguments.items():
        if isinstance(value, list | tuple | dict) or hasattr(value, "logits"):
            raise TypeError(
                f"{name}: expected an array, got {type(value).__name__}; pass one output at a time, or use "
                f"dynamic_kd.torch.DeepSupervision"
            )


def check_batch(
    student_logits: Array,
    teacher_logits: Array,
    target: Array,
    valid: Array | None,
    settings: DynamicKDLoss,
    xp: Namespace,
) -> None:
    """Check the four inputs and that they match, without looking at values."""
    check_both_logits(student_logits, teacher_logits, xp, settings=settings)
    if settings.resize is None:
        fix = "set resize='bilinear', which brings logits to the target's size"
        check_maps("student_logits", student_logits, target=target, valid=valid, fix=fix)
    else:
        check_plane("target", target)
        check_match("target", target, "student_logits", student_logits, fix=None)
        check_maps("target", target, target=target, valid=valid)
    for name, constant in (("teacher_logits", teacher_logits), ("target", target)):
        if requires_grad(constant):
            raise ValueError(
                f"{name}: expected a constant, got a tensor that requires grad; "
                f"compute it under torch.no_grad() or pass {name}.detach()"
            )


def check_both_logits(
    student_logits: Array, teacher_logits: Array, xp: Namespace, *, settings: DynamicKDLoss | None = None
) -> None:
    """Raise unless both are logits (or as the loss is set), of one batch size, resolution and device."""
    is_map = settings is not None and settings.teacher == "probabilities"
    casts = {"student_logits": _CAST, "teacher_logits": f"{_CAST}, and divide 0-255 maps by 255" if is_map else _CAST}
    for (name, fix), logits in zip(casts.items(), (student_logits, teacher_logits), strict=True):
        check_floating(name, logits, xp, fix=fix)
        check_plane(name, logits, channels=(1, 2))
    by_hand: str | None = "resize the teacher with dynamic_kd.torch.align_teacher"
    if is_map:
        by_hand = "resize the teacher's maps, as they are"
        if teacher_logits.ndim == 4 and teacher_logits.shape[1] == 2:
            raise ValueError(
                "teacher_logits: 2 channels: expected 1 with teacher='probabilities', got shape "
                f"{tuple(teacher_logits.shape)}; pass the map of the salient class alone, such as maps[:, 1:]"
            )
    if settings is not None:
        by_hand = f"set resize='bilinear', or {by_hand}" if settings.resize is None else None
    check_match("teacher_logits", teacher_logits, "student_logits", student_logits, fix=by_hand)


def pixels(
    student_logits: Array,
    teacher_logits: Array,
    target: Array,
    valid: Array | None,
    settings: DynamicKDLoss,
    xp: Namespace,
    reads: Reads,
) -> Pixels:
    """Check the four inputs and convert them to one shape, that of the target, and one dtype.

    ``reads`` tells whether an array's values are looked at.
    """
    check_batch(student_logits, teacher_logits, target, valid, settings, xp)
    dtype = accumulation_dtype(xp, student_logits, teacher_logits)
    mask = None if valid is None else validity(valid, dtype, xp, reads=reads)
    size = tuple(target.shape[-2:])
    student = margin(student_logits, mask, dtype, xp, size)
    looks = [_look_of_map(student_logits, student, xp, reads)]
    if settings.teacher == "probabilities":
        teacher = _teacher_map(teacher_logits, mask, dtype, xp, size, reads)
    else:
        teacher = margin(teacher_logits, mask, dtype, xp, size)
        if reads(teacher) and not bool(xp.all(xp.isfinite(teacher))):
            raise ValueError(
                "teacher_logits: expected finite values, got NaN or infinity; for a teacher given as saliency maps set "
                "teacher='probabilities', which clips them"
            )
        looks.append(_look_of_map(teacher_logits, teacher, xp, reads))
    for name, look in zip(_FIX_OF_MAPS, looks, strict=False):
        if look:
            message = f"{name}: {look}, and as logits they give a wrong loss; {_FIX_OF_MAPS[name]}"
            warnings.warn(message, UserWarning, stacklevel=5)  # where the loss is called
    return Pixels(student, stop_gradient(teacher), unit_map("target", target, mask, dtype, xp, reads=reads), mask)


def _teacher_map(
    maps: Array, valid: Array | None, dtype: Any, xp: Namespace, size: tuple[int, int], reads: Reads
) -> Array:
    """Return a teacher's saliency maps, limited to [0, 1]; resizing may leave them a few units of rounding outside."""
    rounding = unit_tolerance(xp, maps.dtype)
    wide = resized(plane(maps, dtype, xp), size, xp)
    return xp.clip(unit_map("teacher_logits", wide, valid, dtype, xp, slack=rounding, reads=reads), 0.0, 1.0)


def _look_of_map(logits: Array, margins: Array, xp: Namespace, reads: Reads) -> str | None:
    """Return what shows that logits are saliency maps; None for others."""
    if margins.shape[-2] * margins.shape[-1] < SMALLEST_MAP or not reads(margins):
        return None
    if logits.ndim == 4 and logits.shape[1] == 2:
        seen = stop_gradient(logits)
        is_softmax = bool(xp.min(seen) >= 0) and bool(xp.all(xp.abs(xp.sum(seen, axis=1) - 1) < ROUNDED_SUM))
        return "the channels sum to 1, as after a softmax" if is_softmax else None
    seen = stop_gradient(margins)
    if not bool(xp.min(seen) >= 0):
        return None
    high = float(xp.max(seen))
    if 0.5 < high <= 1:
        return "all values lie in [0, 1], like those of saliency maps"
    if LARGE_LOGIT < high <= 255 and float(xp.min(seen)) < 1:
        return f"values from {float(xp.min(seen)):g} to {high:g}, like those of 8-bit maps"
    return None


def _check_array(name: str, array: Any) -> None:
    if not hasattr(array, "dtype"):
        raise TypeError(f"{name}: expected an array, got {array!r} ({type(array).__name__})")


def check_floating(name: str, array: Array, xp: Namespace, *, fix: str = _CAST) -> None:
    """Raise unless the array holds real floating-point numbers."""
    _check_array(name, array)
    if not xp.isdtype(array.dtype, "real floating"):
        raise TypeError(f"{name}: expected real floating-point values, got {array.dtype}; {fix}")


def check_plane(name: str, array: Array, *, channels: tuple[int, ...] = (1,)) -> None:
    """Raise unless an array has shape (B, H, W) or (B, C, H, W) without empty axes."""
    _check_array(name, array)
    shape = tuple(array.shape)
    if len(shape) not in (3, 4):
        allowed = "".join(f"(B, {count}, H, W), " for count in channels)
        hint = "add a batch axis with array[None]" if len(shape) == 2 else "reshape it"
        raise ValueError(f"{name}: expected shape {allowed}or (B, H, W), got {shape}; {hint}")
    if len(shape) == 4 and shape[1] not in channels:
        counts, fix = (
            ("1 or 2 (background, salient)", "give one logit per pixel")
            if 2 in channels
            else ("1", "give one value per pixel")
        )
        raise ValueError(f"{name}: {shape[1]} channels: expected {counts}, got shape {shape}; {fix}")
    if 0 in shape:
        raise ValueError(f"{name}: expected at least one image and one pixel, got shape {shape}; skip empty batches")


def check_match(name: str, array: Array, other_name: str, other: Array, *, fix: str | None) -> None:
    """Raise unless two arrays of valid shapes have the same batch size, resolution and device.

    ``fix`` tells how to get the same resolution; None allows any.
    """
    batch, other_batch = array.shape[0], other.shape[0]
    if batch != other_batch:
        raise ValueError(
            f"{name}: expected the batch of {other_name}, {other_batch}, got {batch} images; "
            f"pass the same images to both"
        )
    size, other_size = tuple(array.shape[-2:]), tuple(other.shape[-2:])
    if size != other_size and fix is not None:
        raise ValueError(f"{name}: expected the resolution of {other_name}, {other_size}, got {size}; {fix}")
    check_device(name, array, other_name, other)


def check_maps(
    name: str,
    array: Array,
    *,
    target: Array,
    valid: Array | None,
    fix: str = "resize the target (nearest neighbour keeps it binary)",
) -> None:
    """Raise unless target and ``valid`` are one-channel maps that match the array called ``name``."""
    check_plane("target", target)
    check_match("target", target, name, array, fix=fix)
    if valid is not None:
        check_plane("valid", valid)
        check_match("valid", valid, name, array, fix="resize it by nearest neighbour")


def margin(logits: Array, valid: Array | None, dtype: Any, xp: Namespace, size: tuple[int, int] | None = None) -> Array:
    """Return the salient logit minus the background's, (B, H, W), converted to ``dtype`` before subtracting.

    With ``size``, logits are brought to (H, W) first; ``valid`` has that size.
    """
    wide = xp.astype(logits, dtype)
    if wide.ndim == 3:
        wide = wide[:, None, :, :]
    if size is not None:
        wide = resized(wide, size, xp)
    if valid is not None:
        wide = xp.where(valid[:, None, :, :], wide, xp.zeros_like(wide))
    return wide[:, 0, :, :] if wide.shape[1] == 1 else wide[:, 1, :, :] - wide[:, 0, :, :]


def plane(array: Array, dtype: Any, xp: Namespace) -> Array:
    """Return a one-channel array as (B, H, W) of the given dtype."""
    return xp.astype(array if array.ndim == 3 else array[:, 0, :, :], dtype)


def validity(valid: Array, dtype: Any, xp: Namespace, *, reads: Reads = is_concrete) -> Array:
    """Return ``valid`` as booleans, (B, H, W); raise unless it holds only 0 and 1, where values are looked at."""
    values = plane(valid, dtype, xp)
    marked = values != 0
    if reads(values) and not bool(xp.all(values == xp.astype(marked, dtype))):
        raise ValueError("valid: expected only 0 and 1 (or booleans), got other values; pass for example mask > 0")
    return marked


def unit_map(
    name: str,
    array: Array,
    valid: Array | None,
    dtype: Any,
    xp: Namespace,
    *,
    slack: float = 0.0,
    reads: Reads = is_concrete,
) -> Array:
    """Return a map of values in [0, 1], (B, H, W), with 0 where invalid; its range is checked."""
    values = plane(array, dtype, xp)
    if valid is not None:
        values = xp.where(valid, values, xp.zeros_like(values))
    check_unit_range(name, values, xp, slack=slack, reads=reads)
    return values


def check_unit_range(
    name: str,
    values: Array,
    xp: Namespace,
    *,
    allow_nan: bool = False,
    slack: float = 0.0,
    reads: Reads = is_concrete,
) -> None:
    """Raise unless all values lie in [0, 1], give or take ``slack``.

    By default, values that are traced or on an accelerator are not looked at.
    """
    if not reads(values):
        return
    seen = stop_gradient(values)
    inside = (seen >= -slack) & (seen <= 1 + slack)
    if not bool(xp.all(inside | xp.isnan(seen) if allow_nan else inside)):
        low, high = float(xp.min(seen)), float(xp.max(seen))
        raise ValueError(
            f"{name}: expected values in [0, 1], got values from {digits(low, 0, 1)} to {digits(high, 0, 1)}; "
            f"{(name == 'target' and _levels_hint(seen)) or _range_hint(name, low, high)}"
        )
    if name == "target" and (level := divided_level(xp, seen)):
        raise ValueError(
            f"target: expected a mask, got values that look like labels divided by 255: {level} / 255 beside 0 and 1 "
            f"alone; of the integers, {_level_choice([str(level), '255'])}"
        )


def check_unit_pair(first: tuple[str, Array], second: tuple[str, Array], xp: Namespace) -> None:
    """Raise unless two named floating-point arrays have one shape and values in [0, 1] or NaN (from NaN logits)."""
    for name, array in (first, second):
        check_floating(name, array, xp)
        check_unit_range(name, array, xp, allow_nan=True)
    (name, array), (other_name, other) = first, second
    if array.shape != other.shape:
        raise ValueError(
            f"{name} and {other_name}: expected equal shapes, got {tuple(array.shape)} and {tuple(other.shape)}; "
            f"take both at one granularity"
        )


def _levels_hint(target: Array) -> str:
    """Return what to pass for a target of a few whole levels above 2; nothing for other targets."""
    values = as_numpy(target)
    levels = np.zeros(0) if values is None else np.unique(values[values != 0])
    whole = np.isfinite(levels).all() and np.array_equal(levels, np.round(levels))
    if not (whole and 0 < len(levels) <= _FEW_LEVELS and levels[0] > 0 and levels[-1] > 2):
        return ""
    return _level_choice([f"{level:g}" for level in levels])


def _level_choice(levels: Sequence[str]) -> str:
    """Return what to pass for a mask of 0 and these levels."""
    if len(levels) == 1:
        return f"for a mask of 0 and {levels[0]} pass target > 0"
    return (
        f"pass target == {levels[0]} if the levels are labels; if {levels[-1]} is void, set "
        f"ignore_index={levels[-1]} and pass integers, or pass valid=target != {levels[-1]}"
    )


def _range_hint(name: str, low: float, high: float) -> str:
    """Return how to fix an array with values outside [0, 1], guessed from its name and range."""
    if math.isnan(high):
        return "mark unknown pixels with valid=0" if name == "target" else "look for where the NaN comes from"
    if name not in ("target", "probabilities", "maps", "teacher_logits"):
        return "clip it to [0, 1]"
    if low < 0 and name == "teacher_logits":
        return "for logits leave out teacher='probabilities'"
    if low < 0 and name == "target":
        return "check that it is the third argument, after both logits"
    if low < 0:
        return "apply a sigmoid to logits"
    if high <= 2:
        return "clip values that resizing left outside"
    return "divide a 0-255 map by 255" if high <= 255 else "scale it to [0, 1]"
