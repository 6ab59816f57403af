"""Optional packages: whether they are installed, and the error that names the extra to install."""

from __future__ import annotations

from importlib.util import find_spec
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
