"""The floor's logs: one row a step, appended and committed by itself, and the newest states kept in memory behind a guard.

The guard asks for the newest row, so that a second writer is noticed; and two writers of one row meet in its key.
"""

import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import ormsgpack
import psycopg

Fold = Callable[[dict[str, Any], dict[str, Any]], None]
TABLES: Final = (
    "create table if not exists thread (no {serial} primary key, name text not null unique)",
    "create table if not exists step (thread integer not null, seq integer not null, id {bytes} not null, parent integer, "
    "next text not null, writes {bytes} not null, unique (thread, seq))",
)
KNOWN: Final = "select t.no, (select max(seq) from step where thread = t.no) from thread t where t.name = {}"
ROWS: Final = "select writes from step where thread = {} order by seq"
THREAD: Final = "insert into thread (name) values ({}) returning no"
STEP: Final = "insert into step values ({0}, {0}, {0}, {0}, {0}, {0})"
MESSAGE: Final = 1
_count = itertools.count(int.from_bytes(os.urandom(4), "big"))


class Head:
    """Where a thread stands; `no` is None until its first row."""

    __slots__ = ("no", "seq", "state")

    def __init__(self, no: int | None, seq: int) -> None:
        self.no, self.seq, self.state = no, seq, dict[str, Any]()


class SqliteLog:
    """Rows in a file, written by whoever runs, on both faces."""

    def __init__(self, path: str, synchronous: str) -> None:
        self.db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.db.execute("pragma journal_mode = wal")
        self.db.execute(f"pragma synchronous = {synchronous}")
        for table in TABLES:
            self.db.execute(table.format(serial="integer", bytes="blob"))
        self.heads: dict[str, Head] = {}

    def load(self, thread: str, fold: Fold) -> Head:
        found = self.db.execute(KNOWN.format("?"), (thread,)).fetchone()
        head = self.heads.get(thread)
        if found is None:
            head = Head(None, -1)
        elif head is None or (head.no, head.seq) != found:
            head = _folded(Head(*found), self.db.execute(ROWS.format("?"), found[:1]).fetchall(), fold)
        self.heads[thread] = head
        return head

    def put(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        if head.no is not None:
            self.db.execute(STEP.format("?"), row_of(head, delta, follow))
            return
        self.db.execute("begin immediate")
        head.no = self.db.execute(THREAD.format("?"), (thread,)).fetchone()[0]
        self.db.execute(STEP.format("?"), row_of(head, delta, follow))
        self.db.execute("commit")

    async def aload(self, thread: str, fold: Fold) -> Head:
        return self.load(thread, fold)

    async def aput(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        self.put(head, thread, delta, follow)

    def close(self) -> None:
        self.db.close()


class PostgresLog:
    """Rows in two tables, over one connection in autocommit; the thread and its first row in one statement."""

    FIRST: Final = (
        "with made as (insert into thread (name) values (%s) returning no) "
        "insert into step select no, %s, %s, %s, %s, %s from made returning thread"
    )

    def __init__(self, connection: Any) -> None:
        self.db = connection
        self.heads: dict[str, Head] = {}

    def load(self, thread: str, fold: Fold) -> Head:
        found = self.db.execute(KNOWN.format("%s"), (thread,)).fetchone()
        return self.head_of(thread, found) or self._put(
            thread, _folded(Head(*found), self.db.execute(ROWS.format("%s"), found[:1]).fetchall(), fold)
        )

    async def aload(self, thread: str, fold: Fold) -> Head:
        found = await (await self.db.execute(KNOWN.format("%s"), (thread,))).fetchone()
        if (head := self.head_of(thread, found)) is not None:
            return head
        rows = await (await self.db.execute(ROWS.format("%s"), found[:1])).fetchall()
        return self._put(thread, _folded(Head(*found), rows, fold))

    def head_of(self, thread: str, found: Any) -> Head | None:
        """What is in memory and still true."""
        if found is None:
            return self._put(thread, Head(None, -1))
        head = self.heads.get(thread)
        return head if head is not None and (head.no, head.seq) == tuple(found) else None

    def _put(self, thread: str, head: Head) -> Head:
        self.heads[thread] = head
        return head

    def put(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        if head.no is not None:
            self.db.execute(STEP.format("%s"), row_of(head, delta, follow))
        else:
            head.no = self.db.execute(self.FIRST, (thread, *row_of(head, delta, follow)[1:])).fetchone()[0]

    async def aput(self, head: Head, thread: str, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> None:
        if head.no is not None:
            await self.db.execute(STEP.format("%s"), row_of(head, delta, follow))
        else:
            found = await self.db.execute(self.FIRST, (thread, *row_of(head, delta, follow)[1:]))
            head.no = (await found.fetchone())[0]

    @staticmethod
    def set_up(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as db:
            for table in TABLES:
                db.execute(table.format(serial="serial", bytes="bytea"))


def row_of(head: Head, delta: Sequence[dict[str, Any]], follow: Sequence[str]) -> tuple[Any, ...]:
    """The thread's next row; its head moves on."""
    parent, head.seq = head.seq, head.seq + 1
    packed = ormsgpack.packb(delta, _out)
    return head.no, head.seq, _uuid7(), parent, ",".join(follow), packed


def _folded(head: Head, rows: Sequence[tuple[bytes]], fold: Fold) -> Head:
    for (writes,) in rows:
        for update in ormsgpack.unpackb(writes, ext_hook=_in):
            fold(head.state, update)
    return head


def _out(message: Any) -> Any:
    calls = getattr(message, "tool_calls", None) or getattr(message, "tool_call_id", None)
    return ormsgpack.Ext(MESSAGE, ormsgpack.packb([message.type, message.id, message.content, calls]))


def _in(_tag: int, packed: bytes) -> Any:
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

    kind, id_, content, calls = ormsgpack.unpackb(packed)
    if kind == "human":
        return HumanMessage(content, id=id_)
    if kind == "ai":
        return AIMessage(content, id=id_, tool_calls=calls or [])
    return ToolMessage(content, id=id_, tool_call_id=calls)


def _uuid7() -> bytes:
    milliseconds, number = time.time_ns() // 1_000_000, next(_count)
    return (milliseconds << 80 | 7 << 76 | (number & 0xFFF) << 64 | 2 << 62 | number & 0xFFFFFFFF).to_bytes(16, "big")
