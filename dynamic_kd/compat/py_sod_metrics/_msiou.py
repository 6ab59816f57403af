"""Multi-scale intersection over union."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynamic_kd._checks import check_flag
from dynamic_kd.compat.py_sod_metrics._measure import Measure, Pair, mean
from dynamic_kd.metrics._multi_scale_iou import SCALES, multi_scale_curve


class MSIoU(Measure):
    """Multi-scale IoU of edges, as `dynamic_kd.metrics.multi_scale_iou`.

    Parameters
    ----------
    with_dynamic
        Record the curve over the 257 thresholds 0 to 256, *ascending*, of each pair.
    with_adaptive
        Record the value at the threshold min(2 · mean(pred), 1) of each pair.
    with_binary
        Record the value of the map cut above one half.
    num_levels
        Number of cell sizes, from 1 to 512 pixels; the paper's 10 only.

    Attributes
    ----------
    dynamic_results, adaptive_results, binary_results
        What was recorded of each pair, or None.

    Examples
    --------
    >>> import numpy as np
    >>> measure, gt = MSIoU(with_dynamic=True, with_adaptive=True), np.zeros((8, 8), np.uint8)
    >>> gt[2:6, 2:6] = 255
    >>> measure.step(pred=gt, gt=gt)
    >>> results = measure.get_results()
    >>> results["dynamic"].shape, float(results["adaptive"])
    ((257,), 1.0)
    """

    def __init__(
        self, with_dynamic: bool, with_adaptive: bool, *, with_binary: bool = False, num_levels: int = SCALES
    ) -> None:
        flags = {"with_dynamic": with_dynamic, "with_adaptive": with_adaptive, "with_binary": with_binary}
        for name, value in flags.items():
            check_flag(name, value)
        if num_levels != SCALES:
            raise ValueError(f"num_levels: expected {SCALES}, the cell sizes of the paper, got {num_levels!r}")
        self.dynamic_results: list[Any] | None = [] if with_dynamic else None
        self.adaptive_results: list[Any] | None = [] if with_adaptive else None
        self.binary_results: list[Any] | None = [] if with_binary else None
        self.cell_sizes = 2 ** np.arange(SCALES)

    def _keep(self, pair: Pair) -> None:
        x, mask = pair.normalised, pair.mask
        if self.dynamic_results is not None:
            self.dynamic_results.append(list(multi_scale_curve((x * 255).astype(np.uint8), mask)))
        if self.adaptive_results is not None:
            cut = x >= min(2 * x.mean(), 1)
            self.adaptive_results.append(multi_scale_curve(cut.astype(np.uint8), mask)[1])
        if self.binary_results is not None:
            self.binary_results.append(multi_scale_curve((x > 0.5).astype(np.uint8), mask)[1])

    def get_results(self) -> dict[str, Any]:
        """Return ``{"dynamic": (257,), "adaptive": number, "binary": number}``, of what was recorded."""
        kept = {"dynamic": self.dynamic_results, "adaptive": self.adaptive_results, "binary": self.binary_results}
        return {name: mean(values) for name, values in kept.items() if values is not None}
