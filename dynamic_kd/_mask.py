"""What the levels of masks mean: which are salient, which are void, which are ambiguous; for files and for arrays.

A level is what a mask stores for a pixel: a grey level, a palette's index, a label, or a colour. What the levels mean
is decided for a whole data set: {0, 255} alone is a binary mask, but beside a mask of {0, 1, 255} its 255 may be void.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from dynamic_kd._array import Array, Namespace
from dynamic_kd._checks import check_choice

Values = npt.NDArray[np.integer[Any]]

SALIENT_ABOVE = 128
"""In masks of 0 and 255 with grey edges, levels above this are salient."""
CHANNELS = ("auto", "grey", "alpha")
COLOUR = 1 << 24
"""Added to the 24 bits of a colour, so that no colour is mistaken for a grey level."""

_TOP = 255
# Grey edges lie within this many pixels of 0 and of 255, unless they have more levels than labels without areas do.
_REACH, _MORE = 2, 5
# Lossy files, and others with many levels, hold values this far from the 0 and 255 that they stand for.
_NOISE, _MANY = 16, 16
# Pixels between 0 and 255 whose neighbours are all equal: more of them are an area with a label, not an edge.
_FLAT = 2
_LISTED = 4


class Meaning(NamedTuple):
    """What a user says of masks.

    Attributes
    ----------
    salient
        The salient levels; None for the only level beside 0.
    void
        The levels that are left out.
    channel
        The channel of files that holds the levels: one of `CHANNELS`.
    """

    salient: tuple[int, ...] | None = None
    void: tuple[int, ...] = ()
    channel: str = "auto"


class Levels(NamedTuple):
    """The levels of one mask.

    Attributes
    ----------
    levels
        All of them in ascending order, without void ones. (0, 255) for a mask of these with grey edges.
    edges
        ``"soft"``: levels between 0 and 255 form edges; ``"unsure"``: they do if other masks have edges; else empty.
    """

    levels: tuple[int, ...]
    edges: str = ""


class Interpreted(NamedTuple):
    """A mask with the meaning of its levels applied.

    Attributes
    ----------
    values
        Shape (H, W), uint8: more than 128 is salient. Grey edges keep their levels.
    valid
        Shape (H, W), bool: False where the mask is void. None if it is nowhere void.
    found
        The levels that were there.
    """

    values: npt.NDArray[np.uint8]
    valid: npt.NDArray[np.bool_] | None
    found: Levels


def meaning(salient: Any = None, void: Any = None, channel: str = "auto") -> Meaning:
    """Return what a user says of masks, checked.

    Levels are None, a level, a sequence or a range of levels, or text such as ``"1,15"``, ``"129-255"`` or
    ``"#800000"``.
    """
    check_choice("channel", channel, CHANNELS)
    chosen, left_out = level_list("salient", salient), level_list("void", void)
    both = sorted(set(chosen or ()) & set(left_out or ()))
    if both:
        raise ValueError(f"void: expected levels that are not salient, got {written(both)} in both; name each once")
    return Meaning(chosen, left_out or (), channel)


def level_list(name: str, value: Any) -> tuple[int, ...] | None:
    """Return the levels of a setting in ascending order, or None."""
    if value is None:
        return None
    if isinstance(value, str):
        levels = [level for word in value.split(",") for level in _parsed(name, value, word.strip())]
    elif _is_whole(value):
        levels = [int(value)]
    elif isinstance(value, Iterable):
        levels = [level for each in value for level in level_list(name, _single(name, each)) or ()]
    else:
        raise TypeError(_expected(name, value))
    if not levels and name == "salient":
        raise ValueError(f"{name}: expected at least one level, got none; leave it out to let the masks decide")
    return tuple(sorted(set(levels)))


def _single(name: str, value: Any) -> Any:
    if not isinstance(value, str) and not _is_whole(value):
        raise TypeError(_expected(name, value))
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _parsed(name: str, text: str, word: str) -> Iterable[int]:
    if re.fullmatch(r"-?\d{1,6}", word):
        return [int(word)]
    if (span := re.fullmatch(r"(\d{1,5})-(\d{1,5})", word)) and int(span[1]) <= int(span[2]):
        return range(int(span[1]), int(span[2]) + 1)
    if re.fullmatch(r"#[0-9a-fA-F]{6}", word):
        return [colour_level(*bytes.fromhex(word[1:]))]
    raise ValueError(_expected(name, text))


def _expected(name: str, value: Any) -> str:
    return (
        f"{name}: expected levels such as 255, 1,15 or 129-255 (in Python: 255, [1, 15], range(129, 256)), "
        f"or colours such as #800000, got {value!r}"
    )


def colour_level(red: int, green: int, blue: int) -> int:
    """Return the level of a colour; a grey one is its grey level."""
    return red if red == green == blue else COLOUR | red << 16 | green << 8 | blue


def interpreted(values: Values, wanted: Meaning = Meaning(), *, lossy: bool = False) -> Interpreted:  # noqa: B008
    """Apply a meaning to the stored levels of one mask, shape (H, W), integers.

    Without chosen levels, the mask is cut as if it were binary: whether it is, `LevelsSeen` decides for the data set.
    ``lossy`` says that the levels come from a format that does not keep them exactly.
    """
    valid = None
    if wanted.void:
        gone = np.isin(values, wanted.void)
        if gone.any():
            valid, values = ~gone, np.where(gone, np.zeros_like(values), values)
    if wanted.salient is not None:
        chosen = np.isin(values, wanted.salient)
        if valid is not None:
            chosen &= valid
        return Interpreted(_full(chosen), valid, Levels(_present(values)))
    high = int(values.max())
    zeros = values.size - int(np.count_nonzero(values))
    if zeros + (np.count_nonzero(values == high) if high else 0) == values.size:
        levels = (*([0] if zeros else []), *([high] if high else []))
        return Interpreted(_binary(values, high), valid, Levels(levels))
    if high > 0xFFFF or values.min() < 0:
        return Interpreted(_full(values > 0), valid, Levels(_present(values)))
    small = _eight_bits(values, high)
    found = _grey_levels(small, lossy=lossy)
    if high > _TOP and not found.edges:
        found = Levels(_present(values))
    return Interpreted(_binary(small, int(small.max())), valid, found)


def _full(chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.where(chosen, np.uint8(_TOP), np.uint8(0))


def _binary(values: Values, high: int) -> npt.NDArray[np.uint8]:
    if values.dtype == np.uint8 and (high > SALIENT_ABOVE or not high):
        return values.view(np.uint8)
    return _full(values > 0) if high <= SALIENT_ABOVE or high > _TOP else values.astype(np.uint8)


def _present(values: Values) -> tuple[int, ...]:
    return tuple(np.unique(values).tolist())


def _eight_bits(values: Values, high: int) -> npt.NDArray[np.uint8]:
    """Return levels of up to 16 bits as 8 bits. What is not 0 stays so: it may be a label."""
    if high <= _TOP:
        return values.astype(np.uint8, copy=False)
    return np.asarray(np.maximum(values >> 8, values > 0), np.uint8)


def _grey_levels(values: npt.NDArray[np.uint8], *, lossy: bool) -> Levels:
    """Return the levels of a mask of three or more, and whether those between 0 and 255 are edges."""
    counts = np.bincount(values[(values - np.uint8(1)) < _TOP - 1], minlength=_TOP)  # of levels between
    high = int(values.max())
    ends = (*([0] if values.min() == 0 else []), *([_TOP] if high == _TOP else []))
    raw = Levels(tuple(sorted((*ends, *np.flatnonzero(counts).tolist()))))
    reaches_top = high >= _TOP - _NOISE
    noise = _NOISE if (lossy or np.count_nonzero(counts) > _MANY) and reaches_top else 0
    greys = np.count_nonzero(counts[noise + 1 : _TOP - noise])
    if not greys:
        return Levels((0, _TOP), "soft")
    inside = (values - np.uint8(noise + 1)) < _TOP - 1 - 2 * noise
    flat = np.count_nonzero(inside & _constant_around(values)) > _FLAT
    if (lossy or greys > _MORE) and reaches_top and not flat:
        return Levels((0, _TOP), "soft")
    near = not (inside & ~(_within_reach(values <= noise) & _within_reach(values >= _TOP - noise))).any()
    if near and greys > 2:
        return Levels((0, _TOP), "soft")
    return raw._replace(edges="unsure" if near or (greys > 2 and not flat) else "")


def _constant_around(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether a pixel and its eight neighbours are equal; never at the border."""
    equal = np.zeros(values.shape, bool)
    height, width = values.shape
    if min(height, width) > 2:
        rows = (values[:-2] == values[1:-1]) & (values[2:] == values[1:-1])
        same = rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]
        middle = values[1:-1]
        equal[1:-1, 1:-1] = same & (middle[:, :-2] == middle[:, 1:-1]) & (middle[:, 2:] == middle[:, 1:-1])
    return equal


def _within_reach(there: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether a pixel within two rows and two columns is set."""
    for axis in (0, 1):
        length = there.shape[axis]
        grown = there.copy()
        for shift in range(1, min(_REACH, length - 1) + 1):
            first, last = [slice(None)] * 2, [slice(None)] * 2
            first[axis], last[axis] = slice(0, length - shift), slice(shift, length)
            grown[tuple(first)] |= there[tuple(last)]
            grown[tuple(last)] |= there[tuple(first)]
        there = grown
    return there


@dataclass
class LevelsSeen:
    """The levels of the masks of a data set, each kind with its number and first mask; they decide what levels mean.

    Attributes
    ----------
    wanted
        The levels that the user names.
    kinds
        Levels of a mask -> how many masks have them, and the first one's name.
    """

    wanted: Meaning = field(default_factory=Meaning)
    kinds: dict[Levels, tuple[int, str]] = field(default_factory=dict)

    def add(self, name: str, found: Levels) -> None:
        """Note the levels of a mask."""
        count, first = self.kinds.get(found, (0, name))
        self.kinds[found] = count + 1, first

    def merge(self, other: LevelsSeen) -> None:
        """Note what another part of the data set holds."""
        for found, (count, first) in other.kinds.items():
            mine, name = self.kinds.get(found, (0, first))
            self.kinds[found] = mine + count, name

    @property
    def soft(self) -> int:
        """Number of masks with grey edges."""
        edges = {"soft", "unsure"} if any(found.edges == "soft" for found in self.kinds) else {"soft"}
        return sum(count for found, (count, _) in self.kinds.items() if found.edges in edges)

    def levels(self) -> tuple[int, ...]:
        """Return all levels of the data set in ascending order."""
        soft = bool(self.soft)
        parts = [(0, _TOP) if soft and found.edges else found.levels for found in self.kinds]
        return tuple(sorted({level for levels in parts for level in levels}))

    def decide(self, where: str = "target", *, complete: bool = True) -> tuple[int, ...]:
        """Return the salient levels of the data set; none if every mask is empty.

        If the masks are not ``complete``, others may still show that a lone level is the salient one.

        Raises
        ------
        ValueError
            If the levels have several meanings, or if those that the user names do not occur.
        """
        levels = self.levels()
        beside = tuple(level for level in levels if level)
        if self.wanted.salient is not None:
            chosen = tuple(level for level in self.wanted.salient if level in levels)
            if complete and self.kinds and not chosen:
                raise ValueError(
                    f"{where}: expected the salient level {written(self.wanted.salient)} in some mask, "
                    f"got {self._described()}; name levels that the masks have"
                )
            return chosen
        lone = complete and 0 not in levels and bool(beside) and beside[0] not in (_TOP, 0xFFFF)
        if len(beside) > 1 or lone or (beside and beside[0] < 0):
            raise ValueError(
                f"{where}: expected masks of two levels, 0 and a salient one, got {self._described()}; "
                f"{_readings(beside)}"
            )
        return beside

    def _described(self) -> str:
        """Return the levels found, with the number of masks that have them and the name of the first."""
        kinds = sorted(self.kinds.items(), key=lambda kind: (-len(kind[0].levels), kind[0]))
        texts = []
        for found, (count, first) in kinds[:_LISTED]:
            name = f" ({first})" if first and count == 1 else f" (the first is {first})" if first else ""
            texts.append(f"{written(found.levels)} in {count} mask{'' if count == 1 else 's'}{name}")
        more = [f"other levels in {sum(count for _, (count, _) in kinds[_LISTED:])} masks"] if kinds[_LISTED:] else []
        return "; ".join([*texts, *more]).replace("; other", " and other")


def _readings(beside: tuple[int, ...]) -> str:
    """Return what levels beside 0 may mean, and the option for each meaning."""
    if len(beside) == 1:
        chosen, left_out = _option("salient", beside), _option("void", beside)
        return f"if that is the object's, say {chosen}; if it is not labelled, {left_out}"
    if len(beside) > _MANY:
        return (
            "labels: name those of the object, such as --salient 1,15 (salient=[1, 15]), and with --void 255 "
            "(void=255) what is not labelled; wide grey edges or saliency maps: --salient 129-255 "
            "(salient=range(129, 256))"
        )
    texts = []
    maybe_void = [level for level in beside if level == _TOP or level < 0]
    maybe_void += [level for level in beside[:1] if len(beside) == 2 and level > 1]
    for level in dict.fromkeys(maybe_void):
        others = tuple(other for other in beside if other != level)
        also = f" (beside {_option('salient', others[:1])} or others)" if len(others) > 1 else ""
        texts.append(f"{written([level])} may be void, not labelled: {_option('void', (level,))}{also}")
    texts.append(f"all but 0 may be salient: {_option('salient', beside)}")
    texts.append(f"one of them may be, the others background: {_option('salient', beside[:1])}")
    return "; ".join(texts)


def _option(name: str, levels: tuple[int, ...]) -> str:
    text = written(levels).replace(", ", ",")
    plain = all(level < COLOUR for level in levels)
    value = (str(levels[0]) if len(levels) == 1 else str(list(levels))) if plain else repr(text)
    return f"--{name} {text if plain else repr(text)} ({name}={value})"


def written(levels: Iterable[int]) -> str:
    """Return levels as text, colours as #rrggbb; many in short."""
    texts = [f"#{level & (COLOUR - 1):06x}" if level >= COLOUR else str(level) for level in levels]
    if len(texts) > 8:
        texts = [*texts[:4], "…", *texts[-2:], f"{len(texts)} levels"]
        return ", ".join(texts[:-1]) + f" ({texts[-1]})"
    return ", ".join(texts)


def divided_level(xp: Namespace, target: Array) -> int | None:
    """Return the level that a floating target has beside 0 and 1 if it looks like labels divided by 255, else None.

    Soft edges have several levels between 0 and 1, and soft targets may have one. One alone, k / 255, between 0 and 1
    is a label or void that a conversion of images to floats has scaled.
    """
    between = (target > 0) & (target < 1)
    if not bool(xp.any(between)):
        return None
    low = float(xp.min(xp.where(between, target, xp.ones_like(target))))
    high = float(xp.max(xp.where(between, target, xp.zeros_like(target))))
    level, eps = round(_TOP * low), float(xp.finfo(target.dtype).eps)
    fifteenth = level % 17 == 0  # 0.2, 1/3, 0.4 and their kind: soft targets
    if low != high or abs(_TOP * low - level) > 2 * _TOP * eps or fifteenth or not bool(xp.any(target == 0)):
        return None
    return level if level == 1 or bool(xp.any(target == 1)) else None


def level_notes(seen: LevelsSeen) -> list[str]:
    """Return what a reader of scores should know of how masks were read, in sentences; nothing for 0 and 255."""
    chosen, notes = seen.decide(), []
    void = seen.wanted.void
    if void:
        notes.append(f"Void, left out: {written(void)}.")
    if seen.wanted.salient is not None or (chosen and chosen != (_TOP,)):
        found = seen.levels()
        listed = "" if len(found) > 1 and len(found) == len(chosen) + 1 else f" of the levels {written(found)}"
        notes.append(f"Taken as salient: {written(chosen)}{listed}.")
    return notes
