"""Threads kept in this process's memory, as the same rows and bytes that a database would hold."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from clew.checkpoint.base import Saver, Waiter
from clew.checkpoint.storage import Batch, Found, Kept, Row, ThreadRow, Waiting, at_once, conflict
from clew.ids import stamp_of, stamped


@dataclass(slots=True)
class Namespace:
    """One namespace of a thread: its number there, the seq of its head, the ends of its logs."""

    number: int
    head: int | None = None
    logs: bytes = b""


@dataclass(slots=True)
class Thread:
    """All that is kept of one thread; rows and outcomes are found by seq, items by log and number."""

    epoch: int = 0
    seq: int = 0
    namespaces: dict[str, Namespace] = field(default_factory=dict[str, Namespace])
    rows: dict[int, tuple[str, Row]] = field(default_factory=dict[int, tuple[str, Row]])
    items: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])
    kept: dict[int, dict[str, Kept]] = field(default_factory=dict[int, dict[str, Kept]])


class MemoryStorage:
    """Rows in dicts; one lock, held only for what takes microseconds."""

    def __init__(self) -> None:
        self._threads: dict[str, Thread] = {}
        self._lock = threading.Lock()

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        with self._lock:
            kept = self._threads.get(thread)
            if kept is None:
                return Found()
            space = kept.namespaces.get(ns) or Namespace(len(kept.namespaces))
            if checkpoint_id is None:
                return self._found(kept, ns, space, space.head)
            found = self._found(kept, ns, space, stamp_of(checkpoint_id))
            return found if found.row and found.row.id == checkpoint_id else self._found(kept, ns, space, None)

    def _found(self, kept: Thread, ns: str, space: Namespace, seq: int | None) -> Found:
        found = Found(kept.epoch, space.head, space.number, space.logs)
        if seq is None or seq not in kept.rows or kept.rows[seq][0] != ns:
            return found
        row = found.row = kept.rows[seq][1]
        if row.base is not None:
            found.base = kept.rows[row.base][1]
        if row.parent is not None:
            found.parent_id = kept.rows[row.parent][1].id
        found.next = next((other for at, (_, other) in kept.rows.items() if at > seq and other.parent == seq), None)
        found.kept = list(kept.kept.get(seq, {}).values())
        return found

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        with self._lock:
            kept = self._threads.get(thread)
            items = kept.items if kept else {}
            return [items[log, n] for log, lo, hi in ranges for n in range(lo, hi) if (log, n) in items]

    def commit(self, batch: Batch) -> int:
        with self._lock:
            kept = self._threads.get(batch.thread) or Thread()
            space = kept.namespaces.get(batch.ns) or Namespace(len(kept.namespaces))
            if space.head != batch.head or kept.epoch != batch.epoch or space.number != batch.number:
                raise conflict(batch.thread)
            self._threads[batch.thread] = kept
            kept.namespaces[batch.ns] = space
            kept.epoch += batch.claim
            space.logs = batch.logs
            for log, number, data in batch.items:
                kept.items[log, number] = data
            for outcome in batch.kept:
                kept.kept.setdefault(outcome.seq, {})[outcome.task] = outcome
            if batch.row is not None:
                kept.seq = space.head = kept.seq + 1
                row = batch.row._replace(seq=kept.seq, id=stamped(batch.row.id, kept.seq))
                kept.rows[kept.seq] = batch.ns, row
            return space.head or 0

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        with self._lock:
            kept = self._threads.get(thread)
            if kept is None or ns not in kept.namespaces:
                return []
            seqs = [seq for seq, (space, _) in kept.rows.items() if space == ns and (before is None or seq < before)]
            return [self._found(kept, ns, kept.namespaces[ns], seq) for seq in reversed(seqs[-limit:] if limit else [])]

    def threads(self) -> list[ThreadRow]:
        with self._lock:
            rows = [
                ThreadRow(name, len(kept.rows), kept.rows[kept.seq][1].id, sum(map(len, kept.items.values())) + _rows(kept))
                for name, kept in self._threads.items()
            ]
        return sorted(rows, key=lambda row: row.newest, reverse=True)

    def drop(self, thread: str) -> None:
        with self._lock:
            self._threads.pop(thread, None)

    def close(self) -> None:
        pass


def _rows(kept: Thread) -> int:
    return sum(len(row.body) for _, row in kept.rows.values())


class InMemorySaver(Saver):
    """Keeps threads for as long as the process lives."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage())

    def on(self, host: Waiter) -> Waiting:
        return Waiting(self.storage, at_once)


MemorySaver = InMemorySaver
