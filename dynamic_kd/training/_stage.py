"""One stage of a run: a network trained from where the run had come to, with its logs, scores and weights."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd.metrics import SCORES
from dynamic_kd.models import save_model
from dynamic_kd.training._checkpoint import Checkpoints, Place, load_checkpoint, state_of
from dynamic_kd.training._evaluation import scores
from dynamic_kd.training._logs import STAGES
from dynamic_kd.training._loop import fit, sgd
from dynamic_kd.training._processes import everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator
    from torch import nn

    from dynamic_kd.metrics import MetricReport
    from dynamic_kd.training._logs import Logs
    from dynamic_kd.training._loop import Epoch
    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._recipe import Recipe
    from dynamic_kd.training._sections import Training
    from dynamic_kd.training._tensors import Tensors

CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, eq=False)
class Run:
    """What both stages share.

    Attributes
    ----------
    logs : Logs or None
        Of the main process; None in others.
    begun : float
        When the run began, by `time.perf_counter`, had it done in one go what it has done until now.
    every : float
        Seconds from one checkpoint to the next.
    """

    recipe: Recipe
    folder: Path
    accelerator: Accelerator
    train: Tensors
    validation: Tensors | None
    report: Tensors | None
    logs: Logs | None
    progress: Callable[[str, int, int], None]
    begun: float
    every: float

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken, in all its sessions."""
        return time.perf_counter() - self.begun


def weights_file(folder: Path, stage: int, which: str) -> Path:
    """Return the file of a stage's ``"last"`` or ``"best"`` weights, or those of ``"epoch2"``."""
    return folder / f"{STAGES[stage]}-{which}.safetensors"


def records_file(folder: Path, stage: int, images: str) -> Path:
    """Return the file of what a stage's scores on the ``"validation"`` or the ``"report"`` images are made of."""
    return folder / f"{STAGES[stage]}-{images}.npz"


def run_stage(run: Run, model: nn.Module, objective: Objective, place: Place) -> None:
    """Train a network for the rest of a stage, and leave its weights in the run folder."""
    accelerator, name = run.accelerator, STAGES[place.stage]
    training = run.recipe.teacher_training if place.stage == 1 else run.recipe.training
    model = model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model, optimizer = accelerator.prepare(model, sgd(model, training))
    checkpoint = run.folder / CHECKPOINT
    if place.epoch:
        load_checkpoint(checkpoint, model, optimizer, accelerator)
    epochs = fit(
        model, optimizer, run.train, objective, training, accelerator=accelerator,
        seed=(run.recipe.seed, place.stage), first=place.epoch + 1, compiled=run.recipe.compile,
        advance=lambda done, total: run.progress(name, done, total),
    )  # fmt: skip
    with Checkpoints(checkpoint, run.every) as checkpoints:
        for epoch in epochs:
            report = _report(run, model, epoch.number, training.epochs)
            better = report is not None and _is_better(report[run.recipe.best_by], place.best, run.recipe.best_by)
            best = report[run.recipe.best_by] if report is not None and better else place.best
            scaler = accelerator.scaler.state_dict() if accelerator.scaler else {}
            place = Place(place.stage, epoch.number, best, scaler, run.seconds, run.train.digest())
            with everywhere(accelerator):
                if run.logs is not None:
                    _write(run, run.logs, place, objective, epoch, report)
                    kept = _kept(epoch.number, training, better=better)
                    _save_weights(run, model, place, kept, report)
                    # What replaces the best weights must not be lost: a run that goes on would compare with the old.
                    now = bool({"best", "last"} & set(kept))
                    checkpoints.keep(state_of(model, optimizer, accelerator), place, now=now)
    accelerator.free_memory()
    accelerator.wait_for_everyone()


def _kept(epoch: int, training: Training, *, better: bool) -> list[str]:
    """Which weights an epoch leaves in the run folder."""
    flags = {"best": better, f"epoch{epoch}": epoch in training.keep_epochs, "last": epoch == training.epochs}
    return [which for which, wanted in flags.items() if wanted]


def _save_weights(run: Run, model: nn.Module, place: Place, kept: list[str], report: MetricReport | None) -> None:
    for which in kept:
        file = weights_file(run.folder, place.stage, which)
        save_model(run.accelerator.unwrap_model(model), file, **_facts(run, place, report))


def _report(run: Run, model: nn.Module, epoch: int, epochs: int) -> MetricReport | None:
    every = run.recipe.evaluate_every
    if run.validation is None or not every or (epoch % every and epoch != epochs):
        return None
    return scores(run.accelerator.unwrap_model(model), run.validation, run.accelerator)


def _is_better(score: float, best: float | None, name: str) -> bool:
    return best is None or (score > best if SCORES[name].higher_is_better else score < best)


def _write(run: Run, logs: Logs, place: Place, objective: Objective, epoch: Epoch, report: MetricReport | None) -> None:
    logs.epoch(place.stage, epoch, len(run.train), report)
    if "teacher_iou" in objective.columns:
        logs.samples(epoch, run.train.names, objective.columns)


def _facts(run: Run, place: Place, report: MetricReport | None) -> dict[str, Any]:
    """Return what goes with weights."""
    facts = {"stage": STAGES[place.stage], "epoch": place.epoch, "recipe": run.recipe.as_dict()}
    return facts | ({"scores": report.as_dict()} if report is not None else {})
