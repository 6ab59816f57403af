"""A run: stage 1 trains the teacher, stage 2 the student, and everything goes to a folder that it can go on from."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd.models import FPNStudent, RFBTeacher, model_metadata
from dynamic_kd.models._files import write_whole
from dynamic_kd.training._checkpoint import Place, read_place
from dynamic_kd.training._insight import write_insight
from dynamic_kd.training._logs import STAGES, WEIGHTS, Logs
from dynamic_kd.training._loop import check_shares
from dynamic_kd.training._noise_report import noise_report_from_log
from dynamic_kd.training._objective import CrossEntropy
from dynamic_kd.training._recipe_file import read_recipe, recipe_toml
from dynamic_kd.training._records_file import read_records, write_records
from dynamic_kd.training._sources import recipe_samples, report_samples
from dynamic_kd.training._stage import CHECKPOINT, Run, records_file, run_stage, weights_file
from dynamic_kd.training._surroundings import accelerator_of, repeatable, seeded, surroundings
from dynamic_kd.training._teachers import student_objective
from dynamic_kd.training._tensors import Tensors
from dynamic_kd.training._weights_log import read_weights_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.data import Sample
    from dynamic_kd.training._recipe import Recipe

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]

RECIPE, RESULTS, SURROUNDINGS = "recipe.toml", "results.json", "environment.json"


def train(
    recipe: Recipe,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    cpu: bool = False,
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
    progress : callable
        Called in the main process with the name of a step, how much of it is done, and how much there is.
    note : callable
        Called in the main process with what the user should know.

    Returns
    -------
    dict
        What ``results.json`` holds: the scores of teacher and student on the validation set, after the last epoch and
        at their best, and the seconds that it took.

    Raises
    ------
    ValueError
        If the folder holds another run, the recipe cannot be followed, or the loss is no longer finite.
    """
    start, folder = time.perf_counter(), Path(folder)
    require("matplotlib", "safetensors", "tensorboard", "tomli_w", extra="train")
    accelerator = accelerator_of(recipe.precision, cpu=cpu)
    if not accelerator.is_main_process:
        progress, note = (lambda step, done, total: None), (lambda text: None)
    # What may be wrong comes first: nothing is removed or written for a recipe that cannot be followed.
    _check_folder(folder, recipe, accelerator, resume=resume, overwrite=overwrite)
    networks = _networks(recipe, accelerator)
    trained = weights_file(folder, 1, "last")
    objective = None if 1 in networks else student_objective(recipe, accelerator, trained)
    samples, held_out = recipe_samples(recipe, progress, note)
    tensors = _tensors(samples, recipe, accelerator)
    held_out_tensors = _tensors(held_out, recipe, accelerator) if held_out else None
    reported = report_samples(recipe, progress)
    report_tensors = _tensors(reported, recipe, accelerator) if reported else None
    if not resume and accelerator.is_main_process:
        _make(folder, recipe, accelerator)
    accelerator.wait_for_everyone()
    place = _place(folder, networks)
    logs = Logs(folder, place) if accelerator.is_main_process else None
    run = Run(recipe, folder, accelerator, tensors, held_out_tensors, report_tensors, logs, progress)
    with repeatable(recipe.deterministic):
        if place.stage == 1:
            run_stage(run, networks[1], CrossEntropy(), place)
            _keep_records(run, networks[1], 1)
            place = Place(2, 0, None, {})
        if 2 in networks:
            run_stage(run, networks[2], objective or student_objective(recipe, accelerator, trained), place)
            _keep_records(run, networks[2], 2)
    if logs is not None:
        logs.close()
        _finish(run, samples, time.perf_counter() - start)
    accelerator.wait_for_everyone()
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
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder for the run, got a file")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / RECIPE).is_file():
        raise ValueError(f"{folder}: expected a new or empty folder, got one with other files; name another")
    if not overwrite:
        raise ValueError(
            f"{folder}: expected a new or empty folder, got one that holds a run; "
            "go on with it (--resume), replace it (--overwrite), or name another"
        )


def _make(folder: Path, recipe: Recipe, accelerator: Accelerator) -> None:
    """Make the run folder, in place of the one that is there."""
    if folder.is_dir():
        shutil.rmtree(folder)
    write_whole(folder / RECIPE, recipe_toml(recipe).encode())
    _write_json(folder / SURROUNDINGS, surroundings(accelerator))


def _networks(recipe: Recipe, accelerator: Accelerator) -> dict[int, FPNStudent | RFBTeacher]:
    """Make the network of each stage there is."""
    stages = {} if recipe.teacher_only else {2: recipe.training}
    if recipe.needs_teacher and recipe.teacher.trained_here:
        stages = {1: recipe.teacher_training, **stages}
    for training in stages.values():
        check_shares(training, accelerator.num_processes)
    return {stage: _network(recipe, stage) for stage in stages}


def _place(folder: Path, networks: dict[int, FPNStudent | RFBTeacher]) -> Place:
    checkpoint = folder / CHECKPOINT
    return read_place(checkpoint) if checkpoint.exists() else Place(min(networks), 0, None, {})


def _tensors(samples: list[Sample], recipe: Recipe, accelerator: Accelerator) -> Tensors:
    return Tensors.of(samples, depth=recipe.data.depth).to(accelerator.device)


def _network(recipe: Recipe, stage: int) -> FPNStudent | RFBTeacher:
    """Make the network of a stage, from the recipe's seed."""
    part = recipe.teacher if stage == 1 else recipe.student
    kind = RFBTeacher if stage == 1 and recipe.teacher.model == "rfb" else FPNStudent
    with seeded(recipe.seed):
        return kind(part.backbone, recipe.data.channels, weights=part.weights)


def _keep_records(run: Run, model: nn.Module, stage: int) -> None:
    """Keep what the scores of a trained network are made of, for each set of images that it is scored on."""
    for name, data in (("validation", run.validation), ("report", run.report)):
        if data is not None:
            write_records(records_file(run.folder, stage, name), model, data, run.accelerator)


def _finish(run: Run, samples: list[Sample], seconds: float) -> None:
    """Write the results, and draw what the method saw."""
    found: dict[str, Any] = {}
    for stage, name in STAGES.items():
        for which in ("last", "best"):
            path = weights_file(run.folder, stage, which)
            if path.exists():
                facts = model_metadata(path)
                found.setdefault(name, {})[which] = {key: facts[key] for key in ("epoch", "scores") if key in facts}
            path = records_file(run.folder, stage, "report")
            if which == "last" and path.exists():
                found[name][which]["report"] = read_records(path).as_dict()
    content = {"name": run.recipe.name, "results": found, "seconds": round(seconds, 2)}
    if (run.folder / WEIGHTS).exists():
        log, threshold = read_weights_log(run.folder / WEIGHTS), run.recipe.loss.noise_threshold
        write_insight(run.folder, log, samples, threshold)
        content["noise"] = noise_report_from_log(log, threshold, samples).summary()
    _write_json(run.folder / RESULTS, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
