"""Which training samples the noise elimination sets aside, and whether it is right to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import rankdata

from dynamic_kd.data._pairing import listing
from dynamic_kd.losses import soft_iou
from dynamic_kd.training._evaluation import saliency

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    return NoiseReport(tuple(sample.name for sample in samples), alpha, threshold, _spoilt(samples))


def noise_report_from_log(
    log: WeightsLog, threshold: float, samples: Sequence[Sample] = (), *, epochs: int = 10
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
    epochs : int
        So many of the last epochs, whose augmentations differ.

    Raises
    ------
    ValueError
        If the samples are not those of the log.
    """
    seen = log.seen[-epochs:]
    counts = seen.sum(axis=0)
    total = np.where(seen, log.teacher_iou[-epochs:], 0).sum(axis=0)
    alpha = {name: total[i] / counts[i] for i, name in enumerate(log.names) if counts[i]}
    if not samples:
        return NoiseReport(tuple(alpha), np.array(list(alpha.values())), threshold)
    shown = [sample for sample in samples if sample.name in alpha]
    if len(shown) < len(alpha):
        unknown = sorted(alpha.keys() - {sample.name for sample in shown})
        raise ValueError(
            f"samples: expected those of the log, got none named {listing(unknown)}; pass the training set"
        )
    values = np.array([alpha[sample.name] for sample in shown])
    return NoiseReport(tuple(sample.name for sample in shown), values, threshold, _spoilt(shown))


def _spoilt(samples: Sequence[Sample]) -> tuple[str | None, ...] | None:
    """How each depth map was spoilt; nobody knows where no sample says so."""
    kinds = tuple(sample.spoilt for sample in samples)
    return kinds if any(kinds) else None


def _quotient(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _auc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half (Mann and Whitney)."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    above = rankdata(score)[positive].sum() - positives * (positives + 1) / 2
    return _quotient(above, positives * negatives)
