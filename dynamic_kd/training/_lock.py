"""One process at a time at work in a folder."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK = ".lock"


@contextmanager
def alone(folder: Path, work: str) -> Iterator[int | None]:
    """Hold a folder, which is made if there is none; left empty, what was made goes again.

    The system lets go of it when the process ends, however it ends.

    Parameters
    ----------
    folder : Path
        The folder.
    work : str
        What is done there, for the message.

    Yields
    ------
    int or None
        The descriptor to hand to processes that hold the folder too; None where the system or the file system has no
        such locks.

    Raises
    ------
    ValueError
        If it is a file, or another process holds it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: expected a folder, got a file; name another")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = _locked(folder, work)
    try:
        yield None if file is None else file.fileno()
    finally:
        if file is not None:
            (folder / LOCK).unlink(missing_ok=True)
            file.close()
        for path in made:
            with suppress(OSError):  # it is not empty
                path.rmdir()


def _locked(folder: Path, work: str) -> IO[str] | None:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return None
    while True:
        file = (folder / LOCK).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ValueError(
                f"{folder}: expected no other process that {work} there, got one; wait for it, or stop it"
            ) from None
        except OSError:  # nor have some file systems of clusters
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(folder / LOCK)):
                return file
        file.close()  # the one who held it has removed it since it was opened
