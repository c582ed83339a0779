"""Items kept in this process's memory, as the same bytes that a database would hold."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.storage import Namespace, Place, Put, Row, Scan, Vector, conflict, lives


class Entry(NamedTuple):
    row: Row
    vectors: bytes


class Branch:
    """What is below one prefix: the items of that very namespace, those written last at the end, and longer namespaces."""

    __slots__ = ("entries", "inside")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.inside: dict[str, Branch] = {}

    def walk(self) -> Iterator[Branch]:
        waiting: list[Branch] = [self]
        while waiting:
            branch = waiting.pop()
            waiting.extend(branch.inside.values())
            yield branch


class MemoryStorage:
    """Rows in a tree of namespaces."""

    blocking = False  # microseconds; a thread would cost more

    def __init__(self) -> None:
        self._root = Branch()
        self._last = 0  # the time of the last write: no two have the same
        self._lock = threading.Lock()

    def setup(self) -> None:
        pass

    def close(self) -> None:
        pass

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        now = _now()
        with self._lock:
            found = {place: self._entry(place) for place in places}
        return {place: entry.row for place, entry in found.items() if entry is not None and lives(entry.row, now)}

    def scan(self, scan: Scan) -> Iterator[Row]:
        now = _now()
        with self._lock:
            branch = self._branch(scan.prefix)
            parts = [
                list(islice((e.row for e in reversed(part.entries.values()) if lives(e.row, now)), scan.most))
                for part in (branch.walk() if branch else ())
            ]
        return heapq.merge(*parts, key=lambda row: row.order)

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        now = _now()
        with self._lock:
            branch = self._branch(prefix)
            entries = [entry for part in (branch.walk() if branch else ()) for entry in part.entries.values()]
        return (Vector(entry.row.place, entry.vectors) for entry in entries if entry.vectors and lives(entry.row, now))

    def near(self, prefix: Namespace, vector: bytes, most: int) -> None:
        return None

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        now = _now()
        with self._lock:
            branch = self._branch(prefix)
            rows = [
                next((entry.row for entry in part.entries.values() if lives(entry.row, now)), None)
                for part in (branch.walk() if branch else ())
            ]
        return (row.place.namespace for row in rows if row is not None)

    def write(self, puts: Sequence[Put]) -> None:
        now = _now()
        with self._lock:
            for put in puts:
                if put.if_version is not None and put.if_version != (found := self._version(put.place, now)):
                    raise conflict(put, found)
            self._last = max(now, self._last + 1)
            # what is written at one time is read by its key, and the last of a dict is read first
            for put in sorted(puts, key=lambda put: put.place.key, reverse=True):
                before = self._drop(put.place)
                if put.value is not None:
                    created = before.row.created if before and lives(before.row, now) else self._last
                    expires = None if put.ttl is None else now + put.ttl * 1000
                    row = Row(put.place, put.value, created, self._last, put.ttl, expires)
                    self._made(put.place.namespace).entries[put.place.key] = Entry(row, b"".join(put.vectors))

    def refresh(self, places: Sequence[Place]) -> None:
        now = _now()
        with self._lock:
            for place in places:
                entry, branch = self._entry(place), self._branch(place.namespace)
                if entry and branch and entry.row.ttl is not None and lives(entry.row, now):
                    row = entry.row._replace(expires=now + entry.row.ttl * 1000)
                    branch.entries[place.key] = entry._replace(row=row)  # where it stood: its order is that of its write

    def sweep(self) -> int:
        now = _now()
        with self._lock:
            gone = [e.row.place for part in self._root.walk() for e in part.entries.values() if not lives(e.row, now)]
            for place in gone:
                self._drop(place)
        return len(gone)

    # -- the tree ---------------------------------------------------------------------------------------------------

    def _branch(self, prefix: Namespace) -> Branch | None:
        branch: Branch | None = self._root
        for label in prefix:
            branch = branch.inside.get(label) if branch else None
        return branch

    def _made(self, namespace: Namespace) -> Branch:
        branch = self._root
        for label in namespace:
            branch = branch.inside.setdefault(label, Branch())
        return branch

    def _entry(self, place: Place) -> Entry | None:
        branch = self._branch(place.namespace)
        return branch.entries.get(place.key) if branch else None

    def _version(self, place: Place, now: int) -> int:
        entry = self._entry(place)
        return entry.row.updated if entry and lives(entry.row, now) else 0

    def _drop(self, place: Place) -> Entry | None:
        """Takes an entry out, with the branches that it leaves empty."""
        way = [self._root]
        for label in place.namespace:
            branch = way[-1].inside.get(label)
            if branch is None:
                return None
            way.append(branch)
        found = way[-1].entries.pop(place.key, None)
        for label in reversed(place.namespace):
            branch = way.pop()
            if branch.entries or branch.inside:
                break
            del way[-1].inside[label]
        return found


class InMemoryStore(Store):
    """Keeps items for as long as the process lives. Search by meaning goes through every vector, with NumPy where it is there.

    Args:
        index, ttl: see `Store`.
    """

    def __init__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        super().__init__(MemoryStorage(), index=index, ttl=ttl)


def _now() -> int:
    return time.time_ns() // 1000
