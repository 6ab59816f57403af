"""Stage 1 trains a teacher, stage 2 distils it into a student."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from dynamic_kd.losses import cross_entropy
from dynamic_kd.training._tensors import Tensors, augmented

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from dynamic_kd.losses._weighting import Weighting
    from dynamic_kd.training._recipe import Recipe

    Advance = Callable[[int, int], None]
    Objective = Callable[[Tensor, Tensors], Tensor]


def ignore_progress(done: int, total: int) -> None:
    """Report nothing."""


def train_alone(model: nn.Module, data: Tensors, recipe: Recipe, advance: Advance = ignore_progress) -> None:
    """Train a model in place with cross-entropy: the teacher (stage 1), or a student without a teacher.

    Parameters
    ----------
    model : nn.Module
        Maps the data's inputs to logits (B, 1, H, W).
    data : Tensors
        The training set.
    recipe : Recipe
        Settings; the order of the images and their augmentation depend on nothing but its seed.
    advance : callable
        Called after each step with the number of steps done and their total.
    """
    _fit(model, data, lambda logits, batch: cross_entropy(logits, batch.targets).mean(), recipe, advance)


def distil(
    student: nn.Module,
    teacher: nn.Module,
    data: Tensors,
    recipe: Recipe,
    *,
    weighting: Weighting = "dynamic",
    advance: Advance = ignore_progress,
) -> None:
    """Train a student in place with the distillation loss (stage 2); the teacher sees the same augmented images.

    Parameters
    ----------
    student, teacher : nn.Module
        Map the data's inputs to logits (B, 1, H, W); the teacher's weights stay as they are.
    data, recipe, advance
        As for `train_alone`.
    weighting : str or float
        Weight strategy of `dynamic_kd.losses.DynamicKDLoss`.
    """
    loss = recipe.loss(weighting)
    teacher.eval()

    def objective(logits: Tensor, batch: Tensors) -> Tensor:
        with torch.no_grad():
            teacher_logits = teacher(batch.inputs)
        value: Tensor = loss(logits, teacher_logits, batch.targets)
        return value

    _fit(student, data, objective, recipe, advance)


def saliency(model: nn.Module, data: Tensors, batch_size: int = 16) -> NDArray[np.float32]:
    """Predict saliency maps in [0, 1], shape (N, 1, H, W)."""
    model.eval()
    with torch.no_grad():
        maps = [torch.sigmoid(model(_channels_last(inputs))) for inputs in torch.split(data.inputs, batch_size)]
    predicted: NDArray[np.float32] = torch.cat(maps).contiguous().numpy()
    return predicted


def _fit(model: nn.Module, data: Tensors, objective: Objective, recipe: Recipe, advance: Advance) -> None:
    generator = torch.Generator().manual_seed(recipe.seed)
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on processors
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )
    count = len(data.inputs)
    total = recipe.epochs * math.ceil(count / recipe.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _one_cycle((step + 1) / (total + 1)))
    for _ in range(recipe.epochs):
        for index in torch.split(torch.randperm(count, generator=generator), recipe.batch_size):
            inputs, targets = augmented(data.take(index), generator, recipe.rotation)
            batch = Tensors(_channels_last(inputs), targets)
            loss = objective(model(batch.inputs), batch)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
            optimizer.step()
            schedule.step()
            advance(schedule.last_epoch, total)


def _one_cycle(progress: float, rise: float = 0.15) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine down to zero."""
    if progress < rise:
        return progress / rise
    return (1 + math.cos(math.pi * (progress - rise) / (1 - rise))) / 2


def _channels_last(inputs: Tensor) -> Tensor:
    return inputs.contiguous(memory_format=torch.channels_last)
