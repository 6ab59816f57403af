"""Being asked to stop: by Ctrl-C, or by a signal that launchers, schedulers and ``timeout`` send."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextmanager
def stoppable() -> Iterator[None]:
    """Treat being asked to end (SIGTERM) like Ctrl-C, unless the program has its own way with that."""
    if not _has_signals() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM do nothing: who stops a run twice, as launchers may, would lose what the first saves."""
    known = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not None]
    if not _has_signals():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_signals() -> bool:
    """Whether this is the thread that Python hands signals to."""
    return threading.current_thread() is threading.main_thread()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
