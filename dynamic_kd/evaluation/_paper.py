"""Numbers that the paper prints, and its Figure 2, to be shown beside your own."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from dynamic_kd._checks import check_choice
from dynamic_kd._extras import require
from dynamic_kd._figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The paper's letters and the names here. Its E-measure keeps its letter, as the paper does not state the reduction.
PAPER_SCORES = {"F": "maxF", "S": "Sm", "E": "E", "M": "MAE"}
# MiB of float32 parameters (Table 2).
_PAPER_SIZES = {
    "MMCI": 951.9, "TANet": 929.7, "PCANet": 533.6, "D3Net": 519.0, "CPFP": 278.0, "DMRA": 238.8, "DANet": 106.7,
    "A2dele": 57.3, "Ours VGG16": 57.9, "Ours VGG19": 78.2,
}  # fmt: skip
_TICKS = (50, 100, 200, 500, 1000)
OTHER_NAMES = {"NJU2K": "NJUD", "RGBD135": "DES"}


@cache
def paper_datasets() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return data set -> method -> score -> value of the paper's Table 1, without the values it leaves out."""
    content = tomllib.loads(files("dynamic_kd.evaluation").joinpath("_paper_table_1.toml").read_text(encoding="utf-8"))
    return {
        name: {
            method: {PAPER_SCORES[letter]: row[index] for letter, row in rows.items() if not math.isnan(row[index])}
            for index, method in enumerate(content["methods"])
        }
        for name, rows in content["datasets"].items()
    }


def paper_numbers(dataset: str) -> dict[str, Mapping[str, float]]:
    """Return method -> score -> value of the paper's Table 1 for a data set, under any of its names; empty without."""
    name = OTHER_NAMES.get(dataset.upper(), dataset.upper())
    return {method: scores for method, scores in paper_datasets().get(name, {}).items() if scores}


def score_against_size(
    models: Mapping[str, tuple[float, float]], *, dataset: str = "NJUD", score: str = "maxF"
) -> Figure:
    """Draw a score against the size of models, beside the methods of the paper's Tables 1 and 2 (its Figure 2).

    Parameters
    ----------
    models : mapping
        Name of a model -> its size in MiB of float32 parameters, and its score on the data set.
    dataset : str
        A data set of the paper's Table 1.
    score : {"maxF", "Sm", "E", "MAE"}
        A score of Table 1. It has no weighted F, which the paper's figure shows.

    Returns
    -------
    matplotlib.figure.Figure
        The sizes are on a logarithmic scale.

    Raises
    ------
    ValueError
        If Table 1 has no such data set or score.
    """
    require("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    check_choice("score", score, tuple(PAPER_SCORES.values()))
    printed = paper_numbers(dataset)
    if not printed:
        raise ValueError(f"dataset: expected one of the paper's Table 1, got {dataset!r}")
    known = {name: (_PAPER_SIZES[name], numbers[score]) for name, numbers in printed.items() if name in _PAPER_SIZES}
    figure = Figure(figsize=(6.4, 4.2), layout="constrained", dpi=150)
    axes = figure.subplots()
    for points, colour, marker, area, label in (
        (known, COLOURS[0], "o", 28, "printed in the paper"),
        (dict(models), COLOURS[1], "*", 70, "measured"),
    ):
        if points:
            sizes, values = zip(*points.values(), strict=True)
            axes.scatter(sizes, values, color=colour, marker=marker, s=area, label=label)
        for name, place in points.items():
            axes.annotate(name.replace("$", r"\$"), place, xytext=(5, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", xlabel="size of the parameters (MiB)", ylabel=f"{score} on {dataset}")
    axes.set_xticks(_TICKS, [str(tick) for tick in _TICKS])
    axes.set_xticks([], minor=True)
    axes.margins(x=0.12, y=0.12)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8.5, frameon=False)
    return figure
