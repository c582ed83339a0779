"""The checkpoints of a thread in a SQLite file: the newest ones in the row of the thread, the others in closed segments.

Everywhere the newest comes first. Within one namespace that is by seq; graphs that run beside one another take theirs before
they write, so a segment may have a lower seq than the one before it. Its `last` is the highest seq that the thread had when it
was closed: segments are in the order of that, and a checkpoint is in the first one that covers its seq, unless several do.
"""

import sqlite3
from collections.abc import Collection, Iterator
from typing import Final

from clew.checkpoint.segments import Head, compressed, heads, joined, row_of, unreadable, whole, without
from clew.checkpoint.storage import Row
from clew.errors import DamagedData

FULL: Final = 3000
"""Bytes of a tail above which it is closed: with the rest of its thread's row it has a page of the file to itself."""


class History:
    """What has been read of a thread's checkpoints; more is read as it is asked for.

    Args:
        no: the thread's number. tail: its newest segment.
    """

    __slots__ = ("_closed", "_db", "_heads", "_no", "_rows", "_tail")

    def __init__(self, db: sqlite3.Connection, no: int, tail: bytes) -> None:
        self._db, self._no = db, no
        self._closed: dict[int, tuple[bytes, list[Head]]] = {}  # those that were read, by where they stand
        self._heads: dict[int, tuple[bytes, Head]] = {}
        self._rows: dict[int, Row] = {}
        self._tail = self._taken(tail)

    def _taken(self, segment: bytes) -> tuple[bytes, list[Head]]:
        found = heads(segment)
        self._heads.update({head[1]: (segment, head) for head in found})
        return segment, found

    def _segments(self, where: str, *values: int) -> Iterator[tuple[int, tuple[bytes, list[Head]] | DamagedData]]:
        """Closed segments, each after the highest seq by then; an error where one cannot be read."""
        sql = f"select rowid, last, data from segment where thread = ? and {where}"
        for rowid, last, data in self._db.execute(sql, (self._no, *values)):
            try:
                if rowid not in self._closed:
                    self._closed[rowid] = self._taken(whole(data))
                yield last, self._closed[rowid]
            except DamagedData as error:
                yield last, error

    def _made(self, segment: bytes, head: Head) -> Row:
        seq = head[1]
        if seq not in self._rows:
            self._rows[seq] = row_of(segment, head)
        return self._rows[seq]

    def row(self, seq: int) -> tuple[int, Row] | None:
        """A checkpoint, with the number of its namespace. Raises DamagedData where it cannot be told whether it is there."""
        error: DamagedData | None = None
        if seq not in self._heads:
            for _, segment in self._segments("last >= ? and first <= ? order by last", seq, seq):
                if isinstance(segment, DamagedData):
                    error = segment
                elif seq in self._heads:
                    break
        if (found := self._heads.get(seq)) is not None:
            return found[1].number, self._made(*found)
        if error is not None:
            raise error
        return None

    def near(self, seq: int | None) -> Row | None:
        """One that another names; where it cannot be read, one that says so when it is."""
        if seq is None:
            return None
        if seq in self._rows:
            return self._rows[seq]
        try:
            found = self.row(seq)
        except DamagedData:
            return unreadable(seq)
        return found[1] if found else None

    def back(self, number: int, before: int) -> Iterator[Row]:
        """The checkpoints of a namespace below a seq, the newest first. What cannot be read is one that says so when it is."""
        yield from self._mine(self._tail, number, before)
        for last, segment in self._segments("first < ? order by last desc, rowid desc", before):
            if isinstance(segment, DamagedData):
                yield unreadable(min(last, before - 1))
            else:
                yield from self._mine(segment, number, before)

    def _mine(self, of: tuple[bytes, list[Head]], number: int, before: int) -> list[Row]:
        segment, found = of
        return [self._made(segment, head) for head in found if head[0] == number and head[1] < before]

    def after(self, number: int, seq: int) -> Row | None:
        """The first checkpoint of a namespace that grew from this one. What cannot be read is passed over."""
        for _, segment in self._segments("last > ? order by last", seq):
            if not isinstance(segment, DamagedData) and (grown := self._grown(segment, number, seq)):
                return grown
        return self._grown(self._tail, number, seq)

    def _grown(self, of: tuple[bytes, list[Head]], number: int, seq: int) -> Row | None:
        segment, found = of
        for head in reversed(found):
            if head.parent == seq and head.number == number and head.seq > seq:
                return self._made(segment, head)
        return None


def close(db: sqlite3.Connection, no: int) -> None:
    """Closes the tail of a thread, and leaves none."""
    tail, last = db.execute("select tail, seq from thread where no = ?", (no,)).fetchone()
    first = min(head.seq for head in heads(tail))
    db.execute("insert into segment values (?, ?, ?, ?)", (no, first, last, compressed(tail)))
    db.execute("update thread set tail = x'' where no = ?", (no,))


def prune(db: sqlite3.Connection, no: int, dead: Collection[int], changed: Collection[Row]) -> None:
    """Deletes checkpoints by their seqs, and puts others in the place of those of the same seq."""
    instead, went = {row.seq: row for row in changed}, set(dead)
    seqs = instead.keys() | went
    if not seqs:
        return
    (tail,) = db.execute("select tail from thread where no = ?", (no,)).fetchone()
    left, gone = without(tail, went, instead)
    sql = "select rowid, data from segment where thread = ? and last >= ? and first <= ?"
    for rowid, data in db.execute(sql, (no, min(seqs), max(seqs))).fetchall():
        before = whole(data)
        after, count = without(before, went, instead)
        gone += count
        if not after:
            db.execute("delete from segment where rowid = ?", (rowid,))
        elif after != before:
            db.execute("update segment set data = ? where rowid = ?", (compressed(after), rowid))
    db.execute("update thread set tail = ?, checkpoints = checkpoints - ? where no = ?", (left, gone, no))


class Packing:
    """The aggregate `clew_segment`: what were rows of a table as a closed segment."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, Row]] = []

    def step(self, number: int, seq: int, id_: bytes, parent: int | None, base: int | None, body: bytes) -> None:
        self._rows.append((number, Row(seq, id_, parent, base, body)))

    def finalize(self) -> bytes:
        self._rows.sort(key=lambda one: one[1].seq, reverse=True)
        return compressed(joined(self._rows))
