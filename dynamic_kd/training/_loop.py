"""The training loop, the same for teacher and student: epochs, and steps of the optimizer."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dynamic_kd.models import FPNStudent, RFBTeacher
from dynamic_kd.training._augmentation import EpochSteps, epoch_steps, transformed
from dynamic_kd.training._processes import fail_together
from dynamic_kd.training._sections import share_of_peak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from accelerate import Accelerator
    from torch import Tensor, nn

    from dynamic_kd.training._image_set import ImageSet
    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._sections import Training

    Advance = Callable[[int, int], None]

_EAGER_STEPS = 3  # before a CUDA graph is captured


class DivergedError(ValueError):
    """The loss is no longer finite.

    Attributes
    ----------
    epoch : int
        The epoch in which this was found, from 1.
    """

    def __init__(self, epoch: int, message: str) -> None:
        super().__init__(message)
        self.epoch = epoch


@dataclass(frozen=True, eq=False)
class Epoch:
    """The outcome of an epoch of training.

    Attributes
    ----------
    number : int
        From 1.
    loss : float
        Mean over the samples.
    rate : float
        Learning rate of the last step, in the optimizer's first group of parameters.
    kept : Tensor
        The objective's values of each sample, (N, columns), on the CPU.
    seconds : float
        Wall time.
    """

    number: int
    loss: float
    rate: float
    kept: Tensor
    seconds: float


def sgd(model: nn.Module, training: Training) -> torch.optim.SGD:
    """Return the optimizer of a network that is on its device; the loop follows the schedule before each step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    on_gpu = parameters[0].is_cuda
    optimizer = torch.optim.SGD(
        [{"params": parameters, "initial_lr": training.learning_rate}],
        lr=torch.tensor(training.learning_rate, device=parameters[0].device) if on_gpu else training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        fused=on_gpu,
    )
    # Zeros do not change the first step. Without them, torch would keep uninitialised memory if a scaler skips it.
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def fit(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: ImageSet,
    objective: Objective,
    training: Training,
    *,
    accelerator: Accelerator,
    seed: tuple[int, ...],
    first: int = 1,
    compiled: bool = False,
    advance: Advance = lambda done, total: None,
) -> Iterator[Epoch]:
    """Train a network in place, and yield after each epoch.

    Each group of parameters keeps its own learning rate as the peak of the schedule: its ``initial_lr``, as in
    ``torch.optim.lr_scheduler``, or else the ``lr`` that it comes with.

    Parameters
    ----------
    model, optimizer
        As the accelerator has prepared them.
    data : ImageSet
        With batches for the accelerator's device, the same in every process.
    objective : Objective
        The loss.
    training : Training
        Settings; the learning rate is the optimizer's.
    accelerator : Accelerator
        Of Hugging Face.
    seed : tuple of int
        Together with an epoch's number, the only source of the order and the augmentation of its images.
    first : int
        Number of the first epoch; an earlier session has finished those before.
    compiled : bool
        Compile the model by ``torch.compile``.
    advance : callable
        Called after each step with the number of steps done and their total.

    Raises
    ------
    ValueError
        If processes and rounds do not divide the batch, or if the loss is no longer finite.
    """
    ranks, rounds = accelerator.num_processes, training.accumulation
    check_shares(training, ranks)
    step = _Step(model, optimizer, data, objective, training, accelerator, compiled=compiled)
    replayable = data.is_on_device and objective.replayable and _is_replayable(model, accelerator)
    take = _GraphedStep(step) if replayable else step
    steps = math.ceil(len(data) / training.batch_size)
    total = steps * training.epochs
    peaks = [group.setdefault("initial_lr", float(group["lr"])) for group in optimizer.param_groups]
    for number in range(first, training.epochs + 1):
        start, done = time.perf_counter(), (number - 1) * steps
        model.train()
        plan = epoch_steps(
            len(data), training.batch_size, rounds, training.rotation, training.flip, (*seed, number),
            accelerator.process_index, ranks,
        )  # fmt: skip
        step.kept.zero_()
        for row in torch.stack(plan, dim=1).to(accelerator.device).unbind(0):
            done += 1
            share = share_of_peak(training.schedule, done / (total + 1))
            rates = [peak * share for peak in peaks]
            _set_rates(optimizer, rates)
            take(row)
            advance(done, total)
        kept = accelerator.reduce(step.kept, "sum").cpu()
        loss = float(kept[:, -1].mean())
        with fail_together(accelerator):
            _check_finite(loss, number, training)
        yield Epoch(number, loss, rates[0], kept, time.perf_counter() - start)


def _check_finite(loss: float, number: int, training: Training) -> None:
    if not math.isfinite(loss):
        raise DivergedError(
            number,
            f"the loss of epoch {number} is {loss}; lower training.learning_rate ({training.learning_rate:g}) or "
            "training.clip_norm, or set precision=fp32",
        )


def check_shares(training: Training, processes: int) -> None:
    """Raise unless processes and rounds of accumulation divide a batch."""
    if training.batch_size % (processes * training.accumulation):
        raise ValueError(
            f"batch_size: must be a multiple of {processes} processes times {training.accumulation} rounds of "
            f"accumulation, got {training.batch_size}"
        )


def _is_replayable(model: nn.Module, accelerator: Accelerator) -> bool:
    """Whether a CUDA graph can hold the step: one of the package's networks, on one GPU, without a scaler."""
    one_gpu = accelerator.device.type == "cuda" and accelerator.num_processes == 1 and accelerator.scaler is None
    return one_gpu and isinstance(model, (FPNStudent, RFBTeacher))


def _set_rates(optimizer: torch.optim.Optimizer, rates: list[float]) -> None:
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class _Step:
    """Forward, loss, backward and update for one row of `EpochSteps`.

    It does not synchronize with the device if the data set lies there, so it can become a CUDA graph.

    Attributes
    ----------
    kept : Tensor
        The objective's values of each sample, (N, columns), in the latest epoch; only of this process's samples.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: ImageSet,
        objective: Objective,
        training: Training,
        accelerator: Accelerator,
        *,
        compiled: bool = False,
    ) -> None:
        self._forward = torch.compile(model, dynamic=False) if compiled else model
        self._model, self._optimizer, self._data, self._objective = model, optimizer, data, objective
        self._accelerator = accelerator
        self._clip_norm = training.clip_norm
        self._rotates = training.rotation > 0
        # One more row than samples, for the images that only fill the last step of an epoch.
        self._rows = torch.zeros(len(data) + 1, len(objective.columns), device=accelerator.device)
        # Gradients are averaged over processes, but each image has its share of the step's sum.
        self._processes = accelerator.num_processes

    @property
    def kept(self) -> Tensor:
        """The objective's values."""
        return self._rows[:-1]

    def __call__(self, row: Tensor) -> None:
        """Take a step; ``row`` is (4, rounds, images): position, mirror, angle and share."""
        self._optimizer.zero_grad(set_to_none=True)
        rounds = EpochSteps(*row.unbind(0))
        last = rounds.position.shape[0] - 1
        for number in range(last + 1):
            wait = nullcontext() if number == last else self._accelerator.no_sync(self._model)
            with wait:
                self._accelerator.backward(self._loss(EpochSteps(*(column[number] for column in rounds))))
        if self._clip_norm is not None:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()

    def _loss(self, images: EpochSteps) -> Tensor:
        index = images.position.long()
        batch = self._data.batch(index)
        batch = transformed(batch, images.mirror.float(), images.angle.float(), rotates=self._rotates)
        losses = self._objective(self._forward(batch.inputs), batch)
        real = images.share > 0
        self._rows[torch.where(real, index, len(self._rows) - 1)] = losses.kept.float()
        total: Tensor = (losses.loss * images.share.to(losses.loss.dtype)).sum() * self._processes
        return total


class _GraphedStep:
    """A step replayed as a CUDA graph, which saves the launches from the host; the numbers are the same."""

    def __init__(self, step: _Step) -> None:
        self._step = step
        self._row: Tensor | None = None
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, row: Tensor) -> None:
        """Take a step; the first few run eagerly, because a graph cannot contain their set-up."""
        if self._row is None:
            self._row = row.clone()
        self._row.copy_(row)
        if self._graph is not None:
            self._graph.replay()
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        if self._taken < _EAGER_STEPS:
            with torch.cuda.stream(self._stream):
                self._step(self._row)
            self._taken += 1
        else:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self._stream):
                self._step(self._row)
            graph.replay()
            self._graph = graph
        torch.cuda.current_stream().wait_stream(self._stream)
