"""The nine scores with full curves on an NVIDIA GPU, by size, batch and dtype, against PySODMetrics on one core.

Run ``python benchmarks/metrics_cuda.py``. Every row is first checked against the CPU's scores and curves, within 1e-9,
and against itself, bit by bit. Pairs lie on the GPU already and differ from each other; a time is the median over
repeats of one `SODMetrics` update, with the wait for its scores, divided by the images.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from _environment import environment, require_gpus, write_rows
from metrics_cpu import image, peer

from dynamic_kd.metrics import SODMetrics

RESULTS = Path(__file__).parent / "results" / "metrics_cuda.csv"
CASES = (
    *(((480, 640), batch, "uint8") for batch in (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    *(((480, 640), batch, dtype) for batch in (1, 64) for dtype in ("float32", "bfloat16", "float16", "float64")),
    *((size, batch, "uint8") for size in ((256, 256), (1024, 1024)) for batch in (1, 64)),
    ((1024, 1024), 64, "float32"),
)
DISTINCT = 8


def pairs(size, batch, dtype):
    """Predictions and targets on the GPU: a few distinct pairs, over and over."""
    images = [image(*size, seed=seed) for seed in range(min(batch, DISTINCT))]
    pred, target = (np.stack([images[i % len(images)][part] for i in range(batch)]) for part in (0, 1))
    pred = torch.from_numpy(pred).cuda()
    return (pred if dtype == "uint8" else (pred / 255).to(getattr(torch, dtype))), torch.from_numpy(target).cuda()


def report(pred, target):
    metrics = SODMetrics()
    metrics.update(pred, target)
    return metrics.compute()


def check(pred, target):
    """Return the largest difference from the CPU over the distinct pairs."""
    few = slice(0, DISTINCT)
    ours, again, cpu = (
        report(pred[few], target[few]),
        report(pred[few], target[few]),
        report(pred[few].cpu(), target[few].cpu()),
    )
    assert ours.settings["backend"] == "triton", ours.settings
    assert (ours.rows == again.rows).all()
    assert all((ours.curves[name] == curve).all() for name, curve in again.curves.items())
    worst = max(
        np.abs(ours.rows - cpu.rows).max(), *(np.abs(ours.curves[name] - cpu.curves[name]).max() for name in cpu.curves)
    )
    assert worst < 1e-9, worst
    return worst


def waited(pred, target):
    """Seconds of one update and the wait for its scores."""
    metrics = SODMetrics()
    start = time.perf_counter()
    metrics.update(pred, target)
    len(metrics)
    return time.perf_counter() - start


def streamed(pred, target, updates=20):
    """Seconds of one update among many in flight."""
    metrics = SODMetrics()
    start = time.perf_counter()
    for _ in range(updates):
        metrics.update(pred, target)
    len(metrics)
    return (time.perf_counter() - start) / updates


def queued(pred, target):
    """Seconds that the host is busy with one update."""
    torch.cuda.synchronize()
    metrics = SODMetrics()
    start = time.perf_counter()
    metrics.update(pred, target)
    return time.perf_counter() - start


def working_memory(pred, target):
    """Bytes a pixel beyond the inputs."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    report(pred, target)
    return (torch.cuda.max_memory_allocated() - before) / pred.numel()


def microseconds(function, *arguments, repeats):
    return 1e6 * statistics.median(function(*arguments) for _ in range(repeats))


def peer_microseconds(size, repeats):
    """One image scored by PySODMetrics on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        pred, target = image(*size)

        def once():
            start = time.perf_counter()
            peer(pred, target)
            return time.perf_counter() - start

        return microseconds(once, repeats=repeats)
    finally:
        os.sched_setaffinity(0, cores)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    require_gpus(parser)
    rows, peers = [], {}
    for size, batch, dtype in CASES:
        pred, target = pairs(size, batch, dtype)
        worst = check(pred, target)
        if size not in peers:
            peers[size] = peer_microseconds(size, 5)
        for function in (waited, streamed):
            function(pred, target)
        image_us = microseconds(waited, pred, target, repeats=options.repeats) / batch
        rows.append(
            {
                "size": "x".join(map(str, size)),
                "batch": batch,
                "dtype": dtype,
                "us_per_image": round(image_us, 2),
                "us_per_image_streamed": round(microseconds(streamed, pred, target, repeats=3) / batch, 2),
                "host_us_per_batch": round(microseconds(queued, pred, target, repeats=options.repeats), 1),
                "pysodmetrics_us": round(peers[size]),
                "ratio": round(peers[size] / image_us),
                "working_bytes_per_pixel": round(working_memory(pred, target), 2),
                "largest_difference": f"{worst:.1e}",
                "gpu": torch.cuda.get_device_name(),
                **environment("torch", "triton", "numpy", "pysodmetrics"),
            }
        )
        print(*(f"{name}={rows[-1][name]}" for name in list(rows[-1])[:10]), flush=True)
        write_rows(options.output, rows)


if __name__ == "__main__":
    main()
