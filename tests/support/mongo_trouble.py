"""Trouble for what MongoDB keeps: a process that dies at one of its operations on collections, right before or after it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.mongodb.storage import MongoStorage
from clew.checkpoint.storage import Batch, Kept, Lease, Row, Storage
from clew.ids import new_checkpoint_id, new_epoch, stamped
from clew.testing.crash import Crash

LEASE = Lease(b"run", "owner", None, 30.0)
NEXT = Lease(b"next", "owner", None, 30.0)
ITEMS = [*((0, n, b"%d" % n) for n in range(4)), (0, 9, b"nine")]


def row_of(seq: int, body: bytes = b"body", parent: int | None = None) -> Row:
    return Row(seq, stamped(new_checkpoint_id(), seq), parent, None, body)


FIRST = row_of(1)


def everything(storage: Storage) -> Any:
    """All that can be read of a thread, but its lease."""
    found = storage.load("t", "", None)
    listed = [(one.row, sorted(one.kept)) for one in storage.scan("t", "", None, 100)]
    return found.epoch, found.seq, found.head, found.logs, listed, storage.walk("t", (-1, -1), 1000), storage.weigh("t")


class Dying:
    """Stands before the collections of a storage: the process dies at one of its operations, before it or right after it."""

    def __init__(self, crash_at: int | None, *, done: bool) -> None:
        self.calls, self.crash_at, self.done = 0, crash_at, done

    def before(self, collection: Any) -> Any:
        return _Watched(collection, self)

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        number = self.calls
        self.calls += 1
        if self.crash_at is not None and number >= self.crash_at + self.done:
            raise Crash
        found = operation(*args, **options)
        if number == self.crash_at:
            raise Crash
        return found


class _Watched:
    def __init__(self, collection: Any, dying: Dying) -> None:
        self._collection, self._dying = collection, dying

    def __getattr__(self, name: str) -> Any:
        return partial(self._dying.call, getattr(self._collection, name))


@contextmanager
def dying(saver: MongoDBSaver, crash_at: int | None, *, done: bool = False) -> Generator[Dying]:
    connected, died = saver.rows.connected, Dying(crash_at, done=done)
    collection = connected.collection
    connected.collection = lambda name: died.before(collection(name))
    try:
        yield died
    finally:
        connected.collection = collection


def begun(storage: Storage, large: bool = False) -> int:
    """A thread of two checkpoints, with items and outcomes; returns its epoch."""
    epoch = new_epoch(0)
    items = [(0, n, b"%d" % n * (3 << 20 if large else 1)) for n in range(4)]
    storage.commit(Batch("t", "", 0, None, 0, epoch, b"l1", items, row=FIRST, lease=LEASE))
    storage.commit(Batch("t", "", 0, 1, epoch, 0, b"l2", [(0, 9, b"nine")], [Kept(1, "task", b"done")], row_of(2, parent=1)))
    return epoch


def documents(storage: MongoStorage, which: dict[str, Any]) -> int:
    """How many documents of commits and pages there are, of all threads, void ones too."""
    return storage.connected.collection("clew_commits").count_documents(which)
