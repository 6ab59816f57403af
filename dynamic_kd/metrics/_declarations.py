"""What a metric declares beside its formula: its scores, how to read them, and how statistics become numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamic_kd._array import Array, Namespace
from dynamic_kd.metrics._statistics import Floats, Mask, Statistics

Range = tuple[float, float]


@dataclass(frozen=True)
class Score:
    r"""One number of a report, and how to read it.

    Attributes
    ----------
    name
        Its name in reports, such as ``"maxF"``.
    symbol
        How papers print it, in LaTeX's mathematics: ``F_\beta^{max}``.
    metric
        The metric that gives it, as `SODMetrics` takes it: ``"F"``.
    higher_is_better
        Whether a larger value is a better one.
    range
        Smallest and largest value. The E-measure of a perfect map of N pixels is N / (N - 1), a little above.
    curve
        The curve of a report of whose mean over the data set this is the maximum or the mean; empty for a score that is
        a mean over images.

    Examples
    --------
    >>> from dynamic_kd.metrics import SCORES
    >>> SCORES["maxF"].symbol, SCORES["maxF"].curve, SCORES["MAE"].higher_is_better
    ('F_\\beta^{max}', 'f_measure', False)
    """

    name: str
    symbol: str
    metric: str
    higher_is_better: bool = True
    range: Range = (0.0, 1.0)
    curve: str = ""


def threshold_scores(
    metric: str,
    suffix: str,
    symbol: str,
    curve: str,
    *,
    single: Sequence[str] = ("adp", "bin"),
    higher_is_better: bool = True,
    bounds: Range = (0.0, 1.0),
) -> tuple[Score, ...]:
    """Declare the maximum and the mean of a curve over thresholds, and the values at ``single`` thresholds."""
    return tuple(
        Score(
            name=f"{kind}{suffix}",
            symbol=f"{symbol}^{{{kind}}}",
            metric=metric,
            higher_is_better=higher_is_better,
            range=bounds,
            curve=curve if kind in ("max", "mean") else "",
        )
        for kind in ("max", "mean", *single)
    )


class Declared:
    """What all metrics have.

    Attributes
    ----------
    scores
        The numbers of each image, in the order in which they are computed.
    curves
        Names of the curves over 256 thresholds that are averaged over the data set.
    structural
        Whether it looks at where pixels are, so that none can be left out.
    """

    scores: tuple[Score, ...]
    curves: tuple[str, ...]
    structural: bool

    @property
    def metric(self) -> str:
        """Name that `SODMetrics` takes."""
        return self.scores[0].metric

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of each image's own scores."""
        return tuple(score.name for score in self.scores)

    @property
    def summarized(self) -> str:
        """The curve whose maximum and mean over the data set replace the means of the first two numbers."""
        return self.scores[0].curve


def _no_curves(statistics: Statistics, strict: bool) -> Sequence[Array]:
    return ()


@dataclass(frozen=True)
class Measure(Declared):
    """A metric computed from statistics.

    Attributes
    ----------
    number_values
        (statistics, the curves, strict) -> the numbers, each of shape (B,).
    curve_values
        (statistics, strict) -> the curves, each of shape (B, 256).
    pooled
        Whether it also makes sense for counts summed over the data set.
    structural
        Whether it looks at where pixels are.
    """

    scores: tuple[Score, ...]
    number_values: Callable[[Statistics, Sequence[Array], bool], Sequence[Array]]
    curves: tuple[str, ...] = ()
    curve_values: Callable[[Statistics, bool], Sequence[Array]] = _no_curves
    pooled: bool = False
    structural: bool = False


def single_value(score: Score, values: Callable[[Statistics], Array], *, structural: bool = False) -> Measure:
    """Declare a metric of one number."""
    return Measure((score,), lambda statistics, curves, strict: [values(statistics)], structural=structural)


def peaks(xp: Namespace, curve: Array) -> tuple[Array, Array]:
    """Maximum and mean of each image's own curve."""
    return xp.max(curve, axis=1), xp.mean(curve, axis=1)


@dataclass(frozen=True)
class PixelMeasure(Declared):
    """A metric computed from the pixels of each image, in the CPU's memory.

    Attributes
    ----------
    values
        (normalised prediction, mask) -> the curve, if there is one, and the numbers, one after another in a vector.
    needs
        Packages of the extra ``eval`` that it needs.
    """

    scores: tuple[Score, ...]
    values: Callable[[Floats, Mask], Floats]
    curves: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    structural: bool = True


def single_pixel_value(score: Score, value: Callable[[Floats, Mask], float], *needs: str) -> PixelMeasure:
    """Declare a metric from pixels of one number."""
    return PixelMeasure((score,), lambda x, mask: np.array([value(x, mask)], float), needs=needs)


def pixel_curve(scores: tuple[Score, ...], value: Callable[..., Any]) -> PixelMeasure:
    """Declare a metric of maps cut at each threshold and at the two single ones; ``value`` takes ``reduce``."""

    def values(x: Floats, mask: Mask) -> Floats:
        curve = value(x, mask, reduce="curve")
        single = [value(x, mask, reduce=reduce) for reduce in ("adaptive", "binary")]
        return np.concatenate([curve, [curve.max(), curve.mean(), *single]])

    return PixelMeasure(scores, values, (scores[0].curve,))
