"""Printing: sentences, tables, lists of names, and the progress of long work."""

from __future__ import annotations

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from dynamic_kd._extras import require
from dynamic_kd._tables import Table

if TYPE_CHECKING:
    from rich.console import Console

# Signs that a terminal without Unicode cannot show.
_ASCII = str.maketrans({"↑": "", "↓": "", "†": "*", "±": "+-", "\u00a0": " ", "…": "..."})
# Seconds between two lines about one step in a log.
_PAUSE = 60

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done, and how much there is."""


def terminal(*, soft_wrap: bool = False) -> Console:
    """Return rich's console on standard output, which prints text as it is."""
    require("rich", extra="eval")
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            """Leave a closed pipe to `main`; rich would exit with another status."""
            raise BrokenPipeError

    return Terminal(highlight=False, markup=False, soft_wrap=soft_wrap)


def print_text(text: str, *, style: str | None = None) -> None:
    """Print sentences, wrapped to the terminal's width."""
    console = terminal()
    console.print(_shown(text, console), style=style)


def print_table(table: Table) -> None:
    """Print a table, in as many parts as the terminal's width requires, with its best values marked."""
    from rich.text import Text

    console = terminal(soft_wrap=True)
    console.print(Text.from_ansi(_shown(table.to_text(console.width, styled=True), console)))


def _shown(text: str, console: Console) -> str:
    """Return a text with the signs that the terminal can show; others become question marks."""
    encoding = console.encoding
    return text if encoding.startswith("utf") else text.translate(_ASCII).encode(encoding, "replace").decode(encoding)


def print_listing(described: Mapping[str, str]) -> None:
    """Print one line for each name; on a terminal, long descriptions continue below their beginning."""
    indent = max(map(len, described)) + 2
    width = max(shutil.get_terminal_size().columns, indent + 20) if sys.stdout.isatty() else sys.maxsize
    for name, text in described.items():
        print(textwrap.fill(f"{name:<{indent}}{text}", width, subsequent_indent=" " * indent))


def progress_bar(*columns: Any, transient: bool, shown: bool = True) -> Any:
    """Return rich's progress on standard error; outside a terminal nothing is drawn."""
    require("rich", extra="eval")
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    drawn = shown and console.is_terminal
    console.is_interactive |= not drawn  # before version 14.3, rich ends even a bar that is not drawn with a line
    return Progress(*columns, console=console, transient=transient, disable=not drawn)


@contextmanager
def one_bar() -> Iterator[Progress]:
    """Show one bar, labelled with the current step, that disappears when the work is done."""
    require("rich", extra="eval")
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


@contextmanager
def bars(*, shown: bool = True) -> Iterator[tuple[Progress, Callable[[str], None]]]:
    """Show one bar for each step, all of which stay, and notes above them; in a log, print lines on standard error.

    Parameters
    ----------
    shown : bool
        Whether to show anything. Among several processes, one does.
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
        yield (_drawn_progress(bar) if bar.console.is_terminal else _logged_progress(shown)), _notes(bar.console, shown)


def _drawn_progress(bar: Any) -> Progress:
    tasks: dict[str, Any] = {}

    def progress(step: str, done: int, total: int) -> None:
        if step not in tasks:
            tasks[step] = bar.add_task(step, total=total)
        bar.update(tasks[step], completed=done)

    return progress


def _logged_progress(shown: bool) -> Progress:
    """Print a line when a step is done, and every minute; several threads may report steps."""
    started: dict[str, float] = {}
    printed: dict[str, float] = {}
    lock = Lock()

    def progress(step: str, done: int, total: int) -> None:
        with lock:
            now = time.monotonic()
            begin = started.setdefault(step, now)
            if shown and (done == total or now - printed.get(step, begin) >= _PAUSE):
                printed[step] = now
                print(f"{step}: {done}/{total}, {now - begin:.0f} s", file=sys.stderr, flush=True)

    return progress


def _notes(console: Console, shown: bool) -> Callable[[str], None]:
    def note(text: str) -> None:
        if shown:
            console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    return note
