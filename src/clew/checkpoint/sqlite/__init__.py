"""Threads kept in a SQLite file. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from clew.awaited import Done
from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.segments import SIZE, heads, joined, newest_id, whole
from clew.checkpoint.sqlite import events, history
from clew.checkpoint.sqlite.history import FULL, History
from clew.checkpoint.storage import (
    Batch,
    EventsFound,
    Found,
    Kept,
    Lease,
    Pruning,
    Space,
    ThreadRow,
    Weight,
    conflict,
)
from clew.ids import stamp_of
from clew.sqlite_file import Kind, Source, SqliteFile

if TYPE_CHECKING:
    from clew.checkpoint.retention import Retention

OWN: Final = "space = ?, head = ?, logs = ?"
SPACES: Final = "spaces = max(spaces, ?)"
ROWS: Final = "seq = max(seq, ?), checkpoints = checkpoints + ?, tail = cast(? || tail as blob)"
TAKEN: Final = "epoch = max(epoch, ?), stop = stop and not ?, lease_run = ?, lease_owner = ?, lease_base = ?, lease_until = ?"
HEADS: Final = (
    "(select no thread, '' ns, space no, head seq, logs from thread where space is not null "
    "union all select thread, ns, no, seq, logs from head)"
)
MINE: Final = "thread = (select no from thread where name = ?)"
KIND: Final = Kind(
    name="saver",
    application=0x436C6577,  # "Clew" in ASCII
    migrations=tuple(
        tuple(file.read_text().split(";\n"))
        for file in sorted((files("clew.checkpoint.sqlite") / "sql").iterdir(), key=lambda file: file.name)
    ),
    newer="upgrade it.",
    unopened="does its directory exist, and may this process write there?",
    locked="pass a longer `timeout`.",
    aggregates={"clew_segment": history.Packing},
)


class SqliteStorage:
    """Rows in one SQLite file."""

    def __init__(self, source: Source, *, synchronous: str, timeout: float) -> None:
        self.file = SqliteFile(source, KIND, synchronous=synchronous, timeout=timeout)

    def close(self) -> None:
        self.file.close()

    # -- the verbs --------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        with self.file.using() as db:
            head = db.execute(
                "select t.no, t.tail, t.epoch, t.seq, t.spaces, t.lease_run, t.lease_owner, t.lease_base, t.lease_until, "
                + ("t.head, t.space, t.logs from thread t " if not ns else "h.seq, h.no, h.logs from thread t ")
                + "left join head h on ? <> '' and h.thread = t.no and h.ns = ? where t.name = ?",
                (ns, ns, thread),
            ).fetchone()
            if head is None:
                return Found()
            no, tail, epoch, last, spaces, *lease, seq, number, logs = head
            found = Found(epoch, last, spaces, seq, number, logs or b"", _lease(*lease))
            wanted = seq if checkpoint_id is None else stamp_of(checkpoint_id)
            if number is None or wanted is None:
                return found
            past = History(db, no, tail)
            its, row = past.row(wanted) or (None, None)
            if row is None or its != number or (checkpoint_id is not None and row.id != checkpoint_id):
                return found
            found.row = row
            if checkpoint_id is not None:
                found.next = past.after(number, row.seq)
            return _completed(db, no, past, [found])[0]

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        with self.file.using() as db:
            no = db.execute("select no from thread where name = ?", (thread,)).fetchone()
            if no is None:
                return []
            found: list[bytes] = []
            for log, lo, hi in ranges:
                sql = "select data from item where thread = ? and log = ? and n >= ? and n < ? order by n"
                found += [data for (data,) in db.execute(sql, (no[0], log, lo, hi))]
            return found

    def commit(self, batch: Batch) -> bool:
        with self.file.writing() as db:
            try:
                return self._commit(db, batch)
            except sqlite3.IntegrityError as error:  # a number or a name that another run has taken
                raise conflict(batch.thread) from error

    def _commit(self, db: sqlite3.Connection, batch: Batch) -> bool:
        no, stop = self._moved(db, batch)
        if batch.ns and batch.logs is not None:
            self._head(db, no, batch, batch.logs)
        if batch.items:
            db.executemany("insert into item values (?, ?, ?, ?)", [(no, *item) for item in batch.items])
        if batch.kept:
            db.executemany("insert or replace into kept values (?, ?, ?, ?)", [(no, *outcome) for outcome in batch.kept])
        if batch.events is not None:
            events.tell(db, no, batch.claim or batch.epoch, batch.events)
        return stop

    def _moved(self, db: sqlite3.Connection, batch: Batch) -> tuple[int, bool]:
        """Moves the thread on if it stands where the batch expects it. Returns its number and whether the run is to stop."""
        own, seq = not batch.ns and batch.logs is not None, batch.row.seq if batch.row else 0
        if batch.epoch == 0:
            made = db.execute("insert into thread (name, epoch, seq) values (?, ?, 0)", (batch.thread, batch.claim))
            no, stop, length, head, space = made.lastrowid or 0, 0, 0, None, None
        else:
            sql = "select no, stop, length(tail), head, space from thread where name = ? and epoch = ?"
            no, stop, length, head, space = db.execute(sql, (batch.thread, batch.epoch)).fetchone() or (None,) * 5
        other = own and (head != batch.head or space not in (None, batch.number))
        if no is None or other or 0 < seq <= (batch.head or 0):
            raise conflict(batch.thread)
        sets, values = list[str](), list[Any]()
        if own:
            sets.append(OWN)
            values += (batch.number, seq or batch.head, batch.logs)
        if batch.logs is not None:
            sets.append(SPACES)
            values.append(batch.number + 1)
        if batch.row is not None:
            added = joined((batch.number, row) for row in (batch.row, *reversed(batch.history)))
            if length and length + len(added) > FULL:
                history.close(db, no)
            sets.append(ROWS)
            values += (seq, 1 + len(batch.history), added)
        if (lease := batch.lease) or batch.claim or batch.release:
            sets.append(TAKEN)
            leased = (lease.run, lease.owner, lease.base, time.time() + lease.seconds) if lease else (None,) * 4
            values += (batch.claim, bool(batch.claim), *leased)
            if batch.claim and lease:
                db.execute("delete from waiting where thread = ? and run = ?", (no, lease.run))
        if sets:
            db.execute(f"update thread set {', '.join(sets)} where no = ?", (*values, no))
        return no, bool(stop) and not batch.claim

    def _head(self, db: sqlite3.Connection, no: int, batch: Batch, logs: bytes) -> None:
        """Moves the head of a graph inside a task."""
        seq = batch.row.seq if batch.row else batch.head
        sql = "update head set seq = ?, logs = ? where thread = ? and ns = ? and no = ? and seq is ?"
        if db.execute(sql, (seq, logs, no, batch.ns, batch.number, batch.head)).rowcount == 1:
            return
        if batch.head is not None:
            raise conflict(batch.thread)
        db.execute("insert into head values (?, ?, ?, ?, ?)", (no, batch.ns, batch.number, seq, logs))

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        with self.file.writing() as db:
            sql = "update thread set stop = max(stop, ?) where name = ? returning no"
            found = db.execute(sql, (stop, thread)).fetchone()
            if found is None:
                return True
            now, (no,) = time.time(), found
            db.execute("delete from waiting where thread = ? and until < ? and run <> ?", (no, now, run))
            db.execute(
                "insert into waiting (thread, run, until) values (?, ?, ?) "
                "on conflict (thread, run) do update set until = excluded.until",
                (no, run, now + seconds),
            )
            return db.execute("select run from waiting where thread = ? order by n limit 1", (no,)).fetchone()[0] == run

    def leave(self, thread: str, run: bytes) -> None:
        with self.file.writing() as db:
            sql = "delete from waiting where thread = (select no from thread where name = ?) and run = ?"
            db.execute(sql, (thread, run))

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        with self.file.using() as db:
            sql = (
                f"select t.no, t.tail, h.seq, h.no, h.logs from thread t join {HEADS} h on h.thread = t.no "
                "where t.name = ? and h.ns = ?"
            )
            head = db.execute(sql, (thread, ns)).fetchone()
            if head is None:
                return []
            no, tail, seq, number, logs = head
            past = History(db, no, tail)
            rows = list(islice(past.back(number, before if before is not None else 1 << 32), limit))
            found = [Found(head=seq, number=number, logs=logs, row=row) for row in rows]
            grown = {row.parent: row for row in rows}  # the last one stays, and is the first that grew from its parent
            for one, row in zip(found, rows, strict=True):
                one.next = grown.get(row.seq) or past.after(number, row.seq)
            return _completed(db, no, past, found)

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        with self.file.using() as db:
            return events.found(db, thread, run, after, limit)

    def expire(self, limit: int) -> int:
        with self.file.using() as db:
            return events.expire(db, limit)

    def threads(self) -> list[ThreadRow]:
        with self.file.using() as db:
            sql = (
                "select t.name, t.checkpoints, substr(t.tail, 1, ?), "
                "(select data from segment s where t.tail = x'' and s.thread = t.no order by last desc, rowid desc limit 1), "
                "(select coalesce(sum(length(data)), 0) from item i where i.thread = t.no) + length(t.tail) + "
                "(select coalesce(sum(length(data)), 0) from segment s where s.thread = t.no) "
                "from thread t where t.checkpoints > 0"
            )
            lines = db.execute(sql, (SIZE,)).fetchall()
        found = [ThreadRow(name, count, newest_id(tail or whole(closed)), size) for name, count, tail, closed, size in lines]
        return sorted(found, key=lambda one: one.newest, reverse=True)

    def spaces(self, thread: str) -> list[Space]:
        with self.file.using() as db:
            sql = f"select ns, h.no, h.seq, h.logs from {HEADS} h join thread t on h.thread = t.no where name = ? order by h.no"
            return [Space(*row) for row in db.execute(sql, (thread,))]

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        with self.file.using() as db:
            sql = (
                "select log, n, data from item where thread = (select no from thread where name = ?) and (log, n) > (?, ?) "
                "order by log, n limit ?"
            )
            return db.execute(sql, (thread, *after, limit)).fetchall()

    def prune(self, pruning: Pruning) -> None:
        with self.file.writing() as db:
            found = db.execute("select no from thread where name = ? and epoch = ?", (pruning.thread, pruning.epoch)).fetchone()
            if found is None:
                raise conflict(pruning.thread)
            (no,) = found
            history.prune(db, no, pruning.rows, pruning.changed)
            db.executemany("delete from kept where thread = ? and seq = ?", [(no, seq) for seq in pruning.rows])
            spaces = [(no, number) for number in pruning.spaces]
            db.executemany("update thread set space = null, head = null, logs = null where no = ? and space = ?", spaces)
            db.executemany("delete from head where thread = ? and no = ?", spaces)
            sql = "delete from item where thread = ? and log = ? and n >= ? and n < ?"
            db.executemany(sql, [(no, *range_) for range_ in pruning.ranges])
            sql = "update item set data = ? where thread = ? and log = ? and n = ?"
            db.executemany(sql, [(data, no, log, number) for log, number, data in pruning.items])

    def weigh(self, thread: str) -> Weight:
        with self.file.using() as db:
            items = db.execute(
                f"select log, count(*), sum(length(data)) from item where {MINE} group by log", (thread,)
            ).fetchall()
            kept, told = [
                db.execute(f"select count(*), coalesce(sum(length(body)), 0) from {table} where {MINE}", (thread,)).fetchone()
                for table in ("kept", "events")
            ]
            tails = [tail for (tail,) in db.execute("select tail from thread where name = ?", (thread,))]
            closed = [whole(data) for (data,) in db.execute(f"select data from segment where {MINE}", (thread,))]
            sizes = [head.length for segment in (*tails, *closed) for head in heads(segment)]
            return Weight({log: (count, size) for log, count, size in items}, (len(sizes), sum(sizes)), kept, told)

    def occupies(self) -> int:
        with self.file.using() as db:
            return db.execute("select page_count * page_size from pragma_page_count, pragma_page_size").fetchone()[0]

    def reclaim(self) -> None:
        with self.file.using() as db:
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")

    def drop(self, thread: str) -> None:
        with self.file.writing() as db:
            for table in ("head", "segment", "item", "kept", "waiting", "told", "events"):
                db.execute(f"delete from {table} where {MINE}", (thread,))
            db.execute("delete from thread where name = ?", (thread,))


def _completed(db: sqlite3.Connection, no: int, past: History, found: list[Found]) -> list[Found]:
    """The rows of `found` with what belongs to each."""
    kept: dict[int, list[Kept]] = {one.row.seq: [] for one in found if one.row}
    sql = f"select task, seq, body from kept where thread = ? and seq in ({_marks(kept)})"
    for task, seq, body in db.execute(sql, (no, *kept)):
        kept[seq].append(Kept(seq, task, body))
    for one in found:
        if one.row is not None:
            parent = past.near(one.row.parent)
            one.base, one.parent_id, one.kept = past.near(one.row.base), parent and parent.id, kept[one.row.seq]
    return found


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _lease(run: bytes | None, owner: str, base: bytes | None, until: float) -> Lease | None:
    return None if run is None else Lease(run, owner, base, until - time.time())


class SqliteSaver(Saver):
    """Keeps threads in a SQLite file.

    Args:
        path: the file, made where there is none; `":memory:"` for one that lives as long as this object; a `file:` URI.
            Or a connection of your own, made with `check_same_thread=False`; it is left open, and not to be used meanwhile.
        synchronous: `"full"` (default): a commit survives a power cut. `"normal"`: it survives the death of the process, and
            the last ones may be lost with the power; several times faster.
        timeout: seconds to wait for another process that is writing. lease, encryption, retention, serde: see `Saver`.

    Raises:
        TypeError: `path` is none of these. DatabaseError: on first use, where the file is no database, is not Clew's, or
            cannot be written to.
    """

    def __init__(
        self,
        path: Source,
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        rows = SqliteStorage(path, synchronous=synchronous, timeout=timeout)
        super().__init__(rows, lease=lease, encryption=encryption, retention=retention, serde=serde)
        self.file = rows.file

    def _calls(self) -> tuple[int, Callable[[], AbstractContextManager[None]]]:
        return 1, self.file.together

    @classmethod
    def from_conn_string(cls, conn_string: str) -> Self:
        """A saver of this file, to be used as `with SqliteSaver.from_conn_string("chat.db") as saver:` (or `async with`)."""
        return cls(conn_string)

    def setup(self) -> Done:
        """Opens the file and makes the tables where they are missing. Done by itself on first use."""
        with self.file.using():
            return Done()


AsyncSqliteSaver = SqliteSaver
