"""Finished runs of other experiments: taken over instead of being made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dynamic_kd.experiments._folder import essence, is_finished, run_folder, state_of
from dynamic_kd.experiments._plan import RUNS
from dynamic_kd.training._recipe_file import recipe_toml
from dynamic_kd.training._train import RECIPE, resumable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynamic_kd.experiments._plan import Plan
    from dynamic_kd.training._recipe import Recipe


def reuse_runs(plan: Plan, folder: Path, others: Iterable[str | Path]) -> None:
    """Copy other experiments' finished runs to where this plan has them; see `run_plan`."""
    known: dict[str, Path] = {}
    for other in others:
        known |= _finished(Path(other))
    for run in plan.runs:
        place = known.get(_key(run.recipe))
        if place is not None and state_of(folder, run) == "new":
            goal = run_folder(folder, run.name)
            goal.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder, prefix=".reuse-") as beside:  # so that a run is there whole or not
                shutil.copytree(place, Path(beside) / run.name).replace(goal)


def _finished(other: Path) -> dict[str, Path]:
    """Return the finished runs of an experiment's folder, by their recipes."""
    if not (other / RUNS).is_dir():
        raise ValueError(f"{other}: expected an experiment's folder, with runs in {RUNS}, got none there")
    finished = {}
    for place in sorted((other / RUNS).iterdir()):
        if not (place / RECIPE).is_file():
            continue
        recipe = resumable(place)
        if is_finished(place, recipe) and recipe.teacher.checkpoint is None:
            finished[_key(recipe)] = place
    return finished


def _key(recipe: Recipe) -> str:
    return recipe_toml(essence(recipe))
