"""The five metrics together against PySODMetrics, on one core, image by image.

Run ``python benchmarks/metrics_cpu.py``. Every size is first checked: scores and curves of both must agree within 1e-9.
Then the two are timed in turn, so that a machine whose speed drifts slows both, and the ratio is taken pair by pair.
"""

import argparse
import os
import statistics
import time
import warnings
from pathlib import Path

import numpy as np
import py_sod_metrics
from _environment import environment, write_rows
from scipy.ndimage import gaussian_filter

from dynamic_kd.metrics import SODMetrics

# Private: the kernels are chosen by whether numba is installed, and this measures both.
from dynamic_kd.metrics._statistics import _cpu, _numpy

RESULTS = Path(__file__).parent / "results" / "metrics_cpu.csv"
SIZES = ((256, 256), (480, 640), (1024, 1024))


def image(height, width, seed=0):
    """A smooth object and a map of it with smooth noise, which uses all 256 levels."""
    generator = np.random.default_rng(seed)
    field = gaussian_filter(generator.standard_normal((height, width)), height / 10)
    target = field > np.quantile(field, 0.8)
    noise = 300 * gaussian_filter(generator.standard_normal((height, width)), 2)
    return np.clip(255 * target + noise, 0, 255).astype(np.uint8), (target * 255).astype(np.uint8)


def ours(pred, target):
    metrics = SODMetrics()
    metrics.update(pred, target)
    return metrics


def peer(pred, target):
    names = ("MAE", "Fmeasure", "WeightedFmeasure", "Smeasure", "Emeasure")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measures = [getattr(py_sod_metrics, name)() for name in names]
    for measure in measures:
        measure.step(pred=pred, gt=target)
    return measures


def check(pred, target):
    report = ours(pred, target).compute()
    mae, f, wf, s, e = (measure.get_results() for measure in peer(pred, target))
    pairs = [(report["MAE"], mae["mae"]), (report["wF"], wf["wfm"]), (report["Sm"], s["sm"])]
    pairs += [(report["adpF"], f["fm"]["adp"]), (report["adpE"], e["em"]["adp"])]
    pairs += [
        (report.curves["f_measure"], f["fm"]["curve"][::-1]),
        (report.curves["e_measure"], e["em"]["curve"][::-1]),
    ]
    worst = max(np.abs(mine - theirs).max() for mine, theirs in pairs)
    assert worst < 1e-9, worst
    return worst


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = []
    compiled = _cpu.kernels()
    for kernels in dict.fromkeys((compiled, _numpy)):
        _cpu.kernels = lambda kernels=kernels: kernels
        for size in SIZES:
            for dtype in ("uint8", "float32"):
                pred, target = image(*size)
                worst = check(pred, target)
                # PySODMetrics takes 8-bit maps only; floating ones are what a training loop has.
                maps = pred if dtype == "uint8" else (pred / 255).astype(dtype)
                times = [(seconds(ours, maps, target), seconds(peer, pred, target)) for _ in range(repeats)]
                rows.append(
                    {
                        "backend": kernels.NAME,
                        "dtype": dtype,
                        "size": "x".join(map(str, size)),
                        "ours_ms": round(1e3 * statistics.median(mine for mine, _ in times), 2),
                        "pysodmetrics_ms": round(1e3 * statistics.median(theirs for _, theirs in times), 2),
                        "ratio": round(statistics.median(theirs / mine for mine, theirs in times), 2),
                        # Of the 8-bit maps; single-precision ones round some levels across a threshold.
                        "largest_difference": f"{worst:.1e}" if dtype == "uint8" else "",
                        **environment("numpy", "numba", "opencv-python-headless", "pysodmetrics"),
                    }
                )
                print(*(f"{name}={rows[-1][name]}" for name in list(rows[-1])[:7]))
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
