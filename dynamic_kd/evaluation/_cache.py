"""Records of measured images in one SQLite file, which processes can share and a killed process leaves intact."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from dynamic_kd._files import read_whole
from dynamic_kd._version import __version__
from dynamic_kd.metrics import Records

_PATIENCE = 60.0  # seconds to wait for another process
# Time stamps are coarse: a file that changed more recently than this may change again with the same time stamp.
_GRAIN = 50_000_000  # nanoseconds
_TABLES = """
CREATE TABLE IF NOT EXISTS records (key BLOB PRIMARY KEY, marks TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL,
     digest BLOB NOT NULL);
"""


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
        """Create the tables. Processes that start together take turns; SQLite does not always wait by itself here."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                self._database.execute("PRAGMA synchronous = NORMAL")
                self._database.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def key(self, pred: bytes, target: bytes) -> bytes:
        """Return the key of a pair of files, given by their digests."""
        return hashlib.blake2b(pred + target + self._salt, digest_size=20).digest()

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

    def known_digest(self, path: Path, status: os.stat_result) -> bytes | None:
        """Return the digest of a file's content if it was read before and has not changed since."""
        sql = "SELECT digest FROM files WHERE path = ? AND size = ? AND modified = ? AND changed = ?"
        row = self._run(sql, *_identity(path, status))
        return None if row is None else bytes(row[0])

    def remember_digest(self, path: Path, status: os.stat_result, digest: bytes) -> None:
        """Store the digest of a file's content, unless its time stamp is too recent to tell it from a next version."""
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _GRAIN:
            return
        sql = "INSERT OR REPLACE INTO files (path, size, modified, changed, digest) VALUES (?, ?, ?, ?, ?)"
        self._run(sql, *_identity(path, status), digest)

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


class HashedFile:
    """A file that is read only when its content is needed, or its digest, and the cache does not know the latter."""

    def __init__(self, path: Path, cache: RecordCache | None) -> None:
        self.path = path
        self._cache = cache
        self._content: bytes | None = None
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Digest of the content: the stored one if size and times of the file are those it had when it was read."""
        if self._digest is None and self._cache is not None:
            with suppress(FileNotFoundError):  # `content` raises the error to report
                self._digest = self._cache.known_digest(self.path, self.path.stat())
        if self._digest is None:
            _ = self.content
        assert self._digest is not None
        return self._digest

    @property
    def content(self) -> bytes:
        """The content; with a cache, the digest is from now on that of these bytes."""
        if self._content is None:
            # Before reading, so that a change meanwhile is seen the next time.
            status = self.path.stat() if self._cache is not None and self.path.exists() else None
            self._content = read_whole(self.path, "an image file")
            if self._cache is not None:
                self._digest = hashlib.blake2b(self._content, digest_size=20).digest()
                if status is not None:
                    self._cache.remember_digest(self.path, status, self._digest)
        return self._content


def _identity(path: Path, status: os.stat_result) -> tuple[object, ...]:
    return os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns
