"""Rates of a cut map as textbooks define them, pixel by pixel; a share of nothing is 0."""

from itertools import pairwise


def confusion(cut, g):
    """Hits, false alarms, misses and correct rejections."""
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for predicted, salient in zip(cut.flat, g.flat, strict=True):
        counts[bool(predicted), bool(salient)] += 1
    return tuple(counts.values())


def share(part, whole):
    return part / whole if whole else 0.0


def kappa(tp, fp, fn, tn):
    pixels = tp + fp + fn + tn
    observed = (tp + tn) / pixels
    chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / pixels**2
    return share(observed - chance, 1 - chance)


def py_sod_metrics_kappa(tp, fp, fn, tn):
    """PySODMetrics 1.6.2 takes tp + tn where the background, fp + tn, belongs."""
    pixels = tp + fp + fn + tn
    chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + tp)) / pixels**2
    return share((tp + tn) / pixels - chance, 1 - chance)


RATES = {
    "precision": lambda tp, fp, fn, tn: share(tp, tp + fp),
    "recall": lambda tp, fp, fn, tn: share(tp, tp + fn),
    "specificity": lambda tp, fp, fn, tn: share(tn, tn + fp),
    "false_positive_rate": lambda tp, fp, fn, tn: share(fp, tn + fp),
    "intersection_over_union": lambda tp, fp, fn, tn: share(tp, tp + fp + fn),
    "dice": lambda tp, fp, fn, tn: share(2 * tp, 2 * tp + fp + fn),
    "balanced_error_rate": lambda tp, fp, fn, tn: (1 - share(tp, tp + fn) + 1 - share(tn, tn + fp)) / 2,
    "overall_accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "kappa": kappa,
    "f_measure": lambda tp, fp, fn, tn: share(1.3 * tp, 1.3 * tp + fp + 0.3 * fn),
}


def roc_auc(x, g):
    """Share of pairs of a salient and a background pixel in the right order; ties count one half."""
    salient, background = x[g], x[~g]
    won = sum((s > b) + 0.5 * (s == b) for s in salient for b in background)
    return share(float(won), len(salient) * len(background))


def pr_auc(x, g):
    """Trapezoids between the points of every level, from the lowest up, closed by recall 0 and precision 1."""
    points = []
    for level in sorted(set(x.flat)):
        tp, fp, fn, _ = confusion(x >= level, g)
        points.append((share(tp, tp + fn), share(tp, tp + fp)))
    points.append((0.0, 1.0))
    return sum((r - s) * (p + q) / 2 for (r, p), (s, q) in pairwise(points))
