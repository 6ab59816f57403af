"""Lists of names on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from difflib import get_close_matches


def known_names(text: str, kind: str, known: Iterable[str]) -> list[str]:
    """Return the names of ``A, b``, in the capitals they are known by.

    A misspelt one is refused with a hint; what is like none of them is left to whoever takes the names.
    """
    names = {name.casefold(): name for name in known}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        close = get_close_matches(word.casefold(), names, n=1)
        if close and word.casefold() not in names:
            raise argparse.ArgumentTypeError(f"expected {kind}, got {word!r}; did you mean {names[close[0]]!r}?")
    return [names.get(word.casefold(), word) for word in words]
