"""Checkpoints: weights, momentum and place of a run in one file, from which it resumes exactly."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

import torch

from dynamic_kd._extras import open_safetensors
from dynamic_kd._files import write_whole
from dynamic_kd.training._processes import uninterrupted

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from torch import Tensor, nn

    State = dict[str, Tensor]


@dataclass(frozen=True)
class Place:
    """How far a run has got.

    Attributes
    ----------
    stage : int
        1 while the teacher is trained, 2 while the student is.
    epoch : int
        The last finished epoch of the stage; 0 before the first.
    best : float or None
        The best score of the stage so far.
    scaler : dict
        State of the gradient scaler, in fp16.
    seconds : float
        Seconds that the run has taken, without repeated work.
    data : str
        Digest of the training samples (`ImageSet.digest`).
    recipe : dict
        The settings with which the run began (`Recipe.as_dict`).
    """

    stage: int
    epoch: int
    best: float | None
    scaler: dict[str, Any]
    seconds: float = 0.0
    data: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a stage, as a context: written at intervals, and when an error or interrupt ends the stage.

    In between, the state after the last epoch is copied to the computer's memory. There it is safe from the next steps
    and from a failing GPU, and the main process can write it without the other processes, which have the same state.

    Parameters
    ----------
    path : Path
        The file.
    every : float
        Seconds from one checkpoint to the next.
    """

    def __init__(self, path: Path, every: float) -> None:
        self._path, self._every, self._latest = path, every, time.monotonic()
        self._copy: State = {}
        self._unwritten: tuple[State, Place] | None = None

    def keep(self, state: State, place: Place, *, now: bool) -> None:
        """Keep the state after an epoch: in the file if ``now`` or when it is time, otherwise in memory."""
        self._unwritten = state, place  # an interrupt during the copy below writes this
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
        # The error that ended the stage must reach the user, even if writing fails too, as on a full disk.
        if kind is not None:
            with uninterrupted(), suppress(OSError, RuntimeError):
                self._write()

    def _write(self) -> None:
        if self._unwritten is not None:
            save_checkpoint(self._path, *self._unwritten)
            self._unwritten, self._latest = None, time.monotonic()


def state_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator, loss: nn.Module | None = None
) -> State:
    """Return weights, momentum and the state of an imported loss, without a copy.

    Random numbers are not part of it: those of an epoch depend on the recipe's seed and the epoch's number alone.
    """
    state = {f"model.{name}": tensor for name, tensor in accelerator.unwrap_model(model).state_dict().items()}
    state |= {f"loss.{name}": tensor for name, tensor in loss.state_dict().items()} if loss is not None else {}
    return state | {f"momentum.{number}": buffer for number, buffer in enumerate(_momenta(optimizer))}


def save_checkpoint(path: Path, state: State, place: Place) -> None:
    """Write a checkpoint; call it in one process."""
    from safetensors.torch import save

    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_whole(path, save(whole, metadata={"place": json.dumps(asdict(place))}))


def read_place(path: Path) -> Place:
    """Return how far the run had got.

    Raises
    ------
    ValueError
        If the file is not a checkpoint.
    """
    with open_safetensors(path) as file:
        text = (file.metadata() or {}).get("place")
    if text is None:
        raise ValueError(f"{path}: not a checkpoint of dynamic-kd train, but another safetensors file")
    return Place(**json.loads(text))


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    accelerator: Accelerator,
    loss: nn.Module | None = None,
) -> Place:
    """Put the state into a prepared model, its optimizer and an imported loss, and return the place.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or belongs to another network or loss.
    """
    from safetensors.torch import load_file

    place, tensors = read_place(path), load_file(path)
    parts = {"model.": ("network", accelerator.unwrap_model(model))} | ({"loss.": ("objective", loss)} if loss else {})
    for prefix, (title, part) in parts.items():
        state = {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
        try:
            part.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{path}: not a checkpoint of the recipe's {title} ({error})") from error
    for number, buffer in enumerate(_momenta(optimizer)):
        buffer.copy_(tensors[f"momentum.{number}"])
    if accelerator.scaler is not None and place.scaler:
        accelerator.scaler.load_state_dict(place.scaler)
    return place


def _momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]
