"""Which training samples the noise elimination sets aside, and whether it is right to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import rankdata

from dynamic_kd.losses import soft_iou
from dynamic_kd.training._loop import saliency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.training._tensors import Tensors


@dataclass(frozen=True, eq=False)
class NoiseReport:
    """The teacher's confidence α in each training sample, and what follows from it.

    Attributes
    ----------
    names : tuple of str
        The samples.
    teacher_iou : ndarray
        α of each sample as it is, without augmentation: equation 1, in [0, 1].
    threshold : float
        A sample is flagged where α is not above it; equation 6 gives it the small weight ε.
    spoilt : tuple of (str or None), optional
        How each depth map was really spoilt (None: it was not); absent where nobody knows.
    """

    names: tuple[str, ...]
    teacher_iou: NDArray[np.float64]
    threshold: float
    spoilt: tuple[str | None, ...] | None = None

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Whether each sample is flagged."""
        flags: NDArray[np.bool_] = self.teacher_iou <= self.threshold
        return flags

    @property
    def order(self) -> list[int]:
        """Positions from the lowest α to the highest."""
        return [int(position) for position in np.argsort(self.teacher_iou, kind="stable")]

    def summary(self) -> dict[str, float | int | None]:
        """Return the counts and, where the truth is known, how well the flags and α tell spoilt from clean.

        Precision is the share of flagged samples that are spoilt, recall the share of spoilt samples that are flagged,
        and the AUC the probability that a spoilt sample has the lower α of a spoilt and a clean one. None stands for
        a quotient of nothing by nothing.
        """
        flagged = self.flagged
        counts: dict[str, float | int | None] = {"samples": len(flagged), "flagged": int(flagged.sum())}
        if self.spoilt is None:
            return counts
        spoilt = np.array([kind is not None for kind in self.spoilt])
        hits = int((flagged & spoilt).sum())
        return counts | {
            "spoilt": int(spoilt.sum()),
            "precision": _quotient(hits, flagged.sum()),
            "recall": _quotient(hits, spoilt.sum()),
            "auc": _auc(-self.teacher_iou, spoilt),
        }

    def csv(self) -> str:
        """Return a row for each sample, from the lowest α to the highest."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        known = self.spoilt is not None
        writer.writerow(["sample", "teacher_iou", "flagged", *(["spoilt", "kind"] if known else [])])
        for position in self.order:
            kind = self.spoilt[position] if self.spoilt is not None else None
            truth = [int(kind is not None), kind or ""] if known else []
            alpha, flag = float(self.teacher_iou[position]), int(self.flagged[position])
            writer.writerow([self.names[position], f"{alpha:.6f}", flag, *truth])
        return text.getvalue()


def noise_report(
    teacher: nn.Module, samples: Sequence[Sample], data: Tensors, threshold: float, *, truth_known: bool
) -> NoiseReport:
    """Compute the teacher's α on the training samples and compare it with the threshold."""
    alpha = soft_iou(torch.from_numpy(saliency(teacher, data)), data.targets).numpy().astype(np.float64)
    spoilt = tuple(sample.spoilt for sample in samples) if truth_known else None
    return NoiseReport(tuple(sample.name for sample in samples), alpha, threshold, spoilt)


def _quotient(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and Whitney)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return _quotient(above, positives * negatives)
