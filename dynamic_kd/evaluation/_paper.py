"""Numbers that the paper prints, to be shown beside one's own."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

# What the paper's letters are called here; its E-measure keeps a name of its own, as its reduction is not stated.
SCORES = {"F": "maxF", "S": "Sm", "E": "E", "M": "MAE"}
OTHER_NAMES = {"NJU2K": "NJUD", "RGBD135": "DES"}


@cache
def paper_datasets() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return data set -> method -> score -> value of the paper's Table 1; what it leaves out is left out."""
    content = tomllib.loads(files("dynamic_kd.evaluation").joinpath("_paper_table_1.toml").read_text(encoding="utf-8"))
    return {
        name: {
            method: {SCORES[letter]: row[index] for letter, row in rows.items() if not math.isnan(row[index])}
            for index, method in enumerate(content["methods"])
        }
        for name, rows in content["datasets"].items()
    }


def paper_numbers(dataset: str) -> dict[str, Mapping[str, float]]:
    """Return method -> score -> value of one data set, under any of its names; nothing if the paper has none."""
    name = OTHER_NAMES.get(dataset.upper(), dataset.upper())
    return {method: scores for method, scores in paper_datasets().get(name, {}).items() if scores}
