"""Training a network in place, epoch by epoch: the same loop for teacher and student."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dynamic_kd.models import FPNStudent, RFBTeacher
from dynamic_kd.training._processes import everywhere
from dynamic_kd.training._step import GraphedStep, Step
from dynamic_kd.training._tensors import epoch_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from accelerate import Accelerator
    from torch import Tensor, nn

    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._sections import Training
    from dynamic_kd.training._tensors import Tensors

    Advance = Callable[[int, int], None]


class DivergedError(ValueError):
    """The loss is no longer finite.

    Attributes
    ----------
    epoch : int
        When it was first seen, from 1.
    """

    def __init__(self, epoch: int, message: str) -> None:
        super().__init__(message)
        self.epoch = epoch


def ignore_progress(done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True, eq=False)
class Epoch:
    """What an epoch of training was like.

    Attributes
    ----------
    number : int
        From 1.
    loss : float
        Mean over the samples.
    rate : float
        Learning rate of the last step.
    kept : Tensor
        What the objective keeps of each sample, (N, columns), on the CPU.
    seconds : float
        Wall time.
    """

    number: int
    loss: float
    rate: float
    kept: Tensor
    seconds: float


def sgd(model: nn.Module, training: Training) -> torch.optim.SGD:
    """Return the optimizer of a network that is on its device; its rate is set before each step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_gpu = parameters[0].is_cuda
    optimizer = torch.optim.SGD(
        parameters,
        lr=torch.tensor(training.learning_rate, device=parameters[0].device) if on_gpu else training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        fused=on_gpu,
    )
    # Of zeros, the first step makes what it would make of none; but where a scaler skips the first step, torch would
    # keep memory that nobody has written.
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: Tensors,
    objective: Objective,
    training: Training,
    *,
    accelerator: Accelerator,
    seed: tuple[int, ...],
    first: int = 1,
    compiled: bool = False,
    advance: Advance = ignore_progress,
) -> Iterator[Epoch]:
    """Train a network in place, and yield after each epoch.

    Parameters
    ----------
    model, optimizer
        As the accelerator has prepared them.
    data : Tensors
        On the accelerator's device, the same in every process.
    objective : Objective
        The loss.
    training : Training
        Settings.
    accelerator : Accelerator
        Of Hugging Face.
    seed : tuple of int
        The order of the images and how they move depend on it and on the epoch's number, on nothing else.
    first : int
        Number of the first epoch; those before were done by an earlier run.
    compiled : bool
        Whether ``torch.compile`` makes the model's kernels.
    advance : callable
        Called after each step with the number of steps done and their total.

    Raises
    ------
    ValueError
        If the batch cannot be shared out evenly, or the loss is no longer finite.
    """
    ranks, rounds = accelerator.num_processes, training.accumulation
    check_shares(training, ranks)
    step = Step(model, optimizer, data, objective, training, accelerator, compiled=compiled)
    take = GraphedStep(step) if objective.replayable and _replayable(model, accelerator) else step
    steps = math.ceil(len(data) / training.batch_size)
    total = steps * training.epochs
    for number in range(first, training.epochs + 1):
        start, done = time.perf_counter(), (number - 1) * steps
        model.train()
        plan = epoch_plan(
            len(data), training.batch_size, rounds, training.rotation, training.flip, (*seed, number),
            accelerator.process_index, ranks,
        )  # fmt: skip
        step.kept.zero_()
        for row in torch.stack(plan, dim=1).to(accelerator.device).unbind(0):
            done += 1
            rate = training.rate(done / (total + 1))
            _set_rate(optimizer, rate)
            take(row)
            advance(done, total)
        kept = accelerator.reduce(step.kept, "sum").cpu()
        loss = float(kept[:, -1].mean())
        with everywhere(accelerator):
            _check_finite(loss, number, training)
        yield Epoch(number, loss, rate, kept, time.perf_counter() - start)


def _check_finite(loss: float, number: int, training: Training) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            number,
            f"the loss of epoch {number} is {loss}; lower the learning rate ({training.learning_rate:g}) or the norm "
            "that gradients are clipped to, or train in fp32",
        )


def check_shares(training: Training, processes: int) -> None:
    """Raise unless a batch can be shared out evenly among processes and rounds."""
    if training.batch_size % (processes * training.accumulation):
        raise ValueError(
            f"batch_size: expected a multiple of {processes} processes times {training.accumulation} rounds of "
            f"accumulation, got {training.batch_size}"
        )


def _replayable(model: nn.Module, accelerator: Accelerator) -> bool:
    """Whether the rest of a step may be part of a CUDA graph: one of our networks, on one GPU, without a scaler."""
    alone = accelerator.device.type == "cuda" and accelerator.num_processes == 1 and accelerator.scaler is None
    return alone and isinstance(model, (FPNStudent, RFBTeacher))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
