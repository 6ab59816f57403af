"""Measures that are computed in the CPU's memory, image by image, whatever library and device the arrays are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import (
    Array,
    array_namespace,
    as_numpy,
    device_of,
    from_numpy,
    is_torch,
    is_traced,
    to_host,
    widest_float,
)
from dynamic_kd.metrics._inputs import as_pairs

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def scored_on_host(value: Callable[[Floats, Mask], Any], pred: Array, target: Array, **settings: Any) -> Array:
    """Return ``value(x, target)`` for each normalised prediction x, without the batch axis if there was none."""
    xp = array_namespace(pred, target)
    pairs = as_pairs(on_host(pred), on_host(target), **settings)
    images = zip(pairs.pred, pairs.target, strict=True)
    values = np.stack([value(normalised(image, pairs.normalize), mask) for image, mask in images]).astype(float)
    if pairs.single:
        values = values[0, ...]
    if isinstance(pred, np.ndarray):
        return from_numpy(values, like=pred)
    return xp.asarray(values, dtype=widest_float(xp, pred), device=device_of(pred))


def normalised(image: npt.NDArray[Any], normalize: bool) -> Floats:
    """Prediction in [0, 1], in the original's order of operations; a constant map is never stretched."""
    if image.dtype == np.uint8:
        levels = np.arange(256) / 255
        return np.asarray(_stretched(levels, levels[image.min()], levels[image.max()], normalize)[image])
    wide = np.ascontiguousarray(image, np.float64)
    return _stretched(wide, wide.min(), wide.max(), normalize)


def _stretched(values: Floats, low: float, high: float, normalize: bool) -> Floats:
    return (values - low) / (high - low) if normalize and low < high else values


def on_host(array: Array) -> npt.NDArray[Any]:
    """Return any array's values as NumPy's, floats of 16 bits as 32."""
    if is_traced(array):
        raise TypeError(
            "pred and target: expected arrays with values, got traced ones; this measure follows contours and edges on "
            "the host, so call it outside jax.jit, jax.vmap and torch.compile"
        )
    values = as_numpy(array.cpu() if is_torch(array) else array)
    if values is None:
        values = to_host(array)
    return values.astype(np.float32) if values.dtype.kind == "V" else values  # bfloat16, which NumPy does not know
