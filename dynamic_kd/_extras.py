"""Optional packages: what is said when one is missing."""

from __future__ import annotations

from importlib.util import find_spec


def require(*packages: str, extra: str) -> None:
    """Raise a ``ModuleNotFoundError`` that names the extra unless all packages are installed."""
    for package in packages:
        if find_spec(package) is None:
            raise ModuleNotFoundError(f"{package} is not installed; get it with: pip install 'dynamic-kd[{extra}]'")
