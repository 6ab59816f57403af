"""From what an accumulator keeps to its report."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._report import MetricReport
from dynamic_kd.metrics._statistics._interface import THRESHOLDS
from dynamic_kd.metrics._tally import Tally

Curves = dict[str, npt.NDArray[np.float64]]


def summarize(tally: Tally, settings: dict[str, object], *, per_image_curves: bool) -> MetricReport:
    """Return the report of at least one image."""
    plan, images = tally.plan, len(tally)
    rows = tally.scores.table()
    sums, totals = tally.sums()
    curves = dict(zip(plan.curves, sums / images, strict=True))
    means = {name: math.fsum(column) / images for name, column in zip(plan.numbers, rows.T, strict=True)}
    scores, own_maxima = dict(means), {}
    for measure in plan.every:
        if measure.summarized:
            # What papers print: the maximum of the data set's mean curve.
            curve, (largest, average) = curves[measure.summarized], measure.numbers[:2]
            scores |= {largest: float(curve.max()), average: float(curve.mean())}
            own_maxima[f"{largest}_per_image"] = means[largest]
    return MetricReport(
        scores=scores | own_maxima,
        counts=dict(tally.counts),
        settings=settings,
        curves={"threshold": np.arange(THRESHOLDS) / (THRESHOLDS - 1), **curves},
        names=tuple(map(str, tally.names)),
        rows=rows,
        columns=plan.numbers,
        pooled=plan.pooled(totals, tally.pixels),
        per_image_curves=_own_curves(tally) if per_image_curves else {},
    )


def _own_curves(tally: Tally) -> Curves:
    """Each image's own curves, in the order of the names."""
    curves = np.concatenate([own for _, own in tally.own_curves()])
    return {name: curves[:, index] for index, name in enumerate(tally.plan.curves)}
