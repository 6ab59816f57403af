"""Training objectives: the loss of each image and the values to log, for cross-entropy and for distillation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import array_api_compat.torch as xp
import torch
from torch import Tensor

from dynamic_kd.losses import DynamicKDTerms, cross_entropy, probability_shift

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_kd.losses import DynamicKDLoss
    from dynamic_kd.training._image_set import TrainingBatch

    TeacherOutput = Callable[[TrainingBatch], Tensor]


class Losses(NamedTuple):
    """Loss of each image (B,), with its gradient, and values for the logs (B, columns)."""

    loss: Tensor
    kept: Tensor


class Objective(Protocol):
    """Turns a network's logits into the loss of each image."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the logged values; the last is the loss."""
        ...

    @property
    def module(self) -> torch.nn.Module | None:
        """An imported loss, whose state belongs into checkpoints."""
        ...

    @property
    def replayable(self) -> bool:
        """Whether it never synchronizes with the device, so that a CUDA graph can hold it."""
        ...

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Losses:
        """Return the losses."""
        ...


class CrossEntropy:
    """Cross-entropy alone: for the teacher in stage 1, or a student without a teacher."""

    columns = ("loss",)
    module = None
    replayable = True

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Losses:
        """Return the mean over each image's valid pixels."""
        by_pixel = cross_entropy(logits, batch.targets, xp=xp)
        if batch.valid is None:
            loss = by_pixel.mean(dim=(1, 2))
        else:
            valid = batch.valid[:, 0]
            loss = torch.where(valid, by_pixel, 0).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)
        return Losses(loss, loss.detach()[:, None])


class Distillation:
    """Distillation by equations 5 and 6; with ``shift``, the teacher's wrong pixels are corrected before.

    ``teacher`` returns what the loss is set to take, logits or maps. An imported ``module`` replaces the equations.
    """

    columns = DynamicKDTerms._fields

    def __init__(
        self,
        settings: DynamicKDLoss,
        teacher: TeacherOutput,
        *,
        shift: bool = False,
        replayable: bool = False,
        module: torch.nn.Module | None = None,
    ) -> None:
        self._shift = shift
        self._settings = replace(settings, reduction="none")
        self.module = module
        never_waits = not callable(settings.weighting) if module is None else getattr(module, "replayable", False)
        self.replayable = replayable and never_waits
        self.teacher = teacher

    def __call__(self, logits: Tensor, batch: TrainingBatch) -> Losses:
        """Return the loss of each image and all its terms, from one pass over the pixels."""
        with torch.no_grad():
            teacher = self.teacher(batch)
            if self._shift:
                teacher = self._shifted(teacher, batch.targets)
        if self.module is None:
            loss, terms = self._settings.with_terms(logits, teacher, batch.targets, batch.valid, xp=xp)
        else:
            loss, terms = self.module(logits, teacher, batch.targets, batch.valid, batch.positions)
        return Losses(loss, torch.stack([_of_image(term) for term in terms], dim=1))

    @torch.no_grad()
    def maps(self, batch: TrainingBatch) -> Tensor:
        """Return the teacher's saliency maps of a batch, (B, 1, H, W)."""
        output = self.teacher(batch).float()
        if self._settings.teacher == "probabilities":
            return output
        return torch.sigmoid(output.diff(dim=1) if output.shape[1] == 2 else output)

    def _shifted(self, teacher: Tensor, targets: Tensor) -> Tensor:
        if self._settings.teacher == "logits":
            shifted: Tensor = probability_shift(teacher, targets, xp=xp)
        else:
            shifted = probability_shift(teacher.float() - 0.5, targets, xp=xp) + 0.5
        return shifted


def _of_image(term: Any) -> Tensor:
    """Return one number for each image: the mean where a term is a map, at pixel granularity."""
    value: Tensor = term.float()
    return value if value.ndim == 1 else value.flatten(1).mean(dim=1)


def from_network(network: torch.nn.Module) -> TeacherOutput:
    """Return a function that computes a network's output for the images that the student sees."""
    network.eval().requires_grad_(False)

    def output(batch: TrainingBatch) -> Tensor:
        result = network(batch.inputs)
        if not isinstance(result, Tensor) or result.shape[-2:] != batch.targets.shape[-2:]:
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ValueError(
                f"teacher: must return a tensor of the images' size, {tuple(batch.targets.shape)}, got {got}; wrap the "
                "module in one that does (see dynamic_kd.torch.align_teacher)"
            )
        return result

    return output


def teacher_maps(batch: TrainingBatch) -> Tensor:
    """Return the teacher's maps, transformed with the images."""
    if batch.teacher_maps is None:
        raise ValueError("teacher: the images have no teacher maps; name their folder in teacher.maps")
    return batch.teacher_maps
