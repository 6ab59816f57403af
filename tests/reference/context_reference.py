"""The context measures as their paper describes them: one pixel and one patch at a time, in float64."""

import math

import cv2
import numpy as np

EPS = 2.0**-52


def gaussian(g, alpha):
    """Normalised Gaussian with the covariance of the foreground, scaled to the trace alpha squared."""
    points = np.argwhere(g)
    if len(points) < 2:
        sigma, reach = np.diag([0.25, 0.25]), (1, 1)
    else:
        deviations = points - points.mean(axis=0)
        sigma = deviations.T @ deviations / (len(points) - 1)
        sigma = sigma * alpha**2 / np.trace(sigma)
        reach = tuple(round(3 * math.sqrt(variance)) for variance in np.diag(sigma))
    lines = (points - points[0]) @ np.array([[0, -1], [1, 0]])
    on_a_line = len(points) > 1 and not np.any(lines @ (points[-1] - points[0]))
    kernel = np.zeros([2 * each + 1 for each in reach])
    for r, c in np.ndindex(kernel.shape):
        step = np.array([r - reach[0], c - reach[1]])
        if not on_a_line:
            kernel[r, c] = math.exp(-0.5 * step @ np.linalg.solve(sigma, step))
        elif not np.any(lines @ step):
            kernel[r, c] = math.exp(-0.5 * (step @ step) / alpha**2)
    return kernel / kernel.sum()


def filtered(image, kernel):
    reach = [size // 2 for size in kernel.shape]
    padded = np.pad(image.astype(float), [(each, each) for each in reach], mode="reflect")
    height, width = kernel.shape
    return np.array(
        [
            [(kernel * padded[r : r + height, c : c + width]).sum() for c in range(image.shape[1])]
            for r in range(image.shape[0])
        ]
    )


def context_measure(x, g, degree=0.0, beta_squared=1.0, alpha=6.0):
    if not g.any():
        return 0.0
    kernel = gaussian(g, alpha)
    relevance = (x * filtered(g, kernel)).sum() / (x.sum() + EPS)
    completeness = math.e / (math.e - 1) * g * (1 - np.exp(-filtered(x, kernel)))
    weight = g + degree
    completeness = (completeness * weight).sum() / weight.sum()
    return (1 + beta_squared) * relevance * completeness / (beta_squared * relevance + completeness + EPS)


def surroundings(g):
    """Background with foreground at most 10 pixels up or left of it, at most 9 down or right of it."""
    found = np.zeros_like(g)
    for r, c in np.ndindex(g.shape):
        found[r, c] = not g[r, c] and g[max(r - 10, 0) : r + 10, max(c - 10, 0) : c + 10].any()
    return found


def corners(mask):
    height, width = mask.shape
    return [(r, c) for r in range(0, height - 6, 3) for c in range(0, width - 6, 3) if mask[r : r + 7, c : c + 7].all()]


def painted(image, g, spatial_weight=20.0):
    """The image's foreground, each patch replaced by the nearest one of its surroundings; None without patches."""
    objects, places = corners(g), corners(surroundings(g))
    if not objects or not places:
        return None
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(float)
    every = np.array(places + objects, float)
    scale = np.where(every.std(axis=0) > 0, every.std(axis=0), 1)
    point = {corner: spatial_weight * np.array(corner) / scale for corner in places + objects}
    total, count = np.zeros(image.shape), np.zeros((*image.shape[:2], 1))

    def patch(corner):
        return np.s_[corner[0] : corner[0] + 7, corner[1] : corner[1] + 7]

    for corner in objects:

        def distance(place, corner=corner):
            colors = ((lab[patch(place)] - lab[patch(corner)]) ** 2).sum()
            return colors + ((point[place] - point[corner]) ** 2).sum()

        total[patch(corner)] += image[patch(min(places, key=distance))]
        count[patch(corner)] += 1
    return np.round(total / np.maximum(count, 1)).astype(np.uint8)
