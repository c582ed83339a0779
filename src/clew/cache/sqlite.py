"""Values cached in a SQLite file of their own. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from clew.cache.base import BaseCache, Entry, FullKey, Namespace, ValueT
from clew.checkpoint.codec import encode
from clew.errors import DatabaseError

APPLICATION_ID: Final = 0x436C6563  # "Clec" in ASCII: SQLite's own place for whose file this is
VERSION: Final = 1
TIMEOUT: Final = 5.0  # seconds to wait for another process that is writing; after that making the value anew is the better wait
BATCH: Final = 64
_INHERITED: Final[list[sqlite3.Connection]] = []  # a parent's connections in a forked child: neither used nor closed

# Names are stored encoded: two namespaces are never written alike, and any text can be part of one.
SCHEMA: Final = (
    "create table entry (ns blob not null, key blob not null, expires integer, value blob not null)",
    "create unique index entry_place on entry (ns, key)",
    "create index entry_expires on entry (expires) where expires is not null",
    f"pragma application_id = {APPLICATION_ID}",
    f"pragma user_version = {VERSION}",
)


class SqliteCache(BaseCache[ValueT]):
    """Caches in a SQLite file, over one connection behind a lock; a forked child opens its own.

    Expired values are deleted as new ones are written, some with each write. A power cut may lose the last writes.

    Args:
        path: the file, made where there is none; it holds the cache and nothing else. `":memory:"` for one that lives as long
            as this object.

    Raises:
        DatabaseError: the file is no database, is not Clew's, or cannot be opened.
    """

    failures = (sqlite3.Error,)

    def __init__(self, *, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"SqliteCache takes a path, got {path!r}: write it as in SqliteCache(path='cache.db').")
        self.path = os.fspath(path)
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False
        try:
            self._opened()
        except sqlite3.Error as error:
            raise DatabaseError(_explained(self.path, error)) from error

    # -- the connection ---------------------------------------------------------------------------------------------

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._closed:
                raise DatabaseError(f"The cache of {self.path!r} is closed: make a new one.")
            if self._connection is not None:
                _INHERITED.append(self._connection)
            connection = self._connection = self._connect()
            self._pid = os.getpid()
            # let go without `close`, it closes its file; not at exit, which a forked child would do to its parent's
            weakref.finalize(self, connection.close).atexit = False
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False, uri=self.path.startswith("file:")
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # first of all: a file that has tables has its id too, whereas an id that was read first may be older than the tables
        empty = not _asked(connection, "select count(*) from sqlite_master")
        application, version = (_asked(connection, f"pragma {name}") for name in ("application_id", "user_version"))
        if not empty and application != APPLICATION_ID:
            raise DatabaseError(
                f"{self.path!r} is a SQLite database of something else: a cache is kept in a file of its own. Name another."
            )
        if version > VERSION:
            raise DatabaseError(
                f"{self.path!r} was written by a newer Clew (format {version}, this one reads {VERSION}): upgrade it, "
                "or delete the file, which is only a cache."
            )
        if empty:
            with _transaction(connection):
                if not _asked(connection, "select count(*) from sqlite_master"):  # another process may have been first
                    for statement in SCHEMA:
                        connection.execute(statement)
        _make_wal(connection)
        connection.execute("pragma synchronous = normal")

    @contextmanager
    def _using(self) -> Generator[sqlite3.Connection]:
        """The connection, to this thread alone."""
        with self._lock:
            yield self._opened()

    def close(self) -> None:
        """Closes the file. The cache cannot be used after."""
        with self._lock:
            self._closed = True
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- the verbs --------------------------------------------------------------------------------------------------

    def _get(self, keys: Sequence[FullKey]) -> dict[FullKey, bytes]:
        sql = "select value from entry where ns = ? and key = ? and (expires is null or expires > ?)"
        now = _now()
        with self._using() as db:
            rows = {key: db.execute(sql, (*_place(key), now)).fetchone() for key in keys}
        # whatever another program wrote into the column comes out as bytes, and those do not bear the checksum
        return {key: row[0] if type(row[0]) is bytes else b"" for key, row in rows.items() if row is not None}

    def _set(self, entries: Mapping[FullKey, Entry]) -> None:
        now = _now()
        rows = [(*_place(key), None if lives is None else now + lives, data) for key, (data, lives) in entries.items()]
        with self._using() as db, _transaction(db):
            db.executemany("insert or replace into entry (ns, key, expires, value) values (?, ?, ?, ?)", rows)
            # more than are written, so that what expired cannot heap up; never all at once, which would hold up whoever writes
            batch = max(BATCH, 2 * len(rows))
            old = "select rowid from entry where expires <= ? order by expires limit ?"
            db.execute(f"delete from entry where rowid in ({old})", (now, batch))

    def _clear(self, namespaces: Sequence[Namespace] | None) -> None:
        with self._using() as db, _transaction(db):
            if namespaces is None:
                db.execute("delete from entry")
            else:
                db.executemany("delete from entry where ns = ?", [(encode(list(ns)),) for ns in namespaces])


def _now() -> int:
    """Milliseconds by the machine's clock, which the processes on one file have in common."""
    return time.time_ns() // 1_000_000


def _place(key: FullKey) -> tuple[bytes, bytes]:
    return encode(list(key[0])), encode(key[1])


def _asked(connection: sqlite3.Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]


def _make_wal(connection: sqlite3.Connection) -> None:
    """Lets readers read while another process writes. The mode is the file's: once it is set, this asks for nothing."""
    try:
        connection.execute("pragma journal_mode = wal")
    except sqlite3.OperationalError as error:  # another process is at work in the file, and sets it too, or the next one will
        if "locked" not in str(error):
            raise


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All that is done inside, or nothing of it."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _explained(path: str, error: sqlite3.Error) -> str:
    text = str(error)
    if "not a database" in text:
        return f"{path!r} is not a SQLite database: name another file, or move this one out of the way."
    if "readonly" in text or "read-only" in text:
        return f"{path!r} cannot be written to ({text}): check the permissions of the file and of its directory."
    if "unable to open" in text:
        return f"{path!r} cannot be opened ({text}): name a file in a directory that exists and that this process may write to."
    return f"{path!r} cannot be used as a cache ({text}): name another file."
