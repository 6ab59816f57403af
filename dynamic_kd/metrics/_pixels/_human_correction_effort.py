"""Human correction effort: how many clicks it takes to correct a predicted mask."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array
from dynamic_kd._checks import check_number, check_whole
from dynamic_kd._extras import require
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import Score, single_pixel_value
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored_from_pixels
from dynamic_kd.metrics._statistics import Floats, Mask

# A pixel and its four neighbours.
CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

Bytes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@array_support(gradient=False, traced=False, gpu="copied")
def human_correction_effort(
    pred: Array,
    target: Array,
    *,
    relax: int = 5,
    epsilon: float = 2.0,
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Human correction effort: clicks that turn the cut map (above 0.5) into the target.

    .. math:: HCE = \sum_{R \in \{FP', FN'\}} \text{points}(R) + \text{regions}(R)

    FP' and FN' are the false positives and false negatives without parts thinner than ``relax`` steps, which are not
    worth correcting. Missed parts of the target's skeleton stay in FN', however thin they are. points(R) counts the
    vertices of R's contours along correct regions, each contour simplified to within ``epsilon`` pixels (Douglas and
    Peucker). regions(R) counts the connected regions of R without such a border, each of which takes one click.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    relax
        Steps by which errors are eroded and grown back, a whole number of at least 0; 5 in the paper.
    epsilon
        Largest distance of a contour from its simplification in pixels, at least 0; 2 in the paper.

    Returns
    -------
    array
        Whole numbers from 0, lower is better: shape (B,), or () for a single image, in the inputs' library; float64
        where the library and device have it.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, for settings out of range, and for traced arrays (``jax.jit``).
    ModuleNotFoundError
        Without OpenCV or numba, which come with the extra ``eval``.

    Notes
    -----
    Values equal those of PySODMetrics' ``HumanCorrectionEffortMeasure``, which follows the authors' code. The skeleton
    is scikit-image's. The measure depends on the image's size, and on where a contour begins: a mirrored image may take
    a few points more or less. Arrays on other devices are copied to the CPU.

    References
    ----------
    Qin et al., Highly Accurate Dichotomous Image Segmentation, ECCV 2022.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((48, 48), dtype=bool)
    >>> target[12:36, 12:36] = True
    >>> float(human_correction_effort(target * 1.0, target))
    0.0
    >>> half = target.copy()
    >>> half[:, 24:] = False
    >>> float(human_correction_effort(half * 1.0, target))
    6.0
    """
    check_whole("relax", relax, low=0)
    check_number("epsilon", epsilon, low=0)
    require("cv2", "numba", extra="eval")
    value = partial(correction_effort, relax=int(relax), epsilon=float(epsilon))
    return scored_from_pixels(value, pred, target, **settings)


def correction_effort(x: Floats, mask: Mask, *, relax: int, epsilon: float) -> int:
    """Human correction effort of one normalised prediction."""
    import cv2

    from dynamic_kd.metrics._pixels._skeleton_numba import skeletonize

    cut, target = (x > 0.5).view(np.uint8), np.ascontiguousarray(mask).view(np.uint8)
    hit = target & cut
    false_alarm, miss = cut ^ hit, target ^ hit
    core = cv2.erode(target | cut, CROSS, iterations=relax)
    thin_miss = miss & skeletonize(mask).view(np.uint8)
    false_alarm = _grown_back(false_alarm & core, 1 - target, relax)
    miss = _grown_back(miss & core, 1 - cut, relax) | thin_miss
    return _clicks(false_alarm, hit | miss, epsilon) + _clicks(miss, 1 - (hit | miss | false_alarm), epsilon)


def _grown_back(core: Bytes, passable: Bytes, steps: int) -> Bytes:
    """Grow what erosion left of the errors by as many steps as it took, within the errors."""
    import cv2

    for _ in range(steps):
        core = cv2.dilate(core, CROSS) & passable
    return core


def _clicks(errors: Bytes, correct: Bytes, epsilon: float) -> int:
    """Vertices along the borders with correct pixels, and regions without such a border."""
    import cv2

    contours, _ = cv2.findContours(errors, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return 0
    points = np.concatenate(contours)[:, 0]
    first = np.cumsum([0] + [len(contour) for contour in contours])[:-1]
    pixel = points[:, 1].astype(np.int64) * errors.shape[1] + points[:, 0]
    border = (cv2.dilate(correct, CROSS).ravel()[pixel] > 0) & _first_visits(pixel, errors.size)
    total, regions = cv2.connectedComponents(errors, connectivity=8)
    bordering = np.unique(regions.ravel()[pixel[border]])
    pieces = _pieces(points, first, border)
    return total - 1 - len(bordering) + sum(len(cv2.approxPolyDP(piece, epsilon, False)) for piece in pieces)


def _first_visits(pixel: Indices, size: int) -> Mask:
    """Whether each contour point is the first one on its pixel."""
    order = np.arange(len(pixel))
    first = np.empty(size, np.int64)
    first[pixel[::-1]] = order[::-1]  # the last assignment stays
    return np.asarray(first[pixel] == order)


def _pieces(points: npt.NDArray[np.int32], first: Indices, border: Mask) -> list[npt.NDArray[Any]]:
    """Runs of border points along each contour. A contour's last and first run are joined if they touch."""
    joint = np.zeros(len(points) + 1, bool)  # before the points where a contour begins, and after the last one
    joint[first] = joint[-1] = True
    starts = np.flatnonzero(border & (joint[:-1] | ~np.roll(border, 1)))
    stops = np.flatnonzero(border & (joint[1:] | ~np.roll(border, -1))) + 1
    runs = [points[start:stop] for start, stop in zip(starts, stops, strict=True)]
    heads = np.searchsorted(starts, first)
    tails = np.append(heads[1:], len(runs)) - 1
    heads, tails = heads[heads < tails], tails[heads < tails]
    touching = np.abs(points[starts[heads]] - points[stops[tails] - 1]).max(axis=1) == 1
    for head, tail in zip(heads[touching], tails[touching], strict=True):
        runs[tail] = np.concatenate([runs[tail], runs[head][::-1]])
    return [run for run, spent in zip(runs, np.isin(np.arange(len(runs)), heads[touching]), strict=True) if not spent]


MEASURE = single_pixel_value(
    Score("HCE", r"\mathrm{HCE}", metric="HCE", higher_is_better=False, range=(0.0, math.inf)),
    partial(correction_effort, relax=5, epsilon=2.0),
    "cv2",
    "numba",
)
