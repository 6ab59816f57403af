"""The statistics of a comparison in slow loops."""

import math

import numpy as np


def bootstrap_means(values, drawn):
    """Mean of the drawn images' values, one resample after another."""
    return np.array([math.fsum(values[index] for index in one) / len(one) for one in drawn])


def bootstrap_max_of_mean_curve(curves, drawn):
    """Maximum over thresholds of the mean curve of the drawn images."""
    result = []
    for one in drawn:
        mean = [math.fsum(curves[index][threshold] for index in one) / len(one) for threshold in range(curves.shape[1])]
        result.append(max(mean))
    return np.array(result)


def holm(p_values):
    """Holm's step-down correction by its definition: the largest (m - j + 1) p_(j) over the ranks j up to its own."""
    m = len(p_values)
    order = sorted(range(m), key=lambda index: p_values[index])
    corrected = [0.0] * m
    for rank, index in enumerate(order):
        corrected[index] = min(1.0, max((m - j) * p_values[order[j]] for j in range(rank + 1)))
    return corrected


def signed_rank_exact_p(differences):
    """Two-sided p-value of Wilcoxon's signed-rank test by going through all signs; for few and distinct differences."""
    n = len(differences)
    order = sorted(range(n), key=lambda index: abs(differences[index]))
    rank = {index: place + 1 for place, index in enumerate(order)}
    positive = sum(rank[index] for index in range(n) if differences[index] > 0)
    extreme = abs(positive - n * (n + 1) / 4)
    hits = 0
    for signs in range(2**n):
        total = sum(place for place in range(1, n + 1) if signs >> (place - 1) & 1)
        hits += abs(total - n * (n + 1) / 4) >= extreme
    return hits / 2**n
