"""What the benchmarks measured, for figures that are drawn at build time."""

import csv
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def rows(name, **wanted):
    """Return the rows of a table of results whose columns have these values."""
    with open(RESULTS / name, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]
