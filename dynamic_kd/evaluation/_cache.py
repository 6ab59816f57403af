"""Records of measured images in one SQLite file, which processes can share and a killed process leaves intact."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from dynamic_kd._version import __version__
from dynamic_kd.metrics import Records

_PATIENCE = 60.0  # seconds to wait for another process
_TABLE = "CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, marks TEXT NOT NULL, record BLOB NOT NULL)"


class CachedRecord(NamedTuple):
    """The bytes of the `Records` of a map and its mask, and their marks."""

    record: bytes
    marks: tuple[str, ...]


class RecordCache:
    """A file of records, found by the content of map and mask and by the settings that the records depend on.

    Every record is written in its own transaction, so that it survives whatever happens to the process. Threads may
    share an object, and processes the file.

    Parameters
    ----------
    path
        The file. It and its folder are created if they do not exist.
    settings
        What else the records depend on.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        # Another release of this package may measure otherwise, and another release of a decoder may decode otherwise.
        self._salt = json.dumps({"version": __version__, **settings}, sort_keys=True).encode()
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _prepare(self) -> None:
        """Create the table. Processes that start together take turns; SQLite does not always wait by itself here."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.execute(_TABLE)
                return
            except sqlite3.OperationalError as error:
                waits = error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if not waits or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def key(self, pred: bytes, target: bytes, top: int | None = None) -> bytes:
        """Return the key of a pair of files, given by their digests and by what stands for 1 in the first."""
        return digest(pred + target + (b"" if top is None else f"{top}".encode()) + self._salt)

    def find(self, key: bytes) -> CachedRecord | None:
        """Return the record under a key, if there is one."""
        row = self._run("SELECT record, marks FROM records WHERE key = ?", key)
        return None if row is None else CachedRecord(row[0], tuple(row[1].split()))

    def load(self, key: bytes) -> Records:
        """Return the records under a key that exists."""
        found = self.find(key)
        assert found is not None, "records are stored before they are loaded, and never deleted"
        return Records.from_bytes(found.record)

    def store(self, key: bytes, found: CachedRecord) -> None:
        """Store a record; it is committed when this returns."""
        sql = "INSERT OR REPLACE INTO records (key, record, marks) VALUES (?, ?, ?)"
        self._run(sql, key, found.record, " ".join(found.marks))

    def _run(self, sql: str, *values: object) -> tuple[Any, ...] | None:
        with self._lock, self._explained():
            row: tuple[Any, ...] | None = self._database.execute(sql, values).fetchone()
            return row

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Add to errors of SQLite which file they are about, and what to do."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = type(error)
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            fix = (
                "remove the file; its images will be measured again"
                if damaged
                else "choose another place for the cache"
            )
            raise OSError(f"{self.path}: cannot use the cache: {kind.__name__}: {error}; {fix}") from None


def digest(content: bytes) -> bytes:
    """Return the digest of a file's content."""
    return hashlib.blake2b(content, digest_size=20).digest()
