"""The demo's networks: a teacher and four students, several trained at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd.models import FPNStudent, RFBTeacher
from dynamic_kd.training._loop import fit, sgd
from dynamic_kd.training._objective import CrossEntropy, Distillation, from_network
from dynamic_kd.training._surroundings import accelerator_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._tensors import Tensors

    Progress = Callable[[str, int, int], None]
    Advance = Callable[[int, int], None]

TEACHER = "teacher"
STUDENTS: dict[str, dict[str, Any]] = {
    "cross-entropy": {"weighting": "none"},
    "fixed weight 0.5": {"weighting": 0.5, "noise_elimination": None},
    "dynamic weight": {"weighting": "dynamic", "noise_elimination": None},
    "dynamic + noise elimination": {"weighting": "dynamic", "noise_elimination": "absolute"},
}
"""The students by name, and the loss settings of each; weighting "none" is trained without the teacher."""


def student_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe of a student, with its weighting and noise elimination."""
    return replace(recipe, loss=replace(recipe.loss, **STUDENTS[name]))


def trained(
    data: Tensors, recipe: Recipe, progress: Progress, seconds: dict[str, float], workers: int
) -> dict[str, nn.Module]:
    """Train the teacher and the student that needs none, then the others, so many at once."""
    models = _untrained(recipe)
    accelerator = accelerator_of(cpu=True)  # one for all threads: what it stands for belongs to the process
    stop = threading.Event()

    def train(name: str) -> None:
        title = name if name == TEACHER else f"student: {name}"

        def advance(done: int, total: int) -> None:
            if stop.is_set():
                raise RuntimeError("another network failed, or the user interrupted")
            progress(title, done, total)

        with timed(seconds, title):
            _train(name, models, data, recipe, accelerator, advance)

    alone = [name for name, loss in STUDENTS.items() if loss["weighting"] == "none"]
    taught = [name for name in STUDENTS if name not in alone]
    with ThreadPoolExecutor(workers) as pool:
        try:
            teacher, *others = (pool.submit(train, name) for name in (TEACHER, *alone))
            teacher.result()
            others += [pool.submit(train, name) for name in taught]
            for future in wait(others, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            stop.set()
    return models


def _untrained(recipe: Recipe) -> dict[str, nn.Module]:
    """Make the networks; all students start from the same weights."""
    models: dict[str, nn.Module] = {}
    with torch.random.fork_rng(devices=[]):
        for name in (TEACHER, *STUDENTS):
            part = recipe.teacher if name == TEACHER else recipe.student
            kind = RFBTeacher if name == TEACHER and recipe.teacher.model == "rfb" else FPNStudent
            torch.default_generator.manual_seed(recipe.seed)  # torch.manual_seed would seed GPUs as well
            model = kind(part.backbone, recipe.data.channels, weights=part.weights)
            models[name] = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster
    return models


def _train(
    name: str, models: dict[str, nn.Module], data: Tensors, recipe: Recipe, accelerator: Accelerator, advance: Advance
) -> None:
    stage, training = (1, recipe.teacher_training) if name == TEACHER else (2, recipe.training)
    objective: Objective = CrossEntropy()
    if name != TEACHER and STUDENTS[name]["weighting"] != "none":
        objective = Distillation(student_recipe(recipe, name).loss, from_network(models[TEACHER]))
    for _ in fit(
        models[name],
        sgd(models[name], training),
        data,
        objective,
        training,
        accelerator=accelerator,
        seed=(recipe.seed, stage),
        advance=advance,
    ):
        pass


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread: on networks this small, several mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note how long a step takes."""
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
