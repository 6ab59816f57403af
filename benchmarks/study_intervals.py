"""Recompute a comparison of the study from the scores of single images, with NumPy alone.

    python benchmarks/study_intervals.py "dynamic + threshold" "s = 0.5 + threshold" 0 0.1 0.3

prints max F of the first method minus that of the second, as the mean over folds 1 to 4, both seeds and the shares of
swapped maps, with its 90% and 95% bootstrap intervals. `--wF` compares weighted F instead, sharpened by the factor that
is best on the other folds.
"""

import io
import json
import lzma
import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "results" / "study"
FOLDS, RESAMPLES = (1, 2, 3, 4), 20_000


def runs_of(fold, method, share):
    """F curves (seeds, images, 256) and weighted F (seeds, factors, images)."""
    rows = json.loads((FOLDER / f"fold{fold}.json").read_text())
    with np.load(io.BytesIO(lzma.decompress((FOLDER / f"fold{fold}.npz.xz").read_bytes()))) as file:
        names = file["runs"].tolist()
        places = [names.index(run) for run, row in rows.items() if row["method"] == method and share in row["shares"]]
        return np.cumsum(file["f_measure"][places], axis=2) / 1000, file["weighted_f"][places] / 65535


def resampled(fold, method, share, weighted):
    """Scores (1 + RESAMPLES, factors): of all images and seeds, then of images drawn again and one seed fewer."""
    curves, weighted_f = runs_of(fold, method, share)
    seeds, images = curves.shape[:2]
    rng = np.random.default_rng(fold)  # the same draws for all methods
    times = np.vstack([np.ones(images), rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)]) / images
    drawn = rng.integers(0, seeds, size=(RESAMPLES, max(1, seeds - 1)))
    scores = [
        times @ each.T if weighted else (times @ curve).max(axis=1)[:, None]
        for curve, each in zip(curves, weighted_f, strict=True)
    ]
    of_drawn = np.array(scores)[drawn, np.arange(1, RESAMPLES + 1)[:, None]].mean(axis=1)
    return np.vstack([np.mean([each[0] for each in scores], axis=0), of_drawn])


def sharpened(scores, fold):
    """Scores of a fold (1 + RESAMPLES,) at the factor with the best mean on the other folds."""
    best = np.mean([scores[other] for other in FOLDS if other != fold], axis=0).argmax(axis=1)
    return scores[fold][np.arange(len(best)), best]


def main(words):
    """Print a comparison."""
    weighted = "--wF" in words
    method, against, *shares = (word for word in words if word != "--wF")
    total = np.zeros(1 + RESAMPLES)
    for share in map(float, shares):
        for sign, name in ((1, method), (-1, against)):
            scores = {fold: resampled(fold, name, share, weighted) for fold in FOLDS}
            total += sign * np.mean([sharpened(scores, fold) for fold in FOLDS], axis=0) / len(shares)
    low, lower, higher, high = np.quantile(total[1:], [0.025, 0.05, 0.95, 0.975])
    print(f"{total[0]:+.4f} (90% {lower:+.4f} to {higher:+.4f}; 95% {low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    main(sys.argv[1:])
