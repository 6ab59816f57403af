"""How well teachers that learnt from spoilt depth find it: in the scenes they learnt from, and in others.

Run ``python benchmarks/spoilt_depth_teachers.py experiments/synthetic-noise``, with the folder of that experiment.
It takes two minutes on one core.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from _environment import environment, write_rows

from dynamic_kd.data import synthetic_rgbd
from dynamic_kd.losses import soft_iou
from dynamic_kd.models import load_model, network_input
from dynamic_kd.training import NoiseReport, read_recipe

RESULTS = Path(__file__).parent / "results" / "spoilt_depth_teachers.csv"
THRESHOLD = 0.5
UNSEEN = 5000  # beyond what the experiment trains and scores on


def found(folder, first):
    """What the teacher of a run folder finds in as many scenes as it learnt from, from an index on."""
    data = read_recipe(folder).data
    samples = synthetic_rgbd(
        data.train_count, size=data.size, seed=data.seed, spoilt_share=data.spoilt_share, first=first
    )
    network = load_model(folder / "teacher-last.safetensors").eval()
    images = torch.from_numpy(np.stack([sample.image.transpose(2, 0, 1) for sample in samples]))
    depths, masks = (
        torch.from_numpy(np.stack([[getattr(sample, name)] for sample in samples])) for name in ("depth", "mask")
    )
    with torch.no_grad():
        parts = [
            network(network_input(*part)).sigmoid() for part in zip(images.split(16), depths.split(16), strict=True)
        ]
    alpha = soft_iou(torch.cat(parts), masks).double().numpy()
    names = tuple(sample.name for sample in samples)
    report = NoiseReport(names, alpha, THRESHOLD, tuple(sample.spoilt for sample in samples))
    summary = report.summary()
    clean = [kind is None for kind in report.spoilt]
    spoilt = [not each for each in clean]
    return {
        "spoilt_share": data.spoilt_share,
        "seed": read_recipe(folder).seed,
        "scenes": "unseen" if first else "learnt from",
        "precision": summary["precision"],
        "recall": summary["recall"],
        "clean_flagged": report.flagged[clean].mean(),
        "auc": summary["auc"],
        "alpha_spoilt": report.teacher_iou[spoilt].mean(),
        "alpha_clean": report.teacher_iou[clean].mean(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", type=Path, help="folder of the experiment synthetic-noise, with its teachers")
    torch.set_num_threads(1)
    runs = parser.parse_args().experiment / "runs"
    teachers = [each for each in sorted(runs.glob("teacher--*")) if read_recipe(each).data.spoilt_share > 0]
    if not teachers:
        parser.error(f"{runs}: has no teacher that learnt from spoilt depth; run the experiment synthetic-noise first")
    rows = [found(folder, first) for folder in teachers for first in (0, UNSEEN)]
    rows.sort(key=lambda row: (row["spoilt_share"], row["scenes"], row["seed"]))
    write_rows(RESULTS, [row | environment("torch", "numpy") for row in rows])
    for row in rows:
        print(*(f"{value:.3f}" if isinstance(value, float) else value for value in row.values()), sep="  ")


if __name__ == "__main__":
    main()
