"""Weights from files: state dicts, and VGG's published convolutions for a trunk."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dynamic_kd._extras import check_weights_file, open_safetensors
from dynamic_kd._files import listing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

    from dynamic_kd.models._backbone import Backbone

# torchvision's files: the digits after the dash are the first of the file's SHA-256.
PUBLISHED = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}
_FIRST = "features.0.weight"
_LISTED = 3


def read_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a state dict from a file without running code from it.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, or a ``.pth`` or ``.pt`` file with a state dict, bare or under the key
        ``"state_dict"`` or ``"model"``.

    Returns
    -------
    dict of str to Tensor
        The tensors by name, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file has another suffix, is damaged, or holds pickled code or anything else than tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return safetensors_of(path)
    if path.suffix in (".pth", ".pt"):
        check_weights_file(path)
        return _state_dict(path, _read_torch(path))
    raise ValueError(f"{path}: expected weights as .safetensors, .pth or .pt, got {path.suffix or 'no suffix'}")


def safetensors_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, whatever its suffix."""
    with open_safetensors(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dictionary)


def load_trunk(trunk: Backbone, name: str, weights: str | os.PathLike[str]) -> None:
    """Copy VGG's convolutions into a trunk. With four channels, the depth filters are the mean of the colour filters.

    Parameters
    ----------
    trunk : Backbone
        Changed in place.
    name : str
        The trunk's name.
    weights : path or "torchvision"
        A state dict with torchvision's names, or torchvision's published file, which is downloaded.
    """
    if name not in PUBLISHED:
        raise ValueError(f"weights: there are none for {name!r}, which starts from random ones; leave weights out")
    source = published(name) if weights == "torchvision" else Path(weights)
    found = {key: value for key, value in read_weights(source).items() if not key.startswith("classifier.")}
    expected = trunk.state_dict()
    first = found.get(_FIRST)
    if first is not None and first.ndim == 4 and first.shape[1] == 3 and expected[_FIRST].shape[1] == 4:
        found[_FIRST] = torch.cat([first, first.float().mean(dim=1, keepdim=True).to(first.dtype)], dim=1)
    check_tensors(f"{source}: these are not the convolutions of {name}", found, expected)
    trunk.load_state_dict(found)


def published(name: str) -> Path:
    """Return torchvision's file for a trunk in torch's cache, and download it if it is not there."""
    url = PUBLISHED[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:  # RuntimeError: the downloaded file has another hash
            raise OSError(
                f"{url}: the download failed ({error}); try again, or copy the file here and pass its path as weights"
            ) from error
    return path


def check_tensors(what: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise a ``ValueError`` that lists missing and unknown tensors and those of another shape or dtype."""
    wrong = [
        f"{key} is {found[key].dtype} {tuple(found[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in found and (found[key].shape != value.shape or not found[key].is_floating_point())
    ]
    problems = {
        "missing": [key for key in expected if key not in found],
        "unknown": [key for key in found if key not in expected],
        "wrong": wrong,
    }
    differences = [f"{kind}: {listing(names, _LISTED)}" for kind, names in problems.items() if names]
    if differences:
        raise ValueError(f"{what} ({'; '.join(differences)})")


def _read_torch(path: Path) -> Any:
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
            if "GLOBAL" in str(error) or "REDUCE" in str(error):
                raise ValueError(
                    f"{path}: holds pickled Python objects, which are never loaded; save its state_dict() instead"
                ) from error
            raise ValueError(f"{path}: not a file of torch.save, or a damaged one; get it again") from error


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    for wrapper in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(
            f"{path}: expected a state dict (names and tensors), got {_content(content)}; save the model's state_dict()"
        )
    return dict(content)


def _content(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    others = [repr(key) for key, value in content.items() if not isinstance(value, torch.Tensor)]
    return f"a dict with {listing(others, _LISTED)}"
