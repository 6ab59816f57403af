"""Predictions and targets as the metrics take them: checked, batched, the target binary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dynamic_kd._array import (
    Array,
    Namespace,
    array_namespace,
    check_device,
    is_traced,
    runs_triton,
    stop_gradient,
    widest_float,
)
from dynamic_kd._checks import check_choice, check_flag

CHECKS = ("auto", "off")

# Beyond these sizes the integers of the CUDA kernels would overflow, and the generic path takes over.
LARGEST_SIDE = 1 << 14
MOST_PIXELS = 11_900_000


@dataclass(frozen=True)
class Pairs:
    """A batch of predictions with their binary targets.

    Attributes
    ----------
    pred
        Shape (B, H, W), uint8 levels or floating values in [0, 1], as given (not normalised yet).
    target
        Shape (B, H, W), bool; for `on_kernels` as it was given.
    normalize
        Whether each prediction is stretched to [0, 1] before it is scored.
    single
        Whether one image came without a batch axis, so that results lose theirs.
    on_kernels
        Whether CUDA kernels score the batch. They look at the values too, so that nobody waits for the device here.
    check
        Whether the kernels have to check the values.
    unquantized
        The prediction as it was given, if the kernels have to check it and `pred` was made from it.
    """

    pred: Array
    target: Array
    normalize: bool
    single: bool
    on_kernels: bool
    check: bool
    unquantized: Array | None

    def __len__(self) -> int:
        return int(self.pred.shape[0])

    @property
    def mask(self) -> Array:
        """The target, bool."""
        return _binary(array_namespace(self.target), self.target)

    def select(self, images: Sequence[int]) -> Pairs:
        """Return some of the images as a batch of their own."""

        def chosen(batch: Array) -> Array:
            return array_namespace(batch).stack([batch[image, ...] for image in images])

        unquantized = None if self.unquantized is None else chosen(self.unquantized)
        return replace(self, pred=chosen(self.pred), target=chosen(self.target), unquantized=unquantized)


def as_pairs(
    pred: Array, target: Array, *, normalize: bool = True, quantize: bool = False, check: str = "auto"
) -> Pairs:
    """Check a prediction and its target and bring them to shape (B, H, W)."""
    check_flag("normalize", normalize)
    check_flag("quantize", quantize)
    check_choice("check", check, CHECKS)
    xp = array_namespace(pred, target)
    pred, target = stop_gradient(pred), stop_gradient(target)  # scores are steps of their inputs: no gradient
    check_shapes(tuple(pred.shape), tuple(target.shape))
    check_device("target", target, "pred", pred)
    _check_pred_dtype(xp, pred)
    _check_target_dtype(xp, target)
    height, width = pred.shape[-2:]
    on_kernels = runs_triton(pred) and max(height, width) <= LARGEST_SIDE and height * width <= MOST_PIXELS
    if check == "auto" and not (on_kernels or is_traced(pred) or is_traced(target)):
        check_values(pred, target)
    given = pred
    if quantize and xp.isdtype(pred.dtype, "real floating"):
        # Rounded half up, as image writers do; bfloat16 and float16 would round the product first.
        wide = xp.astype(pred, widest_float(xp, pred))
        pred = xp.astype(xp.floor(wide * 255 + 0.5), xp.uint8)
    single = pred.ndim == 2
    return Pairs(
        pred=xp.reshape(pred, (-1, height, width)),
        target=xp.reshape(target if on_kernels else _binary(xp, target), (-1, height, width)),
        normalize=normalize,
        single=single,
        on_kernels=on_kernels,
        check=(unchecked := on_kernels and check == "auto"),
        unquantized=xp.reshape(given, (-1, height, width)) if unchecked and given is not pred else None,
    )


def check_values(pred: Array, target: Array) -> None:
    """Raise unless the values are what the dtypes promise."""
    xp = array_namespace(pred, target)
    _check_pred_values(xp, pred)
    _check_target_values(xp, target)


def check_shapes(pred: tuple[int, ...], target: tuple[int, ...]) -> None:
    """Raise unless these are the shapes of a batch and its targets."""
    for name, shape in (("pred", pred), ("target", target)):
        if len(shape) == 3 and shape[-1] in (1, 3, 4):
            raise ValueError(
                f"{name}: expected (H, W), (B, H, W) or (B, 1, H, W), got {shape}, which looks like one image with "
                f"channels last; read it as greyscale (H, W), or pass a batch this narrow as (B, 1, H, W)"
            )
        if len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[1] != 1):
            raise ValueError(f"{name}: expected shape (H, W), (B, H, W) or (B, 1, H, W), got {shape}")
        if 0 in shape:
            raise ValueError(f"{name}: expected at least one pixel, got an empty array of shape {shape}")
    batchless = [shape if len(shape) < 4 else (shape[0], *shape[2:]) for shape in (pred, target)]
    if batchless[0] != batchless[1]:
        raise ValueError(
            f"pred and target: expected equal shapes, got {pred} and {target}; "
            f"resize the prediction to the target's size"
        )


def _check_pred_dtype(xp: Namespace, pred: Array) -> None:
    if pred.dtype != xp.uint8 and not xp.isdtype(pred.dtype, "real floating"):
        raise TypeError(
            f"pred: expected uint8 (0 to 255) or floating values in [0, 1], got {pred.dtype}; "
            f"cast 8-bit maps to uint8, divide others by their largest possible value"
        )


def _check_pred_values(xp: Namespace, pred: Array) -> None:
    if pred.dtype == xp.uint8:
        return
    low, high = float(xp.min(pred)), float(xp.max(pred))
    if low >= 0 and high <= 1:
        return
    if not bool(xp.all(xp.isfinite(pred))):
        raise ValueError("pred: expected finite values in [0, 1], got NaN or infinity")
    if low >= 0 and high <= 255:
        hint = "divide 0 to 255 maps by 255, or pass them as uint8"
    else:
        hint = "pass probabilities, for logits the sigmoid of them"
    raise ValueError(f"pred: expected values in [0, 1], got {low:g} to {high:g}; {hint}")


def _check_target_dtype(xp: Namespace, target: Array) -> None:
    if not xp.isdtype(target.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"target: expected bool, integers from 0 to 255 or floats in [0, 1], got {target.dtype}")


def _check_target_values(xp: Namespace, target: Array) -> None:
    if target.dtype == xp.bool:
        return
    low, high = float(xp.min(target)), float(xp.max(target))
    if xp.isdtype(target.dtype, "integral"):
        if low < 0 or high > 255:
            raise ValueError(f"target: expected integers from 0 to 255, got {low:g} to {high:g}")
        _refuse_dark_masks(xp, target)
    elif not bool(xp.all(xp.isfinite(target))):
        raise ValueError("target: expected finite values in [0, 1], got NaN or infinity")
    elif low < 0 or high > 1:
        raise ValueError(
            f"target: expected floating values in [0, 1], got {low:g} to {high:g}; divide 0 to 255 masks by 255"
        )


def _refuse_dark_masks(xp: Namespace, target: Array) -> None:
    peaks = xp.max(xp.reshape(target, (-1, target.shape[-2] * target.shape[-1])), axis=-1)
    dark = peaks > 0
    if target.dtype != xp.int8:  # which cannot exceed 128, and cannot be compared with it
        dark = dark & (peaks <= 128)
    if bool(xp.any(dark)):
        peak = int(xp.max(xp.where(dark, peaks, xp.zeros_like(peaks))))
        raise ValueError(
            f"target: expected an 8-bit mask, where more than 128 is salient, got a largest value of {peak}, "
            f"which would count as empty; for 0/{peak} masks pass target > 0"
        )


def _binary(xp: Namespace, target: Array) -> Array:
    if target.dtype == xp.bool:
        return target
    if target.dtype == xp.int8:
        return xp.zeros_like(target, dtype=xp.bool)
    return target > (128 if xp.isdtype(target.dtype, "integral") else 0.5)
