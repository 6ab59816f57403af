"""Images as they come to an accumulator: those that are kept, and batches still on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dynamic_kd.metrics._names import checked_names, duplicates_message
from dynamic_kd.metrics._scoring import Batch, Part, waited
from dynamic_kd.metrics._tally import Tally

# Batches on the GPU that may be on their way before another one waits for the oldest.
BACKLOG = 8


class Stream:
    """A tally, and the batches on their way to it, of which each is kept as a whole or not at all.

    ``empty_target`` and ``duplicates`` are those of `SODMetrics`; with ``check``, bad values are refused.
    """

    def __init__(self, tally: Tally, *, empty_target: str, duplicates: str, check: bool) -> None:
        self.tally = tally
        self._empty_target, self._duplicates, self._check = empty_target, duplicates, check
        self._pending: deque[Batch] = deque()
        self._on_their_way: set[str | int] = set()
        self._unfinished = False

    def __getstate__(self) -> dict[str, Any]:
        self.settle()
        return self.__dict__.copy()

    @property
    def pending(self) -> int:
        """Images on their way."""
        return sum(batch.size for batch in self._pending)

    def checked_names(self, names: Iterable[str] | None, size: int) -> list[str | int]:
        """Return the names of the next images, or their positions in the stream."""
        listed = checked_names(names, size)
        if listed is not None:
            return [*listed]
        first = self.tally.seen + self.pending
        return [first + image for image in range(size)]

    def fresh(self, names: Sequence[str | int]) -> list[bool]:
        """Whether each image is seen for the first time; refuses those that are not, unless they count once."""
        if all(isinstance(name, int) for name in names):
            return [True] * len(names)
        first = {name: image for image, name in reversed(list(enumerate(names)))}
        fresh = [
            first[name] == image and not self.tally.knows(name) and name not in self._on_their_way
            for image, name in enumerate(names)
        ]
        again = [str(name) for name, new in zip(names, fresh, strict=True) if not new]
        if again and self._duplicates == "refuse":
            raise ValueError(duplicates_message(again))
        return fresh

    def queue(self, parts: Sequence[Part], size: int) -> None:
        """Line up the parts of a batch of ``size`` images; keep it at once unless a GPU is still at it."""
        with self._change():
            self._on_their_way.update(name for part in parts for name in part.names)
            self._pending.append(Batch(parts, size))
            self._keep_pending(BACKLOG if any(part.deferred for part in parts) else 0)

    def settle(self) -> None:
        """Keep the numbers of all batches on their way."""
        if self._pending or self._unfinished:
            with self._change():
                self._keep_pending(0)

    def merge(self, other: Stream) -> None:
        """Add what another stream has seen."""
        self.settle()
        other.settle()
        shared = self.tally.shared(other.tally)
        if shared and self._duplicates == "refuse":
            raise ValueError(duplicates_message(sorted(shared)))
        with self._change():
            self.tally.merge(other.tally, without=shared)

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
        """Keep the numbers of the batches on their way but the newest ``backlog``."""
        while len(self._pending) > backlog:
            batch = self._pending.popleft()
            names = [name for part in batch.parts for name in part.names]
            self._on_their_way.difference_update(names)
            refuse, skip = self._empty_target == "refuse", self._empty_target == "skip"
            try:
                numbers = [waited(part, check=self._check, refuse_empty=refuse) for part in batch.parts]
            except ValueError:
                if self._pending:  # those behind it have their positions already
                    self.tally.seen += batch.size
                raise
            for part, each in zip(batch.parts, numbers, strict=True):
                self.tally.add(each, part.names, part.pixels, part.backend, skip_empty=skip)
            self.tally.counts["duplicates"] += batch.size - len(names)
            self.tally.seen += batch.size
