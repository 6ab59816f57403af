"""Parsing what commands are given: the parser, lists of names, and files to write."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from dynamic_kd._mask import CHANNELS

PICTURES = (".png", ".pdf", ".svg")


class Parser(argparse.ArgumentParser):
    """A parser that keeps the lines of help texts, accepts no abbreviations, and reports errors in one line."""

    def __init__(self, **settings: Any) -> None:
        defaults: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
        super().__init__(**defaults | settings)
        self.register("type", int, _whole_number)
        self.register("type", float, _number)

    def error(self, message: str) -> NoReturn:
        """Exit with one line; argparse would print the usage before it."""
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


def known_names(text: str, kind: str, known: Iterable[str]) -> list[str]:
    """Return the names in ``A, b`` with the capitals of the known names.

    A misspelt name is an error with a suggestion. A name that resembles none is returned as it is: the function that
    takes the names refuses it.
    """
    names = {name.casefold(): name for name in known}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        close = get_close_matches(word.casefold(), names, n=1)
        if close and word.casefold() not in names:
            raise argparse.ArgumentTypeError(f"expected {kind}, got {word!r}; did you mean {names[close[0]]!r}?")
    return [names.get(word.casefold(), word) for word in words]


def add_mask_arguments(parser: Any) -> None:
    """Add what a user can say of masks; each is None unless it is given."""
    parser.add_argument("--salient", metavar="LEVELS", help="salient levels of the masks, such as 1,15 or 129-255")
    parser.add_argument("--void", metavar="LEVELS", help="levels that are not labelled, such as 255: left out")
    parser.add_argument("--channel", choices=CHANNELS, help="channel of masks and maps to read (default: not alpha)")


def check_output(option: str, path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """Raise unless the file that an option names can be written, before the work starts; None passes."""
    if path is None:
        return
    place = Path(path)
    if not place.resolve().parent.is_dir():
        raise ValueError(f"{option} {path}: expected a file in a folder that exists; make {place.parent} first")
    if place.is_dir():
        raise ValueError(f"{option} {path}: expected a file to write, got a folder; name a file in it")
    if suffixes and place.suffix.lower() not in suffixes:
        raise ValueError(f"{option} {path}: expected a name ending in {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    if not os.access(place if place.exists() else place.resolve().parent, os.W_OK):
        raise ValueError(f"{option} {path}: no permission to write there; choose another place")
