"""A storage over a storage: what goes in is sealed, what comes out is opened, what does not belong where it stood is refused.

Sealed are the bodies of checkpoints and of outcomes, the items, and the ends of the logs, which hold the names of the keys.
Each is bound to its thread, to its place there, and to the thread's *mark*: random bytes that a thread is given as it is made,
so that rows of one that was deleted do not fit into another of the same name. The mark stands sealed beside the ends of the
logs of every namespace.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from struct import error as StructError
from struct import pack
from typing import Any, Final, TypeVar

from clew.checkpoint.crypt import Broken, Encryption, Ring, is_sealed
from clew.checkpoint.places import EventsPlace, ItemPlace, KeptPlace, LogsPlace, Place, RowPlace, text_of
from clew.checkpoint.storage import Batch, Events, EventsFound, Found, Group, Kept, Pruning, Row, Space, Storage
from clew.checkpoint.through import Through
from clew.errors import TamperedRow

T = TypeVar("T")
MARK: Final = 8  # bytes
MARKS: Final = 1024  # threads whose marks are remembered
DIGEST: Final = 8


def new_mark() -> bytes:
    return os.urandom(MARK)


class Seals:
    """A thread's rows, sealed and opened: its keys and its mark.

    Args:
        plain: what stands there in plain text is taken as it is.
    """

    __slots__ = ("_bound", "mark", "plain", "ring")

    def __init__(self, ring: Ring, mark: bytes, *, plain: bool = False) -> None:
        self.ring = ring
        self.mark = mark
        self.plain = plain
        self._bound = _bound(ring, mark)

    def _seal(self, data: bytes, place: Place) -> bytes:
        return self.ring.seal(data, self._bound + place.bound())

    def _open(self, data: bytes, place: Place) -> bytes:
        return _opened(self.ring, data, place, self._bound)

    def _is_plain(self, data: bytes) -> bool:
        return self.plain and not is_sealed(data)

    def seal_item(self, item: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
        log, number, data = item
        return log, number, self._seal(data, ItemPlace(log, number))

    def open_item(self, item: tuple[int, int, bytes]) -> tuple[int, int, bytes]:
        log, number, data = item
        return item if self._is_plain(data) else (log, number, self._open(data, ItemPlace(log, number)))

    def seal_row(self, row: Row, ns: str) -> Row:
        return row._replace(body=self._seal(_digest(ns) + row.body, RowPlace(*row[:4])))

    def open_row(self, row: Row, ns: str | None) -> Row:
        """`ns` is where it has to stand, None where that does not matter."""
        if self._is_plain(row.body):
            return row
        place = RowPlace(*row[:4])
        body = self._open(row.body, place)
        if ns is not None and body[:DIGEST] != _digest(ns):
            raise tampered(self.ring.thread, f"{place} was sealed in another namespace than {ns!r}, where it stands now")
        return row._replace(body=body[DIGEST:])

    def seal_kept(self, kept: Kept) -> Kept:
        return kept._replace(body=self._seal(kept.body, KeptPlace(kept.seq, kept.task)))

    def open_kept(self, kept: Kept) -> Kept:
        return kept if self._is_plain(kept.body) else kept._replace(body=self._open(kept.body, KeptPlace(kept.seq, kept.task)))

    def seal_events(self, events: Events) -> Events:
        group = events.group
        if group is None:
            return events
        body = self._seal(group.body, EventsPlace(events.run, group.first, group.length))
        return events._replace(group=group._replace(body=body))

    def open_group(self, run: str, group: Group) -> Group:
        return group._replace(body=self._open(group.body, EventsPlace(run, group.first, group.length)))

    def seal_logs(self, logs: bytes, place: LogsPlace) -> bytes:
        return self.ring.seal(self.mark + logs, _bound(self.ring, bytes(MARK)) + place.bound())


def open_logs(ring: Ring, sealed: bytes, place: LogsPlace) -> tuple[bytes, bytes]:
    """The thread's mark, and the ends of the logs: the one thing that is found without knowing the mark."""
    opened = _opened(ring, sealed, place, _bound(ring, bytes(MARK)))
    return opened[:MARK], opened[MARK:]


def _bound(ring: Ring, mark: bytes) -> bytes:
    name = text_of(ring.thread)
    return mark + pack(">q", len(name)) + name


def _opened(ring: Ring, data: bytes, place: Place, bound: bytes) -> bytes:
    if not is_sealed(data):
        raise tampered(
            ring.thread,
            f"{place} is in plain text: {data!r:.30}…",
            f"If the thread was kept without encryption so far, saver.reseal({ring.thread!r}, plain=True) seals it. ",
        )
    try:
        return ring.open(data, bound + place.bound())
    except (Broken, TypeError, AttributeError, StructError):  # a part of the place may have another type than it should
        raise tampered(ring.thread, f"{place} is not what was sealed there") from None


def tampered(thread: str, found: str, way: str = "") -> TamperedRow:
    return TamperedRow(
        f"Thread {thread!r}: {found}. It was damaged, altered, or put there by somebody without the key, perhaps from another "
        f"place. Nothing of it was used. {way}Otherwise bring back the database from a backup, or begin from an older "
        "checkpoint (`get_state_history`), and find out who can write to the database."
    )


def _digest(ns: str) -> bytes:
    return blake2b(text_of(ns), digest_size=DIGEST).digest()


class SealedStorage(Through):
    """A storage over another one, which only ever sees what is sealed.

    What is read while somebody writes may not fit together: so it is read once more before it is refused.

    Raises, from every verb that reads or writes what is sealed:
        TamperedRow: something stands there that was not sealed for that place.
        MissingKey: the thread has no key, or what stands there was sealed with one that is not given.
    """

    def __init__(self, storage: Storage, encryption: Encryption) -> None:
        super().__init__(storage)
        self.encryption = encryption
        self._marks: OrderedDict[str, tuple[int, bytes]] = OrderedDict()  # by thread, with the epoch that it was seen under
        self._lock = threading.Lock()

    # -- reading ----------------------------------------------------------------------------------------------------

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        return self._twice(self._load, thread, ns, checkpoint_id)

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return self._twice(self._items, thread, ranges)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        return self._twice(self._scan, thread, ns, before, limit)

    def spaces(self, thread: str) -> list[Space]:
        return self._twice(self._spaces, thread)[1]

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        return self._twice(self._walk, thread, after, limit)

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        return self._twice(self._events, thread, run, after, limit)

    def _twice(self, read: Callable[..., T], thread: str, *args: Any) -> T:
        try:
            return read(thread, *args)
        except TamperedRow:
            self._forget(thread)
            return read(thread, *args)

    def _load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        found = self.storage.load(thread, ns, checkpoint_id)
        if found.number is None:
            return found
        ring = self.encryption.ring(thread)
        mark, found.logs = open_logs(ring, found.logs, LogsPlace(ns, found.number, found.head))
        if found.row is None and checkpoint_id is None and found.head is not None:
            raise tampered(thread, f"checkpoint {found.head}, the newest one, is gone")
        opened = _completed(Seals(ring, mark), ns, found)
        self._remember(thread, found.epoch, mark)
        return opened

    def _scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        rows = self.storage.scan(thread, ns, before, limit)
        if not rows:
            return rows
        seals = self._seals(thread)
        for found in rows:
            if found.number is None or found.head is None:  # a listing need not say how far the logs are written
                found.logs = b""
            elif found.logs:
                _, found.logs = open_logs(seals.ring, found.logs, LogsPlace(ns, found.number, found.head))
        return [_completed(seals, ns, found) for found in rows]

    def _items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        places = [(log, number) for log, lo, hi in ranges for number in range(lo, hi)]
        found = self.storage.items(thread, ranges)
        if len(found) == len(places):
            items = [(*place, data) for place, data in zip(places, found, strict=True)]
        else:  # some are not there, and nobody says which: this is on its way to an error
            items = [(*place, data) for place in places for data in self.storage.items(thread, [(*place, place[1] + 1)])]
        if not items:
            return []
        seals = self._seals(thread)
        return [seals.open_item(item)[2] for item in items]

    def _walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        found = self.storage.walk(thread, after, limit)
        return [*map(self._seals(thread).open_item, found)] if found else []

    def _events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        found = self.storage.events(thread, run, after, limit)
        if found is not None and found.groups:
            seals = self._seals(thread)
            found.groups = [seals.open_group(found.run, group) for group in found.groups]
        return found

    def _spaces(self, thread: str) -> tuple[bytes | None, list[Space]]:
        """The thread's mark, and its namespaces; None where it has none."""
        found = self.storage.spaces(thread)
        if not found:
            return None, []
        ring = self.encryption.ring(thread)
        opened = [open_logs(ring, space.logs, LogsPlace(space.ns, space.number, space.head)) for space in found]
        marks = {mark for mark, _ in opened}
        if len(marks) > 1:
            raise tampered(thread, "its namespaces are not all of one thread")
        return marks.pop(), [space._replace(logs=logs) for space, (_, logs) in zip(found, opened, strict=True)]

    # -- writing ----------------------------------------------------------------------------------------------------

    def commit(self, batch: Batch) -> bool:
        if batch.logs is None and not (batch.kept or batch.items or batch.row or batch.history or batch.events):
            mark = self._seen(batch.thread, batch.epoch)
            stop = self.storage.commit(batch)
            if mark is not None:
                self._remember(batch.thread, batch.claim or batch.epoch, mark)
            return stop
        seals = self._seals(batch.thread, batch.epoch)
        head = batch.row.seq if batch.row else batch.head
        sealed = replace(
            batch,
            logs=None if batch.logs is None else seals.seal_logs(batch.logs, LogsPlace(batch.ns, batch.number, head)),
            items=[*map(seals.seal_item, batch.items)],
            kept=[*map(seals.seal_kept, batch.kept)],
            row=seals.seal_row(batch.row, batch.ns) if batch.row else None,
            history=[seals.seal_row(row, batch.ns) for row in batch.history],
            events=seals.seal_events(batch.events) if batch.events else None,
        )
        stop = self.storage.commit(sealed)
        self._remember(batch.thread, batch.claim or batch.epoch, seals.mark)
        return stop

    def prune(self, pruning: Pruning) -> None:
        if not pruning.changed and not pruning.items:
            return self.storage.prune(pruning)
        seals = self._seals(pruning.thread, pruning.epoch)
        changed = [seals.seal_row(row, ns) for row, ns in self._stand(pruning.thread, pruning.changed)]
        return self.storage.prune(replace(pruning, changed=changed, items=[*map(seals.seal_item, pruning.items)]))

    def _stand(self, thread: str, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Rows, each with the namespace it stands in."""
        spaces = [space.ns for space in self.storage.spaces(thread)] if rows else []
        found: list[tuple[Row, str]] = []
        for row in rows:
            for ns in spaces:
                beside = self.storage.scan(thread, ns, row.seq + 1, 1)
                if beside and beside[0].row and beside[0].row.seq == row.seq:
                    spaces.sort(key=ns.__ne__)  # the next one most likely stands there too
                    found.append((row, ns))
                    break
        return found

    # -- keys and marks ---------------------------------------------------------------------------------------------

    def _seals(self, thread: str, epoch: int | None = None) -> Seals:
        """A thread's seals, as last seen under this epoch, or under any; a mark is made where it has none."""
        ring = self.encryption.ring(thread)
        mark = self._seen(thread, epoch) or self._spaces(thread)[0]
        return Seals(ring, mark or new_mark())

    def _seen(self, thread: str, epoch: int | None) -> bytes | None:
        """The mark that a thread was last seen with: under an epoch, which is unique, it cannot have become another."""
        if epoch == 0:  # it is being made
            return new_mark()
        with self._lock:
            seen = self._marks.get(thread)
        return seen[1] if seen is not None and epoch in (None, seen[0]) else None

    def _remember(self, thread: str, epoch: int, mark: bytes) -> None:
        with self._lock:
            self._marks[thread] = epoch, mark
            self._marks.move_to_end(thread)
            if len(self._marks) > MARKS:
                self._marks.popitem(last=False)

    def _forget(self, thread: str) -> None:
        with self._lock:
            self._marks.pop(thread, None)


def _completed(seals: Seals, ns: str, found: Found) -> Found:
    """`found` with all opened that belongs to its checkpoint."""
    row = found.row
    if row is None:
        return found
    if row.base is not None and (found.base is None or found.base.seq != row.base):
        raise tampered(seals.ring.thread, f"checkpoint {row.base}, which checkpoint {row.seq} adds to, is gone")
    found.row = seals.open_row(row, ns)
    found.base = seals.open_row(found.base, None) if found.base and row.base is not None else None
    found.next = seals.open_row(found.next, ns) if found.next else None
    found.kept = [*map(seals.open_kept, found.kept)]
    return found
