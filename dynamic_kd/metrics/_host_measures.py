"""Metrics of an accumulator that look at pixels, image by image in the CPU's memory, instead of at statistics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynamic_kd.metrics import _context_measure, _human_correction_effort, _multi_scale_iou, _size_invariant
from dynamic_kd.metrics._inputs import Pairs
from dynamic_kd.metrics._measure import Floats, PixelMeasure
from dynamic_kd.metrics._on_host import normalised, on_host

HOST_MEASURES: Mapping[str, PixelMeasure] = {
    measure.metric: measure
    for measure in (
        _multi_scale_iou.MEASURE,
        _human_correction_effort.MEASURE,
        *_size_invariant.MEASURES,
        _context_measure.MEASURE,
    )
}


def host_values(names: tuple[str, ...], pairs: Pairs) -> tuple[Floats, Floats]:
    """Return the curves, one after another in shape (B, all curves' lengths), and the numbers, shape (B, N)."""
    curves, numbers = [], []
    for image, mask in zip(on_host(pairs.pred), on_host(pairs.mask), strict=True):
        x = normalised(image, pairs.normalize)
        of_curves, of_numbers = [np.zeros(0)], [np.zeros(0)]
        for measure in (HOST_MEASURES[name] for name in names):
            values = measure.values(x, mask)
            middle = len(values) - len(measure.numbers)
            of_curves.append(values[:middle])
            of_numbers.append(values[middle:])
        curves.append(np.concatenate(of_curves))
        numbers.append(np.concatenate(of_numbers))
    return np.stack(curves), np.stack(numbers)
