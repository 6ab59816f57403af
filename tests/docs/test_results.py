"""The numbers in the tables of the results pages are those of the published runs."""

import json
from pathlib import Path
from statistics import mean

import pytest

ROOT = Path(__file__).parents[2]
RUNS = ROOT / "benchmarks" / "results" / "experiments"
SWAPPED = {"teacher.spoil": "swapped"}
SHARES = [{"teacher.spoil_share": share} for share in (0.0, 0.1, 0.3, 0.6)]
RATES = [{"training.learning_rate": rate} for rate in (1e-3, 5e-3, 1e-2)]
TABLES = {
    "final": ("ecssd-final", SHARES[:3], 6),
    "unreliable-teachers": ("ecssd-unreliable", [SWAPPED | share for share in SHARES], 9),
    "learning-rates": ("ecssd-weights", RATES, 7),
    "candidates": ("ecssd-candidates", [share | RATES[1] for share in (SHARES[0], SHARES[2])], 7),
}


def short(value):
    return f"{value:.3f}".removeprefix("0")


def runs_of(experiment, method, point):
    """Return the finished runs of a method at a point of the grid."""
    wanted = {"method": method} | point
    runs = json.loads((RUNS / experiment / "runs.json").read_text("utf-8"))
    return [run for run in runs if any(wanted.items() <= cell.items() for cell in run["cells"])]


def rows_of(page):
    """Return the cells of each row of the page's tables."""
    lines = (ROOT / "docs" / "results" / f"{page}.md").read_text("utf-8").splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]


@pytest.mark.parametrize("page", TABLES)
def test_a_table_has_the_means_over_the_published_runs(page):
    experiment, points, expected = TABLES[page]
    methods = json.loads((RUNS / experiment / "results.json").read_text("utf-8"))["methods"]
    rows = [row for row in rows_of(page) if row[0] in methods and "/" in row[-2]]
    for method, *cells in rows:
        for cell, point in zip(cells[-len(points) :], points, strict=True):
            scores = [run["report"] for run in runs_of(experiment, method, point)]
            if cell == "all diverged":
                assert not scores
            else:
                means = [short(mean(run[score] for run in scores)) for score in ("maxF", "wF")]
                assert cell.split(" (")[0] == " / ".join(means), (method, point)
    assert len(rows) == expected


def test_the_table_of_spoilt_depth_has_the_means_over_the_published_runs():
    rows = {row[0]: row[2:] for row in rows_of("spoilt-depth") if row[1:2] == ["learnt from these maps"]}
    for share in (0.15, 0.3, 0.45, 0.6):
        noise = [run["noise"] for run in runs_of("synthetic-noise", "dynamic", {"data.spoilt_share": share})]
        means = [short(mean(each[name] for each in noise)) for name in ("precision", "recall", "auc")]
        actual = mean(each["spoilt"] / each["samples"] for each in noise)
        assert rows[f"{share:.0%} ({short(actual)})"] == means
