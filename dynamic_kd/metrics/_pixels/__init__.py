"""Metrics that look at pixels, image by image in the CPU's memory, instead of at statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dynamic_kd.metrics._declarations import PixelMeasure
from dynamic_kd.metrics._pixels import _context_measure, _human_correction_effort, _multi_scale_iou, _size_invariant
from dynamic_kd.metrics._statistics import Floats, Mask

PIXEL_MEASURES: Mapping[str, PixelMeasure] = {
    measure.metric: measure
    for measure in (
        _multi_scale_iou.MEASURE,
        _human_correction_effort.MEASURE,
        *_size_invariant.MEASURES,
        _context_measure.MEASURE,
    )
}


def pixel_values(names: Sequence[str], images: Iterable[tuple[Floats, Mask]]) -> tuple[Floats, Floats]:
    """Return the metrics' curves, one after another in shape (B, all curves' lengths), and numbers, shape (B, N)."""
    curves, numbers = [], []
    for x, mask in images:
        of_curves, of_numbers = [np.zeros(0)], [np.zeros(0)]
        for measure in (PIXEL_MEASURES[name] for name in names):
            values = measure.values(x, mask)
            middle = len(values) - len(measure.numbers)
            of_curves.append(values[:middle])
            of_numbers.append(values[middle:])
        curves.append(np.concatenate(of_curves))
        numbers.append(np.concatenate(of_numbers))
    return np.stack(curves), np.stack(numbers)
