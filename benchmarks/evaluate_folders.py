"""``dynamic-kd evaluate`` with two workers against a plain loop of OpenCV and PySODMetrics, each in a separate process.

Run ``python benchmarks/evaluate_folders.py PRED TARGET`` with folders of maps and masks of equal sizes. The processes
take turns, and their scores are compared first. A time is from the start of a process to its end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _environment import environment, write_rows

RESULTS = Path(__file__).parent / "results" / "evaluate_folders.csv"

LOOP = """
import json, pathlib, sys
import cv2
import py_sod_metrics as peer
preds, masks = map(pathlib.Path, sys.argv[1:])
metrics = peer.MAE(), peer.Fmeasure(), peer.WeightedFmeasure(), peer.Smeasure(), peer.Emeasure()
for mask in sorted(masks.iterdir()):
    if mask.suffix == ".png":
        gt = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        pred = cv2.imread(str(preds / mask.name), cv2.IMREAD_GRAYSCALE)
        for metric in metrics:
            metric.step(pred=pred, gt=gt)
mae, fm, wfm, sm, em = (metric.get_results() for metric in metrics)
print(json.dumps({
    "MAE": mae["mae"], "maxF": fm["fm"]["curve"].max(), "meanF": fm["fm"]["curve"].mean(), "adpF": fm["fm"]["adp"],
    "wF": wfm["wfm"], "Sm": sm["sm"],
    "maxE": em["em"]["curve"].max(), "meanE": em["em"]["curve"].mean(), "adpE": em["em"]["adp"],
}))
"""


def seconds(*command):
    start = time.perf_counter()
    result = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True)
    return time.perf_counter() - start, result.stdout


def ours(pred, target, workers):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        options = ["--pred", pred, "--target", target, "--workers", str(workers), "--json", str(path)]
        spent, _ = seconds("-m", "dynamic_kd.cli", "evaluate", *options)
        return spent, json.loads(path.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pred", help="folder of maps")
    parser.add_argument("target", help="folder of masks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    times, peers = [], []
    for _ in range(options.repeats):
        spent, report = ours(options.pred, options.target, options.workers)
        times.append(spent)
        spent, printed = seconds("-c", LOOP, options.pred, options.target)
        peers.append(spent)
    scores = json.loads(printed)
    worst = max(abs(report["scores"][name] - value) for name, value in scores.items())
    assert worst < 1e-9, worst
    row = {
        "images": report["counts"]["images"],
        "workers": options.workers,
        "evaluate_s": round(statistics.median(times), 2),
        "loop_s": round(statistics.median(peers), 2),
        "ratio": round(statistics.median(peers) / statistics.median(times), 1),
        "largest_difference": f"{worst:.1e}",
        "backend": report["settings"]["backend"],
        **environment("numpy", "opencv-python-headless", "pysodmetrics"),
    }
    print(*(f"{name}={value}" for name, value in row.items()))
    write_rows(options.output, [row])


if __name__ == "__main__":
    main()
