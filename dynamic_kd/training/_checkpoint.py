"""Where a run can go on: weights, momentum and place in one file, which is whole or not there."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import torch

from dynamic_kd._extras import open_safetensors
from dynamic_kd._files import write_whole
from dynamic_kd.training._stopping import undisturbed

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn

    State = dict[str, Tensor]


@dataclass(frozen=True)
class Place:
    """How far a run has come.

    Attributes
    ----------
    stage : int
        1 while the teacher is trained, 2 while the student is.
    epoch : int
        The last epoch of the stage that is done; 0 before the first.
    best : float or None
        The best score of the stage so far.
    scaler : dict
        Of the gradients' scaler, in fp16.
    seconds : float
        That the run took so far; what was lost when it was stopped does not count.
    data : str
        Tells the training samples from others (`Tensors.digest`).
    """

    stage: int
    epoch: int
    best: float | None
    scaler: dict[str, Any]
    seconds: float = 0.0
    data: str = ""


class Checkpoints:
    """The checkpoints of a stage, a context: one is written from time to time, and one when the stage ends early.

    In between, the state after the last epoch is copied to the computer's memory, where neither the next steps, nor a
    GPU that fails, nor processes that wait for each other can reach it. It is for the main process alone, which needs
    nothing of the others: they all have the same state.

    Parameters
    ----------
    path : Path
        The file.
    every : float
        Seconds from one to the next, or from the start to the first.
    """

    def __init__(self, path: Path, every: float) -> None:
        self._path, self._every, self._latest = path, every, time.monotonic()
        self._copy: State = {}
        self._unwritten: tuple[State, Place] | None = None

    def keep(self, state: State, place: Place, *, now: bool) -> None:
        """Keep where a stage can go on from after an epoch: as a file if it is time or has to be now, or in memory."""
        self._unwritten = state, place  # what stops the run in here finds it, whole
        if now or time.monotonic() - self._latest >= self._every:
            self._write()
            return
        self._copy = self._copy or {name: torch.empty_like(tensor, device="cpu") for name, tensor in state.items()}
        for name, tensor in state.items():
            self._copy[name].copy_(tensor)
        self._unwritten = self._copy, place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What ended the stage is what counts, even if nothing can be written any more, as on a full disk.
        if kind is not None:
            with undisturbed(), suppress(OSError, RuntimeError):
                self._write()

    def _write(self) -> None:
        if self._unwritten is not None:
            save_checkpoint(self._path, *self._unwritten)
            self._unwritten, self._latest = None, time.monotonic()


def state_of(model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> State:
    """Return weights and momentum, in the memory that the next step changes.

    Random numbers are not part of it: an epoch's depend on the recipe's seed and the epoch's number alone.
    """
    state = {f"model.{name}": tensor for name, tensor in accelerator.unwrap_model(model).state_dict().items()}
    return state | {f"momentum.{number}": buffer for number, buffer in enumerate(_momenta(optimizer))}


def save_checkpoint(path: Path, state: State, place: Place) -> None:
    """Write where a stage can go on from; call it in one process."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_whole(path, save(whole, metadata={"place": json.dumps(asdict(place))}))


def read_place(path: Path) -> Place:
    """Return how far the run had come.

    Raises
    ------
    ValueError
        If the file is no checkpoint of a run.
    """
    with open_safetensors(path) as file:
        words = (file.metadata() or {}).get("place")
    if words is None:
        raise ValueError(f"{path}: expected a checkpoint of dynamic-kd train, got another safetensors file")
    return Place(**json.loads(words))


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> Place:
    """Put weights and momentum into a prepared model and optimizer, and return the place.

    Raises
    ------
    ValueError
        If the file is no checkpoint of a run, or one of another network.
    """
    from safetensors.torch import load_file

    place, tensors = read_place(path), load_file(path)
    weights = {name.removeprefix("model."): each for name, each in tensors.items() if name.startswith("model.")}
    network = accelerator.unwrap_model(model)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{path}: expected a checkpoint of the recipe's network, got another ({error})") from error
    for number, buffer in enumerate(_momenta(optimizer)):
        buffer.copy_(tensors[f"momentum.{number}"])
    if accelerator.scaler is not None and place.scaler:
        accelerator.scaler.load_state_dict(place.scaler)
    return place


def _momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]
