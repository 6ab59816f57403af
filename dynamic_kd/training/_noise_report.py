"""Which training samples the noise elimination sets aside, and whether it is right to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.stats import rankdata

from dynamic_kd.data._pairing import listing
from dynamic_kd.losses import soft_iou
from dynamic_kd.training._evaluation import saliency

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.training._tensors import Tensors
    from dynamic_kd.training._weights_log import WeightsLog


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """The teacher's confidence α in each training sample, and what follows from it.

    Attributes
    ----------
    names : tuple of str
        The samples.
    teacher_iou : ndarray
        α of each sample: equation 1, in [0, 1]. Of the sample as it is, or the mean over augmented ones.
    threshold : float or ndarray
        A sample is flagged where α is not above it; equation 6 gives it the small weight ε. One for all samples, or one
        for each of them: a share of the student's own IoU (``noise_elimination="relative"``).
    spoilt : tuple of (str or None), optional
        How each depth map was really spoilt (None: it was not); absent where nobody knows.
    """

    names: tuple[str, ...]
    teacher_iou: NDArray[np.float64]
    threshold: float | NDArray[np.float64]
    spoilt: tuple[str | None, ...] | None = None

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each sample is flagged."""
        flags: NDArray[np.bool_] = self.teacher_iou <= self.threshold
        return flags

    @property
    def rule(self) -> str:
        """When a sample is flagged, in a few words."""
        if isinstance(self.threshold, np.ndarray):
            return "α too far under the student's IoU"
        return f"α ≤ {self.threshold:g}"

    @property
    def order(self) -> list[int]:
        """Positions from the lowest α to the highest."""
        return [int(position) for position in np.argsort(self.teacher_iou, kind="stable")]

    def summary(self) -> dict[str, Any]:
        """Return the counts and, where the truth is known, how well the flags and α tell spoilt from clean.

        Precision is the share of flagged samples that are spoilt, recall the share of spoilt samples that are flagged,
        and the AUC the probability that a spoilt sample has the lower α of a spoilt and a clean one. ``kinds`` has
        counts, recall and AUC of each way to spoil a sample. None stands for a quotient of nothing by nothing.
        """
        flagged = self.flagged
        counts: dict[str, Any] = {"samples": len(flagged), "flagged": int(flagged.sum())}
        if self.spoilt is None:
            return counts
        spoilt, kinds = self._spoilt(), np.array(self.spoilt, dtype=object)
        return {
            **counts,
            **self._found(spoilt),
            "precision": _quotient(int((flagged & spoilt).sum()), flagged.sum()),
            "kinds": {kind: self._found(kinds == kind) for kind in sorted(set(filter(None, self.spoilt)))},
        }

    def roc(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the receiver operating characteristic of a low α as the sign of a spoilt sample.

        Returns
        -------
        false_positive_rate, true_positive_rate : ndarray
            From (0, 0) to (1, 1), a point for each value of α: the shares of the clean and of the spoilt samples with
            an α that is not above it.

        Raises
        ------
        ValueError
            If it is not known which samples are spoilt, or if none or all of them are.
        """
        spoilt = self._spoilt()
        if not 0 < spoilt.sum() < len(spoilt):
            raise ValueError("roc: expected a report that knows of spoilt and of clean samples, got one without")
        limits = np.unique(self.teacher_iou)
        shares = [
            np.searchsorted(np.sort(self.teacher_iou[part]), limits, side="right") / part.sum()
            for part in (~spoilt, spoilt)
        ]
        false_positive_rate, true_positive_rate = (np.concatenate([[0.0], share]) for share in shares)
        return false_positive_rate, true_positive_rate

    def _spoilt(self) -> NDArray[np.bool_]:
        """Whether each sample is known to be spoilt."""
        return np.array([kind is not None for kind in self.spoilt or [None] * len(self.names)])

    def _found(self, spoilt: NDArray[np.bool_]) -> dict[str, float | int | None]:
        """How well flags and α tell these spoilt samples from the clean ones."""
        judged = spoilt | ~self._spoilt()
        return {
            "spoilt": int(spoilt.sum()),
            "recall": _quotient(int((self.flagged & spoilt).sum()), spoilt.sum()),
            "auc": _auc(-self.teacher_iou[judged], spoilt[judged]),
        }

    def csv(self) -> str:
        """Return a row for each sample, from the lowest α to the highest."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        known = self.spoilt is not None
        writer.writerow(["sample", "teacher_iou", "threshold", "flagged", *(["spoilt", "kind"] if known else [])])
        thresholds = np.broadcast_to(self.threshold, len(self.names))
        for position in self.order:
            kind = self.spoilt[position] if self.spoilt is not None else None
            truth = [int(kind is not None), kind or ""] if known else []
            numbers = [f"{values[position]:.6f}" for values in (self.teacher_iou, thresholds)]
            writer.writerow([self.names[position], *numbers, int(self.flagged[position]), *truth])
        return text.getvalue()


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


def _quotient(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and Whitney)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return _quotient(above, positives * negatives)
