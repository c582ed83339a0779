"""Threads kept in a SQLite file. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, Final, Literal, Self

from clew.checkpoint.base import Saver
from clew.checkpoint.storage import Batch, Found, Kept, Row, ThreadRow, conflict
from clew.errors import DatabaseError
from clew.ids import stamp_of, stamped

APPLICATION_ID: Final = 0x436C6577  # "Clew" in ASCII: SQLite's own place for whose file this is
VERSION: Final = 1
_INHERITED: Final[list[sqlite3.Connection]] = []  # a parent's connections in a forked child: neither used nor closed
ROW: Final = "c.seq, c.id, c.parent, c.base, c.body"


class SqliteStorage:
    """Rows in one SQLite file, over one connection behind a lock.

    Writers of other processes are waited for up to `timeout` seconds. The connection is opened on first use, and opened anew
    in a forked child, which must not use its parent's.
    """

    def __init__(self, path: str, *, synchronous: str, timeout: float, given: sqlite3.Connection | None = None) -> None:
        self.path = path
        self._given = given
        self._synchronous = synchronous
        self._timeout = timeout
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self._closed = False

    # -- the connection ---------------------------------------------------------------------------------------------

    def open(self) -> None:
        with self._using():
            pass

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None or self._pid != os.getpid():
            if self._closed:
                raise DatabaseError(f"The saver of {self.path!r} is closed: make a new one.")
            if self._connection is not None:
                _INHERITED.append(self._connection)
            connection = self._connection = self._connect()
            if connection is self._given:
                return connection
            self._pid = os.getpid()
            # a saver that is let go without `close` closes its file; not at exit, which a forked child would do to its parent's
            weakref.finalize(self, connection.close).atexit = False
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        if self._given is not None and self._pid == os.getpid():
            self._given.isolation_level = None
            self._prepare(self._given)
            return self._given
        connection = sqlite3.connect(
            self.path,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=self.path.startswith("file:"),
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application, version = (
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        empty = not connection.execute("select 1 from sqlite_master limit 1").fetchone()
        if not empty and application != APPLICATION_ID:
            raise DatabaseError(
                f"{self.path!r} is a SQLite database of something else: Clew keeps its threads in a file of its own. "
                "Name another file."
            )
        if version > VERSION:
            raise DatabaseError(
                f"{self.path!r} was written by a newer Clew (format {version}, this one reads {VERSION}): upgrade it."
            )
        if empty:
            connection.execute("pragma journal_mode = wal")
        connection.execute(f"pragma synchronous = {self._synchronous}")
        if empty:
            self._create(connection)

    def _create(self, connection: sqlite3.Connection) -> None:
        connection.execute("begin immediate")
        with _transaction(connection):
            if not connection.execute("select 1 from sqlite_master limit 1").fetchone():  # another process may have been first
                for statement in (files("clew.checkpoint.sqlite") / "schema.sql").read_text().split(";\n"):
                    connection.execute(statement)
                connection.execute(f"pragma application_id = {APPLICATION_ID}")
                connection.execute(f"pragma user_version = {VERSION}")

    @contextmanager
    def _using(self) -> Generator[sqlite3.Connection]:
        """The connection, to this thread alone; what SQLite raises comes out as what to do about it."""
        with self._lock:
            try:
                yield self._opened()
            except sqlite3.Error as error:
                raise DatabaseError(_explained(self.path, error)) from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection not in (None, self._given) and self._pid == os.getpid():
                self._connection.close()
            self._connection = None

    # -- the verbs --------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        with self._using() as db:
            head = db.execute(
                "select t.no, t.epoch, h.no, h.seq, h.logs, (select count(*) from head where thread = t.no) from thread t "
                "left join head h on h.thread = t.no and h.ns = ? where t.name = ?",
                (ns, thread),
            ).fetchone()
            if head is None:
                return Found()
            no, epoch, number, seq, logs, spaces = head
            if number is None:
                return Found(epoch, None, spaces)
            wanted = seq if checkpoint_id is None else stamp_of(checkpoint_id)
            row = db.execute(f"select {ROW}, c.ns from checkpoint c where c.thread = ? and c.seq = ?", (no, wanted)).fetchone()
            found = Found(epoch, seq, number, logs)
            if row is None or row[5] != number or (checkpoint_id is not None and row[1] != checkpoint_id):
                return found
            return self._completed(db, no, found, Row(*row[:5]), followed=checkpoint_id is not None)

    def _completed(self, db: sqlite3.Connection, no: int, found: Found, row: Row, *, followed: bool) -> Found:
        """`found` with this row and all that belongs to it."""
        found.row = row
        others = (row.base, row.parent)
        for other in db.execute(f"select {ROW} from checkpoint c where c.thread = ? and c.seq in (?, ?)", (no, *others)):
            if other[0] == row.base:
                found.base = Row(*other)
            if other[0] == row.parent:
                found.parent_id = other[1]
        if followed:
            sql = f"select {ROW} from checkpoint c where c.thread = ? and c.seq > ? and c.parent = ? order by c.seq limit 1"
            after = db.execute(sql, (no, row.seq, row.seq)).fetchone()
            found.next = Row(*after) if after else None
        kept = db.execute("select seq, task, body from kept where thread = ? and seq = ?", (no, row.seq))
        found.kept = [Kept(*outcome) for outcome in kept]
        return found

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        with self._using() as db:
            no = db.execute("select no from thread where name = ?", (thread,)).fetchone()
            if no is None:
                return []
            found: list[bytes] = []
            for log, lo, hi in ranges:
                sql = "select data from item where thread = ? and log = ? and n >= ? and n < ? order by n"
                found += [data for (data,) in db.execute(sql, (no[0], log, lo, hi))]
            return found

    def commit(self, batch: Batch) -> int:
        with self._using() as db:
            db.execute("begin immediate")
            with _transaction(db):
                try:
                    return self._commit(db, batch)
                except sqlite3.IntegrityError as error:  # a number or a name that another run has taken
                    raise conflict(batch.thread) from error

    def _commit(self, db: sqlite3.Connection, batch: Batch) -> int:
        no, seq = self._moved(db, batch)
        if batch.items:
            db.executemany("insert into item values (?, ?, ?, ?)", [(no, *item) for item in batch.items])
        if batch.kept:
            epoch = batch.epoch + batch.claim
            db.executemany(
                "insert or replace into kept values (?, ?, ?, ?, ?)", [(no, k.seq, k.task, epoch, k.body) for k in batch.kept]
            )
        if batch.row is not None:
            _, id_, parent, base, body = batch.row
            values = (no, seq, batch.number, stamped(id_, seq), parent, base, body)
            db.execute("insert into checkpoint values (?, ?, ?, ?, ?, ?, ?)", values)
        return seq

    def _moved(self, db: sqlite3.Connection, batch: Batch) -> tuple[int, int]:
        """Moves thread and head on if they stand where the batch expects them. Returns the thread's number and the seq."""
        moves = batch.row is not None
        if batch.epoch == 0:
            no = db.execute("insert into thread (name, epoch, seq) values (?, 1, 1) returning no", (batch.thread,)).fetchone()
            found: Any = (*no, 1)
        else:
            found = db.execute(
                "update thread set epoch = epoch + ?, seq = seq + ? where name = ? and epoch = ? returning no, seq",
                (batch.claim, moves, batch.thread, batch.epoch),
            ).fetchone()
        if found is None:
            raise conflict(batch.thread)
        no, seq = found
        if batch.head is None:
            db.execute("insert into head values (?, ?, ?, ?, ?)", (no, batch.ns, batch.number, seq, batch.logs))
        else:
            seq = seq if moves else batch.head
            moved = db.execute(
                "update head set seq = ?, logs = ? where thread = ? and ns = ? and seq = ?",
                (seq, batch.logs, no, batch.ns, batch.head),
            )
            if moved.rowcount != 1:
                raise conflict(batch.thread)
        return no, seq

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        with self._using() as db:
            sql = (
                f"select t.no, t.epoch, h.seq, h.no, h.logs, {ROW} from thread t join head h on h.thread = t.no and h.ns = ? "
                "join checkpoint c on c.thread = t.no and c.ns = h.no where t.name = ? and c.seq < ? "
                "order by c.seq desc limit ?"
            )
            last = before if before is not None else 1 << 62
            rows = db.execute(sql, (ns, thread, last, limit)).fetchall()
            return [
                self._completed(db, no, Found(epoch, seq, number, logs), Row(*row), followed=True)
                for no, epoch, seq, number, logs, *row in rows
            ]

    def threads(self) -> list[ThreadRow]:
        with self._using() as db:
            sql = (
                "select t.name, (select count(*) from checkpoint c where c.thread = t.no), "
                "(select c.id from checkpoint c where c.thread = t.no and c.seq = t.seq) newest, "
                "(select coalesce(sum(length(data)), 0) from item i where i.thread = t.no) + "
                "(select coalesce(sum(length(body)), 0) from checkpoint c where c.thread = t.no) "
                "from thread t order by newest desc"
            )
            return [ThreadRow(*row) for row in db.execute(sql)]

    def drop(self, thread: str) -> None:
        with self._using() as db:
            db.execute("begin immediate")
            with _transaction(db):
                for table in ("head", "checkpoint", "item", "kept"):
                    db.execute(f"delete from {table} where thread = (select no from thread where name = ?)", (thread,))
                db.execute("delete from thread where name = ?", (thread,))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Ends the transaction that was begun: kept if all went well, else undone."""
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
        return f"{path!r} cannot be opened ({text}): does its directory exist, and may this process write there?"
    if "same thread" in text:
        return "The saver's connection belongs to one thread: make it with sqlite3.connect(…, check_same_thread=False)."
    if "locked" in text:
        return f"{path!r} stayed locked by another writer for longer than the timeout ({text}): pass a longer `timeout`."
    return f"{path!r}: {text}"


class SqliteSaver(Saver):
    """Keeps threads in a SQLite file.

    Args:
        path: the file, made where there is none; `":memory:"` for one that lives as long as this object; a `file:` URI.
            Or a connection of your own, made with `check_same_thread=False`; it is left open, and not to be used meanwhile.
        synchronous: `"full"` (default): a commit survives a power cut. `"normal"`: it survives the death of the process, and
            the last ones may be lost with the power; several times faster.
        timeout: seconds to wait for another process that is writing.

    Raises:
        DatabaseError: on first use, where the file is no database, is not Clew's, or cannot be written to.
    """

    storage: SqliteStorage

    def __init__(
        self,
        path: str | os.PathLike[str] | sqlite3.Connection,
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
    ) -> None:
        if isinstance(path, sqlite3.Connection):
            given, name = path, path.execute("pragma database_list").fetchone()[2] or ":memory:"
        else:
            given, name = None, os.fspath(path)
        super().__init__(SqliteStorage(name, synchronous=synchronous, timeout=timeout, given=given))

    @classmethod
    def from_conn_string(cls, conn_string: str) -> Self:
        """A saver of this file, to be used as `with SqliteSaver.from_conn_string("chat.db") as saver:` (or `async with`)."""
        return cls(conn_string)

    def setup(self) -> None:
        """Opens the file and makes the tables where they are missing. Done by itself on first use."""
        self.storage.open()


AsyncSqliteSaver = SqliteSaver
