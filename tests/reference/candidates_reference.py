"""The candidates of the study in float64 loops over pixels, of one image at a time; independent of the package."""

from __future__ import annotations

import math

import numpy as np
from loss_reference import binary_cross_entropy, kl_divergence, probability, soft_iou

EPSILON = 0.01


def logit(saliency, clip):
    limited = min(max(saliency, clip), 1 - clip)
    return math.log(limited / (1 - limited))


def near_edge(mask, at):
    """Whether a pixel of the other class lies within 4 pixels."""
    return any(
        mask[other] != mask[at] and math.dist(other, at) <= 4
        for other in np.ndindex(mask.shape)
    )  # fmt: skip


def image_loss(name, student, maps, target, valid, *, clip, mean=None, temperature=5.0):
    """Return the loss of an image, the mean of θ over its valid pixels, and the running mean m."""
    pixels = [at for at in np.ndindex(target.shape) if valid[at]]
    alpha = soft_iou([(maps[at], target[at]) for at in pixels])
    own = soft_iou([(probability(student[at]), target[at]) for at in pixels])
    teacher = {at: logit(maps[at], clip) for at in pixels}
    theta = dict.fromkeys(pixels, 0.5)
    if name == "Replace" and alpha <= 0.75 * own:
        teacher = {at: logit(target[at], clip) for at in pixels}
    if name == "PixelGate":
        for at in pixels:
            right = abs(maps[at] - target[at]) <= 0.5
            theta[at] = 0.5 if right or near_edge(target > 0.5, at) else EPSILON
    if name == "Ratio":
        student_ce = average([binary_cross_entropy(student[at], target[at]) for at in pixels])
        teacher_ce = average([binary_cross_entropy(teacher[at], target[at]) for at in pixels])
        theta = dict.fromkeys(pixels, 0.5 * (1 - math.exp(-student_ce / max(teacher_ce, 0.001))))
    mean = own if mean is None else 0.8 * mean + 0.2 * own
    if name == "SmoothRelative":
        theta = dict.fromkeys(pixels, 0.5 / (1 + math.exp(-(alpha - 0.75 * mean) / 0.05)))
    losses = [
        theta[at] * kl_divergence(student[at], teacher[at], temperature, temperature_squared=True)
        + (1 - theta[at]) * binary_cross_entropy(student[at], target[at])
        for at in pixels
    ]
    return average(losses), average(theta.values()), mean


def average(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0
