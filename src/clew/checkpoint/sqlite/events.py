"""The event logs of runs in a SQLite file."""

import sqlite3
import time
from typing import Final

from clew.checkpoint.storage import Events, EventsFound, Group, Lease
from clew.sqlite_file import Transaction

EXPIRED: Final = "o.until <= ? and (o.ended or not exists (select 1 from thread t where t.no = o.thread and t.lease_until > ?))"


def tell(db: sqlite3.Connection, thread: int, epoch: int, events: Events) -> None:
    """Adds to the log of a run."""
    group = events.group
    last = group.first + group.length - 1 if group else 0
    until = time.time() + events.seconds
    known = db.execute(
        "update told set epoch = ?, last = max(last, ?), floor = max(floor, ?), until = ?, ended = ? "
        "where thread = ? and run = ? returning no",
        (epoch, last, events.floor, until, events.ended, thread, events.run),
    ).fetchone()
    (no,) = (
        known
        or db.execute(
            "insert into told (thread, no, run, epoch, last, floor, until, ended) "
            "select ?, coalesce(max(no), 0) + 1, ?, ?, ?, ?, ?, ? from told where thread = ? returning no",
            (thread, events.run, epoch, last, events.floor, until, events.ended, thread),
        ).fetchone()
    )
    if group is not None:
        db.execute("insert or replace into events values (?, ?, ?, ?, ?)", (thread, no, *group))
    if events.floor > 1:
        sql = "delete from events where thread = ? and told = ? and first < ? and first + count <= ?"
        db.execute(sql, (thread, no, events.floor, events.floor))


def found(db: sqlite3.Connection, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
    now = time.time()
    sql = (
        "select o.thread, o.no, o.run, o.epoch, not exists (select 1 from told n where n.thread = o.thread and n.no > o.no), "
        "o.last, o.floor, o.ended, t.lease_run, t.lease_owner, t.lease_base, t.lease_until "
        "from told o join thread t on t.no = o.thread "
        f"where t.name = ? and (? is null or o.run = ?) and not ({EXPIRED}) order by o.no desc limit 1"
    )
    line = db.execute(sql, (thread, run, run, now, now)).fetchone()
    if line is None:
        return None
    of, no, name, epoch, latest, last, floor, ended, holder, owner, base, until = line
    lease = None if holder is None else Lease(holder, owner, base, until - now)
    sql = "select first, count, body from events where thread = ? and told = ? and first + count - 1 > ? order by first limit ?"
    groups = [Group(*group) for group in db.execute(sql, (of, no, after, limit))]
    return EventsFound(name, epoch, bool(latest), last, floor, bool(ended), lease, groups)


def expire(db: sqlite3.Connection, limit: int) -> int:
    """Nobody is kept waiting where nothing is to be deleted, as mostly."""
    sql = f"select o.thread, o.no from told o where {EXPIRED} limit ?"
    if not db.execute(sql, (time.time(), time.time(), 1)).fetchall():
        return 0
    with Transaction(db):
        gone = db.execute(sql, (time.time(), time.time(), limit)).fetchall()
        db.executemany("delete from events where thread = ? and told = ?", gone)
        db.executemany("delete from told where thread = ? and no = ?", gone)
    return len(gone)
