"""The paper's loss, equations 1 to 6, in float64 loops over pixels; slow, plain, and independent of the package."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np


@dataclass
class ImageTerms:
    """Terms of one image; the first four are lists over pixels at pixel granularity."""

    teacher_iou: float | list = 0.0
    student_error: float | list = 0.0
    weight: float | list = 0.0
    reliable: bool | list = False
    kl: float = 0.0
    ce: float = 0.0
    loss: float = 0.0


def random_batch(seed=0, shape=(3, 4, 5)):
    """Margins of a student and a mostly right teacher, a binary target and a validity with one image all invalid."""
    rng = np.random.default_rng(seed)
    target = rng.random(shape) < 0.4
    teacher = np.where(target, 3.0, -3.0) + rng.normal(0, 2, shape)
    student = rng.normal(0, 2, shape)
    valid = rng.random(shape) < 0.7
    valid[-1] = False
    return student, teacher, target, valid


def random_maps(seed=0, shape=(3, 4, 5)):
    """`random_batch`, with the teacher's saliency maps: most pixels are 0 or 1, and some of those are wrong."""
    student, _, target, valid = random_batch(seed, shape)
    rng = np.random.default_rng(seed + 100)
    sure = np.where(rng.random(shape) < 0.1, 1 - target, target)
    maps = np.where(rng.random(shape) < 0.3, rng.random(shape), sure)
    return student, maps, target, valid


def probability(logit, temperature=1.0):
    return 1 / (1 + math.exp(-logit / temperature))


def kl_divergence(student, teacher, temperature, temperature_squared):
    t, s = probability(teacher, temperature), probability(student, temperature)
    divergence = t * math.log(t / s) + (1 - t) * math.log((1 - t) / (1 - s))
    return divergence * (temperature**2 if temperature_squared else 1)


def kl_divergence_of_60_digits(student, teacher, temperature):
    """T² KL(t || s) of two logits: at a high temperature the formula loses all digits of a float."""
    with localcontext(prec=60):
        t, s = (1 / (1 + (-Decimal(float(z)) / Decimal(temperature)).exp()) for z in (teacher, student))
        return float(Decimal(temperature) ** 2 * (t * (t / s).ln() + (1 - t) * ((1 - t) / (1 - s)).ln()))


def binary_cross_entropy(logit, g):
    salient = probability(logit)
    return -float(g) * math.log(salient) - (1 - float(g)) * math.log(1 - salient)


def map_cross_entropy(saliency, g):
    """As PyTorch's binary_cross_entropy, whose logarithms are at least -100."""
    logs = [math.log(P) if P > 0 else -math.inf for P in (saliency, 1 - saliency)]
    return -g * max(logs[0], -100) - (1 - g) * max(logs[1], -100)


def soft_iou(pairs):
    """Equation 1 over (probability, target) pairs; 0 for an empty target."""
    if all(g == 0 for _, g in pairs):
        return 0.0
    return sum(P * g for P, g in pairs) / sum(P + g - P * g for P, g in pairs)


def passes(alpha, beta, noise_elimination, noise_threshold):
    if noise_elimination == "relative":
        return alpha > (0.75 if noise_threshold is None else noise_threshold) * (1 - beta)
    return alpha > (0.5 if noise_threshold is None else noise_threshold)


def theta(alpha, beta, teacher_ce, weighting, p, noise_elimination, reliable, noise_weight):
    if weighting == "none":
        return 0.0
    if noise_elimination is not None and not reliable:
        return noise_weight
    if weighting == "a2dele":
        return math.exp(-70 * teacher_ce)
    if not isinstance(weighting, str):
        return weighting
    return math.tanh(alpha**p * beta ** (1 - p))


def image_terms(
    student,
    given,
    target,
    valid,
    /,
    *,
    teacher="logits",
    clip=0.5 / 255,
    p=0.7,
    temperature=5.0,
    weighting="dynamic",
    noise_elimination="absolute",
    noise_threshold=None,
    noise_weight=0.01,
    granularity="image",
    temperature_squared=True,
    fixed_weight=None,
):
    """Terms of one image of margins (H, W), the teacher's ``given`` as margins or as saliency.

    ``fixed_weight`` holds θ constant for finite differences.
    """
    places = [place for place in np.ndindex(student.shape) if valid[place]]
    if not places:
        return ImageTerms(student_error=1.0, weight=noise_weight)
    logits, saliency, teacher_ces = [], [], []
    for i in places:
        value, g = float(given[i]), float(target[i])
        if teacher == "logits":
            logits.append(value)
            saliency.append(probability(value))
            teacher_ces.append(binary_cross_entropy(value, g))
        else:
            limited = min(max(value, clip), 1 - clip)
            logits.append(math.log(limited / (1 - limited)))
            saliency.append(value)
            teacher_ces.append(map_cross_entropy(value, g))
    triples = [(float(student[i]), t, float(target[i])) for i, t in zip(places, logits, strict=True)]
    kls = [kl_divergence(s, t, temperature, temperature_squared) for s, t, _ in triples]
    ces = [binary_cross_entropy(s, g) for s, _, g in triples]
    n = len(places)

    groups = [[k] for k in range(n)] if granularity == "pixel" else [list(range(n))]
    alphas = [soft_iou([(saliency[k], triples[k][2]) for k in group]) for group in groups]
    betas = [1 - soft_iou([(probability(triples[k][0]), triples[k][2]) for k in group]) for group in groups]
    reliable = [passes(a, b, noise_elimination, noise_threshold) for a, b in zip(alphas, betas, strict=True)]
    weights = fixed_weight
    if weights is None:
        group_ces = [sum(teacher_ces[k] for k in group) / len(group) for group in groups]
        weights = [
            theta(alpha, beta, teacher_ce, weighting, p, noise_elimination, passed, noise_weight)
            for alpha, beta, teacher_ce, passed in zip(alphas, betas, group_ces, reliable, strict=True)
        ]
    per_pixel = weights if granularity == "pixel" else [weights[0]] * n
    loss = sum(w * kl + (1 - w) * ce for w, kl, ce in zip(per_pixel, kls, ces, strict=True)) / n
    if granularity == "image":
        return ImageTerms(alphas[0], betas[0], weights[0], reliable[0], sum(kls) / n, sum(ces) / n, loss)
    return ImageTerms(alphas, betas, weights, reliable, sum(kls) / n, sum(ces) / n, loss)


def batch_terms(student, teacher, target, valid=None, /, **settings):
    """List of `ImageTerms` of a batch (B, H, W)."""
    valid = np.ones(target.shape, bool) if valid is None else valid
    return [image_terms(*image, **settings) for image in zip(student, teacher, target, valid, strict=True)]


def reduced_loss(student, teacher, target, valid=None, /, *, reduction="mean", **settings):
    terms = batch_terms(student, teacher, target, valid, **settings)
    losses = [image.loss for image in terms]
    if reduction == "none":
        return np.array(losses)
    if reduction == "sum":
        return sum(losses)
    counted = len(losses) if valid is None else sum(bool(v.any()) for v in valid)
    return sum(losses) / max(counted, 1)


def numerical_gradient(function, student, step=1e-5):
    """Central differences of a scalar function of the student's margins."""
    gradient = np.zeros(student.shape)
    for place in np.ndindex(student.shape):
        high, low = student.copy(), student.copy()
        high[place] += step
        low[place] -= step
        gradient[place] = (function(high) - function(low)) / (2 * step)
    return gradient


def loss_gradient(student, teacher, target, valid=None, /, *, detach_weight=True, **settings):
    """Gradient of the mean loss by central differences, with every θ held at its present value if detached."""
    valid = np.ones(target.shape, bool) if valid is None else valid
    images = max(sum(bool(v.any()) for v in valid), 1)
    gradient = np.zeros(student.shape)
    for index in range(len(student)):
        rest = teacher[index], target[index], valid[index]
        held = {}
        if detach_weight and valid[index].any():
            now = image_terms(student[index], *rest, **settings).weight
            held = {"fixed_weight": now if isinstance(now, list) else [now]}

        def loss(margins, rest=rest, held=held):
            return image_terms(margins, *rest, **settings, **held).loss

        gradient[index] = numerical_gradient(loss, student[index]) / images
    return gradient


def resized_line(values, length):
    """One axis at another length: bilinear between half-pixel centres where it grows, a triangle where it shrinks."""
    given = len(values)
    scale = given / length
    result = []
    for output in range(length):
        centre = (output + 0.5) * scale - 0.5
        if scale <= 1:
            centre = min(max(centre, 0.0), given - 1.0)
            left = int(centre)
            right = min(left + 1, given - 1)
            result.append(values[left] + (centre - left) * (values[right] - values[left]))
        else:
            weights = [max(0.0, 1 - abs(place - centre) / scale) for place in range(given)]
            result.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    return result


def resized(maps, size):
    """Maps (B, h, w) at another size (H, W), columns first."""
    result = np.zeros((len(maps), *size))
    for image, given in enumerate(maps):
        columns = [resized_line([float(value) for value in column], size[0]) for column in given.T]
        for row in range(size[0]):
            result[image, row] = resized_line([column[row] for column in columns], size[1])
    return result
