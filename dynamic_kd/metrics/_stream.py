"""Images as they come to an accumulator: those that are kept, and batches that a GPU still scores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dynamic_kd._files import listing
from dynamic_kd._mask import Levels, LevelsSeen
from dynamic_kd.metrics._inputs import LEVEL, checked_names
from dynamic_kd.metrics._statistics import (
    Contribution,
    DeferredStatistics,
    Floats,
    Statistics,
    contribution,
    refuse_faults,
)
from dynamic_kd.metrics._tally import Tally

# Batches on the GPU before the next one waits for the oldest.
BACKLOG = 8
_LISTED = 5


@dataclass(frozen=True)
class Started:
    """Images whose scoring has started.

    Attributes
    ----------
    numbers
        What they contribute; from a GPU, a function that waits for it.
    names
        Their names, or positions in the stream.
    pixels
        Pixels of each, or of all.
    backend
        What scores them.
    pixel_values
        Curves and numbers of the metrics from pixels, computed already.
    """

    numbers: Contribution | Callable[[], Contribution]
    names: Sequence[str | int]
    pixels: Any
    backend: str
    pixel_values: tuple[Floats, Floats] | None = None


class _Batch(NamedTuple):
    """Parts that are kept together or not at all, of ``size`` images, duplicates included."""

    parts: Sequence[Started]
    size: int


class Stream:
    """A tally, and the batches on their way to it, each of which is kept as a whole or not at all.

    ``empty_target`` and ``duplicates`` are those of `SODMetrics`; with ``check``, bad values are refused.
    """

    def __init__(self, tally: Tally, *, empty_target: str, duplicates: str, check: bool) -> None:
        self.tally = tally
        self._skip_empty, self._refuse_empty = empty_target == "skip", empty_target == "refuse"
        self._duplicates, self._check = duplicates, check
        self._pending: deque[_Batch] = deque()
        self._pending_names: set[str | int] = set()
        self._unfinished = False

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return self.__dict__.copy()

    @property
    def pending(self) -> int:
        """Images on their way."""
        return sum(batch.size for batch in self._pending)

    def named(self, names: Iterable[str] | None, size: int) -> list[str | int]:
        """Return the names of the next images, or their positions in the stream."""
        listed = checked_names(names, size)
        if listed is not None:
            return [*listed]
        first = self.tally.seen + self.pending
        return [first + image for image in range(size)]

    def fresh(self, names: Sequence[str | int]) -> list[bool]:
        """Whether each image is seen for the first time; raise for others unless ``duplicates="once"``."""
        if all(isinstance(name, int) for name in names):
            return [True] * len(names)
        first = {name: image for image, name in reversed(list(enumerate(names)))}
        fresh = [
            first[name] == image and not self.tally.knows(name) and name not in self._pending_names
            for image, name in enumerate(names)
        ]
        again = [str(name) for name, new in zip(names, fresh, strict=True) if not new]
        if again and self._duplicates == "refuse":
            raise ValueError(_duplicates_message(again))
        return fresh

    def start(
        self,
        measured: Statistics,
        names: Sequence[str | int],
        flags: Floats,
        pixel_values: tuple[Floats, Floats] | None = None,
    ) -> Started:
        """Start scoring images: queue the formulas on a GPU, or evaluate them at once.

        ``flags`` are those that the host knows; kernels find their own.
        """
        formula, skip_empty, keep = self.tally.selection, self._skip_empty, self.tally.columns
        numbers: Contribution | Callable[[], Contribution]
        if isinstance(measured, DeferredStatistics):
            numbers = measured.evaluate(formula, skip_empty=skip_empty, keep=keep)
        else:
            numbers = contribution(measured, formula, skip_empty=skip_empty, keep=keep)._replace(flags=flags)
        return Started(numbers, names, measured.pixels, measured.backend, pixel_values)

    def keep(self, parts: Sequence[Started], size: int) -> None:
        """Keep the parts of a batch of ``size`` images, at once unless a GPU still scores them."""
        with self._change():
            self._pending_names.update(name for part in parts for name in part.names)
            self._pending.append(_Batch(parts, size))
            self._keep_pending(BACKLOG if any(callable(part.numbers) for part in parts) else 0)

    def settle(self) -> None:
        """Keep all batches on their way."""
        if self._pending or self._unfinished:
            with self._change():
                self._keep_pending(0)

    def merge(self, other: Stream) -> None:
        """Add what another stream has seen."""
        self.settle()
        other.settle()
        shared = self.tally.shared(other.tally)
        if shared and self._duplicates == "refuse":
            raise ValueError(_duplicates_message(sorted(shared)))
        levels = LevelsSeen(kinds=dict(self.tally.levels.kinds))
        levels.merge(other.tally.levels)
        levels.decide("target")
        with self._change():
            self.tally.merge(other.tally, without=shared)
            self.tally.levels = levels

    @contextmanager
    def _change(self) -> Iterator[None]:
        """Let what is kept change. A change that an interrupt leaves half done would make later scores wrong.

        Raises
        ------
        ValueError
            An earlier change was interrupted.
        """
        if self._unfinished:
            raise ValueError(
                "expected the last update or merge to have ended, got an interrupted one, of which a part may be kept; "
                "reset() and start again, or go on from a saved state"
            )
        self._unfinished = True
        try:
            yield
        except ValueError:  # a batch refused as a whole
            self._unfinished = False
            raise
        self._unfinished = False

    def _keep_pending(self, backlog: int) -> None:
        """Keep the batches on their way except the newest ``backlog``."""
        while len(self._pending) > backlog:
            batch = self._pending.popleft()
            names = [name for part in batch.parts for name in part.names]
            self._pending_names.difference_update(names)
            try:
                contributions = [self._arrived(part) for part in batch.parts]
                levels = self._levels(batch.parts, contributions)
            except ValueError:
                if self._pending:  # those behind it have their positions already
                    self.tally.seen += batch.size
                raise
            self.tally.levels = levels
            for part, numbers in zip(batch.parts, contributions, strict=True):
                self.tally.add(numbers, part.names, part.pixels, part.backend, skip_empty=self._skip_empty)
            self.tally.counts["duplicates"] += batch.size - len(names)
            self.tally.seen += batch.size

    def _arrived(self, part: Started) -> Contribution:
        """Wait for what images contribute; raise for bad values and refused empty targets."""
        numbers = part.numbers() if callable(part.numbers) else part.numbers
        if self._check:
            refuse_faults(numbers.flags, [str(name) for name in part.names])
        empty = np.flatnonzero(numbers.foreground == 0)
        if self._refuse_empty and len(empty):
            listed = ", ".join(str(part.names[image]) for image in empty)
            raise ValueError(
                f"target: expected salient pixels in every mask, got none in {listed}; "
                f"fix the masks, or choose empty_target='count' or 'skip'"
            )
        if part.pixel_values is not None:
            numbers = numbers.with_pixels(*part.pixel_values, skip_empty=self._skip_empty)
        return numbers

    def _levels(self, parts: Sequence[Started], contributions: Sequence[Contribution]) -> LevelsSeen:
        """Return the salient levels of integer targets so far; several are an error."""
        levels = LevelsSeen(kinds=dict(self.tally.levels.kinds))
        for part, numbers in zip(parts, contributions, strict=True) if self._check else ():
            for name, level in zip(part.names, numbers.flags // LEVEL, strict=True):
                if level:
                    levels.add(str(name), Levels((0, int(level))))
        levels.decide("target")
        return levels


def _duplicates_message(names: Sequence[str]) -> str:
    return (
        f"names: expected each image once, got {listing(list(names), _LISTED)} again; give every image its own name, "
        f"or count repeated ones once with duplicates='once'"
    )
