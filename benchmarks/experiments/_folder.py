"""Where an experiment's runs lie, how far each has come, and what stays of those that are finished."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.experiments._plan import RUNS, Plan, PlannedRun
from dynamic_kd._files import write_whole
from dynamic_kd.training._logs import EPOCHS
from dynamic_kd.training._recipe import Recipe
from dynamic_kd.training._recipe_file import recipe_toml
from dynamic_kd.training._recipe_paths import with_whole_paths
from dynamic_kd.training._results import RESULTS
from dynamic_kd.training._stage import records_file
from dynamic_kd.training._surroundings import read_sessions
from dynamic_kd.training._train import RECIPE, SURROUNDINGS, resumable

PLANNED, LOGS = "planned", "logs"
KEEP = ("all", "weights", "records")
_RECORDS = ("*.toml", "*.json", "*.npz", "epochs.csv", "noise.csv", "teacher-*.safetensors")


def run_folder(folder: Path, name: str) -> Path:
    """Return the folder of a run."""
    return folder / RUNS / name


def log_file(folder: Path, name: str) -> Path:
    """Return what a run has printed."""
    return folder / LOGS / f"{name}.log"


def state_of(folder: Path, run: PlannedRun) -> str:
    """Return how far a run has come: ``"new"``, ``"unfinished"`` or ``"finished"``.

    Raises
    ------
    ValueError
        If the folder holds the run of another recipe. Where files lie does not matter: runs may move.
    """
    place = run_folder(folder, run.name)
    if not (place / RECIPE).is_file():
        return "new"
    recipe = resumable(place)
    if essence(recipe) != essence(run.recipe) or not _is_taught_by(run.needs, recipe):
        raise ValueError(
            f"{place}: expected the run that is planned, got one of another recipe; remove it, or name another --out"
        )
    return "finished" if is_finished(place, recipe) else "unfinished"


def _is_taught_by(needed: str | None, recipe: Recipe) -> bool:
    """Return whether a run's teacher is that of the run that it needs, if it needs one."""
    return needed is None or Path(recipe.teacher.checkpoint or "").parent.name == needed


def check_teachers(folder: Path, plan: Plan, states: Mapping[str, str]) -> None:
    """Raise unless runs that have begun have their teachers: another one may not take its place.

    Raises
    ------
    ValueError
        If the teacher of such a run is not finished.
    """
    for run in plan.runs:
        if run.needs is not None and states[run.name] != "new" and states[run.needs] != "finished":
            raise ValueError(
                f"{run_folder(folder, run.name)}: expected its teacher in {run_folder(folder, run.needs)}, which is "
                f"{states[run.needs]}; bring that back, or remove the runs that it taught as well"
            )


def is_finished(place: Path, recipe: Recipe) -> bool:
    """Return whether a run folder holds what the run of its recipe ends with."""
    return (place / RESULTS).is_file() and result_file(place, recipe).is_file()


def result_file(place: Path, recipe: Recipe) -> Path:
    """Return the records that a run is judged by: of the reporting images, or of the choosing ones without them."""
    data = recipe.data
    reports = data.report_count if data.source == "synthetic" else data.report
    return records_file(place, 1 if recipe.teacher_only else 2, "report" if reports else "validation")


def words_of(folder: Path, run: PlannedRun, state: str) -> list[str]:
    """Write what a run starts from, and return the words after ``dynamic-kd train``."""
    place = run_folder(folder, run.name)
    text = recipe_toml(with_whole_paths(run.recipe)).encode()
    if state == "unfinished":
        write_whole(place / RECIPE, text)  # where files lie may have changed
        return ["--resume", str(place)]
    planned = folder / PLANNED / f"{run.name}.toml"
    write_whole(planned, text)
    return [str(planned), "--out", str(place)]


def epochs_done(folder: Path, name: str) -> int:
    """Return how many epochs a run has behind it."""
    try:
        with (run_folder(folder, name) / EPOCHS).open(encoding="utf-8", newline="") as file:
            return sum(1 for _ in csv.reader(file)) - 1
    except FileNotFoundError:
        return 0


def tidy(place: Path, keep: str) -> None:
    """Remove what a finished run is not needed for any more."""
    if keep == "all":
        return
    wanted = {path for pattern in _RECORDS for path in place.glob(pattern)}
    for path in place.iterdir():
        beside = path.name == "checkpoint.safetensors" or (keep == "records" and path not in wanted)
        if beside and path.is_file():
            path.unlink()


def last_lines(path: Path, count: int = 3) -> str:
    """Return the end of what a run has printed."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return "\n".join([line.rstrip() for line in lines if line.strip()][-count:])


def has_diverged(folder: Path, name: str) -> bool:
    """Return whether a run's last session ended because its loss was no longer finite."""
    path = run_folder(folder, name) / SURROUNDINGS
    return path.is_file() and "diverged" in read_sessions(path)[-1]


def essence(recipe: Recipe) -> tuple[Recipe, Any]:
    """Return a recipe without what makes no difference, and its data sets; files are known by their names alone."""
    data, teacher = recipe.data, recipe.teacher

    def name(path: str | None) -> str | None:
        return path if path is None else Path(path).name

    def part(each: Any) -> Any:
        return each if isinstance(each, str) else (each["folder"], name(each.get("list")))

    spoilt = teacher.spoil is not None and teacher.spoil_share > 0
    parts = tuple(tuple(map(part, each)) for each in (data.train, data.validation, data.report))
    known = replace(
        recipe,
        name="",
        data=replace(data, root=None, train=data.train and ("",), validation=(), report=()),
        teacher=replace(
            teacher,
            weights=name(teacher.weights),
            checkpoint=name(teacher.checkpoint),
            maps=name(teacher.maps),
            spoil=teacher.spoil if spoilt else None,
            spoil_share=teacher.spoil_share if spoilt else 0,
        ),
        student=replace(recipe.student, weights=name(recipe.student.weights)),
    )
    return known, parts
