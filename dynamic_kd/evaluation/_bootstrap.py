"""Resampling of images: how far a data set's scores, maxima of mean curves included, depend on its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
# Bytes of the table of how often each image was drawn in some resamples.
_BUDGET = 1 << 25


class Interval(NamedTuple):
    """The middle 95% of a score's bootstrap distribution."""

    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """What the scores of one method on one data set are made of.

    Attributes
    ----------
    names
        The images.
    rows
        Score -> each image's own, shape (n,), for scores that are means over images.
    curves
        Score -> its reduction (``"max"``, ``"min"``) and each image's curve, shape (n, 256), for scores that are taken
        from the data set's mean curve.
    """

    names: tuple[str, ...]
    rows: Mapping[str, Floats]
    curves: Mapping[str, tuple[str, Floats]]

    def restricted(self, names: tuple[str, ...]) -> Sample:
        """Return the sample of some of its images, in the order given."""
        if names == self.names:
            return self
        place = {name: index for index, name in enumerate(self.names)}
        chosen = [place[name] for name in names]
        rows = {score: values[chosen] for score, values in self.rows.items()}
        curves = {score: (reduce, values[chosen]) for score, (reduce, values) in self.curves.items()}
        return Sample(names, rows, curves)

    def scores(self) -> dict[str, float]:
        """Return the data set's scores."""
        means = {score: float(values.mean()) for score, values in self.rows.items()}
        return means | {score: float(getattr(curve.mean(0), to)()) for score, (to, curve) in self.curves.items()}


def draws(images: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield indices of images drawn with replacement, shape (some resamples, images), until there are enough.

    They depend on the three numbers alone, so that methods scored on the same images are resampled together.
    """
    generator = np.random.default_rng(seed)
    some = max(1, _BUDGET // (8 * images))
    for start in range(0, resamples, some):
        yield generator.integers(0, images, size=(min(some, resamples - start), images))


def resampled_scores(sample: Sample, resamples: int, seed: int) -> dict[str, Floats]:
    r"""Return each score of each resample, shape (resamples,).

    A resample's score is made as the data set's: a mean over the drawn images, or for maxF and maxE the maximum of
    the mean curve of the drawn images. With :math:`w_i` the times that image i was drawn, the mean curve is
    :math:`\frac{1}{n} \sum_i w_i c_i`, so that a matrix product makes all resamples at once.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6.
    """
    images = len(sample.names)
    table = np.column_stack([*sample.rows.values(), *(curve for _, curve in sample.curves.values())])
    parts: dict[str, list[Floats]] = {score: [] for score in (*sample.rows, *sample.curves)}
    for drawn in draws(images, resamples, seed):
        means = times_drawn(drawn) @ table / images
        for column, score in enumerate(sample.rows):
            parts[score].append(means[:, column])
        start = len(sample.rows)
        for score, (reduce, curve) in sample.curves.items():
            parts[score].append(getattr(means[:, start : start + curve.shape[1]], reduce)(axis=1))
            start += curve.shape[1]
    return {score: np.concatenate(part) for score, part in parts.items()}


def interval(values: Floats) -> Interval:
    """Return the percentile interval of bootstrapped values."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def times_drawn(drawn: npt.NDArray[np.int64]) -> Floats:
    """Count how often each resample drew each image, shape (resamples, images)."""
    resamples, images = drawn.shape
    flat = drawn + images * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * images).reshape(resamples, images).astype(np.float64)
