"""Errors that end all processes of a run in order, where one alone would leave the others waiting for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from accelerate import Accelerator


class ElsewhereError(ValueError):
    """What another process has raised, which tells of it."""


@contextmanager
def everywhere(accelerator: Accelerator) -> Iterator[None]:
    """Let an error of one process end all of them: the first that has one raises it, the others `ElsewhereError`.

    What is done inside must not wait for other processes, and comes to its end when all have.
    """
    if accelerator.num_processes == 1:
        yield
        return
    from accelerate.utils import gather_object

    own: Exception | None = None
    try:
        yield
    except Exception as error:
        own = error
    said = gather_object([None if own is None else str(own)])
    first = next((process for process, text in enumerate(said) if text is not None), None)
    if first is None:
        return
    if own is not None and first == accelerator.process_index:
        raise own
    raise ElsewhereError(f"process {first}: {said[first]}")
