"""Multi-scale intersection over union: edges compared on grids from fine to coarse, 64 thresholds at a time."""

from __future__ import annotations

from functools import partial
from functools import reduce as fold
from operator import or_
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array
from dynamic_kd._support import array_support
from dynamic_kd.metrics._declarations import pixel_curve, threshold_scores
from dynamic_kd.metrics._inputs import InputSettings
from dynamic_kd.metrics._measured import scored_from_pixels
from dynamic_kd.metrics._statistics import Floats, Mask
from dynamic_kd.metrics._statistics._interface import THRESHOLDS
from dynamic_kd.metrics._threshold_measures import check_reduce

Bits = npt.NDArray[Any]
Levels = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

SCALES = 10
# Cuts of a map that are handled at once, one in each bit of an integer.
WORD = 64
# Rows whose temporaries stay in the CPU's cache.
STRIP = 32
# float16 rounds counts from here on up to infinity.
HALF_OVERFLOWS = 65520


@array_support(gradient=False, traced=False, gpu="copied")
def multi_scale_iou(
    pred: Array,
    target: Array,
    *,
    reduce: str = "curve",
    **settings: Unpack[InputSettings],
) -> Array:
    r"""Multi-scale IoU of a saliency map cut at each of 256 thresholds.

    It measures whether fine structures are found. Edges of the cut map and of the target are laid on grids of square
    cells. The share of the target's cells that the map's edges also touch is averaged over cell sizes from 1 to 512
    pixels by the trapezoidal rule. An edge is where a Sobel derivative is not 0, with background outside the image.

    .. math:: \frac{1}{9} \sum_{k=0}^{8} \frac{r_k + r_{k+1}}{2}, \qquad
        r_k = \frac{\lvert P_k \cap G_k \rvert + 1}{\lvert G_k \rvert + 1}

    with P_k and G_k the cells of 2 ** k pixels a side that hold an edge, counted from the bottom right corner.

    Parameters
    ----------
    pred, target, normalize, quantize, check, salient, void
        As for `mean_absolute_error`.
    reduce
        ``"curve"`` for all thresholds; ``"max"``, ``"min"`` or ``"mean"`` over each image's own curve; ``"adaptive"``
        for the single threshold min(2 · mean(pred), 1); ``"binary"`` for the pixels above 0.5.

    Returns
    -------
    array
        Values in (0, 1] (the notes say when it is slightly more), higher is better: shape (B, 256) for the curve,
        thresholds ascending, else (B,); without the batch axis for a single image; in the inputs' library, float64
        where the library and device have it.

    Raises
    ------
    ValueError, TypeError
        As for `mean_absolute_error`, for another ``reduce``, and for traced arrays (``jax.jit``).

    Notes
    -----
    Values equal those of PySODMetrics' ``MSIoU``, whose curve has one more threshold, 256, that no pixel reaches. It
    counts G_k in half precision, which rounds counts above 2048 by up to 1 in 2048. Scores change by less than 1e-4,
    and may exceed 1 by that much. The same is done here, but counts of 65520 and more, which overflow there, stay
    exact.

    The denominator is the target's count, not that of the union, so false edges cost nothing. Cells are counted from
    one corner, so a mirrored image scores slightly differently. Arrays on other devices are copied to the CPU.

    References
    ----------
    Ahmadzadeh et al., Multiscale IOU: A Metric for Evaluation of Salient Object Detection with Fine Structures,
    ICIP 2021.

    Examples
    --------
    >>> import numpy as np
    >>> target = np.zeros((8, 8), dtype=bool)
    >>> target[2:6, 2:6] = True
    >>> float(multi_scale_iou(target * 1.0, target, reduce="binary"))
    1.0
    >>> shifted = np.roll(target, 3, axis=1)
    >>> round(float(multi_scale_iou(shifted * 1.0, target, reduce="binary")), 4)
    0.9537
    """
    check_reduce(reduce)
    value = partial(multi_scale_value, reduce=reduce)
    return scored_from_pixels(value, pred, target, **settings)


def multi_scale_value(x: Floats, target: Mask, *, reduce: str) -> Any:
    """Multi-scale IoU of one normalised prediction."""
    if reduce in ("adaptive", "binary"):
        cut = x > 0.5 if reduce == "binary" else x >= min(2 * x.mean(), 1)
        return multi_scale_curve(cut.astype(np.uint8), target)[1]
    curve = multi_scale_curve(np.floor(x * 255).astype(np.uint8), target)[:THRESHOLDS]
    return curve if reduce == "curve" else getattr(np, reduce)(curve)


def multi_scale_curve(levels: npt.NDArray[np.uint8], target: Mask) -> Floats:
    """Multi-scale IoU of one map cut at ``levels >= t`` for t = 0 to 256, shape (257,)."""
    cells = [edges(target)]
    while len(cells) < SCALES:
        cells.append(touched(cells[-1]))
    marked = np.array([[_in_half_precision(int(np.count_nonzero(grid)))] for grid in cells])
    shares = (hits(levels, cells) + 1) / marked
    return np.asarray((shares[1:] + shares[:-1]).sum(axis=0) / (2 * (SCALES - 1)))


def _in_half_precision(count: int) -> float:
    """Return the count and one more, as PySODMetrics adds them up where half precision can hold it."""
    return float(np.float16(np.float16(count) + 1)) if count < HALF_OVERFLOWS else count + 1.0


def edges(cut: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where a Sobel derivative of a binary map is not 0; outside the map is background."""
    return np.asarray(_edges_inside(np.pad(cut, 1)))


def touched(edge: Bits) -> Bits:
    """Whether anything is set in each 2 x 2 cell; cells are counted from the bottom right corner."""
    height, width = edge.shape
    rows = edge[::2].copy()  # the first one alone if they are odd in number
    rows[height % 2 :] |= edge[1::2]
    cells = rows[:, ::2].copy()
    cells[:, width % 2 :] |= rows[:, 1::2]
    return cells


def hits(levels: Levels, cells: list[npt.NDArray[np.bool_]]) -> Counts:
    """Count the cells that an edge of ``levels >= t`` touches, for t = 0 to 256, among those marked.

    ``cells[k]`` marks cells of 2 ** k pixels a side. The result has shape (len(cells), 257).
    """
    counts = np.zeros((len(cells), THRESHOLDS + 1), np.int64)
    # One more than the level: 0 is outside, where every cut has background.
    padded = np.pad(levels.astype(np.intp) + 1, 1)
    for word in range(int(levels.max()) // WORD + 1):
        edge = _edges_of_cuts(padded, _cuts()[:, word].copy())
        for scale, marked in enumerate(cells):
            edge = touched(edge) if scale else edge
            counts[scale, word * WORD : (word + 1) * WORD] = _count_bits(edge[marked])
    return counts


def _cuts() -> npt.NDArray[np.uint64]:
    """Whether a level reaches each threshold, as bits: shape (257, 4), the first row for what is outside."""
    reached = np.tri(THRESHOLDS + 1, THRESHOLDS, -1, dtype=bool)
    return np.packbits(reached, axis=1, bitorder="little").view("<u8")


def _edges_of_cuts(padded: npt.NDArray[np.intp], cuts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Edges of 64 cuts of a padded map."""
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    edge = np.empty((height, width), np.uint64)
    for top in range(0, height, STRIP):
        edge[top : top + STRIP] = _edges_inside(cuts[padded[top : top + STRIP + 2]])
    return edge


def _edges_inside(cut: Bits) -> Bits:
    """Edges of padded binary maps: the sums 1, 2, 1 of opposite sides of the 3 x 3 window differ."""
    rows = _sums(cut[:, :-2], cut[:, 1:-1], cut[:, 2:])
    columns = _sums(cut[:-2], cut[1:-1], cut[2:])
    differences = [bit[:-2] ^ bit[2:] for bit in rows] + [bit[:, :-2] ^ bit[:, 2:] for bit in columns]
    return fold(or_, differences)


def _sums(before: Bits, middle: Bits, after: Bits) -> tuple[Bits, Bits, Bits]:
    """The three binary digits of before + 2 middle + after, for all bits at once."""
    carry = before & after
    return before ^ after, carry ^ middle, carry & middle


def _count_bits(words: npt.NDArray[np.uint64]) -> Counts:
    """How many of the words have each bit set, lowest bit first."""
    bits = np.unpackbits(words.astype("<u8")[:, None].view(np.uint8), axis=1, bitorder="little")
    return np.asarray(bits.sum(axis=0, dtype=np.int64))


MEASURE = pixel_curve(threshold_scores("MSIoU", "MSIoU", r"\mathrm{MSIoU}", "multi_scale_iou"), multi_scale_value)
