"""A thread that MongoDB keeps, for tests that let whoever keeps it die."""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import pytest

from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.mongodb.storage import MongoStorage
from clew.checkpoint.storage import Batch, Kept, Lease, Row, Storage
from clew.ids import new_checkpoint_id, new_epoch, stamped
from clew.testing.crash import Crash
from support.dying import dying

Make: TypeAlias = Callable[[], MongoDBSaver]
LEASE = Lease(b"run", "owner", None, 30.0)
NEXT = Lease(b"next", "owner", None, 30.0)
ITEMS = [*((0, n, b"%d" % n) for n in range(4)), (0, 9, b"nine")]


def row_of(seq: int, body: bytes = b"body", parent: int | None = None) -> Row:
    return Row(seq, stamped(new_checkpoint_id(), seq), parent, None, body)


FIRST = row_of(1)
SECOND = row_of(2, parent=1)


def everything(storage: Storage) -> Any:
    """All that can be read of a thread, but its lease."""
    found = storage.load("t", "", None)
    listed = [(one.row, sorted(one.kept)) for one in storage.scan("t", "", None, 100)]
    return found.epoch, found.seq, found.head, found.logs, listed, storage.walk("t", (-1, -1), 1000), storage.weigh("t")


def begun(storage: Storage, large: bool = False) -> int:
    """A thread of two checkpoints, with items and outcomes; returns its epoch."""
    epoch = new_epoch(0)
    items = [(0, n, b"%d" % n * (3 << 20 if large else 1)) for n in range(4)]
    storage.commit(Batch("t", "", 0, None, 0, epoch, b"l1", items, row=FIRST, lease=LEASE))
    storage.commit(Batch("t", "", 0, 1, epoch, 0, b"l2", [(0, 9, b"nine")], [Kept(1, "task", b"done")], SECOND))
    return epoch


def documents(storage: MongoStorage, which: dict[str, Any]) -> int:
    """How many documents of commits and bundles there are, of all threads, void ones too."""
    return storage.connected.collection("clew_commits").count_documents(which)


def bundles(storage: MongoStorage) -> int:
    """How many of them are bundles."""
    return sum(len(one["_id"]) > 8 for one in storage.connected.collection("clew_commits").find({}, {"_id": 1}))


def crashes(make: Make, act: Callable[[Storage, int], None]) -> Generator[tuple[Any, MongoStorage, int]]:
    """What there was, what another saver finds, and under which epoch, for a crash at every operation of `act`."""
    with make() as saver, dying(saver.rows.connected, None) as counted:
        epoch = begun(saver.rows)
        first = counted.calls
        act(saver.rows, epoch)
        total = counted.calls - first
        saver.rows.drop("t")
    assert total >= 2
    for crash_at in range(total):
        for done in (False, True):
            with make() as saver, make() as other:
                epoch = begun(saver.rows)
                before = everything(other.rows)
                with dying(saver.rows.connected, None) as died:
                    died.crash_at, died.done = crash_at, done
                    with pytest.raises(Crash):
                        act(saver.rows, epoch)
                yield before, other.rows, epoch
                other.rows.drop("t")
