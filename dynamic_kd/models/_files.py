"""Networks as safetensors files, whose metadata hold what rebuilds the network and how it was trained."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._checks import check_choice
from dynamic_kd._extras import open_safetensors, require
from dynamic_kd._files import write_whole
from dynamic_kd._version import __version__
from dynamic_kd.models._fpn import FPNStudent, RFBTeacher
from dynamic_kd.models._weights import check_tensors, safetensors_of

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, type[FPNStudent | RFBTeacher]] = {"FPNStudent": FPNStudent, "RFBTeacher": RFBTeacher}
RESERVED = ("dynamic_kd", "model", "model_settings")
_PLAIN = RESERVED[:2]  # plain text; every other value is JSON


def save_model(model: nn.Module, path: str | os.PathLike[str], /, **metadata: Any) -> None:
    """Write a network into one safetensors file, from which `load_model` rebuilds it.

    The file is complete or absent, also after a crash.

    Parameters
    ----------
    model : FPNStudent or RFBTeacher
        On any device.
    path : path
        The file, conventionally ``.safetensors``. An existing file is replaced.
    **metadata
        Values to keep with the weights, such as ``recipe``, ``epoch`` or ``scores``: anything that JSON can hold.

    Raises
    ------
    TypeError
        If the model is of another class, or JSON cannot hold a value.
    ValueError
        If a name is one of ``dynamic_kd``, ``model`` and ``model_settings``, which this function sets.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "student.safetensors"
    >>> save_model(FPNStudent("tiny"), path, epoch=40)
    >>> model_metadata(path)["epoch"], load_model(path).settings
    (40, {'backbone': 'tiny', 'in_channels': 4})
    """
    require("safetensors", extra="train")
    from safetensors.torch import save

    known = checked(model)
    taken = [name for name in metadata if name in RESERVED]
    if taken:
        raise ValueError(f"metadata: {taken[0]!r} is set by save_model; choose another name")
    # safetensors takes contiguous tensors on the CPU.
    weights = {key: tensor.detach().cpu().contiguous() for key, tensor in known.state_dict().items()}
    write_whole(path, save(weights, metadata=described(known, metadata)))


def load_model(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> FPNStudent | RFBTeacher:
    """Rebuild a network from a file of `save_model`, in evaluation mode.

    Parameters
    ----------
    path : path
        The file.
    device : str or torch.device
        Device of the network.

    Returns
    -------
    FPNStudent or RFBTeacher
        Its parameters require gradients, so that training can continue.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a safetensors file of a known network, or its tensors differ from that network's.
    """
    metadata = model_metadata(path)
    try:
        check_choice("model", metadata["model"], MODELS)
        with torch.device("meta"):  # skip random weights, which are replaced
            model = MODELS[metadata["model"]](**metadata["model_settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {_versions(metadata)} cannot rebuild the network: {error}") from error
    weights = safetensors_of(Path(path))
    check_tensors(f"{path}: {_versions(metadata)} expects other tensors", weights, model.state_dict())
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()


def model_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the metadata of a file of `save_model`.

    Parameters
    ----------
    path : path
        The file. Its tensors are not read.

    Returns
    -------
    dict
        ``dynamic_kd`` (the version that wrote it), ``model``, ``model_settings``, and what was passed to `save_model`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a safetensors file, or was not written by this package.
    """
    with open_safetensors(Path(path)) as file:
        words = file.metadata() or {}
    if "dynamic_kd" not in words:
        raise ValueError(
            f"{path}: expected a network of dynamic-kd, got weights without its metadata; a trunk's weights start a "
            "new network: FPNStudent(weights=...)"
        )
    return {name: text if name in _PLAIN else _parsed(text) for name, text in words.items()}


def checked(model: nn.Module) -> FPNStudent | RFBTeacher:
    """Return the model if `load_model` can rebuild it, or raise."""
    if not isinstance(model, (FPNStudent, RFBTeacher)) or type(model).__name__ not in MODELS:
        raise TypeError(f"model: expected one of {', '.join(MODELS)}, got {type(model).__name__}")
    return model


def described(model: FPNStudent | RFBTeacher, metadata: dict[str, Any]) -> dict[str, str]:
    """Return a file's metadata, as `model_metadata` reads them: what rebuilds the network, and the rest as JSON."""
    words = {"dynamic_kd": __version__, "model": type(model).__name__, "model_settings": json.dumps(model.settings)}
    return words | {name: _json(name, value) for name, value in metadata.items()}


def _json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"metadata: expected values that JSON can hold, got {name} = {value!r} ({error})") from error


def _parsed(text: str) -> Any:
    """Return the value of JSON, or the text itself if it is not JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _versions(metadata: dict[str, Any]) -> str:
    return f"written by dynamic-kd {metadata['dynamic_kd']}; this is {__version__}, which"
