"""Noise reports: the training samples that noise elimination flags, and how many of them are really spoilt."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from dynamic_kd.losses import soft_iou

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dynamic_kd.data import Sample
    from dynamic_kd.training._weights_log import WeightsLog


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """The teacher's soft IoU α of each training sample, and the samples that noise elimination flags by it.

    Attributes
    ----------
    names : tuple of str
        The samples.
    teacher_iou : ndarray
        α of each sample (equation 1), in [0, 1]: of the unchanged sample, or the mean over its augmented versions.
    threshold : float or ndarray
        A sample is flagged if α does not exceed its threshold; equation 6 then gives the teacher the small weight ε.
        One number for all samples, or an array with the thresholds of ``noise_elimination="relative"``.
    spoilt : tuple of (str or None), optional
        How each sample is really spoilt (None: it is not); absent where this is unknown.
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
        """The condition for a flag, for titles."""
        if isinstance(self.threshold, np.ndarray):
            return "α too far below the student's IoU"
        return f"α ≤ {self.threshold:g}"

    @property
    def order(self) -> list[int]:
        """Positions from the lowest α to the highest."""
        return [int(position) for position in np.argsort(self.teacher_iou, kind="stable")]

    def summary(self) -> dict[str, Any]:
        """Return the counts and, where the truth is known, how well flags and α separate spoilt from clean samples.

        Precision is the share of flagged samples that are spoilt, and recall the share of spoilt samples that are
        flagged. The AUC is the probability that α of a spoilt sample is below that of a clean one. ``kinds`` has
        counts, recall and AUC for each kind of defect. None stands for 0/0.
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
        """Return the receiver operating characteristic of a low α as a detector of spoilt samples.

        Returns
        -------
        false_positive_rate, true_positive_rate : ndarray
            From (0, 0) to (1, 1), a point for each value of α: the shares of the clean and of the spoilt samples with
            an α that is not above it.

        Raises
        ------
        ValueError
            Unless some samples are known to be spoilt, and some not.
        """
        spoilt = self._spoilt()
        if not 0 < spoilt.sum() < len(spoilt):
            raise ValueError("roc: requires spoilt and clean samples, and the report does not have both")
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
        """Return how well flags and α separate these spoilt samples from the clean ones."""
        judged = spoilt | ~self._spoilt()
        return {
            "spoilt": int(spoilt.sum()),
            "recall": _quotient(int((self.flagged & spoilt).sum()), spoilt.sum()),
            "auc": _auc(-self.teacher_iou[judged], spoilt[judged]),
        }

    def csv(self) -> str:
        """Return a row for each sample as CSV, from the lowest α to the highest."""
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


def _quotient(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and Whitney)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return _quotient(above, positives * negatives)


def noise_report_from_log(
    log: WeightsLog,
    threshold: float = 0.5,
    *,
    relative: bool = False,
    spoilt: Mapping[str, str | None] | None = None,
    epochs: int = 10,
) -> NoiseReport:
    """Make the noise report of a run from the log of its stage 2: α is the mean over the last epochs.

    Parameters
    ----------
    log : WeightsLog
        Of the run.
    threshold : float
        Noise threshold; with ``relative``, a share of the student's own IoU 1 - β, in the mean over the same epochs.
    relative : bool
        Whether the run has ``noise_elimination="relative"``.
    spoilt : mapping, optional
        From each training sample to how it is spoilt, or to None; the report has its order. If no sample is spoilt,
        the truth counts as unknown.
    epochs : int
        Number of last epochs to average; their augmentation differs.

    Raises
    ------
    ValueError
        If ``spoilt`` lacks a sample of the log.
    """
    seen = log.seen[-epochs:]
    order = [int(position) for position in np.flatnonzero(seen.any(axis=0))]
    if spoilt is not None:
        order = _in_order_of(spoilt, {log.names[position]: position for position in order})
    names = tuple(log.names[position] for position in order)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.where(seen, values[-epochs:], 0).sum(axis=0)[order]
        return np.asarray(total / seen.sum(axis=0)[order])

    limits = threshold * mean(1 - log.student_error) if relative else threshold
    truth = None if spoilt is None else _truth([spoilt[name] for name in names])
    return NoiseReport(names, mean(log.teacher_iou), limits, truth)


def _in_order_of(names: Mapping[str, str | None], positions: Mapping[str, int]) -> list[int]:
    if unknown := sorted(positions.keys() - names.keys()):
        raise ValueError(
            f"samples: {len(unknown)} samples of the log are missing, the first is {unknown[0]}; pass the run's own "
            "training set"
        )
    return [positions[name] for name in names if name in positions]


def noise_report_from_maps(samples: Sequence[Sample], threshold: float = 0.5) -> NoiseReport:
    """Make the noise report of a teacher that is given as maps, ``Sample.teacher``.

    Parameters
    ----------
    samples : sequence of Sample
        With teacher maps.
    threshold : float
        Noise threshold, in [0, 1].

    Raises
    ------
    ValueError
        If a sample has no teacher map.
    """
    alpha = np.empty(len(samples))
    for position, sample in enumerate(samples):
        if sample.teacher is None:
            raise ValueError(f"sample {sample.name}: has no teacher map; find the data with teacher=...")
        alpha[position] = soft_iou(sample.teacher[None], sample.mask[None])[0]
    truth = _truth([sample.spoilt for sample in samples])
    return NoiseReport(tuple(sample.name for sample in samples), alpha, threshold, truth)


def read_noise_report(path: str | Path) -> NoiseReport:
    """Read the ``noise.csv`` of a run, which has six digits of each α.

    Raises
    ------
    ValueError
        If the file is missing, lacks a column or has an invalid row.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; name the noise.csv of a run") from None
    reader = csv.DictReader(io.StringIO(text, newline=""))
    rows, header = list(reader), reader.fieldnames or ()
    if missing := [column for column in ("sample", "teacher_iou", "threshold") if column not in header]:
        raise ValueError(f"{path}: has no column {', '.join(missing)}; name the noise.csv of a run")
    thresholds = _numbers(path, rows, "threshold")
    return NoiseReport(
        tuple(row["sample"] for row in rows),
        _numbers(path, rows, "teacher_iou"),
        float(thresholds[0]) if len(set(thresholds)) == 1 else thresholds,
        tuple(row["kind"] or None for row in rows) if "kind" in header else None,
    )


def _numbers(path: str | Path, rows: Sequence[Mapping[str, str]], column: str) -> NDArray[np.float64]:
    values = np.empty(len(rows))
    for line, row in enumerate(rows, start=2):
        try:
            values[line - 2] = float(row[column])
        except (TypeError, ValueError):
            raise ValueError(f"{path}, line {line}: {column} must be a number, got {row[column]!r}") from None
    return values


def _truth(kinds: Sequence[str | None]) -> tuple[str | None, ...] | None:
    """Return how samples are spoilt; None if none is, because then the truth may as well be unknown."""
    return tuple(kinds) if any(kinds) else None
