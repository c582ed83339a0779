"""Threads kept in this process's memory, as the same rows and bytes that a database would hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clew.checkpoint.base import LEASE, Saver, Waiter
from clew.checkpoint.crypt import Encryption
from clew.checkpoint.storage import (
    Batch,
    Events,
    EventsFound,
    Found,
    Group,
    Kept,
    Lease,
    Pruning,
    Row,
    Space,
    ThreadRow,
    Waiting,
    Weight,
    at_once,
    conflict,
)
from clew.ids import stamp_of

if TYPE_CHECKING:
    from clew.checkpoint.retention import Retention


@dataclass(slots=True)
class Namespace:
    """One namespace of a thread: its number there, the seq of its head, the ends of its logs."""

    number: int | None = None
    head: int | None = None
    logs: bytes = b""


@dataclass(slots=True)
class Told:
    """A run's event log; groups by the numbers of their first events, in order. `until` is when it expires."""

    epoch: int = 0
    last: int = 0
    floor: int = 0
    until: float = 0.0
    ended: bool = False
    groups: dict[int, Group] = field(default_factory=dict[int, Group])


@dataclass(slots=True)
class Thread:
    """All that is kept of one thread; rows and outcomes are found by seq, items by log and number.

    `after` has, by namespace and seq, the first row that grew from one. `until` is when the lease ends, and `waiting` when each
    of those who wait will not any more, by the monotonic clock.
    """

    epoch: int = 0
    seq: int = 0
    spaces: int = 0
    lease: Lease | None = None
    until: float = 0.0
    stop: bool = False
    waiting: dict[bytes, float] = field(default_factory=dict[bytes, float])
    namespaces: dict[str, Namespace] = field(default_factory=dict[str, Namespace])
    rows: dict[int, tuple[str, Row]] = field(default_factory=dict[int, tuple[str, Row]])
    after: dict[tuple[str, int], Row] = field(default_factory=dict[tuple[str, int], Row])
    items: dict[tuple[int, int], bytes] = field(default_factory=dict[tuple[int, int], bytes])
    kept: dict[int, dict[str, Kept]] = field(default_factory=dict[int, dict[str, Kept]])
    told: dict[str, Told] = field(default_factory=dict[str, Told])


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
            space = kept.namespaces.get(ns) or Namespace()
            if checkpoint_id is None:
                return self._found(kept, ns, space, space.head)
            found = self._found(kept, ns, space, stamp_of(checkpoint_id))
            return found if found.row and found.row.id == checkpoint_id else self._found(kept, ns, space, None)

    def _found(self, kept: Thread, ns: str, space: Namespace, seq: int | None) -> Found:
        lease = kept.lease._replace(seconds=kept.until - time.monotonic()) if kept.lease else None
        found = Found(kept.epoch, kept.seq, kept.spaces, space.head, space.number, space.logs, lease)
        if seq is None or seq not in kept.rows or kept.rows[seq][0] != ns:
            return found
        row = found.row = kept.rows[seq][1]
        if row.base in kept.rows:
            found.base = kept.rows[row.base][1]
        if row.parent in kept.rows:
            found.parent_id = kept.rows[row.parent][1].id
        found.next = kept.after.get((ns, seq))
        found.kept = list(kept.kept.get(seq, {}).values())
        return found

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        with self._lock:
            kept = self._threads.get(thread)
            items = kept.items if kept else {}
            return [items[log, n] for log, lo, hi in ranges for n in range(lo, hi) if (log, n) in items]

    def commit(self, batch: Batch) -> bool:
        with self._lock:
            kept = self._threads.get(batch.thread) or Thread()
            if kept.epoch != batch.epoch:
                raise conflict(batch.thread)
            if batch.logs is not None:
                self._move(kept, batch, batch.logs)
            self._threads[batch.thread] = kept
            kept.epoch = batch.claim or kept.epoch
            for outcome in batch.kept:
                kept.kept.setdefault(outcome.seq, {})[outcome.task] = outcome
            if batch.claim or batch.release or batch.lease:
                kept.lease = batch.lease
                kept.until = time.monotonic() + batch.lease.seconds if batch.lease else 0.0
            if batch.claim:
                kept.stop = False
                kept.waiting.pop(batch.lease.run if batch.lease else b"", None)
            if batch.events is not None:
                _tell(kept, batch.events)
            return kept.stop

    def _move(self, kept: Thread, batch: Batch, logs: bytes) -> None:
        space = kept.namespaces.get(batch.ns) or Namespace(batch.number)
        rows = {row.seq: (batch.ns, row) for row in (*batch.history, batch.row)} if batch.row else {}
        items = {(log, number): data for log, number, data in batch.items} if batch.items else {}
        free = kept.rows.keys().isdisjoint(rows) and kept.items.keys().isdisjoint(items)
        if not free or space.head != batch.head or space.number != batch.number:
            raise conflict(batch.thread)
        kept.namespaces[batch.ns] = space
        kept.spaces = max(kept.spaces, batch.number + 1)
        space.logs = logs
        kept.items.update(items)
        kept.rows.update(rows)
        if batch.row is not None:
            kept.seq = max(kept.seq, batch.row.seq)
            space.head = batch.row.seq
            for _, row in rows.values():
                if row.parent is not None:
                    kept.after.setdefault((batch.ns, row.parent), row)

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        with self._lock:
            kept = self._threads.get(thread) or Thread()
            newest = next(reversed(kept.told), None)
            name = newest if run is None else run
            told = kept.told.get(name) if name is not None else None
            if name is None or told is None or _is_expired(kept, told):
                return None
            lease = kept.lease._replace(seconds=kept.until - time.monotonic()) if kept.lease else None
            groups = [group for group in told.groups.values() if group.first + group.length - 1 > after][:limit]
            return EventsFound(name, told.epoch, name == newest, told.last, told.floor, told.ended, lease, groups)

    def expire(self, limit: int) -> int:
        with self._lock:
            expired = [
                (kept, run) for kept in self._threads.values() for run, told in kept.told.items() if _is_expired(kept, told)
            ][:limit]
            for kept, run in expired:
                del kept.told[run]
            return len(expired)

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        with self._lock:
            kept = self._threads.get(thread)
            if kept is None:
                return True
            now = time.monotonic()
            kept.waiting = {other: until for other, until in kept.waiting.items() if until > now or other == run}
            kept.waiting[run] = now + seconds
            kept.stop = kept.stop or stop
            return next(iter(kept.waiting)) == run

    def leave(self, thread: str, run: bytes) -> None:
        with self._lock:
            if thread in self._threads:
                self._threads[thread].waiting.pop(run, None)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        with self._lock:
            kept = self._threads.get(thread)
            if kept is None or ns not in kept.namespaces:
                return []
            seqs = sorted(seq for seq, (space, _) in kept.rows.items() if space == ns and (before is None or seq < before))
            return [self._found(kept, ns, kept.namespaces[ns], seq) for seq in reversed(seqs[-limit:] if limit else [])]

    def threads(self) -> list[ThreadRow]:
        with self._lock:
            rows = [
                ThreadRow(name, len(kept.rows), kept.rows[kept.seq][1].id, sum(map(len, kept.items.values())) + _rows(kept))
                for name, kept in self._threads.items()
                if kept.rows
            ]
        return sorted(rows, key=lambda row: row.newest, reverse=True)

    def spaces(self, thread: str) -> list[Space]:
        with self._lock:
            kept = self._threads.get(thread) or Thread()
            found = [Space(ns, s.number, s.head, s.logs) for ns, s in kept.namespaces.items() if s.number is not None]
            return sorted(found, key=lambda space: space.number)

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        with self._lock:
            kept = self._threads.get(thread) or Thread()
            return [(*place, kept.items[place]) for place in sorted(place for place in kept.items if place > after)[:limit]]

    def prune(self, pruning: Pruning) -> None:
        with self._lock:
            kept = self._threads.get(pruning.thread)
            if kept is None or kept.epoch != pruning.epoch:
                raise conflict(pruning.thread)
            for seq in pruning.rows:
                kept.rows.pop(seq, None)
                kept.kept.pop(seq, None)
            for row in pruning.changed:
                kept.rows[row.seq] = kept.rows[row.seq][0], row
            kept.after = {}
            for _, (ns, row) in sorted(kept.rows.items()):
                if row.parent is not None:
                    kept.after.setdefault((ns, row.parent), row)
            kept.namespaces = {ns: s for ns, s in kept.namespaces.items() if s.number not in pruning.spaces}
            for log, lo, hi in pruning.ranges:
                for number in range(lo, hi):
                    kept.items.pop((log, number), None)
            for log, number, data in pruning.items:
                if (log, number) in kept.items:
                    kept.items[log, number] = data

    def weigh(self, thread: str) -> Weight:
        with self._lock:
            kept = self._threads.get(thread) or Thread()
            items: dict[int, tuple[int, int]] = {}
            for (log, _), data in kept.items.items():
                count, size = items.get(log, (0, 0))
                items[log] = count + 1, size + len(data)
            outcomes = [len(outcome.body) for beside in kept.kept.values() for outcome in beside.values()]
            return Weight(items, (len(kept.rows), _rows(kept)), (len(outcomes), sum(outcomes)), _groups(kept))

    def occupies(self) -> int:
        return sum(self.weigh(thread).bytes for thread in list(self._threads))

    def reclaim(self) -> None:
        pass  # Python has done so already

    def drop(self, thread: str) -> None:
        with self._lock:
            self._threads.pop(thread, None)

    def close(self) -> None:
        pass


def _rows(kept: Thread) -> int:
    return sum(len(row.body) for _, row in kept.rows.values())


def _groups(kept: Thread) -> tuple[int, int]:
    sizes = [len(group.body) for told in kept.told.values() for group in told.groups.values()]
    return len(sizes), sum(sizes)


def _tell(kept: Thread, events: Events) -> None:
    told = kept.told.setdefault(events.run, Told())
    told.epoch, told.floor, told.ended = kept.epoch, max(told.floor, events.floor), events.ended
    told.until = time.monotonic() + events.seconds
    if (group := events.group) is not None:
        told.groups[group.first] = group
        told.last = max(told.last, group.first + group.length - 1)
    while told.groups and (oldest := next(iter(told.groups.values()))).first + oldest.length <= told.floor:
        del told.groups[oldest.first]


def _is_expired(kept: Thread, told: Told) -> bool:
    now = time.monotonic()
    return told.until <= now and (told.ended or kept.lease is None or kept.until <= now)


class InMemorySaver(Saver):
    """Keeps threads for as long as the process lives."""

    def __init__(
        self,
        *,
        lease: float = LEASE,
        encryption: Encryption | None = None,
        retention: Retention | None = None,
        serde: object = None,
    ) -> None:
        super().__init__(MemoryStorage(), lease=lease, encryption=encryption, retention=retention, serde=serde)

    def on(self, host: Waiter) -> Waiting:
        return Waiting(self.storage, at_once)


MemorySaver = InMemorySaver
