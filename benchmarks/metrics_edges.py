"""Multi-scale IoU and human correction effort against PySODMetrics, on one core, image by image.

Run ``python benchmarks/metrics_edges.py``. Every timed call is checked: multi-scale IoU within 1e-12 of the peer's
curve, human correction effort equal. The two are timed in turn, so that a machine whose speed drifts slows both, and
the ratio is taken pair by pair. The peer's curve takes seconds, so its repeats are few.
"""

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
from _environment import environment, write_rows
from metrics_cpu import image
from py_sod_metrics import MSIoU
from py_sod_metrics.sod_metrics import HumanCorrectionEffortMeasure

from dynamic_kd.metrics import human_correction_effort, multi_scale_iou

RESULTS = Path(__file__).parent / "results" / "metrics_edges.csv"
SIZES = ((256, 256), (480, 640), (1024, 1024))


def peer_curve(pred, target):
    measure = MSIoU(with_dynamic=True, with_adaptive=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure.step(pred, target)
    return measure.dynamic_results[0][:256]


def peer_adaptive(pred, target):
    measure = MSIoU(with_dynamic=False, with_adaptive=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure.step(pred, target)
    return measure.adaptive_results[0]


def peer_effort(pred, target):
    measure = HumanCorrectionEffortMeasure()
    measure.step(pred, target)
    return measure.hces[0]


def adaptive(pred, target):
    return multi_scale_iou(pred, target, reduce="adaptive")


# Ours, the peer's, the tolerance, and the repeats at each size.
MEASURES = {
    "multi-scale IoU, curve": (multi_scale_iou, peer_curve, 1e-12, (3, 2, 1)),
    "multi-scale IoU, adaptive": (adaptive, peer_adaptive, 1e-12, (9, 9, 5)),
    "human correction effort": (human_correction_effort, peer_effort, 0, (15, 15, 9)),
}


def noisy(height, width):
    """A map that errs everywhere: the same object under noise of single pixels."""
    pred, target = image(height, width)
    noise = np.random.default_rng(1).normal(0, 60, pred.shape)
    return np.clip(pred + noise, 0, 255).astype(np.uint8), target


def timed(function, *arguments):
    start = time.perf_counter()
    value = function(*arguments)
    return value, time.perf_counter() - start


def compared(ours, peer, tolerance, repeats, pred, target):
    """Largest difference, and pairs of seconds."""
    ours(pred, target)  # compiles
    times, worst = [], 0.0
    for _ in range(repeats):
        (mine, my_seconds), (theirs, their_seconds) = timed(ours, pred, target), timed(peer, pred, target)
        worst = max(worst, float(np.abs(mine - theirs).max()))
        assert worst <= tolerance, worst
        times.append((my_seconds, their_seconds))
    return worst, times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    for name, (ours, peer, tolerance, repeats) in MEASURES.items():
        for size, times in zip(SIZES, repeats, strict=True):
            for kind, make in (("smooth", image), ("noisy", noisy)):
                worst, seconds = compared(ours, peer, tolerance, times, *make(*size))
                rows.append(
                    {
                        "measure": name,
                        "map": kind,
                        "size": "x".join(map(str, size)),
                        "repeats": times,
                        "ours_ms": round(1e3 * statistics.median(mine for mine, _ in seconds), 2),
                        "pysodmetrics_ms": round(1e3 * statistics.median(theirs for _, theirs in seconds), 2),
                        "ratio": round(statistics.median(theirs / mine for mine, theirs in seconds), 2),
                        "largest_difference": f"{worst:.1e}",
                        **environment("numpy", "numba", "opencv-python-headless", "pysodmetrics", "scikit-image"),
                    }
                )
                print(*(f"{column}={rows[-1][column]}" for column in list(rows[-1])[:8]), flush=True)
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
