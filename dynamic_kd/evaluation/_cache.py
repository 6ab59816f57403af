"""Measured images, kept in one SQLite file that processes share and a killed one leaves whole."""

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

from dynamic_kd._version import __version__
from dynamic_kd.data._images import file_content

# Of the tables here and of what a key stands for; to be raised when either changes.
FORMAT = 3
_PATIENCE = 60.0  # seconds to wait for another process
# A file changed more recently than this may change again without its time of change moving on: time stamps are coarse.
_GRAIN = 50_000_000  # nanoseconds
_RECORDS = f"records_{FORMAT}"  # a file may hold those of another format, whose columns are others
_TABLES = f"""
CREATE TABLE IF NOT EXISTS {_RECORDS} (key BLOB PRIMARY KEY, marks TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL,
     digest BLOB NOT NULL);
"""


class CachedRecord(NamedTuple):
    """What is kept of a map and its mask: the bytes of their `Records`, and their marks."""

    record: bytes
    marks: tuple[str, ...]


class RecordCache:
    """A file of measured images, looked up by the content of map and mask and by the settings that matter.

    Every record is written in a transaction of its own, so that an image once measured stays measured whatever
    happens to the process. Threads may share an object, and processes the file.

    Parameters
    ----------
    path
        The file; it and its folder are made if need be.
    settings
        What else the records depend on.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        # A release may mend what is measured, and another release of a decoder may decode otherwise.
        about = {"format": FORMAT, "version": __version__, **settings}
        self._salt = json.dumps(about, sort_keys=True).encode()
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
        """Make the tables. Processes that start together take turns: SQLite does not always wait by itself here."""
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
        """Key of a pair of files, given by their digests."""
        return hashlib.blake2b(pred + target + self._salt, digest_size=20).digest()

    def find(self, key: bytes) -> CachedRecord | None:
        """Return what is kept under a key, if anything is."""
        row = self._run(f"SELECT record, marks FROM {_RECORDS} WHERE key = ?", key)
        return None if row is None else CachedRecord(row[0], tuple(row[1].split()))

    def store(self, key: bytes, found: CachedRecord) -> None:
        """Keep a record for good; it is on its way to the disk when this returns."""
        sql = f"INSERT OR REPLACE INTO {_RECORDS} (key, record, marks) VALUES (?, ?, ?)"
        self._run(sql, key, found.record, " ".join(found.marks))

    def known_digest(self, path: Path, status: os.stat_result) -> bytes | None:
        """Return the digest of a file's content if it was read before and has not been touched since."""
        sql = "SELECT digest FROM files WHERE path = ? AND size = ? AND modified = ? AND changed = ?"
        row = self._run(sql, *_identity(path, status))
        return None if row is None else bytes(row[0])

    def remember_digest(self, path: Path, status: os.stat_result, digest: bytes) -> None:
        """Keep the digest of a file's content, unless the file is too fresh to be told from its next version."""
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
        """Say of SQLite's errors which file they are about, and what helps."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind = type(error)
            damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
            fix = "remove it, its images will be measured again" if damaged else "choose another place for the cache"
            raise OSError(
                f"{self.path}: expected a cache to read and write, got {kind.__name__}: {error}; {fix}"
            ) from None


class HashedFile:
    """A file whose content is read only if its digest, or its content, is asked for and not known yet."""

    def __init__(self, path: Path, cache: RecordCache) -> None:
        self.path = path
        self._cache = cache
        self._content: bytes | None = None
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Digest of the content, remembered if size and times of the file are those it had when it was read."""
        if self._digest is None:
            with suppress(FileNotFoundError):  # `content` says so
                self._digest = self._cache.known_digest(self.path, self.path.stat())
        if self._digest is None:
            _ = self.content
        assert self._digest is not None
        return self._digest

    @property
    def content(self) -> bytes:
        """The content; the digest is from here on that of these very bytes."""
        if self._content is None:
            status = self.path.stat() if self.path.exists() else None  # before: a change while reading shows next time
            self._content = file_content(self.path)
            self._digest = hashlib.blake2b(self._content, digest_size=20).digest()
            if status is not None:
                self._cache.remember_digest(self.path, status, self._digest)
        return self._content


def _identity(path: Path, status: os.stat_result) -> tuple[object, ...]:
    return os.fsencode(path.absolute()), status.st_size, status.st_mtime_ns, status.st_ctime_ns
