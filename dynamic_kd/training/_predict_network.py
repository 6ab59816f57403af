"""The network of `predict_folder`, with its device, its input and a digest of its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from dynamic_kd._checks import check_choice
from dynamic_kd.models import load_model, model_metadata

if TYPE_CHECKING:
    from torch import nn


class Network(NamedTuple):
    """A network ready to predict.

    Attributes
    ----------
    module : nn.Module
        On the device.
    device : torch.device
        Where it computes.
    channels : int
        3 for colour, 4 for colour and depth.
    size : int or None
        The input size of its training, if its file records that.
    facts : dict
        Its class, and the SHA-256 of its weights: of the file, or of the names and values of a module.
    """

    module: nn.Module
    device: torch.device
    channels: int
    size: int | None
    facts: dict[str, str]


def ready_network(model: str | Path | nn.Module, device: str, in_channels: int | None) -> Network:
    """Load a network from a file, or take a module, and move it to the device.

    Raises
    ------
    ValueError
        If there is no such device, if the file cannot be read, or if the channels are neither 3 nor 4.
    """
    place, size, own = _device(device), None, not isinstance(model, torch.nn.Module)
    if isinstance(model, torch.nn.Module):
        module, digest = model, _state_digest(model)
    else:
        module, size = load_model(model), _trained_size(model_metadata(model))
        with Path(model).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    settings = getattr(module, "settings", None)
    declared = settings.get("in_channels") if isinstance(settings, dict) else None
    channels = in_channels or declared or 4
    if channels not in (3, 4) or channels != (declared or channels):
        raise ValueError(f"in_channels: this network has {declared or '3 or 4'}, got {in_channels!r}")
    # Channels last is faster on CPUs and GPUs. The layout of a given module is left unchanged.
    module = module.to(place, memory_format=torch.channels_last) if own else module.to(place)  # type: ignore[call-overload]
    return Network(module, place, channels, size, {"model": type(module).__name__, "weights": digest})


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    check_choice("device", name.split(":")[0], ("auto", "cpu", "cuda"))
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: there is no {name!r}, this computer has {torch.cuda.device_count()} CUDA GPUs")
    return device


def _trained_size(metadata: Any) -> int | None:
    for key in ("recipe", "data", "size"):
        metadata = metadata.get(key) if isinstance(metadata, dict) else None
    return metadata if isinstance(metadata, int) else None


def _state_digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
