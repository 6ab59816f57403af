"""Names of images: one for each, none twice."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

_LISTED = 5


def checked_names(names: Iterable[str] | None, size: int) -> list[str] | None:
    """Return the names of ``size`` images, if they have names; whole numbers are names, too."""
    if names is None:
        return None
    if isinstance(names, str):
        names = [names]
    if not isinstance(names, Iterable) or isinstance(names, (bytes, set, frozenset)):
        raise TypeError(f"names: expected a list of strings, one for each image, got {_described(names)}")
    listed = [_name(each) for each in names]
    if len(listed) != size:
        raise ValueError(f"names: expected one for each of {size} images, got {len(listed)}")
    return listed


def _name(name: object) -> str:
    if isinstance(name, str):
        return str(name)
    try:
        return str(operator.index(name))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"names: expected strings, got {_described(name)} among them") from None


def _described(thing: object) -> str:
    text = repr(thing)
    return f"{text if len(text) <= 40 else text[:40] + '...'} ({type(thing).__name__})"


def duplicates_message(names: Sequence[str]) -> str:
    """Say which names came again, and what to do about it."""
    rest = len(names) - _LISTED
    listed = ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
    return (
        f"names: expected each image once, got {listed} again; give every image its own name, "
        f"or count repeated ones once with duplicates='once'"
    )
