"""A run: stage 1 trains the teacher, stage 2 the student, and everything goes to a folder that it can go on from."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd._files import write_whole
from dynamic_kd.training._checkpoint import Place, read_place
from dynamic_kd.training._lock import LOCK, alone
from dynamic_kd.training._logs import STAGES, Logs
from dynamic_kd.training._loop import DivergedError, check_shares
from dynamic_kd.training._memory import check_room
from dynamic_kd.training._objective import CrossEntropy
from dynamic_kd.training._processes import everywhere
from dynamic_kd.training._recipe_file import read_recipe, recipe_toml
from dynamic_kd.training._recipe_paths import with_whole_paths
from dynamic_kd.training._records_file import write_records
from dynamic_kd.training._results import RESULTS, write_results
from dynamic_kd.training._sources import decided_parts, find_parts, image_counts, recipe_samples, report_samples
from dynamic_kd.training._stage import CHECKPOINT, Run, records_file, run_stage
from dynamic_kd.training._stopping import stoppable
from dynamic_kd.training._surroundings import accelerator_of, record_divergence, record_session, repeatable, seeded
from dynamic_kd.training._teachers import NETWORKS, check_teacher, check_weight, student_objective
from dynamic_kd.training._tensors import Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.models import FPNStudent, RFBTeacher
    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._sources import Parts

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]

RECIPE, SURROUNDINGS = "recipe.toml", "environment.json"


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
    checkpoint_every: float = 30.0,
    progress: Progress = lambda step, done, total: None,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Train the teacher, where it is not given, and then the student.

    Started by ``accelerate launch`` or ``torchrun``, several processes share each batch; the result is that of one
    process, up to rounding.

    Parameters
    ----------
    recipe : Recipe
        Everything that the result depends on.
    folder : str or Path
        Where recipe, logs, weights and results go.
    resume : bool
        Go on with the run of this recipe that the folder holds, after the last epoch that it finished. On one device
        the weights will be those, bit by bit, of a run that was never stopped.
    overwrite : bool
        Remove the run that the folder holds.
    cpu : bool
        Use the CPU even if there is a GPU.
    checkpoint_every : float
        Seconds from 0: so long after a checkpoint was written, the next epoch that ends writes one; 0 has every epoch
        write one. Besides, one is written at the end of a stage, at its best score so far, and when a run ends early,
        by Ctrl-C, by SIGTERM or by an error. What is killed loses no more than these seconds and an epoch, and does
        them again. The result does not depend on it.
    progress : callable
        Called in the main process with the name of a step, how much of it is done, and how much there is.
    note : callable
        Called in the main process with what the user should know.

    Returns
    -------
    dict
        What ``results.json`` holds: the scores of teacher and student on the validation set, after the last epoch and
        at their best, and the seconds that it took in all its sessions.

    Raises
    ------
    ValueError
        If the folder holds another run or another process trains there, the recipe cannot be followed, the images have
        no room in memory, or the loss is no longer finite. Of several processes the first with an error raises it, and
        the others end with it.
    KeyboardInterrupt
        When stopped, also by SIGTERM if the program does nothing else then; the run goes on with ``resume``.
    """
    start = time.perf_counter()
    require("matplotlib", "safetensors", "tensorboard", "tomli_w", extra="train")
    if not checkpoint_every >= 0:
        raise ValueError(f"checkpoint_every: expected seconds from 0, got {checkpoint_every}")
    accelerator = accelerator_of(recipe.precision, cpu=cpu)
    main, recipe, folder = accelerator.is_main_process, with_whole_paths(recipe), Path(folder)
    if not main:
        progress, note = (lambda step, done, total: None), (lambda text: None)
    with stoppable(), ExitStack() as held, repeatable(recipe.deterministic):
        # What may be wrong comes first: nothing is removed or written for a recipe that cannot be followed.
        with everywhere(accelerator):
            if main:
                held.enter_context(alone(folder, "trains"))
            _check_folder(folder, recipe, accelerator, resume=resume, overwrite=overwrite)
            check_weight(recipe, accelerator.device)
            parts = find_parts(recipe)
            networks = _networks(recipe, accelerator)  # may download weights
            objective = None if 1 in networks else student_objective(recipe, accelerator, folder)
        with everywhere(accelerator):
            samples, sets = _read(recipe, parts, accelerator, progress, note)
            check_teacher(recipe, objective, sets["train"], accelerator, note)
        with everywhere(accelerator):
            if main and not resume:
                _make(folder, recipe)
        with everywhere(accelerator):
            place = _place(folder, recipe, networks, sets["train"])
            logs = Logs(folder, place) if main else None
            if main:
                record_session(folder / SURROUNDINGS, accelerator, place)
        run = Run(
            recipe, folder, accelerator, **sets, logs=logs, progress=progress,
            begun=start - place.seconds, every=checkpoint_every,
        )  # fmt: skip
        _run_stages(run, networks, objective, place)
        with everywhere(accelerator):
            if logs is not None:
                logs.close()
                write_results(run, samples)
        results: dict[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return results


def resumable(folder: str | Path) -> Recipe:
    """Return the recipe of the run that a folder holds.

    Raises
    ------
    ValueError
        If it holds none.
    """
    path = Path(folder) / RECIPE
    if not path.is_file():
        raise ValueError(f"{folder}: expected a run folder, with a {RECIPE}, got none; name the folder of a run")
    return read_recipe(path)


def _check_folder(folder: Path, recipe: Recipe, accelerator: Accelerator, *, resume: bool, overwrite: bool) -> None:
    """Raise unless a run can begin in a folder, or go on there."""
    if resume and resumable(folder) != recipe:
        raise ValueError(f"{folder}: expected the recipe of the run in it, got another; resume it without changes")
    if resume or not accelerator.is_main_process:
        return
    recipe_toml(recipe)
    if all(path.name == LOCK for path in folder.iterdir()):
        return
    if not (folder / RECIPE).is_file():
        raise ValueError(f"{folder}: expected a new or empty folder, got one with other files; name another")
    if not overwrite:
        raise ValueError(
            f"{folder}: expected a new or empty folder, got one that holds a run; "
            "go on with it (--resume), replace it (--overwrite), or name another"
        )


def _make(folder: Path, recipe: Recipe) -> None:
    """Make the run folder, in place of what is there, and keep hold of it."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
    write_whole(folder / RECIPE, recipe_toml(recipe).encode())


def _networks(recipe: Recipe, accelerator: Accelerator) -> dict[int, FPNStudent | RFBTeacher]:
    """Make the network of each stage there is."""
    if recipe.compile and accelerator.device.type != "cuda":
        raise ValueError("compile: expected false without a GPU, got true; leave it out")
    stages = {} if recipe.teacher_only else {2: recipe.training}
    if recipe.needs_teacher and recipe.teacher.trained_here:
        stages = {1: recipe.teacher_training, **stages}
    for training in stages.values():
        check_shares(training, accelerator.num_processes)
    return {stage: _network(recipe, stage) for stage in stages}


def _read(
    recipe: Recipe, parts: Parts, accelerator: Accelerator, progress: Progress, note: Note
) -> tuple[list[Sample], dict[str, Any]]:
    """Return the training samples, and all images as tensors; none is in memory twice when this is done."""

    def tensors(samples: list[Sample]) -> Tensors | None:
        return Tensors.of(samples, depth=recipe.data.depth).to(accelerator.device) if samples else None

    check_room(recipe, image_counts(recipe, parts), accelerator, note)
    parts = decided_parts(recipe, parts, note)
    samples, held_out = recipe_samples(recipe, progress, parts)
    train = Tensors.of(samples, depth=recipe.data.depth).to(accelerator.device)
    samples = train.lent(samples)
    validation = tensors(held_out)
    del held_out
    report = tensors(report_samples(recipe, progress, parts))
    return samples, {"train": train, "validation": validation, "report": report}


def _place(folder: Path, recipe: Recipe, networks: dict[int, FPNStudent | RFBTeacher], data: Tensors) -> Place:
    """Return where a run begins, or goes on.

    Raises
    ------
    ValueError
        If what it goes on from is not what the recipe makes.
    """
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        return Place(min(networks), 0, None, {})
    place = read_place(checkpoint)
    epochs = (recipe.teacher_training if place.stage == 1 else recipe.training).epochs
    if place.stage < min(networks) or place.epoch > epochs:
        raise ValueError(
            f"{folder}: expected a run that its recipe can make, got one after epoch {place.epoch} of the "
            f"{STAGES[place.stage]}; was {RECIPE} changed? put it back"
        )
    if place.data not in ("", data.digest()):
        raise ValueError(
            f"{folder}: expected the training images that the run began with, got others, {len(data)} now; bring them "
            "back, or begin another run"
        )
    return place


def _run_stages(
    run: Run, networks: dict[int, FPNStudent | RFBTeacher], objective: Objective | None, place: Place
) -> None:
    """Train from a place on; the objective is None where the teacher is still to be trained."""
    if place.stage == 1:
        _run_stage(run, networks[1], CrossEntropy(), place)
        place = Place(2, 0, None, {})
    if 2 in networks:
        objective = objective or student_objective(run.recipe, run.accelerator, run.folder)
        _run_stage(run, networks[2], objective, place)


def _run_stage(run: Run, model: nn.Module, objective: Objective, place: Place) -> None:
    """Train a network and keep its records, or leave word in the run folder that the loss is no longer finite."""
    try:
        run_stage(run, model, objective, place)
    except DivergedError as error:
        if run.logs is not None:
            record_divergence(run.folder / SURROUNDINGS, place.stage, error.epoch)
        raise
    _keep_records(run, model, place.stage)


def _network(recipe: Recipe, stage: int) -> FPNStudent | RFBTeacher:
    """Make the network of a stage, from the recipe's seed."""
    part = recipe.teacher if stage == 1 else recipe.student
    kind = NETWORKS[recipe.teacher.model if stage == 1 else "fpn"]
    with seeded(recipe.seed):
        return kind(part.backbone, recipe.data.channels, weights=part.weights)


def _keep_records(run: Run, model: nn.Module, stage: int) -> None:
    """Keep what the scores of a trained network are made of, for each set of images that it is scored on."""
    for name, data in (("validation", run.validation), ("report", run.report)):
        if data is not None:
            write_records(records_file(run.folder, stage, name), model, data, run.accelerator)
