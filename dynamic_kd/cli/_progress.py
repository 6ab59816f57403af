"""Bars of long work, for whoever watches; in a log, a line for each step that is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require

if TYPE_CHECKING:
    from rich.console import Console

# Seconds between the lines of one step.
_PAUSE = 60

Progress = Callable[[str, int, int], None]
"""Takes the name of a step, how much of it is done, and how much there is."""


def progress_bar(*columns: Any, transient: bool, shown: bool = True) -> Any:
    """Return rich's progress on standard error; where nobody watches it, nothing is drawn."""
    require("rich", extra="eval")
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    drawn = shown and console.is_terminal
    console.is_interactive |= not drawn  # or else rich before 14.3 ends even what it has not drawn with a line
    return Progress(*columns, console=console, transient=transient, disable=not drawn)


@contextmanager
def one_bar() -> Iterator[Progress]:
    """Show one bar, whose words are those of the step, that is gone when the work is."""
    require("rich", extra="eval")
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


@contextmanager
def bars(*, shown: bool = True) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """Show a bar for each step, which stay, and notes above them; in a log, lines on standard error.

    Parameters
    ----------
    shown : bool
        Whether to show anything; of several processes, one does.
    """
    require("rich", extra="eval")
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with progress_bar(*columns, transient=False, shown=shown) as bar:
        yield (_bars(bar) if bar.console.is_terminal else _lines(shown)), _notes(bar.console, shown)


def _bars(bar: Any) -> Progress:
    tasks: dict[str, Any] = {}

    def progress(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = bar.add_task(step, total=total)
        bar.update(tasks[step], completed=done)

    return progress


def _lines(shown: bool) -> Progress:
    """Return what prints a line when a step is done, and every minute; steps may be of several threads."""
    started: dict[str, float] = {}
    said: dict[str, float] = {}
    lock = Lock()

    def progress(step: str, done: int, total: int) -> None:
        with lock:
            now = time.monotonic()
            begin = started.setdefault(step, now)
            if shown and (done == total or now - said.get(step, begin) >= _PAUSE):
                said[step] = now
                print(f"{step}: {done}/{total}, {now - begin:.0f} s", file=sys.stderr, flush=True)

    return progress


def _notes(console: Console, shown: bool) -> Callable[[str], None]:
    def note(text: str) -> None:
        if shown:
            console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    return note
