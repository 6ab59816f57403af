"""Finished runs of other experiments: taken over instead of being made again."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.experiments._folder import essence, is_finished, run_folder, state_of
from benchmarks.experiments._plan import RUNS
from dynamic_kd.training._lock import alone
from dynamic_kd.training._recipe_file import recipe_toml
from dynamic_kd.training._train import RECIPE, resumable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.experiments._plan import Plan
    from dynamic_kd.training._recipe import Recipe


def reuse_runs(plan: Plan, folder: str | Path, others: Iterable[str | Path]) -> None:
    """Copy other experiments' finished runs to where this plan has them.

    Parameters
    ----------
    plan : Plan
        From `plan_experiment`.
    folder : path
        Where its runs go; what is begun or finished there is left alone.
    others : iterable of path
        Folders of experiments, whose finished runs are copied where this plan has runs of the same recipe; not where
        the teacher comes from a checkpoint, since the recipe does not say how that was trained.

    Raises
    ------
    ValueError
        If there is no experiment in one of the others, or if another process makes runs in the folder.
    """
    folder = Path(folder)
    known: dict[str, Path] = {}
    for other in others:
        known |= _finished(Path(other))
    with alone(folder, "makes runs"):
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
    known, parts = essence(recipe)
    return f"{recipe_toml(known)}{parts}"
