"""Resampling of images: how much the scores of a data set depend on the choice of its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd.metrics import SCORES, MetricReport

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Bytes of the table of how often some resamples drew each image.
_BUDGET = 1 << 25


class Interval(NamedTuple):
    """The middle 95% of a score's bootstrap distribution."""

    low: float
    high: float


@dataclass(frozen=True)
class ImageScores:
    """What the scores of one method on one data set are computed from, image by image.

    Attributes
    ----------
    names
        The images.
    means
        Score -> the value of each image, shape (n,), for scores that are means over images.
    curves
        Score -> the curve of each image, shape (n, 256), for scores that are the maximum of the mean curve.
    """

    names: tuple[str, ...]
    means: Mapping[str, Floats]
    curves: Mapping[str, Floats]

    @classmethod
    def of(cls, report: MetricReport) -> ImageScores:
        """Take them from a report with ``per_image_curves``."""
        means = dict(zip(report.columns, report.rows.T, strict=True))
        curves = {}
        for name in report.columns:
            if curve := curve_of_maximum(name):
                means[f"{name}_per_image"] = means.pop(name)
                curves[name] = report.per_image_curves[curve]
        return cls(report.names, means, curves)

    def restricted(self, names: tuple[str, ...]) -> ImageScores:
        """Return those of some of the images, in the order given."""
        if names == self.names:
            return self
        position = {name: index for index, name in enumerate(self.names)}
        chosen = [position[name] for name in names]
        means = {score: values[chosen] for score, values in self.means.items()}
        return ImageScores(names, means, {score: curves[chosen] for score, curves in self.curves.items()})

    def scores(self) -> dict[str, float]:
        """Return the scores of the data set."""
        means = {score: float(values.mean()) for score, values in self.means.items()}
        return means | {score: float(curves.mean(axis=0).max()) for score, curves in self.curves.items()}


def curve_of_maximum(score: str) -> str:
    """Return the curve of whose mean over images a score is the maximum; empty for other scores."""
    return SCORES[score].curve if score.startswith("max") else ""


def times_drawn(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample drew each image, shape (some resamples, images), until there are enough.

    The draws depend on the three arguments alone, so that methods scored on the same images are resampled together.
    """
    generator = np.random.default_rng(seed)
    most = max(1, _BUDGET // (8 * images))
    for start in range(0, resamples, most):
        some = min(most, resamples - start)
        drawn = generator.integers(0, images, size=(some, images)) + images * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * images).reshape(some, images).astype(np.float64)


def resampled_scores(scores: ImageScores, resamples: int, seed: int) -> dict[str, Floats]:
    r"""Return each score of each resample, shape (resamples,).

    The score of a resample is computed as that of the data set: a mean over the drawn images, or for maxF and maxE the
    maximum of the mean curve of the drawn images. If image i was drawn :math:`w_i` times, the mean curve is
    :math:`\frac{1}{n} \sum_i w_i c_i`, so that one matrix product gives all resamples.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.
    """
    images = len(scores.names)
    table = np.column_stack([*scores.means.values(), *scores.curves.values()])
    parts: dict[str, list[Floats]] = {score: [] for score in (*scores.means, *scores.curves)}
    for counts in times_drawn(images, resamples, seed):
        resampled = counts @ table / images
        for column, score in enumerate(scores.means):
            parts[score].append(resampled[:, column])
        start = len(scores.means)
        for score, curves in scores.curves.items():
            parts[score].append(resampled[:, start : start + curves.shape[1]].max(axis=1))
            start += curves.shape[1]
    return {score: np.concatenate(part) for score, part in parts.items()}


def percentile_interval(values: Floats) -> Interval:
    """Return the interval between the 2.5% and the 97.5% quantile of bootstrapped values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))
