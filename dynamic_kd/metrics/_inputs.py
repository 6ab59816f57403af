"""Predictions and targets as the metrics take them: checked, batched, cut out of padding, with names."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import (
    Array,
    Namespace,
    array_namespace,
    as_numpy,
    check_device,
    device_of,
    is_traced,
    runs_triton,
    stop_gradient,
    to_host,
    unit_tolerance,
    widest_float,
)
from dynamic_kd._checks import check_choice, check_flag, digits
from dynamic_kd._mask import SALIENT_ABOVE, Levels, LevelsSeen, Meaning, divided_level, interpreted, meaning

CHECKS = ("auto", "off")
# An image's salient level, times this, is in the word of its flags.
LEVEL = 256

# The integers of the CUDA kernels would overflow beyond these sizes; the generic path takes over.
LARGEST_SIDE = 1 << 14
MOST_PIXELS = 11_900_000

Box = tuple[int, int, int, int]


class InputSettings(TypedDict, total=False):
    """How predictions and targets are read, with the names and meanings of `mean_absolute_error`."""

    normalize: bool
    quantize: bool
    check: str
    salient: Any
    void: Any


@dataclass(frozen=True)
class Pairs:
    """A batch of predictions with their binary targets.

    Attributes
    ----------
    pred
        Shape (B, H, W), uint8 levels or floating values, not normalised yet. NumPy arrays if the values lie in the
        CPU's memory. Statistics clip values that rounding pushed beyond [0, 1].
    target
        Shape (B, H, W), bool; for `on_kernels` as it was given.
    normalize
        Whether each prediction is stretched to [0, 1] before it is scored.
    single
        Whether one image came without a batch axis. Results then have none either.
    on_kernels
        Whether CUDA kernels score the batch. They check the values too, so the call does not synchronize with the GPU.
    check
        Whether the kernels have to check the values.
    unquantized
        The prediction as it was given, if the kernels have to check it and `pred` was made from it.
    extremes
        Each image's smallest and largest prediction, if the check of the values found them.
    valid
        Shape (B, H, W), bool, NumPy: the pixels to score, in any shape; None for all. Predictions and targets are
        NumPy's then.
    levels
        The levels of each integer target, if they were looked at.
    """

    pred: Array
    target: Array
    normalize: bool
    single: bool
    on_kernels: bool
    check: bool
    unquantized: Array | None = None
    extremes: tuple[Array, Array] | None = None
    valid: npt.NDArray[np.bool_] | None = None
    levels: tuple[Levels, ...] = ()

    def __len__(self) -> int:
        return int(self.pred.shape[0])

    @property
    def mask(self) -> Array:
        """The target, bool."""
        return _cut(array_namespace(self.target), self.target)

    def select(self, images: Sequence[int]) -> Pairs:
        """Return some of the images as a batch."""
        if len(images) == len(self):
            return self

        def chosen(batch: Array) -> Array:
            return array_namespace(batch).stack([batch[image, ...] for image in images])

        unquantized = None if self.unquantized is None else chosen(self.unquantized)
        extremes = None if self.extremes is None else (chosen(self.extremes[0]), chosen(self.extremes[1]))
        pred, target = chosen(self.pred), chosen(self.target)
        valid = None if self.valid is None else self.valid[list(images)]
        levels = tuple(self.levels[image] for image in images) if self.levels else ()
        return replace(
            self,
            pred=pred,
            target=target,
            unquantized=unquantized,
            extremes=extremes,
            valid=valid,
            levels=levels,
        )

    def level_flags(self) -> npt.NDArray[np.float64]:
        """The salient level of each integer target as the flags of `FAULTS` hold it; 0 where it is not known."""
        flags = np.zeros(len(self))
        for image, found in enumerate(self.levels):
            flags[image] = LEVEL * max(found.levels, default=0)
        return flags


def as_pairs(
    pred: Array,
    target: Array,
    *,
    normalize: bool = True,
    quantize: bool = False,
    check: str = "auto",
    salient: Any = None,
    void: Any = None,
    valid: npt.NDArray[np.bool_] | None = None,
) -> Pairs:
    """Check predictions and targets and bring them to shape (B, H, W); the only place where that happens.

    ``valid``, of shape (B, H, W), says which pixels are scored. It may have any shape; void pixels leave it.
    """
    check_flag("normalize", normalize)
    check_flag("quantize", quantize)
    check_choice("check", check, CHECKS)
    wanted = meaning(salient, void)
    xp = array_namespace(pred, target)
    check_shapes(tuple(pred.shape), tuple(target.shape))
    check_device("target", target, "pred", pred)
    _check_pred_dtype(xp, pred)
    _check_target_dtype(xp, target)
    tolerance = unit_tolerance(xp, pred.dtype) if xp.isdtype(pred.dtype, "real floating") else 0.0
    pred, target = stop_gradient(pred), stop_gradient(target)  # scores are steps of their inputs: no gradient
    if pred.dtype == xp.bool:
        pred = xp.astype(pred, xp.uint8) * 255
    single, (height, width) = pred.ndim == 2, pred.shape[-2:]
    if wanted.void or valid is not None:
        pred, target = _copied("void", pred), _copied("void", target)
        xp = array_namespace(pred, target)
    on_kernels = runs_triton(pred) and max(height, width) <= LARGEST_SIDE and height * width <= MOST_PIXELS
    if not on_kernels:
        xp, pred, target = _in_memory(xp, pred, target)
    given, target = (xp.reshape(array, (-1, height, width)) for array in (pred, target))
    checked_there = on_kernels and check == "auto"
    extremes = None
    levels: tuple[Levels, ...] = ()
    look = check == "auto" and not (on_kernels or is_traced(given) or is_traced(target))
    if look:
        extremes = check_values(given, target, tolerance)
    if not on_kernels:
        target, labelled, levels = _binary(xp, target, wanted, look=look)
        if labelled is not None:
            valid = labelled if valid is None else valid & labelled
    elif wanted.salient is not None and xp.isdtype(target.dtype, "integral"):
        target = _any_of(xp, target, wanted.salient)
    if valid is not None:
        extremes = None
        _refuse_void_images(valid)
    quantized = quantize and xp.isdtype(given.dtype, "real floating")
    return Pairs(
        pred=_quantized(xp, given) if quantized else given,
        target=target,
        normalize=normalize,
        single=single,
        on_kernels=on_kernels,
        check=checked_there,
        unquantized=given if checked_there and quantized else None,
        extremes=None if quantized else extremes,
        valid=valid,
        levels=levels,
    )


def _copied(name: str, array: Array) -> npt.NDArray[Any]:
    """Return an array in the CPU's memory, where pixels can be left out."""
    if is_traced(array):
        raise TypeError(f"{name}: expected arrays with values, got traced ones; leave pixels out outside jax.jit")
    values = as_numpy(array)
    return to_host(array) if values is None else values


def _refuse_void_images(valid: npt.NDArray[np.bool_]) -> None:
    empty = np.flatnonzero(~valid.any(axis=(1, 2)))
    if len(empty):
        raise ValueError(
            f"target: expected some pixels to score in each image, got only void ones in image {empty[0]}; leave it out"
        )


def _in_memory(xp: Namespace, pred: Array, target: Array) -> tuple[Namespace, Array, Array]:
    """Return the arrays as NumPy's if both lie in the CPU's memory, else as they are."""
    if isinstance(pred, np.ndarray):
        return xp, pred, target
    host = as_numpy(pred), as_numpy(target)
    if host[0] is None or host[1] is None:
        return xp, pred, target
    return array_namespace(*host), *host


def _quantized(xp: Namespace, pred: Array) -> Array:
    """Round half up, as image writers do; bfloat16 and float16 would round the product first."""
    wide = xp.clip(xp.astype(pred, widest_float(xp, pred)), 0.0, 1.0)
    return xp.astype(xp.floor(wide * 255 + 0.5), xp.uint8)


class Part(NamedTuple):
    """Images of a batch that have one size, and their positions in the batch."""

    pairs: Pairs
    images: Sequence[int]


def batch_parts(
    pred: Array, target: Array, valid: Array | None, *, structural: Sequence[str], **settings: Unpack[InputSettings]
) -> list[Part]:
    """Return a batch as pairs, in several parts if its images are cut out of padding or come in a list.

    Consecutive images with the same rectangle of valid pixels form one part. With ``structural`` metrics, valid pixels
    must fill rectangles.

    Raises
    ------
    ValueError, TypeError
        As `as_pairs`; shapes that differ, or valid pixels that do not fill a rectangle.
    """
    if isinstance(pred, list | tuple):
        return _listed_parts(pred, target, valid, structural=structural, **settings)
    if valid is None:
        pairs = as_pairs(pred, target, **settings)
        return [Part(pairs, range(len(pairs)))]
    array_namespace(pred, target, valid)
    shapes = [tuple(array.shape) for array in (pred, target, valid)]
    check_shapes(*shapes[:2])
    if shapes[2] not in shapes[:2]:
        raise ValueError(f"valid: expected the shape of pred, {shapes[0]}, got {shapes[2]}")
    masks = to_host(_batched(valid))
    if not np.isin(masks, (0, 1)).all():
        raise ValueError("valid: expected only 0 and 1 (or booleans), got other values; pass for example mask > 0")
    boxes = [_box(mask != 0, image) for image, mask in enumerate(masks)]
    if (None in boxes or len(set(boxes)) > 1) and not structural:
        pairs = as_pairs(pred, target, valid=masks != 0, **settings)
        return [Part(pairs, range(len(pairs)))]
    if None in boxes:
        raise ValueError(
            f"valid: expected the valid pixels of each image to fill a rectangle, got gaps in image "
            f"{boxes.index(None)} of the batch, around which {', '.join(structural)} are not defined; leave these out"
        )
    parts = []
    for box, group in groupby(range(len(boxes)), key=boxes.__getitem__):
        assert box is not None
        (top, bottom, left, right), images = box, list(group)
        here = slice(images[0], images[-1] + 1)
        cut = [_batched(array)[here, None, top:bottom, left:right] for array in (pred, target)]
        parts.append(Part(as_pairs(*cut, **settings), images))
    return parts


def _listed_parts(
    preds: Sequence[Array], target: Any, valid: Any, *, structural: Sequence[str], **settings: Unpack[InputSettings]
) -> list[Part]:
    """Return the parts of a list of images or batches, each of its own size."""
    if preds:
        array_namespace(preds[0])  # nested lists of numbers are no images
    valid = [None] * len(preds) if valid is None else valid
    for name, entries in (("target", target), ("valid", valid)):
        if not isinstance(entries, list | tuple) or len(entries) != len(preds):
            got = f"{len(entries)} entries" if isinstance(entries, list | tuple) else type(entries).__name__
            raise ValueError(f"{name}: expected a list with an entry for each of {len(preds)} predictions, got {got}")
    if not preds:
        raise ValueError("pred: expected at least one image, got an empty list")
    parts: list[Part] = []
    first = 0
    for index, entry in enumerate(zip(preds, target, valid, strict=True)):
        try:
            found = batch_parts(*entry, structural=structural, **settings)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} (entry {index} of the list)") from None
        parts += [Part(pairs, [first + image for image in images]) for pairs, images in found]
        first += sum(len(images) for _, images in found)
    return parts


def _batched(images: Array) -> Array:
    return array_namespace(images).reshape(images, (-1, *images.shape[-2:]))


def _box(mask: npt.NDArray[np.bool_], image: int) -> Box | None:
    """First and last valid rows and columns, the last excluded; None if these have gaps."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise ValueError(f"valid: expected some valid pixels in each image, got none in image {image} of the batch")
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return (top, bottom, left, right) if mask[top:bottom, left:right].all() else None


def checked_names(names: Iterable[str] | None, size: int) -> list[str] | None:
    """Return the names of ``size`` images as strings, if they have names; whole numbers are names, too."""
    if names is None:
        return None
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Iterable) or isinstance(names, (bytes, set, frozenset)):
        raise TypeError(f"names: expected a list of strings, one for each image, got {_described(names)}")
    listed = [_name(name) for name in names]
    if len(listed) != size:
        raise ValueError(f"names: expected one for each of {size} images, got {len(listed)}")
    return listed


def _name(name: object) -> str:
    if isinstance(name, str):
        return str(name)
    try:
        return str(operator.index(name))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"names: expected strings, got {_described(name)} among them") from None


def _described(thing: object) -> str:
    text = repr(thing)
    return f"{text if len(text) <= 40 else text[:40] + '...'} ({type(thing).__name__})"


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
    if pred.dtype not in (xp.uint8, xp.bool) and not xp.isdtype(pred.dtype, "real floating"):
        raise TypeError(
            f"pred: expected uint8 (0 to 255), bool or floating values in [0, 1], got {pred.dtype}; "
            f"cast maps of 0 to 255 to uint8 and maps of 0 and 1 to bool, divide others by their largest possible value"
        )


def check_values(pred: Array, target: Array, tolerance: float) -> tuple[Array, Array] | None:
    """Raise unless the values, of shape (B, H, W), are what the dtypes promise.

    Floating predictions may leave [0, 1] by the ``tolerance``, `unit_tolerance` of the dtype that they came with.

    Returns
    -------
    tuple or None
        Smallest and largest value of each floating prediction, shape (B,).
    """
    xp = array_namespace(pred, target)
    extremes = None
    if pred.dtype != xp.uint8:
        low, high = extremes = xp.min(pred, axis=(1, 2)), xp.max(pred, axis=(1, 2))
        if not bool(xp.all((low >= -tolerance) & (high <= 1 + tolerance))):
            _refuse_pred(float(xp.min(low)), float(xp.max(high)), finite=bool(xp.all(xp.isfinite(pred))))
    _check_target_values(xp, target)
    return extremes


def _refuse_pred(low: float, high: float, *, finite: bool) -> None:
    if not finite:
        raise ValueError("pred: expected finite values in [0, 1], got NaN or infinity")
    if low >= -0.01 and high <= 1.01:
        hint = "clip them if rounding has pushed them there"
    elif low >= 0 and high <= 255:
        hint = "divide 0 to 255 maps by 255, or pass them as uint8"
    else:
        hint = "pass probabilities: apply the sigmoid to logits"
    raise ValueError(f"pred: expected values in [0, 1], got {digits(low, 0, 1)} to {digits(high, 0, 1)}; {hint}")


def _check_target_dtype(xp: Namespace, target: Array) -> None:
    if not xp.isdtype(target.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"target: expected bool, integers from 0 to 255 or floats in [0, 1], got {target.dtype}")


def _check_target_values(xp: Namespace, target: Array) -> None:
    if not xp.isdtype(target.dtype, "real floating"):
        return  # what integers mean is decided when they are read
    low, high = float(xp.min(target)), float(xp.max(target))
    if not bool(xp.all(xp.isfinite(target))):
        raise ValueError("target: expected finite values in [0, 1], got NaN or infinity")
    if low < 0 or high > 1:
        raise ValueError(
            f"target: expected floating values in [0, 1], got {low:g} to {high:g}; "
            "pass masks with other levels as integers"
        )
    if level := divided_level(xp, target):
        raise ValueError(
            f"target: expected a mask, got values that look like labels divided by 255: {level} / 255 beside 0 and 1 "
            "alone; pass the integers, with void= or salient=, or booleans"
        )


def _binary(
    xp: Namespace, target: Array, wanted: Meaning, *, look: bool
) -> tuple[Array, npt.NDArray[np.bool_] | None, tuple[Levels, ...]]:
    """Return the target as bool, which pixels are not void (None if none can be), and the levels of integers.

    Those must have one meaning, if they are to be looked at.
    """
    if not xp.isdtype(target.dtype, "integral"):
        return _cut(xp, target), np.ones(target.shape, bool) if wanted.void else None, ()
    if not look and not wanted.void:
        return _cut(xp, target) if wanted.salient is None else _any_of(xp, target, wanted.salient), None, ()
    masks = [interpreted(image, wanted) for image in _copied("target", target)]
    levels = tuple(mask.found for mask in masks) if look and wanted.salient is None else ()
    check_levels(levels, wanted, complete=False)
    salient = np.stack([mask.values for mask in masks]) > SALIENT_ABOVE
    found = salient if isinstance(target, np.ndarray) else xp.asarray(salient, device=device_of(target))
    if not wanted.void:
        return found, None, levels
    everywhere = np.ones(target.shape[1:], bool)
    return found, np.stack([everywhere if mask.valid is None else mask.valid for mask in masks]), levels


def check_target_levels(target: Array) -> None:
    """Raise if a batch of targets, shape (B, H, W), on any device, has levels of several meanings."""
    xp = array_namespace(target)
    _, _, levels = _binary(xp, target, Meaning(), look=True)
    check_levels(levels, Meaning())


def check_levels(levels: Sequence[Levels], wanted: Meaning, *, complete: bool = True) -> None:
    """Raise if the levels of a batch of targets have several meanings; a batch need not be the ``complete`` data."""
    seen = LevelsSeen(wanted)
    for image, found in enumerate(levels):
        seen.add(f"image {image}", found)
    seen.decide("target", complete=complete)


def _cut(xp: Namespace, target: Array) -> Array:
    """Return a target without void as bool. Integers are cut above 128 if the image has levels above, else above 0."""
    if target.dtype == xp.bool:
        return target
    if not xp.isdtype(target.dtype, "integral"):
        return target > 0.5
    if target.dtype == xp.int8:  # which cannot exceed 128, and cannot be compared with it
        return target > 0
    peaks = xp.max(target, axis=(1, 2), keepdims=True)
    return xp.where(peaks > SALIENT_ABOVE, target > SALIENT_ABOVE, target > 0)


def _any_of(xp: Namespace, target: Array, levels: Iterable[int]) -> Array:
    """Whether each pixel has one of the levels; those that the dtype cannot hold match none."""
    low, high = xp.iinfo(target.dtype).min, xp.iinfo(target.dtype).max
    found = xp.zeros_like(target, dtype=xp.bool)
    for level in levels:
        if low <= level <= high:
            found = found | (target == level)
    return found
