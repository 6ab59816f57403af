"""Where a run can go on: weights, momentum and place in one file, which is whole or not there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from dynamic_kd._files import write_whole
from dynamic_kd.models._weights import check_tensors, opened

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from accelerate import Accelerator
    from torch import Tensor, nn


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


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, accelerator: Accelerator, place: Place
) -> None:
    """Write where a stage can go on from; call it in one process.

    Random numbers are not part of it: an epoch's depend on the recipe's seed and the epoch's number alone.
    """
    from safetensors.torch import save

    tensors = {f"model.{name}": tensor for name, tensor in accelerator.unwrap_model(model).state_dict().items()}
    tensors |= {f"momentum.{number}": buffer for number, buffer in enumerate(_momenta(optimizer))}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(whole, metadata={"place": json.dumps(asdict(place))}))


def read_place(path: Path) -> Place:
    """Return how far the run had come.

    Raises
    ------
    ValueError
        If the file is no checkpoint of a run.
    """
    with opened(path) as file:
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
    check_tensors(f"{path}: expected a checkpoint of the recipe's network, got another", weights, network.state_dict())
    network.load_state_dict(weights)
    for number, buffer in enumerate(_momenta(optimizer)):
        buffer.copy_(tensors[f"momentum.{number}"])
    if accelerator.scaler is not None and place.scaler:
        accelerator.scaler.load_state_dict(place.scaler)
    return place


def _momenta(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [optimizer.state[parameter]["momentum_buffer"] for parameter in parameters]
