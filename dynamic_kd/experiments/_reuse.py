"""Finished runs of other experiments: taken over instead of being made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamic_kd.experiments._folder import essence, finished_recipe, run_folder, state_of
from dynamic_kd.experiments._plan import RUNS
from dynamic_kd.training._recipe_file import recipe_toml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamic_kd.experiments._plan import Plan
    from dynamic_kd.training._recipe import Recipe


def reuse_runs(plan: Plan, folder: Path, others: Iterable[str | Path]) -> list[str]:
    """Copy other experiments' finished runs to where this plan has them, and return which; see `run_plan`."""
    known: dict[str, Path] = {}
    for other in others:
        known |= _finished(Path(other))
    taken = []
    for run in plan.runs:
        place = known.get(_key(run.recipe))
        if place is not None and state_of(folder, run) == "new":
            goal = run_folder(folder, run.name)
            goal.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder, prefix=".reuse-") as beside:  # so that a run is there whole or not
                shutil.copytree(place, Path(beside) / run.name).replace(goal)
            taken.append(run.name)
    return taken


def _finished(other: Path) -> dict[str, Path]:
    """Return the finished runs of an experiment's folder, by their recipes."""
    if not (other / RUNS).is_dir():
        raise ValueError(f"{other}: expected an experiment's folder, with runs in {RUNS}, got none there")
    finished = {}
    for place in sorted((other / RUNS).iterdir()):
        recipe = finished_recipe(place)
        if recipe is not None and recipe.teacher.checkpoint is None:
            finished[_key(recipe)] = place
    return finished


def _key(recipe: Recipe) -> str:
    return recipe_toml(essence(recipe))
