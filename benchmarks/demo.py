"""What the demo shows, over five seeds that nothing was chosen by: weighted F of each network, and the verdict.

Run ``python benchmarks/demo.py``: a few minutes a seed on two cores. The verdict of a seed is the demo's own:
with 60% of the teacher's maps swapped, a fixed weight is worse than no teacher, and the method is better than both. All
seeds are reported, whatever they show. The demo's settings were chosen on seed 0.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from _environment import environment, write_rows

from dynamic_kd.training import run_demo

RESULTS = Path(__file__).parent / "results" / "demo.csv"
FLAGS = ("samples", "spoilt", "flagged", "recall", "precision", "auc")


def measure(seed, folder):
    """One row: weighted and maximum F of each network, how well the flags find swapped maps, and the verdict."""
    start = time.perf_counter()
    comparison, findings = run_demo(folder / "demo", seed=seed)
    row = {"seed": seed, "seconds": round(time.perf_counter() - start)}
    reports = comparison.datasets["test"].reports
    row |= {f"{score}: {name}": report[score] for score in ("wF", "maxF") for name, report in reports.items()}
    results = folder / "demo" / "runs" / "dynamic weight + noise elimination" / "results.json"
    noise = json.loads(results.read_text(encoding="utf-8"))["noise"]
    return row | {name: noise[name] for name in FLAGS} | {"verdict": findings[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103, 104, 105])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for seed in arguments.seeds:
        with TemporaryDirectory() as folder:
            rows.append(measure(seed, Path(folder)))
        print(" ".join(f"{name}={value}" for name, value in rows[-1].items()), flush=True)
    facts = {"threads": arguments.threads} | environment("torch", "numpy", "scipy")
    write_rows(
        arguments.output,
        [{name: f"{v:.4f}" if isinstance(v, float) else v for name, v in row.items()} | facts for row in rows],
    )
    for name in (name for name in rows[0] if isinstance(rows[0][name], float)):
        print(f"{name:45} {statistics.mean(row[name] for row in rows):.3f}")


if __name__ == "__main__":
    main()
