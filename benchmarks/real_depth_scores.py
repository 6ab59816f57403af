"""Scores of the runs on real depth, for each of the three sets that they are scored on.

python benchmarks/real_depth_scores.py experiments/nlpr-depth
"""

import sys
from pathlib import Path

from dynamic_kd.evaluation import Table
from dynamic_kd.metrics import SCORES
from dynamic_kd.training import read_records

SETS, SHOWN = ("test-isnet", "test-aminet", "real"), ("maxF", "meanF", "wF", "Sm", "MAE")


def scores_of(report, data_set):
    """Return the scores of the images whose names begin with a set's."""
    chosen = [number for number, name in enumerate(report.names) if name.startswith(f"{data_set}/")]
    found = {name: report.rows[chosen, report.columns.index(name)].mean() for name in SHOWN if name in report.columns}
    return found | {"maxF": report.per_image_curves[SCORES["maxF"].curve][chosen].mean(axis=0).max()}


def main(folder):
    """Print a table for each set."""
    for data_set in SETS:
        table = Table(["run", *SHOWN], title=data_set)
        for path in sorted(Path(folder).glob("runs/*/*-report.npz")):
            scores = scores_of(read_records(path), data_set)
            table.add_row(path.parent.name, *(round(float(scores[name]), 4) for name in SHOWN))
        print(table, end="\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
