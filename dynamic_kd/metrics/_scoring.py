"""Batches on their way: scored at once on the host, or still being scored by a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics._evaluate import evaluate_now, with_host_values
from dynamic_kd.metrics._measures import Plan
from dynamic_kd.metrics._statistics import DeferredStatistics, Evaluated, Statistics, refuse_faults


class Part(NamedTuple):
    """Images of a batch.

    Attributes
    ----------
    wait
        Waits for their numbers, if need be, and returns them.
    names
        Their names, or positions in the stream.
    pixels
        Pixels of each, or of all.
    backend
        What scores them.
    deferred
        Whether `wait` has to wait.
    """

    wait: Callable[[], Evaluated]
    names: Sequence[str | int]
    pixels: Any
    backend: str
    deferred: bool


class Batch(NamedTuple):
    """Parts that are kept together or not at all, of ``size`` images with those that are left out as duplicates."""

    parts: Sequence[Part]
    size: int


def start_scoring(
    measured: Statistics,
    names: Sequence[str | int],
    plan: Plan,
    *host: npt.NDArray[np.float64],
    skip_empty: bool,
    keep: Sequence[int],
) -> Part:
    """Start scoring images, whose curves and numbers from pixels are there already."""
    deferred = isinstance(measured, DeferredStatistics)
    if isinstance(measured, DeferredStatistics):
        wait = measured.evaluate(plan, skip_empty=skip_empty, keep=keep)
    else:
        wait = partial(_unchanged, evaluate_now(measured, plan, skip_empty=skip_empty, keep=keep))
    if plan.host:
        wait = partial(_waited_with_host_values, wait, *host, skip_empty=skip_empty)
    return Part(wait, names, measured.pixels, measured.backend, deferred)


def waited(part: Part, *, check: bool, refuse_empty: bool) -> Evaluated:
    """Wait for the numbers of images, and refuse what is not to be kept."""
    numbers = part.wait()
    if check:
        refuse_faults(numbers.flags, [str(name) for name in part.names])
    empty = np.flatnonzero(numbers.foreground == 0)
    if refuse_empty and len(empty):
        listed = ", ".join(str(part.names[image]) for image in empty)
        raise ValueError(
            f"target: expected salient pixels in every mask, got none in {listed}; "
            f"fix the masks, or choose empty_target='count' or 'skip'"
        )
    return numbers


def _unchanged(numbers: Evaluated) -> Evaluated:
    return numbers


def _waited_with_host_values(
    wait: Callable[[], Evaluated], *host: npt.NDArray[np.float64], skip_empty: bool
) -> Evaluated:
    return with_host_values(wait(), *host, skip_empty=skip_empty)
