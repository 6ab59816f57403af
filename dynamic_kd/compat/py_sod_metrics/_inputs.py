"""What PySODMetrics takes for a prediction and its mask, as the package's metrics take it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._checks import check_flag
from dynamic_kd.metrics._inputs import Pairs, as_pairs

NDArray = npt.NDArray[Any]


def check_kinds(pred: object, gt: object, normalize: object) -> None:
    """Raise unless the arguments of a `step` have the right types and shapes; no value is looked at."""
    check_flag("normalize", normalize)
    for name, array in (("pred", pred), ("gt", gt)):
        if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
            kind = f"{type(array).__module__}.{type(array).__qualname__}"
            raise TypeError(f"{name}: expected a plain NumPy array of shape (H, W), got {kind}; convert it")
        if array.ndim != 2 or array.size == 0:
            raise ValueError(
                f"{name}: expected one greyscale image of shape (H, W), got {array.shape}; "
                f"take one channel of a colour image, and one image of a batch at a time"
            )
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name}: expected bool, integers or floating values, got {array.dtype}")
    if pred.shape != gt.shape:  # type: ignore[attr-defined]
        raise ValueError(
            f"pred and gt: expected equal shapes, got {pred.shape} and {gt.shape}; "  # type: ignore[attr-defined]
            f"resize the prediction to the mask's size"
        )


def checked_pair(pred: NDArray, gt: NDArray, *, normalize: bool) -> Pairs:
    """Check the values, and bring one pair to what the statistics take."""
    if normalize:
        levels, mask = _map_of_levels(pred), _mask_of_levels(gt)
        if levels.dtype == np.uint8:
            return as_pairs(levels, mask, check="off")
        pred = _stretched(levels / 255)
    else:
        _check_normalised(pred, gt)
        mask = gt
    return as_pairs(pred, mask, normalize=False, check="off")


def _map_of_levels(pred: NDArray) -> NDArray:
    """Levels from 0 to 255: uint8 where they came as integers, else float32 or float64."""
    if pred.dtype == np.bool_:
        return pred * np.uint8(255)
    _check_levels("pred", pred, "pass probabilities times 255, for logits the sigmoid of them times 255")
    if pred.dtype.kind in "iu":
        return pred.astype(np.uint8, copy=False)
    return pred if pred.dtype == np.float32 else pred.astype(np.float64, copy=False)


def _mask_of_levels(gt: NDArray) -> npt.NDArray[np.bool_]:
    """Return whether a pixel's level is above 128; bool masks as they are."""
    if gt.dtype == np.bool_:
        return gt
    _check_levels("gt", gt, "pass a bool mask")
    peak = gt.max()
    if 0 < peak <= 128:
        raise ValueError(
            f"gt: expected a mask in which more than 128 is salient, got a largest value of {peak:g}, which would "
            f"count as empty; pass gt > 0 for masks of 0 and {peak:g}, gt > {peak / 2:g} for soft ones"
        )
    return np.asarray(gt > 128)


def _check_levels(name: str, array: NDArray, fix: str) -> None:
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):
        raise ValueError(f"{name}: expected finite values from 0 to 255, got {low:g} to {high:g}; {fix}")


def _check_normalised(pred: NDArray, gt: NDArray) -> None:
    if pred.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"pred: expected float32 or float64 with normalize=False, got {pred.dtype}; "
            f"divide 8-bit maps by 255, or leave normalize=True"
        )
    if gt.dtype != np.bool_:
        raise TypeError(f"gt: expected bool with normalize=False, got {gt.dtype}; pass gt > 128 for 8-bit masks")
    low, high = pred.min(), pred.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"pred: expected finite values in [0, 1] with normalize=False, got {low:g} to {high:g}; "
            f"divide 0 to 255 maps by 255, or leave normalize=True"
        )


def _stretched(x: NDArray) -> NDArray:
    """Min-max normalisation in the array's own precision, as there; constant maps stay."""
    low, high = x.min(), x.max()
    return (x - low) / (high - low) if high > low else x
