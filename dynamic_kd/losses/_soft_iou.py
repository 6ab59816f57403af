"""Equations 1 and 2: the soft intersection over union."""

from __future__ import annotations

from typing import Literal

from dynamic_kd._array import Array, Namespace, accumulation_dtype, array_namespace
from dynamic_kd._checks import check_choice
from dynamic_kd._support import array_support
from dynamic_kd.losses._arguments import check_floating, check_maps, check_plane, unit_map, validity
from dynamic_kd.losses._sigmoid import softplus

Granularity = Literal["image", "pixel"]
GRANULARITIES = ("image", "pixel")


@array_support(gradient=True, traced=True, gpu="operations")
def soft_iou(
    probabilities: Array,
    target: Array,
    valid: Array | None = None,
    *,
    granularity: Granularity = "image",
    xp: Namespace | None = None,
) -> Array:
    r"""Soft intersection over union of a saliency map and its target.

    The teacher's soft IoU is its confidence α, and one minus the student's is the student's error β (equations 1 and
    2):

    .. math:: \alpha = \frac{\sum P G}{\sum (P + G - P G)}

    Parameters
    ----------
    probabilities : array, shape (B, 1, H, W) or (B, H, W)
        Predicted saliency P in [0, 1], floating point.
    target : array, shape (B, 1, H, W) or (B, H, W)
        Ground truth G in [0, 1]: booleans, integers 0 and 1, or soft values.
    valid : array, shape (B, 1, H, W) or (B, H, W), optional
        1 where a pixel counts, 0 where it does not. An invalid pixel may hold anything, NaN included. By default all
        pixels count.
    granularity : {"image", "pixel"}
        Sum over each image, or apply the equation to each pixel.
    xp : module, optional
        Array namespace; inferred by default.

    Returns
    -------
    array, shape (B,) or, by pixel, (B, H, W)
        Values in [0, 1]; float32 for half-precision probabilities, else their dtype.

    Raises
    ------
    TypeError
        If the probabilities are not floating point or the arrays come from different libraries.
    ValueError
        If shapes or devices differ or, on the CPU and outside tracing, a value lies outside [0, 1].

    Notes
    -----
    An empty target gives 0 for every prediction, an empty one included. This is the value of the equation for every
    P > 0. As a *metric*, the IoU of two empty maps is commonly 1. At pixel granularity, invalid pixels are 0.

    Examples
    --------
    >>> import numpy as np
    >>> teacher = np.array([[[1.0, 0.5], [0.0, 0.0]]])
    >>> mask = np.array([[[1, 1], [0, 0]]])
    >>> soft_iou(teacher, mask)
    array([0.75])
    """
    check_choice("granularity", granularity, GRANULARITIES)
    xp = array_namespace(probabilities, target, valid) if xp is None else xp
    check_floating("probabilities", probabilities, xp)
    check_plane("probabilities", probabilities)
    check_maps("probabilities", probabilities, target=target, valid=valid)
    dtype = accumulation_dtype(xp, probabilities)
    mask = None if valid is None else validity(valid, dtype, xp)
    predicted = unit_map("probabilities", probabilities, mask, dtype, xp)
    return overlap(predicted, unit_map("target", target, mask, dtype, xp), mask, granularity, xp)


def overlap(probabilities: Array, target: Array, valid: Array | None, granularity: Granularity, xp: Namespace) -> Array:
    """Return equation 1 for canonical maps (B, H, W); the target is 0 where invalid."""
    if valid is not None:
        probabilities = xp.where(valid, probabilities, xp.zeros_like(probabilities))
    intersection = probabilities * target
    union = probabilities + target - intersection
    if granularity == "image":
        intersection, union = xp.sum(intersection, axis=(1, 2)), xp.sum(union, axis=(1, 2))
    return intersection / xp.where(union > 0, union, xp.ones_like(union))


def disagreement(logits: Array, target: Array, valid: Array | None, granularity: Granularity, xp: Namespace) -> Array:
    """Return equation 2 for canonical maps (B, H, W): one minus the overlap, from sums of its own.

    For a confident student that is right, subtracting the overlap from 1 would leave rounding noise.
    """
    salient, background = xp.exp(-softplus(-logits, xp)), xp.exp(-softplus(logits, xp))
    hits, errors = salient * target, salient * (1 - target) + background * target
    if valid is not None:
        hits, errors = (xp.where(valid, each, xp.zeros_like(each)) for each in (hits, errors))
    if granularity == "image":
        hits, errors = xp.sum(hits, axis=(1, 2)), xp.sum(errors, axis=(1, 2))
    union = hits + errors
    some = union > 0
    return xp.where(some, errors / xp.where(some, union, xp.ones_like(union)), xp.ones_like(union))
