"""Known data sets: their names, aliases and numbers of images."""

from __future__ import annotations

import re
from typing import NamedTuple

SPLITS = {
    "train": ("train", "training", "tr"),
    "test": ("test", "testing", "te"),
    "val": ("val", "valid", "validation"),
}


class KnownSet(NamedTuple):
    """Aliases of a data set, and the numbers of images in use for the whole and for its splits."""

    aliases: tuple[str, ...]
    whole: tuple[int, ...]
    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()

    def counts(self, split: str | None) -> tuple[int, ...]:
        """Return the counts in use for a split; all of them if it is None, and none if it has no counts."""
        if split is None:
            return (*self.whole, *self.train, *self.test)
        return {"train": self.train, "test": self.test or self.whole}.get(split, ())


KNOWN_SETS = {
    "NJUD": KnownSet(("NJU2K", "NJU2000", "NJUDS2000"), (1985, 2003), (1485, 1500), (500, 498)),
    "NLPR": KnownSet(("NLPR1000", "RGBD1000"), (1000,), (700,), (300,)),
    "DUT-RGBD": KnownSet(("DUTLF-D", "DUT-D"), (1200,), (800,), (400,)),
    "SIP": KnownSet(("SIP929",), (929,)),
    "DES": KnownSet(("RGBD135", "CheapDepth"), (135,)),
    "LFSD": KnownSet(("LFSD100",), (100,)),
    "STERE": KnownSet(("STEREO", "STERE1000", "STEREO1000", "SSB", "STEREO797", "STERE797"), (1000, 797)),
    "SSD": KnownSet(("SSD100", "SSD80"), (80,)),
    "ReDWeb-S": KnownSet((), (3179,), (2179,), (1000,)),
    "ECSSD": KnownSet((), (1000,)),
    "PASCAL-S": KnownSet(("PASCAL850",), (850,)),
    "DUT-OMRON": KnownSet(("DUTO", "OMRON"), (5168,)),
    "HKU-IS": KnownSet((), (4447,)),
    "DUTS": KnownSet((), (15572,), (10553,), (5019,)),
}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_CANONICAL = {_plain(name): canon for canon, known in KNOWN_SETS.items() for name in (canon, *known.aliases)}
_WORDS = {word: split for split, words in SPLITS.items() for word in words}
_FILLERS = ("", "data", "set", "dataset", "images")


def split_word(name: str) -> str | None:
    """Return the split that a folder's whole name states, such as ``TrainDataset``, else None."""
    plain = _plain(name)
    return next((split for word, split in _WORDS.items() if plain in [word + filler for filler in _FILLERS]), None)


def known_name(name: str) -> tuple[str | None, str | None]:
    """Return the canonical name and the split that a folder's name states, each None if it states none.

    Examples
    --------
    >>> known_name("NJU2K_TRAIN"), known_name("rgbd-135"), known_name("kitchen")
    (('NJUD', 'train'), ('DES', None), (None, None))
    """
    plain = _plain(name)
    if plain in _CANONICAL:
        return _CANONICAL[plain], None
    for word, split in _WORDS.items():
        for rest in (plain.removesuffix(word), plain.removeprefix(word)):
            if rest != plain and rest in _CANONICAL:
                return _CANONICAL[rest], split
    return None, None


def count_note(name: str, split: str | None, found: int) -> str | None:
    """Return a warning if a known data set has an unexpected number of images, else None."""
    expected = KNOWN_SETS[name].counts(split) if name in KNOWN_SETS else ()
    if not expected or found in expected:
        return None
    *others, last = map(str, dict.fromkeys(expected))
    choices = f"{', '.join(others)} or {last}" if others else last
    what = f"images of {name} {split}" if split else f"images of {name}"
    return f"expected {choices} {what}, found {found}; this is a part of them, or files are missing"
