"""Optional packages: whether they are installed, the error that names their extra, and how files of theirs open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except ValueError:  # another thread is importing it, and its spec is not set yet
        return True


def require(*packages: str, extra: str) -> None:
    """Raise a ``ModuleNotFoundError`` that names the extra unless all packages are installed."""
    for package in packages:
        if not installed(package):
            raise ModuleNotFoundError(f"{package} is not installed; get it with: pip install 'dynamic-kd[{extra}]'")


def opencv() -> Any:
    """Return OpenCV, which takes long to import, or raise as `require`."""
    require("cv2", extra="eval")
    import cv2

    return cv2


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or not a safetensors file.
    """
    check_weights_file(path)
    require("safetensors", extra="train")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or a damaged one ({error}); get it again") from error


def check_weights_file(path: Path) -> None:
    """Raise unless the path is a file that can be read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a file of weights, got {'a folder' if path.is_dir() else 'no file'}")
    path.open("rb").close()  # safetensors reports an unreadable file as missing
