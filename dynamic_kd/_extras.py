"""Optional packages: whether they are there, and what is said when one is missing."""

from __future__ import annotations

from importlib.util import find_spec


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    try:
        return find_spec(package) is not None
    except ValueError:  # another thread is importing it, and has not come to its spec
        return True


def require(*packages: str, extra: str) -> None:
    """Raise a ``ModuleNotFoundError`` that names the extra unless all packages are installed."""
    for package in packages:
        if not installed(package):
            raise ModuleNotFoundError(f"{package} is not installed; get it with: pip install 'dynamic-kd[{extra}]'")
