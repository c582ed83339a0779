"""A SQLite file that Clew keeps something in: opened, made, shared with other processes and with forked children.

Here is also what is said where that fails. What a file holds is the business of the backend above.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple, TypeAlias

from clew.errors import DatabaseError

WHOLE: Final = ("begin immediate", "commit", ("rollback",))
PART: Final = ("savepoint part", "release part", ("rollback to part", "release part"))
"""How a transaction, and a part of one, begins, ends, and is undone."""
_INHERITED: Final[list[sqlite3.Connection]] = []  # a parent's connections in a forked child: neither used nor closed


Source: TypeAlias = str | os.PathLike[str] | sqlite3.Connection
"""Where a file is, or a connection to it."""


class Kind(NamedTuple):
    """What a backend's files are; the last three end a message with what to do.

    Attributes:
        name: of what holds the file, in messages.
        application: four bytes in SQLite's own place for whose file this is.
        migrations: statements that make the tables, and then those that change them, one after the other; a file's format is
            how many of these have been run.
        newer: where the file's format is newer than that.
        unopened: where the file cannot be opened.
        locked: where another process does not let go of it.
        aggregates: classes that migrations use as aggregate functions, by their names.
    """

    name: str
    application: int
    migrations: tuple[tuple[str, ...], ...]
    newer: str
    unopened: str
    locked: str
    aggregates: Mapping[str, type] = MappingProxyType({})


class SqliteFile:
    """One connection behind a lock, opened on first use, and opened anew in a forked child, which must not use its parent's.

    Args:
        source: its path, or a connection, which is used and left open. timeout: seconds for which writers of other processes
            are waited for.

    Raises:
        TypeError: `source` is neither.
    """

    def __init__(self, source: Source, kind: Kind, *, synchronous: str, timeout: float) -> None:
        self._given = source if isinstance(source, sqlite3.Connection) else None
        self.path = _path_of(source, kind)
        self.kind = kind
        self._synchronous = synchronous
        self._timeout = timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False
        self._grouped = self._begun = False  # whether this thread's writes are committed together, and any is to be
        self._name = ""  # of the file, as SQLite sees it: absolute, and empty for one in memory
        self._known: tuple[int, int] | None = None  # where the connection's file is

    @contextmanager
    def using(self) -> Generator[sqlite3.Connection]:
        """The connection, to this thread alone; what SQLite raises comes out as what to do about it."""
        with self._lock:
            try:
                yield self._opened()
            except sqlite3.Error as error:
                raise DatabaseError(self._explained(str(error))) from error

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """`using`, in a transaction: all that is done inside, or nothing of it. Other writers are waited for."""
        with self._lock:
            try:
                connection = self._opened()
                with Transaction(connection, self._part(connection) if self._grouped else WHOLE):
                    yield connection
            except sqlite3.Error as error:
                raise DatabaseError(self._explained(str(error))) from error

    @contextmanager
    def together(self) -> Generator[None]:
        """Holds the file. What this thread writes meanwhile, each whole or not at all, is committed when it is let go.

        Raises:
            DatabaseError: nothing of it could be committed.
        """
        with self._lock:
            self._grouped, self._begun = True, False
            try:
                yield
                if self._begun:
                    with self.using() as connection:
                        connection.execute("commit")
            finally:
                if self._begun and self._connection is not None and self._connection.in_transaction:
                    self._connection.execute("rollback")
                self._grouped = self._begun = False

    def _part(self, connection: sqlite3.Connection) -> tuple[str, str, tuple[str, ...]]:
        """How one of those that are committed together begins and ends; the first begins what they are in."""
        if not self._begun:
            connection.execute("begin immediate")
            self._begun = True
        elif not connection.in_transaction:
            raise sqlite3.OperationalError("what was to be committed with it was rolled back")
        return PART

    @contextmanager
    def raw(self) -> Generator[sqlite3.Connection]:
        """`using`, with what SQLite raises as it is."""
        with self._lock:
            yield self._opened()

    def close(self) -> None:
        with self._lock:
            self._forked()
            self._closed = True
            if self._connection not in (None, self._given):
                self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        self._forked()
        if self._connection not in (None, self._given) and not self._begun and self._place() != self._known:
            self._connection.close()  # deleted or replaced, the file would take what is written and never be read again
            self._connection = None
        if self._connection is None:
            if self._closed:
                raise DatabaseError(f"The {self.kind.name} of {self.path!r} is closed: make a new one.")
            self._connection = self._connect()
        return self._connection

    def _forked(self) -> None:
        """In a forked child, leaves the connection to the parent."""
        if self._pid != os.getpid():
            _INHERITED.extend(connection for connection in (self._connection, self._given) if connection is not None)
            self._connection = self._given = None
            self._pid = os.getpid()

    def _place(self) -> tuple[int, int] | None:
        """Which file is there under the name now; None where there is none, or where it lives in memory."""
        try:
            found = os.stat(self._name)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        if self._given is not None:
            self._given.isolation_level = None
            self._prepare(self._given)
            return self._given
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False, uri=self.path.startswith("file:")
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._name = connection.execute("pragma database_list").fetchone()[2]
        self._known = self._place()
        # let go without `close`, it closes its file; not at exit, when daemon threads may still be in it
        weakref.finalize(self, _let_go, connection, self._pid).atexit = False
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        kind = self.kind
        if not _asked(connection, "select count(*) from sqlite_master"):
            self._make(connection)
        # after the tables: these are written with them, so that whoever sees tables sees whose they are
        application, version = (_asked(connection, f"pragma {name}") for name in ("application_id", "user_version"))
        if application != kind.application:
            raise DatabaseError(
                f"{self.path!r} is a SQLite database of something else: a {kind.name} has a file of its own. Name another file."
            )
        newest = len(kind.migrations)
        if version > newest:
            raise DatabaseError(
                f"{self.path!r} was written by a newer Clew (format {version}, this one reads {newest}): {kind.newer}"
            )
        if version < newest:
            self._migrate(connection)
        connection.execute(f"pragma synchronous = {self._synchronous}")

    def _make(self, connection: sqlite3.Connection) -> None:
        try:  # before the tables: readers then read while another process writes, in every file that has any
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            # this one does not wait: another process is making the file too, and the transaction waits until it has the mode
        with Transaction(connection):
            if not _asked(connection, "select count(*) from sqlite_master"):  # another process may have been first
                connection.execute(f"pragma application_id = {self.kind.application}")
                self._migrated(connection)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        with Transaction(connection):
            self._migrated(connection)

    def _migrated(self, connection: sqlite3.Connection) -> None:
        if (encoding := _asked(connection, "pragma encoding")) != "UTF-8":  # where bytes are put together, others get lost
            raise DatabaseError(f"{self.path!r} is in {encoding}: a {self.kind.name} needs a file in UTF-8. Name another file.")
        for name, kind in self.kind.aggregates.items():
            connection.create_aggregate(name, -1, kind)
        for migration in self.kind.migrations[_asked(connection, "pragma user_version") :]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"pragma user_version = {len(self.kind.migrations)}")

    def _explained(self, text: str) -> str:
        path, kind = self.path, self.kind
        if "not a database" in text:
            return f"{path!r} is not a SQLite database: name another file, or move this one out of the way."
        if "readonly" in text or "read-only" in text:
            return f"{path!r} cannot be written to ({text}): check the permissions of the file and of its directory."
        if os.path.isdir(path):
            return f"{path!r} cannot be opened (it is a directory): name a file in a directory that exists."
        if "unable to open" in text:
            return f"{path!r} cannot be opened ({text}): {kind.unopened}"
        if "same thread" in text:
            made = "sqlite3.connect(…, check_same_thread=False)"
            return f"The {kind.name}'s connection belongs to one thread: make it with {made}."
        if "locked" in text:
            return f"{path!r} stayed locked by another writer for longer than the timeout ({text}): {kind.locked}"
        return f"{path!r} cannot be used ({text})."


class Transaction:
    """All that is done inside, or nothing of it. Other writers are waited for. Every commit goes through it: a generator would
    take longer than most of its statements."""

    __slots__ = ("_connection", "_how")

    def __init__(self, connection: sqlite3.Connection, how: tuple[str, str, tuple[str, ...]] = WHOLE) -> None:
        self._connection, self._how = connection, how

    def __enter__(self) -> None:
        self._connection.execute(self._how[0])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        done = False
        try:
            if kind is None:
                self._connection.execute(self._how[1])
                done = True
        finally:
            if not done and self._connection.in_transaction:
                for statement in self._how[2]:
                    self._connection.execute(statement)


def _path_of(source: Source, kind: Kind) -> str:
    if isinstance(source, sqlite3.Connection):
        return source.execute("pragma database_list").fetchone()[2] or ":memory:"
    try:
        return os.fspath(source)
    except TypeError:  # such as a connection of aiosqlite's, which only its own thread may use
        typed = f"Sqlite{kind.name.capitalize()}('chat.db')"
        raise TypeError(f"expected a path, as in `{typed}`, or a connection of sqlite3, got {source!r}.") from None


def _let_go(connection: sqlite3.Connection, pid: int) -> None:
    if pid == os.getpid():
        connection.close()
    else:
        _INHERITED.append(connection)


def _asked(connection: sqlite3.Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()[0]
