"""What the benchmarks measured, for figures that are drawn at build time."""

import csv
import json
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def rows(name, **wanted):
    """Return the rows of a table of results whose columns have these values."""
    with open(RESULTS / name, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]


def experiment(name):
    """Return what an experiment found, and the rows of its runs."""
    folder = RESULTS / "experiments" / name
    return tuple(json.loads((folder / file).read_text(encoding="utf-8")) for file in ("results.json", "runs.json"))
