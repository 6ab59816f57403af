"""The runs of an experiment: which there are, which share a result, and which teacher each of them waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.experiments._experiment import TEACHER_EPOCH, TEACHER_RUN, Experiment, Method, Point, flat, short
from dynamic_kd._checks import check_whole
from dynamic_kd.losses import DynamicKDLoss
from dynamic_kd.training._recipe import Recipe
from dynamic_kd.training._recipe_file import recipe_with
from dynamic_kd.training._sections import Student, Teacher, Training
from dynamic_kd.training._stage import weights_file

RUNS = "runs"


class Cell(NamedTuple):
    """A method at a point of the grid with a seed, and the run that gives its result."""

    method: str
    point: Point
    seed: int
    run: str


@dataclass(frozen=True)
class PlannedRun:
    """A run, named by what sets it apart; ``needs`` is the run that trains its teacher."""

    name: str
    recipe: Recipe
    needs: str | None = None

    @property
    def epochs(self) -> int:
        """Epochs of both stages."""
        own = self.recipe.needs_teacher and self.recipe.teacher.trained_here
        teacher = self.recipe.teacher_training.epochs if own else 0
        return teacher + (0 if self.recipe.teacher_only else self.recipe.training.epochs)


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, teachers before those that need them, and what each cell's result comes from."""

    runs: tuple[PlannedRun, ...]
    cells: tuple[Cell, ...]

    def only(self, *patterns: str) -> Plan:
        """Return the runs whose names one of the patterns matches, as a whole or within, and the teachers they need.

        Raises
        ------
        ValueError
            If a pattern matches none.
        """
        chosen: set[str] = set()
        for pattern in patterns:
            matched = {run.name for run in self.runs if fnmatch(run.name, pattern) or pattern in run.name}
            if not matched:
                raise ValueError(f"--only: expected a pattern of runs, as {self.runs[-1].name}, got {pattern!r}")
            chosen |= matched
        chosen |= {run.needs for run in self.runs if run.name in chosen and run.needs is not None}
        runs = tuple(run for run in self.runs if run.name in chosen)
        return Plan(runs, tuple(cell for cell in self.cells if cell.run in chosen))


def plan_experiment(experiment: Experiment, folder: str | Path, *, data: str | Path | None = None) -> Plan:
    """Return the runs of an experiment.

    Cells whose recipes agree share a run, as cross-entropy does at all points that differ in the teacher; and runs
    whose teachers agree in all that stage 1 depends on wait for one run that trains it.

    Parameters
    ----------
    experiment : Experiment
        What is compared.
    folder : path
        Where the runs go: into ``runs`` there.
    data : path, optional
        The folder that the data sets lie in; by default the recipe's.

    Raises
    ------
    ValueError
        If a recipe cannot be made, if runs would be scored on different images, or two would have one name.
    """
    runs = Path(folder).resolve() / RUNS
    root = {} if data is None else {"data.root": str(Path(data).resolve())}
    planner = _Planner(experiment, runs, root)
    for seed in experiment.seeds:  # so that the first seed of everything is there before the second of anything
        for point in experiment.points():
            for method in experiment.methods:
                planner.add(method, point, seed)
    return planner.plan()


class _Student(NamedTuple):
    """What sets a run apart: its recipe, and of a teacher to be trained the epoch and the recipe."""

    recipe: Recipe
    epoch: int | None
    teacher: Recipe | None


class _Planner:
    """Collects cells; those alike share a run."""

    def __init__(self, experiment: Experiment, runs: Path, root: dict[str, Any]) -> None:
        self._experiment, self._folder, self._root = experiment, runs, root
        self._cells: list[Cell] = []
        self._students: dict[str, _Student] = {}
        self._teachers: dict[str, Recipe] = {}
        self._teacher_of: dict[str, str] = {}
        try:
            self._usual = recipe_with(experiment.recipe, _of_teacher({**experiment.settings, **root}))
        except ValueError:  # methods say the rest, or what is wrong is found in each of them
            self._usual = recipe_with(experiment.recipe, {})

    def add(self, method: Method, point: Point, seed: int) -> None:
        """Add a cell, and its run unless there is one like it."""
        settings = {**self._experiment.settings, **method.settings, **dict(point), **self._root, "seed": seed}
        student = self._wanted(settings, _places(self._experiment, method, point))
        name = self._name(method, point, seed, student.recipe)
        alike = next((known for known, other in self._students.items() if other == student), None)
        if alike is None:
            self._check_free(name)
            self._students[name] = student
        self._cells.append(Cell(method.name, point, seed, alike or name))

    def _check_free(self, name: str) -> None:
        if name in self._teachers or name in self._students:
            raise ValueError(f"{name}: expected a name for each run, got two runs of that name; rename a method")

    def _wanted(self, settings: dict[str, Any], places: dict[str, list[str]]) -> _Student:
        """Return what a cell's settings ask for; what is wrong with one names its place."""
        epoch = settings.get(TEACHER_EPOCH)
        own = {key for key in settings if key.startswith(TEACHER_RUN)}
        of_run = {key: value for key, value in settings.items() if key not in own and key != TEACHER_EPOCH}
        recipe = replace(recipe_with(self._experiment.recipe, of_run, places), name="")
        _check_scored(recipe)
        if not recipe.needs_teacher:  # nothing of teacher and distillation matters then
            return _Student(replace(recipe, teacher=Teacher(), loss=DynamicKDLoss(weighting="none")), None, None)
        if not recipe.teacher.trained_here:
            if epoch is not None or own:
                which = TEACHER_EPOCH if epoch is not None else min(own)
                raise ValueError(f"{which}: expected it only where a teacher is trained, got it with another")
            return _Student(recipe, None, None)
        if epoch is not None:
            check_whole(TEACHER_EPOCH, epoch, low=1)
        return _Student(recipe, epoch, recipe_with(self._experiment.recipe, _of_teacher(settings), places))

    def plan(self) -> Plan:
        """Return the plan: teachers that runs share, then the runs."""
        for name, student in self._students.items():
            if student.teacher is not None:
                self._teacher_of[name] = self._teacher(student.teacher, student.epoch)
        students = [self._student(name, student) for name, student in self._students.items()]
        return Plan((*(PlannedRun(*each) for each in self._teachers.items()), *students), tuple(self._cells))

    def _name(self, method: Method, point: Point, seed: int, recipe: Recipe) -> str:
        """Return a run's name: its method, the values of the grid that matter to it, and its seed."""
        axes = self._experiment.axes
        idle = () if recipe.needs_teacher else ("teacher.", "loss.", TEACHER_EPOCH, TEACHER_RUN)
        values = [f"{short(setting, axes)}={value}" for setting, value in point if not setting.startswith(idle)]
        return "--".join(slug(part) for part in (method.name, *values, f"seed{seed}"))

    def _teacher_name(self, teacher: Recipe) -> str:
        """Return the name of a teacher without its seed: how it differs from what the settings of all runs ask for."""
        usual, own = (flat(_stage_1(recipe).as_dict()) for recipe in (self._usual, teacher))
        values = [f"{short(key, tuple(own))}={own[key]}" for key in own if own[key] != usual.get(key) and key != "seed"]
        return "--".join(("teacher", *map(slug, values)))

    def _teacher(self, recipe: Recipe, epoch: int | None) -> str:
        """Return the run that trains a recipe's teacher; the epochs that its runs want are kept."""
        alone = _stage_1(recipe)
        kept = {*recipe.teacher_training.keep_epochs, *([] if epoch is None else [epoch])}
        for name, other in self._teachers.items():
            if _stage_1(other) == alone:
                self._teachers[name] = _keeping(other, kept | set(other.teacher_training.keep_epochs))
                return name
        name = f"{self._teacher_name(recipe)}--seed{recipe.seed}"
        self._check_free(name)
        self._teachers[name] = _keeping(replace(alone, name=name), kept)
        return name

    def _student(self, name: str, student: _Student) -> PlannedRun:
        recipe, needs = replace(student.recipe, name=name), self._teacher_of.get(name)
        if needs is None:
            return PlannedRun(name, recipe)
        file = weights_file(self._folder / needs, 1, "last" if student.epoch is None else f"epoch{student.epoch}")
        teacher = replace(recipe.teacher, checkpoint=str(file), training=None)
        return PlannedRun(name, replace(recipe, teacher=teacher), needs)


def _places(experiment: Experiment, method: Method, point: Point) -> dict[str, list[str]]:
    """Return which settings of a cell are said where, the place that counts first before the others."""
    file = experiment.file or experiment.name
    said = {
        "--set": experiment.forced,
        f"{file}: grid": dict(point),
        f'{file}: methods."{method.name}"': method.settings,
        f"{file}: settings": experiment.settings,
    }
    return {place: [each.removeprefix(TEACHER_RUN) for each in settings] for place, settings in said.items()}


def _of_teacher(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's teacher, with those that are its alone over the run's."""
    own = {key.removeprefix(TEACHER_RUN): value for key, value in settings.items() if key.startswith(TEACHER_RUN)}
    return {key: value for key, value in settings.items() if not key.startswith((TEACHER_RUN, TEACHER_EPOCH))} | own


def _stage_1(recipe: Recipe) -> Recipe:
    """Return the recipe of a teacher alone: what stage 2 reads of it is gone, and so are epochs to keep."""
    training, usual = replace(recipe.teacher_training, keep_epochs=()), Teacher()
    teacher = replace(recipe.teacher, training=training, clip=usual.clip, probability_shift=usual.probability_shift)
    plain = replace(recipe, name="", teacher=teacher, loss=DynamicKDLoss(), training=Training(), student=Student())
    return replace(plain, teacher_only=True)


def _keeping(recipe: Recipe, epochs: set[int]) -> Recipe:
    training = replace(recipe.teacher_training, keep_epochs=tuple(sorted(epochs)))
    return replace(recipe, teacher=replace(recipe.teacher, training=training))


def _check_scored(recipe: Recipe) -> None:
    data = recipe.data
    if data.source == "synthetic" and data.seed is None:
        raise ValueError(
            "data.seed: expected the seed of the synthetic set, so that all runs are scored on the same images, got "
            "none; set data.seed = 0"
        )
    if not (data.validation or data.report if data.source == "folders" else data.validation_count or data.report_count):
        raise ValueError("data.report: expected images to score the runs on, got none; name some in the recipe")


def slug(name: str) -> str:
    """Return a name as part of a file's, which is not hidden."""
    words = "".join(char if char.isalnum() or char in ".=_" else " " for char in name.replace(" = ", "="))
    return "-".join(words.split()).lstrip(".-")
