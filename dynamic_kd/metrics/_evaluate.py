"""A batch's statistics as what accumulators keep, computed on the host at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import to_host
from dynamic_kd.metrics._exact_sum import exact_words
from dynamic_kd.metrics._measures import Plan
from dynamic_kd.metrics._statistics import Evaluated, Statistics, kept_columns

Floats = npt.NDArray[np.float64]


def evaluate_now(measured: Statistics, plan: Plan, *, skip_empty: bool, keep: Sequence[int]) -> Evaluated:
    """Curves, counts and scores of a batch, on the host, at once."""
    foreground = to_host(measured.foreground)
    curves, totals, numbers = ([to_host(value) for value in values] for values in plan(measured))
    kept = foreground > 0 if skip_empty else slice(None)
    none = np.zeros((len(foreground), 0))
    return Evaluated(
        words=exact_words(np.concatenate([none, *curves], axis=1)[kept]),
        totals=summed([each[kept] for each in totals]),
        numbers=np.concatenate([none, *(each[:, None] for each in numbers)], axis=1),
        foreground=foreground,
        flags=np.zeros(len(foreground)),
        constant=to_host(measured.constant),
        kept=kept_columns(measured, strict=plan.cuts_strictly) if keep else None,
    )


def with_host_values(batch: Evaluated, curves: Floats, numbers: Floats, *, skip_empty: bool) -> Evaluated:
    """Add curves and numbers from pixels to a batch."""
    rows = batch.foreground > 0 if skip_empty else slice(None)
    return batch._replace(
        words=np.concatenate([batch.words, exact_words(curves[rows])], axis=1),
        numbers=np.concatenate([batch.numbers, numbers], axis=1),
        host_curves=curves,
    )


def summed(totals: Sequence[Any]) -> npt.NDArray[np.int64]:
    """Sum counts, of shape (B,) or (B, N), over the images, one after another in a vector."""
    each = [np.asarray(counts, np.int64).sum(axis=0).reshape(-1) for counts in totals]
    return np.concatenate([np.zeros(0, np.int64), *each])
