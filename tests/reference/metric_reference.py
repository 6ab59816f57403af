"""The metrics written as their papers describe them: one image, one threshold, one pixel at a time, in float64."""

import math

import numpy as np

EPS = 2.0**-52


def normalised(pred):
    """Min-max normalisation of an 8-bit map, in the original's order of operations."""
    x = pred / 255
    low, high = x.min(), x.max()
    return x if low == high else (x - low) / (high - low)


def mean_absolute_error(x, g):
    height, width = x.shape
    return math.fsum(abs(x[r, c] - g[r, c]) for r in range(height) for c in range(width)) / x.size


def adaptive_threshold(x):
    return min(2 * x.mean(), 1)


def f_measure(cut, g, beta_squared=0.3):
    """F-measure of a map already cut."""
    hits = int((cut & g).sum())
    if hits == 0:
        return 0.0
    precision, recall = hits / int(cut.sum()), hits / int(g.sum())
    return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)


def e_measure(cut, g):
    """E-measure of a map already cut, from its alignment matrix."""
    if not g.any():
        enhanced = ~cut
    elif g.all():
        enhanced = cut
    else:
        p, q = cut - cut.mean(), g - g.mean()
        enhanced = (2 * p * q / (p * p + q * q + EPS) + 1) ** 2 / 4
    return float(enhanced.sum()) / max(g.size - 1, 1)


def cuts(x, strict=False):
    """The map cut at 0/255 to 255/255; by level, since that is how the papers' code counts."""
    for k in range(256):
        yield np.ceil(x * 255) > k if strict else np.floor(x * 255) >= k


def s_measure(x, g, alpha=0.5):
    if not g.any():
        return 1 - x.mean()
    if g.all():
        return x.mean()
    share = g.mean()
    objects = share * _s_object(x[g]) + (1 - share) * _s_object((1 - x)[~g])
    height, width = g.shape
    rows, columns = np.nonzero(g)
    # MATLAB counts from 1 and rounds halves away from zero.
    row, column = (math.floor(float(np.mean(index + 1)) + 0.5) for index in (rows, columns))
    regions = 0.0
    for top, bottom in ((0, row), (row, height)):
        for left, right in ((0, column), (column, width)):
            area = (bottom - top) * (right - left)
            if area:
                part = np.s_[top:bottom, left:right]
                regions += area / g.size * _ssim(x[part], g[part].astype(float))
    return max(alpha * objects + (1 - alpha) * regions, 0.0)


def _s_object(values):
    mean = values.mean()
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + EPS)


def _ssim(x, g):
    freedom = max(x.size - 1, 1)
    variance_x = 0.0 if x.min() == x.max() else ((x - x.mean()) ** 2).sum() / freedom
    variance_g = 0.0 if g.min() == g.max() else ((g - g.mean()) ** 2).sum() / freedom
    both = variance_x > 0 and variance_g > 0
    covariance = ((x - x.mean()) * (g - g.mean())).sum() / freedom if both else 0.0
    numerator = 4 * x.mean() * g.mean() * covariance
    denominator = (x.mean() ** 2 + g.mean() ** 2) * (variance_x + variance_g)
    if numerator == 0 and denominator == 0:
        return 1.0
    return numerator / (denominator + EPS)


def weighted_f_measure(x, g, beta_squared=1.0):
    if not g.any():
        return 0.0
    height, width = g.shape
    salient = sorted(zip(*np.nonzero(g), strict=True), key=lambda pixel: (pixel[1], pixel[0]))
    error, spread = np.abs(x - g), np.empty_like(x)
    distance = np.empty_like(x)
    for r in range(height):
        for c in range(width):
            # min keeps the first of equals: the smallest column, then row.
            nearest = min(salient, key=lambda pixel: (pixel[0] - r) ** 2 + (pixel[1] - c) ** 2)
            spread[r, c] = error[nearest]
            distance[r, c] = math.dist(nearest, (r, c))
    kernel = np.array([[math.exp(-(i * i + j * j) / 50) for j in range(-3, 4)] for i in range(-3, 4)])
    kernel /= kernel.sum()
    padded = np.pad(spread, 3)
    weighted = np.empty_like(x)
    for r in range(height):
        for c in range(width):
            smooth = float((kernel * padded[r : r + 7, c : c + 7]).sum())
            if g[r, c]:
                weighted[r, c] = min(error[r, c], smooth)
            else:
                weighted[r, c] = error[r, c] * (2 - math.exp(math.log(0.5) / 5 * distance[r, c]))
    recall = 1 - weighted[g].mean()
    hits = g.sum() - weighted[g].sum()
    precision = hits / (hits + weighted[~g].sum() + EPS)
    return (1 + beta_squared) * recall * precision / (recall + beta_squared * precision + EPS)
