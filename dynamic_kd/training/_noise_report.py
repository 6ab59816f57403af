"""Which training samples the noise elimination sets aside, and whether it is right to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray


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


def _quotient(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and Whitney)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return _quotient(above, positives * negatives)
