"""The runs of an experiment: which results share a run, and which runs share a teacher."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.experiments.experiment import (
    TEACHER_EPOCH,
    TEACHER_RUN,
    Experiment,
    Method,
    Point,
    Settings,
    flat,
    short,
)
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training import Recipe, Student, Teacher, Training, read_recipe

RUNS = "runs"


class Cell(NamedTuple):
    """A method at a point of the grid with a seed, and the run that gives its result."""

    method: str
    point: Point
    seed: int
    run: str


@dataclass(frozen=True)
class PlannedRun:
    """A run, named by what distinguishes it; ``needs`` is the run that trains its teacher."""

    name: str
    recipe: Recipe
    needs: str | None = None

    @property
    def epochs(self) -> int:
        """Epochs of both stages."""
        trains_teacher = self.recipe.needs_teacher and self.recipe.teacher.trained_here
        teacher = self.recipe.teacher_training.epochs if trains_teacher else 0
        return teacher + (0 if self.recipe.teacher_only else self.recipe.training.epochs)


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, teachers first, and the cells that they fill."""

    runs: tuple[PlannedRun, ...]
    cells: tuple[Cell, ...]

    def only(self, *patterns: str) -> Plan:
        """Return the runs whose name matches a pattern, or contains it, and the teachers that they need.

        Raises
        ------
        ValueError
            If a pattern matches no run.
        """
        chosen: set[str] = set()
        for pattern in patterns:
            matched = {run.name for run in self.runs if fnmatch(run.name, pattern) or pattern in run.name}
            if not matched:
                raise ValueError(f"--only {pattern}: no such run; --dry-run lists them, such as {self.runs[-1].name}")
            chosen |= matched
        chosen |= {run.needs for run in self.runs if run.name in chosen and run.needs is not None}
        runs = tuple(run for run in self.runs if run.name in chosen)
        return Plan(runs, tuple(cell for cell in self.cells if cell.run in chosen))


class _Student(NamedTuple):
    """What distinguishes a run: its recipe and, if its teacher is a run of the plan, that run's recipe and an epoch."""

    recipe: Recipe
    epoch: int | None
    teacher: Recipe | None


def plan_experiment(experiment: Experiment, folder: str | Path, *, data: str | Path | None = None) -> Plan:
    """Return the runs of an experiment.

    Cells with the same recipe share a run: cross-entropy, for one, at all points that differ in the teacher. Runs whose
    teachers depend on the same settings share the run that trains it.

    Parameters
    ----------
    experiment : Experiment
        What to compare.
    folder : path
        The experiment's folder; its runs go into ``runs``.
    data : path, optional
        The folder that contains the data sets; by default the recipe's.

    Raises
    ------
    ValueError
        If a setting is invalid, if runs would be scored on different images, or if two runs would have the same name.
    """
    planner = _Planner(experiment, Path(folder).resolve() / RUNS, data)
    for seed in experiment.seeds:  # all runs of the first seed come before the second seed
        for point in experiment.points():
            for method in experiment.methods:
                planner.add(method, point, seed)
    return planner.plan()


class _Planner:
    """Collects cells; those with the same recipe share a run."""

    def __init__(self, experiment: Experiment, runs: Path, data: str | Path | None) -> None:
        self._experiment, self._runs = experiment, runs
        self._root = {} if data is None else {"data.root": str(Path(data).resolve())}
        self._cells: list[Cell] = []
        self._students: dict[str, _Student] = {}
        self._teachers: dict[str, Recipe] = {}
        try:
            self._common = read_recipe(experiment.recipe, _of_teacher({**experiment.settings, **self._root}))
        except (TypeError, ValueError):  # only with the methods' settings is it valid, or `add` names what is wrong
            self._common = read_recipe(experiment.recipe)

    def add(self, name: str, point: Point, seed: int) -> None:
        """Add the cell of a method at a point, and its run unless there is an equal one."""
        method = self._experiment.methods[name]
        student = self._student(method.settings, point, seed, self._places(name, method, point))
        run = next((known for known, other in self._students.items() if other == student), None)
        if run is None:
            run = self._name(name, point, seed, student.recipe)
            self._check_free(run)
            self._students[run] = student
        self._cells.append(Cell(name, point, seed, run))

    def plan(self) -> Plan:
        """Return the plan."""
        students = [self._planned(name, student) for name, student in self._students.items()]
        return Plan((*(PlannedRun(*each) for each in self._teachers.items()), *students), tuple(self._cells))

    def _student(self, own: Settings, point: Point, seed: int, places: Mapping[str, Iterable[str]]) -> _Student:
        settings = {**self._experiment.settings, **own, **dict(point), **self._root, "seed": seed}
        epoch = settings.get(TEACHER_EPOCH)
        shared = [setting for setting in settings if setting.startswith((TEACHER_RUN, TEACHER_EPOCH))]
        recipe = replace(
            self._recipe({key: value for key, value in settings.items() if key not in shared}, places), name="run"
        )
        _check_scored(recipe)
        if not recipe.needs_teacher:  # the settings of teacher and loss have no effect
            return _Student(replace(recipe, teacher=Teacher(), loss=DynamicKDLoss(weighting="none")), None, None)
        if not recipe.teacher.trained_here:
            if shared:
                raise ValueError(f"{shared[0]}: the teacher is not trained here; leave the setting out")
            return _Student(recipe, None, None)
        if epoch is not None and (type(epoch) is not int or epoch < 1):
            raise ValueError(f"{TEACHER_EPOCH}: expected a whole number of at least 1, got {epoch!r}")
        return _Student(recipe, epoch, self._recipe(_of_teacher(settings), places))

    def _recipe(self, settings: Settings, places: Mapping[str, Iterable[str]]) -> Recipe:
        """Read the recipe with settings; an error names the part of the experiment that the setting comes from."""
        try:
            return read_recipe(self._experiment.recipe, settings)
        except (TypeError, ValueError) as error:
            text = str(error).removeprefix("--set: ")
            for place, names in places.items():
                if any(re.match(rf"{re.escape(name)}\b", text) for name in names):
                    raise ValueError(f"{place}: {text}") from error
            raise

    def _places(self, name: str, method: Method, point: Point) -> dict[str, list[str]]:
        """Return the settings that each part of the experiment gives; the first part counts first."""
        experiment = self._experiment
        places = {
            "--set": experiment.overrides,
            f"{experiment.name}: grid": dict(point),
            f'{experiment.name}: methods."{name}"': method.settings,
            f"{experiment.name}: settings": experiment.settings,
        }
        return {place: [name.removeprefix(TEACHER_RUN) for name in names] for place, names in places.items()}

    def _name(self, method: str, point: Point, seed: int, recipe: Recipe) -> str:
        """Return a run's name: method, the values of the grid that have an effect, and seed."""
        ignored = () if recipe.needs_teacher else ("teacher.", "loss.", TEACHER_EPOCH, TEACHER_RUN)
        axes = self._experiment.axes
        values = [f"{short(setting, axes)}={value}" for setting, value in point if not setting.startswith(ignored)]
        return "--".join(slug(part) for part in (method, *values, f"seed{seed}"))

    def _planned(self, name: str, student: _Student) -> PlannedRun:
        recipe = replace(student.recipe, name=name)
        if student.teacher is None:
            return PlannedRun(name, recipe)
        needs = self._teacher(student.teacher, student.epoch)
        file = f"teacher-{'last' if student.epoch is None else f'epoch{student.epoch}'}.safetensors"
        teacher = replace(recipe.teacher, checkpoint=str(self._runs / needs / file), training=None)
        return PlannedRun(name, replace(recipe, teacher=teacher), needs)

    def _teacher(self, recipe: Recipe, epoch: int | None) -> str:
        """Return the run that trains a recipe's teacher, and have it keep the weights of the epoch."""
        alone = _stage_1(recipe)
        name = next((known for known, other in self._teachers.items() if _stage_1(other) == alone), None)
        if name is None:
            common, own = (flat(_stage_1(each).as_dict()) for each in (self._common, recipe))
            values = [f"{short(key, own)}={own[key]}" for key in own if key != "seed" and own[key] != common.get(key)]
            name = "--".join(("teacher", *map(slug, values), f"seed{recipe.seed}"))
            self._check_free(name)
            self._teachers[name] = _keeping(replace(alone, name=name), recipe.teacher_training.keep_epochs)
        kept = (*self._teachers[name].teacher_training.keep_epochs, *recipe.teacher_training.keep_epochs)
        self._teachers[name] = _keeping(self._teachers[name], kept if epoch is None else (*kept, epoch))
        return name

    def _check_free(self, name: str) -> None:
        if name in self._teachers or name in self._students:
            raise ValueError(f"{name}: two runs would have this name; rename a method")


def _of_teacher(settings: Settings) -> dict[str, Any]:
    """Return the settings of the run that trains a run's teacher."""
    own = {key.removeprefix(TEACHER_RUN): value for key, value in settings.items() if key.startswith(TEACHER_RUN)}
    return {key: value for key, value in settings.items() if not key.startswith((TEACHER_RUN, TEACHER_EPOCH))} | own


def _stage_1(recipe: Recipe) -> Recipe:
    """Return the recipe of the teacher alone, without the settings that stage 2 reads and the epochs to keep."""
    training, default = replace(recipe.teacher_training, keep_epochs=()), Teacher()
    teacher = replace(recipe.teacher, training=training, clip=default.clip, probability_shift=default.probability_shift)
    plain = replace(recipe, name="run", teacher=teacher, loss=DynamicKDLoss(), training=Training(), student=Student())
    return replace(plain, objective=None, teacher_only=True)


def _keeping(recipe: Recipe, epochs: Iterable[int]) -> Recipe:
    training = replace(recipe.teacher_training, keep_epochs=tuple(sorted(set(epochs))))
    return replace(recipe, teacher=replace(recipe.teacher, training=training))


def _check_scored(recipe: Recipe) -> None:
    data = recipe.data
    if data.source == "synthetic" and data.seed is None:
        raise ValueError("data.seed: set it (to 0, say), so that all runs are scored on the same synthetic images")
    if not (data.validation or data.report if data.source == "folders" else data.validation_count or data.report_count):
        raise ValueError("data.report: the recipe names no images to score the runs on; set data.report")


def slug(name: str) -> str:
    """Return a name as part of a file name, which is not hidden."""
    words = "".join(char if char.isalnum() or char in ".=_" else " " for char in name.replace(" = ", "="))
    return "-".join(words.split()).lstrip(".-")
