"""`dynamic_kd.compat.py_sod_metrics` against PySODMetrics, as scripts use them: objects side by side, on one core.

Run ``python benchmarks/compat.py``. The two are timed in turn on the same pair. Every repetition takes another pair, so
that none is remembered. The ratio is the median over pairs. Results must agree within 1e-9.
"""

import argparse
import os
import statistics
import warnings
from pathlib import Path

import numpy as np
import py_sod_metrics as theirs
from _environment import environment, write_rows
from metrics_cpu import SIZES, image, seconds

from dynamic_kd.compat import py_sod_metrics as ours

RESULTS = Path(__file__).parent / "results" / "compat.csv"
RATES = ("Fmeasure", "Precision", "Recall", "Specificity", "FPR", "IOU", "DICE", "BER", "OverallAccuracy")


def five_classes(library):
    return [library.MAE(), library.Fmeasure(), library.WeightedFmeasure(), library.Smeasure(), library.Emeasure()]


def handlers(library):
    flags = {"with_dynamic": True, "with_adaptive": True, "with_binary": True}
    return [library.FmeasureV2({name: getattr(library, f"{name}Handler")(**flags) for name in RATES})]


CASES = {
    "MAE, Fmeasure, WeightedFmeasure, Smeasure, Emeasure": five_classes,
    f"FmeasureV2 with {len(RATES)} handlers": handlers,
}


def step(measures, pred, gt):
    for measure in measures:
        measure.step(pred=pred, gt=gt)


def flat(results):
    values = results.values() if isinstance(results, dict) else [results]
    return np.concatenate([flat(value) if isinstance(value, dict) else np.ravel(value) for value in values])


def check(mine, peers):
    """Return the largest difference of the results, which must be within 1e-9."""
    pairs = zip(mine, peers, strict=True)
    worst = max(np.abs(flat(a.get_results()) - flat(b.get_results())).max() for a, b in pairs)
    assert worst < 1e-9, worst
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore", UserWarning)  # PySODMetrics' Fmeasure announces its end
    rows = []
    for name, make in CASES.items():
        for size in SIZES:
            mine, peers = make(ours), make(theirs)
            pred, gt = image(*size)
            step(mine, pred, gt)  # compiles
            step(peers, pred, gt)
            times = []
            for repeat in range(repeats):
                pair = np.roll(pred, repeat + 1, axis=1), gt
                times.append((seconds(step, mine, *pair), seconds(step, peers, *pair)))
            rows.append(
                {
                    "classes": name,
                    "size": "x".join(map(str, size)),
                    "ours_ms": round(1e3 * statistics.median(mine for mine, _ in times), 2),
                    "pysodmetrics_ms": round(1e3 * statistics.median(theirs for _, theirs in times), 2),
                    "ratio": round(statistics.median(theirs / mine for mine, theirs in times), 2),
                    "largest_difference": f"{check(mine, peers):.1e}",
                    **environment("numpy", "numba", "opencv-python-headless", "pysodmetrics"),
                }
            )
            print(*(f"{key}={value}" for key, value in list(rows[-1].items())[:6]))
    write_rows(RESULTS, rows)


if __name__ == "__main__":
    main()
