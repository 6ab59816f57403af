"""A run: a recipe is checked and its images are read, stage 1 trains the teacher and stage 2 the student."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._extras import require
from dynamic_kd._files import write_whole
from dynamic_kd.metrics import SCORES
from dynamic_kd.models import model_metadata, save_model
from dynamic_kd.training._checkpoint import Checkpoints, Place, load_checkpoint, read_place, state_of
from dynamic_kd.training._inspect import noise_limit, write_insight
from dynamic_kd.training._logs import Logs
from dynamic_kd.training._loop import DivergedError, check_shares, fit, sgd
from dynamic_kd.training._networks import check_objective, check_teacher, check_weight, new_networks, student_objective
from dynamic_kd.training._noise_report import noise_report_from_log
from dynamic_kd.training._objective import CrossEntropy, Distillation
from dynamic_kd.training._processes import (
    accelerator_of,
    fail_together,
    gpu_memory_errors,
    repeatable,
    sigterm_interrupts,
)
from dynamic_kd.training._recipe_data import RecipeData, find_folders, read_recipe_data, training_samples
from dynamic_kd.training._run_folder import (
    CHECKPOINT,
    RESULTS,
    STAGES,
    begin_run_folder,
    check_run_folder,
    locked,
    record_divergence,
    record_session,
    records_file,
    weights_file,
)
from dynamic_kd.training._scoring import read_records, scores, write_records
from dynamic_kd.training._unused_teacher import note_on_epoch, note_on_maps
from dynamic_kd.training._weights_log import WEIGHTS, read_weights_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.metrics import MetricReport
    from dynamic_kd.training._contact_sheet import TeacherMaps
    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._loop import Epoch
    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._sections import Training

    Progress = Callable[[str, int, int], None]
    Note = Callable[[str], None]

_MORE_MEMORY = (
    "lower training.batch_size or data.size, raise training.accumulation, set precision=bf16, or end other programs on "
    "the GPU"
)


@dataclass(frozen=True, eq=False)
class _Run:
    """What both stages share.

    Attributes
    ----------
    logs : Logs or None
        Of the main process; None in others.
    begun : float
        The time, by `time.perf_counter`, at which the run would have begun without interruptions.
    checkpoint_every : float
        Seconds from one checkpoint to the next.
    """

    recipe: Recipe
    folder: Path
    accelerator: Accelerator
    data: RecipeData
    logs: Logs | None
    progress: Progress
    note: Note
    begun: float
    checkpoint_every: float

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, in all its sessions."""
        return time.perf_counter() - self.begun


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
    """Train the teacher, unless the recipe names a trained one, and then the student.

    Under ``accelerate launch`` or ``torchrun``, several processes share each batch. The result equals that of one
    process, up to rounding.

    Parameters
    ----------
    recipe : Recipe
        Everything that the result depends on.
    folder : str or Path
        The run folder, for recipe, logs, weights and results.
    resume : bool
        Continue the run of this recipe in the folder after its last finished epoch. On one device the weights are
        bit-identical to those of an uninterrupted run.
    overwrite : bool
        Remove the run that the folder holds.
    cpu : bool
        Use the CPU even if there is a GPU.
    checkpoint_every : float
        Seconds from one checkpoint to the next, at least 0. A checkpoint is written at the end of an epoch, at the end
        of a stage, at each new best score, and when a run is interrupted by Ctrl-C, SIGTERM or an error. A killed
        process repeats at most these seconds and one epoch. The result does not depend on this number.
    progress : callable
        Called in the main process with the name of a step, how much of it is done, and how much there is.
    note : callable
        Called in the main process with what the user should know.

    Returns
    -------
    dict
        The content of ``results.json``: the scores of teacher and student on the validation set, after the last epoch
        and at their best, and the seconds of all sessions.

    Raises
    ------
    ValueError
        If the folder holds another run or another process trains there, if the recipe cannot be followed, or if the
        loss is no longer finite. Of several processes, the first one that fails raises its error, and the others end.
    MemoryError
        If the GPU's memory is too small.
    KeyboardInterrupt
        On Ctrl-C, and on SIGTERM unless the program handles it. Continue the run with ``resume``.

    Notes
    -----
    Images are decoded once for each content and size, into arrays in a cache folder: ``$DYNAMIC_KD_CACHE``, or the
    platform's cache folder of the user. They are mapped from there, so a data set may be larger than the memory.
    """
    start = time.perf_counter()
    require("filelock", "matplotlib", "platformdirs", "safetensors", "tensorboard", "tomli_w", extra="train")
    if not checkpoint_every >= 0:
        raise ValueError(f"checkpoint_every: expected seconds from 0, got {checkpoint_every}")
    accelerator = accelerator_of(recipe.precision, cpu=cpu)
    main, recipe, folder = accelerator.is_main_process, recipe.with_whole_paths(), Path(folder)
    if not main:
        progress, note = (lambda step, done, total: None), (lambda text: None)
    with sigterm_interrupts(), ExitStack() as held, repeatable(recipe.deterministic), gpu_memory_errors(_MORE_MEMORY):
        # All checks come first: nothing is removed or written for a recipe that cannot be followed.
        with fail_together(accelerator):
            if main:
                held.enter_context(locked(folder))
                check_run_folder(folder, recipe, resume=resume, overwrite=overwrite)
            check_weight(recipe, accelerator.device)
            check_objective(recipe, accelerator)
            folders = find_folders(recipe)
            _check_stages(recipe, accelerator)
            networks = new_networks(recipe)  # may download weights
            samples = training_samples(recipe, folders)
            objective = None if 1 in networks else student_objective(recipe, accelerator, folder, samples)
        with fail_together(accelerator):
            data = read_recipe_data(recipe, folders, accelerator.device, progress, note)
            check_teacher(recipe, objective, data.train, accelerator, note)
            if (unused := note_on_maps(recipe, data.train)) is not None:
                note(unused)
        with fail_together(accelerator):
            if main and not resume:
                begin_run_folder(folder, recipe)
        with fail_together(accelerator):
            place = _place(folder, min(networks), data.train)
            logs = Logs(folder, place) if main else None
            if main:
                record_session(folder, accelerator, place)
        run = _Run(recipe, folder, accelerator, data, logs, progress, note, start - place.seconds, checkpoint_every)
        if place.stage == 1:
            _run_stage(run, networks[1], CrossEntropy(), place)
            place = Place(2, 0, None, {})
        if 2 in networks:
            objective = objective or student_objective(recipe, accelerator, folder, samples)
            _run_stage(run, networks[2], objective, place)
        with fail_together(accelerator):
            if logs is not None:
                logs.close()
                _write_results(run, objective)
        results: dict[str, Any] = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return results


def _check_stages(recipe: Recipe, accelerator: Accelerator) -> None:
    """Raise if the device or the number of processes does not suit the recipe."""
    if recipe.compile and accelerator.device.type != "cuda":
        raise ValueError("compile: requires a GPU; leave it out")
    for stage in recipe.stages:
        check_shares(recipe.training_of(stage), accelerator.num_processes)


def _place(folder: Path, first_stage: int, data: ImageSet) -> Place:
    """Return where a run begins or continues.

    Raises
    ------
    ValueError
        If the checkpoint does not belong to the images.
    """
    checkpoint = folder / CHECKPOINT
    if not checkpoint.exists():
        return Place(first_stage, 0, None, {})
    place = read_place(checkpoint)
    if place.data != data.digest():
        raise ValueError(
            f"{folder}: the run began with other training images: names or contents of the {len(data)} samples have "
            "changed; restore the files, or begin another run"
        )
    return place


def _run_stage(run: _Run, model: nn.Module, objective: Objective, place: Place) -> None:
    """Train a network for the rest of a stage, and write the records of the images it is scored on."""
    try:
        _train_network(run, model, objective, place)
    except DivergedError as error:
        if run.logs is not None:
            record_divergence(run.folder, place.stage, error.epoch)
        raise
    for name, data in (("validation", run.data.validation), ("report", run.data.report)):
        if data is not None:
            write_records(records_file(run.folder, place.stage, name), model, data, run.accelerator)


def _train_network(run: _Run, model: nn.Module, objective: Objective, place: Place) -> None:
    """Train a network epoch by epoch, with logs, scores, weights and checkpoints."""
    recipe, accelerator, training = run.recipe, run.accelerator, run.recipe.training_of(place.stage)
    model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model, optimizer = accelerator.prepare(model, sgd(model, training))
    checkpoint, name = run.folder / CHECKPOINT, STAGES[place.stage]
    if place.epoch:
        load_checkpoint(checkpoint, model, optimizer, accelerator, objective.module)
    epochs = fit(
        model, optimizer, run.data.train, objective, training, accelerator=accelerator,
        seed=(recipe.seed, place.stage), first=place.epoch + 1, compiled=recipe.compile,
        advance=lambda done, total: run.progress(name, done, total),
    )  # fmt: skip
    with Checkpoints(checkpoint, run.checkpoint_every) as checkpoints:
        for epoch in epochs:
            report = _report(run, model, epoch.number, training.epochs)
            better = report is not None and _is_better(report[recipe.best_by], place.best, recipe.best_by)
            best = report[recipe.best_by] if report is not None and better else place.best
            scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
            facts = (run.seconds, run.data.train.digest(), recipe.as_dict())
            place = Place(place.stage, epoch.number, best, scaler, *facts)
            with fail_together(accelerator):
                if run.logs is not None:
                    _log(run.logs, run.data.train, place, objective, epoch, report)
                    if epoch.number == 1 and (unused := note_on_epoch(recipe, epoch.kept, objective.columns)):
                        run.note(unused)
                    kept = _weights_to_keep(epoch.number, training, better=better)
                    for which in kept:
                        _save_weights(run, model, place, which, report)
                    # A resumed run compares with the checkpoint's best score, so it must not be older than the weights.
                    now = bool({"best", "last"} & set(kept))
                    state = state_of(model, optimizer, accelerator, objective.module)
                    checkpoints.keep(state, place, now=now)
    accelerator.free_memory()
    accelerator.wait_for_everyone()


def _report(run: _Run, model: nn.Module, epoch: int, epochs: int) -> MetricReport | None:
    every = run.recipe.evaluate_every
    if run.data.validation is None or not every or (epoch % every and epoch != epochs):
        return None
    return scores(run.accelerator.unwrap_model(model), run.data.validation, run.accelerator)


def _is_better(score: float, best: float | None, name: str) -> bool:
    return best is None or (score > best if SCORES[name].higher_is_better else score < best)


def _log(
    logs: Logs, data: ImageSet, place: Place, objective: Objective, epoch: Epoch, report: MetricReport | None
) -> None:
    logs.epoch(place.stage, epoch, len(data), report)
    if "teacher_iou" in objective.columns:
        logs.samples(epoch, data.names, objective.columns)


def _weights_to_keep(epoch: int, training: Training, *, better: bool) -> list[str]:
    """Return the weights that an epoch leaves in the run folder."""
    flags = {"best": better, f"epoch{epoch}": epoch in training.keep_epochs, "last": epoch == training.epochs}
    return [which for which, keep in flags.items() if keep]


def _save_weights(run: _Run, model: nn.Module, place: Place, which: str, report: MetricReport | None) -> None:
    facts: dict[str, Any] = {"stage": STAGES[place.stage], "epoch": place.epoch, "recipe": run.recipe.as_dict()}
    if report is not None:
        facts["scores"] = report.as_dict()
    save_model(run.accelerator.unwrap_model(model), weights_file(run.folder, place.stage, which), **facts)


def _write_results(run: _Run, objective: Objective | None) -> None:
    """Write the noise report and figures of stage 2, and the scores of each network."""
    content: dict[str, Any] = {"name": run.recipe.name, "results": _network_scores(run.folder)}
    if (run.folder / WEIGHTS).exists():
        log, limit = read_weights_log(run.folder / WEIGHTS), noise_limit(run.recipe)
        spoilt = dict(zip(run.data.train.names, run.data.train.spoilt, strict=True))
        write_insight(run.folder, log, run.data.train, limit, teacher_maps=_teacher_maps(run, objective))
        content["noise"] = noise_report_from_log(log, **limit._asdict(), spoilt=spoilt).summary()
    content["seconds"] = round(run.seconds, 2)
    write_whole(run.folder / RESULTS, (json.dumps(content, indent=1) + "\n").encode())


def _teacher_maps(run: _Run, objective: Objective | None) -> TeacherMaps | None:
    """Return what computes the maps of a teacher network, without augmentation; None for a teacher given as maps."""
    data = run.data.train
    if not isinstance(objective, Distillation) or data.teacher_maps is not None:
        return None
    return lambda places: objective.maps(data.batch(torch.as_tensor(places)))[:, 0].cpu().numpy()


def _network_scores(folder: Path) -> dict[str, Any]:
    """Return the scores of each network, after the last epoch and at its best."""
    found: dict[str, Any] = {}
    for stage, name in STAGES.items():
        for which in ("last", "best"):
            path = weights_file(folder, stage, which)
            if path.exists():
                facts = model_metadata(path)
                found.setdefault(name, {})[which] = {key: facts[key] for key in ("epoch", "scores") if key in facts}
        path = records_file(folder, stage, "report")
        if path.exists():
            found[name]["last"]["report"] = read_records(path).as_dict()
    return found
