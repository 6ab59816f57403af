"""The statistics that every backend provides. Each formula is written once, on top of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, Namespace

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

THRESHOLDS = 256
GAUSSIAN_SIZE = 7
GAUSSIAN_SIGMA = 5.0
# A background pixel's error weighs 2 - exp(log(0.5) / 5 * distance to the foreground) in the weighted F-measure.
HALF_DISTANCE = 5.0
# MATLAB's eps, which the original adds to denominators.
EPSILON = 2.0**-52


Method = TypeVar("Method", bound=Callable[..., Any])


def remembered(method: Method) -> Method:
    """Compute a statistic once for each batch and setting, because several scores need it."""

    @wraps(method)
    def once(self: Any, *, strict: bool = False) -> Any:
        memory = self.__dict__.setdefault("_remembered", {})
        key = method.__name__, strict
        if key not in memory:
            memory[key] = method(self, strict=True) if strict else method(self)
        return memory[key]

    return cast(Method, once)


class Counts(NamedTuple):
    """Pixels predicted salient, floating point: those that are salient (hits) and the others (false alarms)."""

    true_positives: Array
    false_positives: Array


class Moments(NamedTuple):
    """First and second moments of prediction x and target g over regions, all of one shape.

    `squares_x`, `squares_g` and `products` are sums of squared or multiplied deviations from the region's means. They
    are exactly 0 where x or g is constant. An empty region has zeros everywhere.
    """

    count: Array
    mean_x: Array
    mean_g: Array
    squares_x: Array
    squares_g: Array
    products: Array


class WeightedErrors(NamedTuple):
    """Weighted F-measure: errors summed over foreground and background, each of shape (B,)."""

    foreground: Array
    background: Array


def column(pixels: Any) -> Any:
    """Pixels of each image as a column that broadcasts with curves; one number for all images stays a number."""
    return pixels[:, None] if getattr(pixels, "ndim", 0) else pixels


class CutStatistics(Protocol):
    """Statistics of B predictions cut at thresholds, against binary targets."""

    pixels: int

    @property
    def xp(self) -> Namespace:
        """Array API namespace of the statistics."""

    @property
    def foreground(self) -> Array:
        """Salient target pixels of each image, shape (B,), floating."""

    def threshold_counts(self, *, strict: bool = False) -> Counts:
        """Pixels with x >= k / 255 (strict: x > k / 255) for k = 0 to 255, shape (B, 256)."""

    def adaptive_counts(self, *, strict: bool = False) -> Counts:
        """Pixels with x >= min(2 mean(x), 1) (strict: >), shape (B,)."""

    def binary_counts(self) -> Counts:
        """Pixels with x > 0.5, shape (B,)."""


class Statistics(CutStatistics, Protocol):
    """Statistics of B predictions, normalised to [0, 1], against binary targets, in float64 where there is one."""

    @property
    def backend(self) -> str:
        """What computes the statistics, as reports name it."""

    @property
    def mean(self) -> Array:
        """Mean normalised prediction, shape (B,)."""

    @property
    def constant(self) -> Array:
        """Whether every pixel of the prediction has one value, shape (B,), bool."""

    def class_moments(self) -> Moments:
        """Moments of x over the target's background and foreground, shape (B, 2)."""

    def quadrant_moments(self) -> Moments:
        """Moments over left-top, right-top, left-bottom, right-bottom of the target's centroid, shape (B, 4)."""

    def weighted_errors(self) -> WeightedErrors:
        """Weighted errors of eq. 6 to 9 in Margolin et al. (CVPR 2014)."""
