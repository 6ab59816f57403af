"""One step of the optimizer, as plain operations or as a CUDA graph."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dynamic_kd.training._tensors import Plan, Tensors, moved

if TYPE_CHECKING:
    from accelerate import Accelerator

    from dynamic_kd.training._objective import Objective
    from dynamic_kd.training._sections import Training

EAGER_STEPS = 3


class Step:
    """Forward, loss, backward and update for one row of a `Plan`.

    Everything it reads is on the device, and it waits for nothing, so that it can become a CUDA graph.

    Attributes
    ----------
    kept : Tensor
        What the objective keeps of each sample, (N, columns), of the latest epoch; of this process's samples only.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Tensors,
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
        # A row more than there are samples: for those that fill up the last step of an epoch.
        self._rows = torch.zeros(len(data) + 1, len(objective.columns), device=accelerator.device)
        # Losses of processes are averaged, and each has its share of the sum.
        self._processes = accelerator.num_processes

    @property
    def kept(self) -> Tensor:
        """What the objective keeps."""
        return self._rows[:-1]

    def __call__(self, row: Tensor) -> None:
        """Take a step; ``row`` is (4, rounds, images): position, mirror, turn and share of a `Plan`."""
        self._optimizer.zero_grad(set_to_none=True)
        rounds = Plan(*row.unbind(0))
        last = rounds.position.shape[0] - 1
        for number in range(last + 1):
            wait = nullcontext() if number == last else self._accelerator.no_sync(self._model)
            with wait:
                self._accelerator.backward(self._loss(Plan(*(column[number] for column in rounds))))
        if self._clip_norm is not None:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self._clip_norm)
        self._optimizer.step()

    def _loss(self, images: Plan) -> Tensor:
        index = images.position.long()
        batch = self._data.batch(index)
        batch = moved(batch, images.mirror.float(), images.turn.float(), rotates=self._rotates)
        losses = self._objective(self._forward(batch.inputs), batch)
        real = images.share > 0
        self._rows[torch.where(real, index, len(self._rows) - 1)] = losses.kept.float()
        total: Tensor = (losses.loss * images.share.to(losses.loss.dtype)).sum() * self._processes
        return total


class GraphedStep:
    """A step that is replayed as a CUDA graph, which takes its launches off the host; the numbers are the same."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._row: Tensor | None = None
        self._taken = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    @property
    def kept(self) -> Tensor:
        """What the objective keeps."""
        return self._step.kept

    def __call__(self, row: Tensor) -> None:
        """Take a step; the first few run as they are, which sets up what a graph cannot."""
        if self._row is None:
            self._row = row.clone()
        self._row.copy_(row)
        if self._graph is not None:
            self._graph.replay()
            return
        self._stream.wait_stream(torch.cuda.current_stream())
        if self._taken < EAGER_STEPS:
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
