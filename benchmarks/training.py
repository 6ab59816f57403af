"""Whole trainings on ECSSD (800 images, 200 for validation), three seeds of each: scores, and how busy the GPU was.

``python benchmarks/training.py --data DIR --weights VGG16`` takes the folder of ECSSD (images, masks, pred_ISNet) and
VGG16's convolutions as a state dict. It trains, by the bundled recipes and their command:

- ``student``: taught by the ISNet maps, dynamic weight and noise elimination;
- ``cross-entropy``: the same student by the masks alone;
- ``rfb-teacher`` and ``fpn-teacher``: stage 1 with and without receptive field blocks.

Several runs go at a time, ``--at-once`` on each GPU (start NVIDIA's MPS first, or they take turns). Each gets a row of
``results/training.csv``; ``busy`` is the share of time in which the driver saw a kernel running, sampled once a second
for as long as all epochs took, up to the end of the last, with evaluations and checkpoints between epochs.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

import torch
from _environment import environment, require_gpus, write_rows

RESULTS = Path(__file__).parent / "results" / "training.csv"
STAGE_1 = ["training.epochs=1", "evaluate_every=40"]  # the student after it is of no interest
RUNS = {
    "student": ("ecssd", "student", []),
    "cross-entropy": ("ecssd", "student", ["loss.weighting=none"]),
    "rfb-teacher": ("ecssd-teacher", "teacher", [*STAGE_1, "teacher.training.epochs=40"]),
    "fpn-teacher": ("ecssd-teacher", "teacher", [*STAGE_1, "teacher.training.epochs=40", "teacher.model=fpn"]),
}
SCORES = ("maxF", "wF", "Sm", "maxE", "MAE")


class Busy:
    """Share of the time that each GPU runs a kernel, sampled while the block is entered."""

    def __init__(self):
        self.samples = []
        self._done = threading.Event()

    def __enter__(self):
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _sample(self):
        while not self._done.wait(1):
            self.samples.append(
                (time.time(), [torch.cuda.utilization(gpu) for gpu in range(torch.cuda.device_count())])
            )

    def share(self, gpu, start, end):
        seen = [use[gpu] / 100 for when, use in self.samples if start <= when <= end]
        return round(statistics.mean(seen), 3) if seen else ""


def row_of(name, seed, gpu, options, busy):
    """Train once, in a process of its own."""
    recipe, network, settings = RUNS[name]
    folder = options.runs / f"{name}-{seed}"
    weights = [f"{part}.weights={options.weights}" for part in ("teacher", "student")]
    command = [
        *(sys.executable, "-m", "dynamic_kd.cli", "train", recipe, "--data", str(options.data)),
        *("--out", str(folder), "--overwrite", "--set", f"seed={seed}", *weights, *settings, *options.set),
    ]
    start = time.time()
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "CUDA_VISIBLE_DEVICES": str(gpu)}
    )
    seconds = time.time() - start
    if result.returncode:
        print(f"{name}, seed {seed} failed: {result.stderr[-2000:]}", flush=True)
        return None
    stage = {"teacher": "1", "student": "2"}[network]
    epochs = [row for row in csv.DictReader((folder / "epochs.csv").open()) if row["stage"] == stage]
    scores = json.loads((folder / "results.json").read_text())["results"][network]["last"]["scores"]
    training = sum(float(row["seconds"]) for row in epochs)
    written = (folder / "epochs.csv").stat().st_mtime
    return {
        "run": name,
        "seed": seed,
        "epochs": len(epochs),
        **{score: round(scores[score], 4) for score in SCORES},
        "seconds": round(seconds, 1),
        "seconds_training": round(training, 1),
        "images_per_second": statistics.median(float(row["images_per_second"]) for row in epochs),
        "busy": busy.share(gpu, written - training, written),
        "at_once": options.at_once,
        "settings": " ".join([recipe, *settings, *options.set]),
    }


def write(rows, path):
    machine = {"gpu": torch.cuda.get_device_name(), **environment("torch", "triton", "accelerate", "numpy")}
    write_rows(path, [row | machine for row in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="ECSSD: images, masks, pred_ISNet")
    parser.add_argument("--weights", type=Path, required=True, help="VGG16's convolutions")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN", help="some of the runs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--at-once", type=int, default=1, help="runs on each GPU at a time")
    parser.add_argument("--set", nargs="+", default=[], metavar="SETTING=VALUE", help="settings for every run")
    parser.add_argument("--output", type=Path, default=RESULTS, help="CSV to write")
    options = parser.parse_args()
    require_gpus(parser)
    gpus, rows = Queue(), []
    for gpu in list(range(torch.cuda.device_count())) * options.at_once:
        gpus.put(gpu)

    def one(job):
        gpu = gpus.get()
        try:
            row = row_of(*job, gpu, options, busy)
        finally:
            gpus.put(gpu)
        if row is not None:
            rows.append(row)
            print(row, flush=True)
            write(sorted(rows, key=lambda each: (list(RUNS).index(each["run"]), each["seed"])), options.output)

    jobs = [(name, seed) for seed in options.seeds for name in options.only]
    with Busy() as busy, ThreadPoolExecutor(gpus.qsize()) as pool:
        list(pool.map(one, jobs))


if __name__ == "__main__":
    main()
