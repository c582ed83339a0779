"""Threads kept in a SQLite file. One object serves both faces, many threads, and many processes on one file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import TYPE_CHECKING, Final, Literal, Self

from clew.awaited import Done
from clew.checkpoint.base import LEASE, Saver
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.sqlite import events
from clew.checkpoint.storage import (
    Batch,
    EventsFound,
    Found,
    Kept,
    Lease,
    Pruning,
    Row,
    Space,
    ThreadRow,
    Weight,
    conflict,
)
from clew.ids import stamp_of
from clew.sqlite_file import Kind, Source, SqliteFile

if TYPE_CHECKING:
    from clew.checkpoint.retention import Retention

ROW: Final = "c.seq, c.id, c.parent, c.base, c.body"
SEQ: Final = "max(t.seq, (select coalesce(max(seq), 0) from checkpoint where thread = t.no))"
"""The row of a thread rests while a run goes on."""
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
                f"select t.no, t.epoch, {SEQ}, (select coalesce(max(no) + 1, 0) from head where thread = t.no), "
                "h.seq, h.no, h.logs, t.lease_run, t.lease_owner, t.lease_base, t.lease_until "
                "from thread t left join head h on h.thread = t.no and h.ns = ? where t.name = ?",
                (ns, thread),
            ).fetchone()
            if head is None:
                return Found()
            no, epoch, last, spaces, seq, number, logs, *lease = head
            found = Found(epoch, last, spaces, seq, number, logs or b"", _lease(*lease))
            if number is None:
                return found
            wanted = seq if checkpoint_id is None else stamp_of(checkpoint_id)
            row = db.execute(f"select {ROW}, c.ns from checkpoint c where c.thread = ? and c.seq = ?", (no, wanted)).fetchone()
            if row is None or row[5] != number or (checkpoint_id is not None and row[1] != checkpoint_id):
                return found
            found.row = Row(*row[:5])
            return _completed(db, no, [found], followed=checkpoint_id is not None)[0]

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
        no, stop = self._thread(db, batch)
        if batch.logs is not None:
            self._head(db, no, batch, batch.logs)
        if batch.items:
            db.executemany("insert into item values (?, ?, ?, ?)", [(no, *item) for item in batch.items])
        if batch.kept:
            db.executemany("insert or replace into kept values (?, ?, ?, ?)", [(no, *outcome) for outcome in batch.kept])
        if batch.row is not None:
            rows = [(no, seq, batch.number, *rest) for seq, *rest in (*batch.history, batch.row)]
            db.executemany("insert into checkpoint values (?, ?, ?, ?, ?, ?, ?)", rows)
        if batch.events is not None:
            events.tell(db, no, batch.claim or batch.epoch, batch.events)
        return stop

    def _thread(self, db: sqlite3.Connection, batch: Batch) -> tuple[int, bool]:
        """Moves the thread on if it stands where the batch expects it. Returns its number and whether the run is to stop."""
        seq, lease = batch.row.seq if batch.row else 0, batch.lease
        leased = (lease.run, lease.owner, lease.base, time.time() + lease.seconds) if lease else (None, None, None, None)
        if batch.epoch == 0:
            sql = (
                "insert into thread (name, epoch, seq, lease_run, lease_owner, lease_base, lease_until) "
                "values (?, ?, ?, ?, ?, ?, ?) returning no, stop"
            )
            found = db.execute(sql, (batch.thread, batch.claim, seq, *leased)).fetchone()
        elif batch.claim or batch.release or lease:
            sql = (
                "update thread set epoch = max(epoch, ?), seq = max(seq, ?), lease_run = ?, lease_owner = ?, lease_base = ?, "
                "lease_until = ?, stop = case when ? then 0 else stop end where name = ? and epoch = ? returning no, stop"
            )
            values = (batch.claim, seq, *leased, batch.claim, batch.thread, batch.epoch)
            found = db.execute(sql, values).fetchone()
        else:
            sql = "select no, stop from thread where name = ? and epoch = ?"
            found = db.execute(sql, (batch.thread, batch.epoch)).fetchone()
        if found is None:
            raise conflict(batch.thread)
        if batch.claim and lease:
            db.execute("delete from waiting where thread = ? and run = ?", (found[0], lease.run))
        return found[0], bool(found[1])

    def _head(self, db: sqlite3.Connection, no: int, batch: Batch, logs: bytes) -> None:
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
                f"select t.no, h.seq, h.no, h.logs, {ROW} from thread t join head h on h.thread = t.no and h.ns = ? "
                "join checkpoint c on c.thread = t.no and c.ns = h.no where t.name = ? and c.seq < ? "
                "order by c.seq desc limit ?"
            )
            rows = db.execute(sql, (ns, thread, before if before is not None else 1 << 62, limit)).fetchall()
            found = [Found(head=seq, number=number, logs=logs, row=Row(*row)) for _, seq, number, logs, *row in rows]
            return _completed(db, rows[0][0], found, followed=True) if rows else []

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        with self.file.using() as db:
            return events.found(db, thread, run, after, limit)

    def expire(self, limit: int) -> int:
        with self.file.using() as db:
            return events.expire(db, limit)

    def threads(self) -> list[ThreadRow]:
        with self.file.using() as db:
            sql = (
                "select t.name, (select count(*) from checkpoint c where c.thread = t.no), "
                "(select c.id from checkpoint c where c.thread = t.no order by c.seq desc limit 1) newest, "
                "(select coalesce(sum(length(data)), 0) from item i where i.thread = t.no) + "
                "(select coalesce(sum(length(body)), 0) from checkpoint c where c.thread = t.no) "
                "from thread t where newest is not null order by newest desc"
            )
            return [ThreadRow(*row) for row in db.execute(sql)]

    def spaces(self, thread: str) -> list[Space]:
        with self.file.using() as db:
            sql = "select ns, h.no, h.seq, logs from head h join thread t on h.thread = t.no where name = ? order by h.no"
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
            db.execute(f"update thread as t set seq = {SEQ} where no = ?", (no,))  # so that no number is given twice
            for table in ("checkpoint", "kept"):
                db.executemany(f"delete from {table} where thread = ? and seq = ?", [(no, seq) for seq in pruning.rows])
            sql = "update checkpoint set id = ?, parent = ?, base = ?, body = ? where thread = ? and seq = ?"
            db.executemany(sql, [(*rest, no, seq) for seq, *rest in pruning.changed])
            db.executemany("delete from head where thread = ? and no = ?", [(no, number) for number in pruning.spaces])
            sql = "delete from item where thread = ? and log = ? and n >= ? and n < ?"
            db.executemany(sql, [(no, *range_) for range_ in pruning.ranges])
            sql = "update item set data = ? where thread = ? and log = ? and n = ?"
            db.executemany(sql, [(data, no, log, number) for log, number, data in pruning.items])

    def weigh(self, thread: str) -> Weight:
        with self.file.using() as db:
            mine = "where thread = (select no from thread where name = ?)"
            items = db.execute(f"select log, count(*), sum(length(data)) from item {mine} group by log", (thread,)).fetchall()
            sums = [
                db.execute(f"select count(*), coalesce(sum(length(body)), 0) from {table} {mine}", (thread,)).fetchone()
                for table in ("checkpoint", "kept", "events")
            ]
            return Weight({log: (count, size) for log, count, size in items}, *sums)

    def occupies(self) -> int:
        with self.file.using() as db:
            return db.execute("select page_count * page_size from pragma_page_count, pragma_page_size").fetchone()[0]

    def reclaim(self) -> None:
        with self.file.using() as db:
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")

    def drop(self, thread: str) -> None:
        with self.file.writing() as db:
            for table in ("head", "checkpoint", "item", "kept", "waiting", "told", "events"):
                db.execute(f"delete from {table} where thread = (select no from thread where name = ?)", (thread,))
            db.execute("delete from thread where name = ?", (thread,))


def _completed(db: sqlite3.Connection, no: int, found: list[Found], *, followed: bool) -> list[Found]:
    """The rows of `found`, which follow one another in their namespace, newest first, with all that belongs to them; `followed`
    by the rows that grew from them."""
    rows = {one.row.seq: one.row for one in found if one.row}
    around = {seq for row in rows.values() for seq in (row.base, row.parent) if seq is not None} - rows.keys()
    sql = f"select {ROW} from checkpoint c where c.thread = ? and c.seq in ({_marks(around)})"
    others: dict[int | None, Row] = {
        **rows,
        **{row[0]: Row(*row) for row in (db.execute(sql, (no, *around)) if around else ())},
    }
    next_ = {row.parent: row for row in rows.values()}  # the last one stays, and is the first that grew from its parent
    sql = f"select task, seq, body from kept where thread = ? and seq in ({_marks(rows)})"
    kept: dict[int, list[Kept]] = {}
    for task, seq, body in db.execute(sql, (no, *rows)):
        kept.setdefault(seq, []).append(Kept(seq, task, body))
    for one, row in zip(found, rows.values(), strict=True):
        parent, one.base, one.kept = others.get(row.parent), others.get(row.base), kept.get(row.seq, ())
        one.parent_id = parent.id if parent else None
        if followed:
            after = next_.get(row.seq)
            one.next = after if after and after.seq > row.seq else _followed(db, no, one.number, row.seq)
    return found


def _followed(db: sqlite3.Connection, no: int, number: int | None, seq: int) -> Row | None:
    sql = (
        f"select {ROW} from checkpoint c where c.thread = ? and c.seq > ? and c.parent = ? and c.ns = ? order by c.seq limit 1"
    )
    after = db.execute(sql, (no, seq, seq, number)).fetchone()
    return Row(*after) if after else None


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
