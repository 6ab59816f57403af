"""Noise reports of a teacher, of its maps, of what stage 2 logged, and of the file that a run has."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dynamic_kd._files import listing
from dynamic_kd.losses import soft_iou
from dynamic_kd.training._evaluation import saliency
from dynamic_kd.training._noise_report import NoiseReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.training._tensors import Tensors
    from dynamic_kd.training._weights_log import WeightsLog


def noise_report(
    teacher: nn.Module, samples: Sequence[Sample], data: Tensors, threshold: float, *, truth_known: bool
) -> NoiseReport:
    """Compute the teacher's α on the training samples and compare it with the threshold."""
    alpha = soft_iou(torch.from_numpy(saliency(teacher, data)), data.targets.cpu()).numpy().astype(np.float64)
    spoilt = tuple(sample.spoilt for sample in samples) if truth_known else None
    return NoiseReport(tuple(sample.name for sample in samples), alpha, threshold, spoilt)


def noise_report_from_maps(samples: Sequence[Sample], threshold: float) -> NoiseReport:
    """Compare α of a teacher that is given as maps, ``Sample.teacher``, with the threshold.

    How the depth maps were spoilt is taken as known if a sample says that its own was.

    Raises
    ------
    ValueError
        If a sample has no teacher's map.
    """
    alpha = np.empty(len(samples))
    for position, sample in enumerate(samples):
        if sample.teacher is None:
            raise ValueError(
                f"sample {sample.name}: expected a teacher's map, got none; read the data with teacher=..."
            )
        alpha[position] = soft_iou(sample.teacher[None], sample.mask[None])[0]
    return NoiseReport(
        tuple(sample.name for sample in samples), alpha, threshold, _truth([sample.spoilt for sample in samples])
    )


def noise_report_from_log(
    log: WeightsLog,
    threshold: float,
    samples: Sequence[Sample] = (),
    *,
    ratio: float | None = None,
    epochs: int = 10,
) -> NoiseReport:
    """Compare α as stage 2 logged it, in the mean over the last epochs, with the threshold.

    Parameters
    ----------
    log : WeightsLog
        The log of a run.
    threshold : float
        Noise threshold.
    samples : sequence of Sample
        The training samples if they are at hand; the report is then in their order, and knows how depth was spoilt.
    ratio : float, optional
        Takes the threshold's place: a sample's own is this share of the student's IoU, 1 - β, in the mean over the same
        epochs, as with ``noise_elimination="relative"``.
    epochs : int
        So many of the last epochs, whose augmentations differ.

    Raises
    ------
    ValueError
        If the samples are not those of the log.
    """
    seen = log.seen[-epochs:]
    order = [int(position) for position in np.flatnonzero(seen.any(axis=0))]
    if samples:
        order = _in_order_of(samples, {log.names[position]: position for position in order})
    names = tuple(log.names[position] for position in order)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.where(seen, values[-epochs:], 0).sum(axis=0)[order]
        return np.asarray(total / seen.sum(axis=0)[order])

    limits = threshold if ratio is None else ratio * mean(1 - log.student_error)
    spoilt = {sample.name: sample.spoilt for sample in samples}
    truth = _truth([spoilt[name] for name in names]) if samples else None
    return NoiseReport(names, mean(log.teacher_iou), limits, truth)


def _in_order_of(samples: Sequence[Sample], positions: Mapping[str, int]) -> list[int]:
    names = [sample.name for sample in samples if sample.name in positions]
    if unknown := sorted(positions.keys() - set(names)):
        raise ValueError(
            f"samples: expected those of the log, got none named {listing(unknown)}; pass the training set"
        )
    return [positions[name] for name in names]


def read_noise_report(path: str | Path, default_threshold: float | None = None) -> NoiseReport:
    """Read the ``noise.csv`` of a run.

    Parameters
    ----------
    path : str or Path
        The file, as `NoiseReport.csv` writes it: six digits of each α.
    default_threshold : float, optional
        Noise threshold of a file without that column, as early versions wrote.

    Raises
    ------
    ValueError
        If the file is missing, lacks a column or has a row that cannot be understood.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: expected the noise.csv of a run, got no such file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows, header = list(reader), reader.fieldnames or ()
    wanted = ("sample", "teacher_iou", *([] if default_threshold is not None else ["threshold"]))
    if missing := [column for column in wanted if column not in header]:
        raise ValueError(f"{path}: expected the columns {', '.join(wanted)}, got none named {', '.join(missing)}")
    threshold: Any = default_threshold
    if default_threshold is None or "threshold" in header:
        threshold = _numbers(path, rows, "threshold")
        threshold = float(threshold[0]) if len(set(threshold)) == 1 else threshold
    return NoiseReport(
        tuple(row["sample"] for row in rows),
        _numbers(path, rows, "teacher_iou"),
        threshold,
        tuple(row["kind"] or None for row in rows) if "kind" in header else None,
    )


def _numbers(path: str | Path, rows: Sequence[Mapping[str, str]], column: str) -> NDArray[np.float64]:
    values = np.empty(len(rows))
    for line, row in enumerate(rows, start=2):
        try:
            values[line - 2] = float(row[column])
        except (TypeError, ValueError):
            raise ValueError(f"{path}, line {line}: expected {column} as a number, got {row[column]!r}") from None
    return values


def _truth(kinds: Sequence[str | None]) -> tuple[str | None, ...] | None:
    """How each depth map was spoilt; nobody knows where no sample says so."""
    return tuple(kinds) if any(kinds) else None
