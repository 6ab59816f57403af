"""Conventions of other scripts for the scores of one image, for `conventions.py`."""

from unittest import mock

import cv2
import numpy as np

from dynamic_kd.metrics import human_correction_effort, multi_scale_iou, s_measure, weighted_f_measure

# Private: one convention differs in a step inside the measure.
from dynamic_kd.metrics._pixels import _multi_scale_iou

NETWORK = (256, 256)


def same(pred, mask):
    return pred, mask


def with_greys(pred, mask):
    return pred, mask > 0


def squeezed(pred, mask):
    """Map of a network that is never certain."""
    return np.uint8(25 + np.round(0.8 * pred)), mask


def flipped(pred, mask):
    return np.ascontiguousarray(pred[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])


def small(pred):
    return cv2.resize(pred, NETWORK, interpolation=cv2.INTER_AREA)


def map_to_mask(pred, mask, interpolation=cv2.INTER_LINEAR):
    return cv2.resize(small(pred), mask.shape[::-1], interpolation=interpolation), mask


def mask_to_map(pred, mask):
    return small(pred), cv2.resize(mask, NETWORK, interpolation=cv2.INTER_NEAREST)


def in_floats(pred, mask):
    maps, _ = map_to_mask(np.float32(pred) / 255, mask)
    return np.clip(maps, 0, 1), mask


def normalised(pred):
    x = pred / 255
    return x if x.min() == x.max() else (x - x.min()) / (x.max() - x.min())


def split(target, *, base):
    """Row and column where the quadrants meet: the mean position counted from ``base``, rounded half to even."""
    return [int(np.round(places.mean() + base)) for places in np.nonzero(target)]


def half_up(target):
    return [int(np.floor(places.mean() + 1.5)) for places in np.nonzero(target)]


def region(x, target, where):
    """Region half of S for quadrants that meet at ``where``."""
    row, column = where
    total = 0.0
    for part in np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]:
        a, b = x[part].ravel(), target[part].ravel().astype(float)
        if a.size:
            freedom = max(a.size - 1, 1)
            deviations = a - a.mean(), b - b.mean()
            numerator = 4 * a.mean() * b.mean() * (deviations[0] @ deviations[1]) / freedom
            flat = np.ptp(a) == np.ptp(b) == 0 or (a.mean() == 0 and b.mean() == 0)
            below = (a.mean() ** 2 + b.mean() ** 2) * sum(each @ each for each in deviations) / freedom
            total += a.size * (1 if flat else numerator / (below + 2.0**-52))
    return total / x.size


def rate_at(x, target, thresholds):
    """F at any thresholds, ascending."""
    edges = [*thresholds, np.inf]
    hits, alarms = (np.cumsum(np.histogram(x[of], edges)[0][::-1])[::-1] for of in (target, ~target))
    return 1.3 * hits / np.maximum(0.3 * np.count_nonzero(target) + hits + alarms, 1)


def own_numbers(pred, mask):
    """Scores of one image that no accumulator gives, by (choice, score): the convention's and the other's."""
    x, target = normalised(pred), mask > 128
    s, object_half = (float(s_measure(pred, mask, alpha=alpha)) for alpha in (0.5, 1))

    def of_quadrants(where):
        return max((object_half + region(x, target, where)) / 2, 0.0)

    assert abs(of_quadrants(half_up(target)) - s) < 1e-9
    cut = x > 0.5
    both = [np.count_nonzero(a & b) / max(np.count_nonzero(a | b), 1) for a, b in ((cut, target), (~cut, ~target))]
    counted = float(multi_scale_iou(pred, mask, reduce="binary"))
    with mock.patch.object(_multi_scale_iou, "_in_half_precision", lambda count: count + 1.0):
        exactly = float(multi_scale_iou(pred, mask, reduce="binary"))
    pairs = map_to_mask(pred, mask), mask_to_map(pred, mask)
    efforts = [float(human_correction_effort(*pair)) for pair in pairs]

    def weighted(**settings):
        return float(weighted_f_measure(pred, mask, **settings))

    return {
        ("centroid of S rounded half to even", "Sm"): (s, of_quadrants(split(target, base=1))),
        ("centroid of S counted from 0", "Sm"): (s, of_quadrants(split(target, base=0))),
        ("mean over both classes", "binIoU"): (both[0], sum(both) / 2),
        ("beta squared 0.3", "wF"): (weighted(beta_squared=1), weighted(beta_squared=0.3)),
        ("multi-scale IoU without half precision", "binMSIoU"): (counted, exactly),
        ("256 x 256 maps: mask resized to the map, nearest", "HCE"): tuple(efforts),
    }
