"""What is kept in MongoDB when a process dies, or sleeps, between any two operations."""

from collections.abc import Callable
from typing import Any

import pytest
from support.dying import Dying, Pausing
from support.mongo_trouble import FIRST, ITEMS, LEASE, NEXT, Make, begun, bundles, crashes, documents, everything, row_of

from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.storage import Batch, Events, Group, Kept, Pruning, Row, Storage, Weight
from clew.errors import ThreadConflict
from clew.ids import new_checkpoint_id, new_epoch, stamped

pytestmark = [pytest.mark.slow, pytest.mark.server]


def drops(storage: Storage, epoch: int) -> None:
    storage.drop("t")


def commits(storage: Storage, epoch: int) -> None:
    batch = Batch("t", "", 0, 2, epoch, new_epoch(epoch), b"l3", [(0, 10, b"ten")], [Kept(2, "task", b"done")])
    batch.row, batch.lease = row_of(3, parent=2), NEXT
    storage.commit(batch)


def commits_much(storage: Storage, epoch: int) -> None:
    items = [(0, 10 + n, bytes(3 << 20)) for n in range(6)]
    storage.commit(Batch("t", "", 0, 2, epoch, new_epoch(epoch), b"l3", items, row=row_of(3, parent=2), lease=NEXT))


@pytest.mark.parametrize("act", [commits, commits_much])
def test_a_commit_that_crashes_is_there_whole_or_not_at_all(act: Any, mongodb_saver: Make) -> None:
    ends: set[bool] = set()
    for before, storage, epoch in crashes(mongodb_saver, act):
        after = everything(storage)
        ends.add(after == before)
        if after != before:
            assert (after[1], after[2], after[3]) == (3, 3, b"l3")
            assert len(after[5]) == (6 if act is commits else 11), "all items of it"
            lease = storage.load("t", "", None).lease
            assert lease is not None
            assert lease.run == b"next", "whoever comes by waits"
            with pytest.raises(ThreadConflict):
                act(storage, epoch)
        else:
            act(storage, epoch)
        assert storage.load("t", "", None).head == 3
    assert ends == {True, False}


def test_a_deletion_that_crashes_is_done_or_not_begun(mongodb_saver: Make) -> None:
    ends: set[bool] = set()
    for before, storage, epoch in crashes(mongodb_saver, drops):
        after = everything(storage)
        ends.add(after == before)
        if after != before:
            assert after == (0, 0, None, b"", [], [], ({}, (0, 0), (0, 0), (0, 0)))
            storage.drop("another")
            assert documents(storage, {}) == 0, "the next deletion sweeps"
            with pytest.raises(ThreadConflict):
                storage.commit(Batch("t", "", 0, 2, epoch, kept=[Kept(2, "task", b"late")]))
            begun(storage)
            assert storage.load("t", "", None).head == 2
    assert ends == {True, False}


def prunes(storage: Storage, epoch: int) -> None:
    changed = [row_of(2, b"changed", parent=1)]
    storage.prune(Pruning("t", epoch, [1], changed, [], [(0, 0, 2)], [(0, 9, b"other")]))


def pruned(storage: Storage) -> bool:
    """Whether a thread that was `begun` reads as pruned; it reads as one or the other."""
    found = [(one.row and one.row.body, one.parent_id, len(one.kept)) for one in storage.scan("t", "", None, 9)]
    read = found, storage.walk("t", (-1, -1), 9), storage.weigh("t"), [(one.checkpoints, one.size) for one in storage.threads()]
    after = [(0, 2, b"2"), (0, 3, b"3"), (0, 9, b"other")]
    if read == ([(b"changed", None, 0)], after, Weight({0: (3, 7)}, (1, 7), (0, 0)), [(1, 14)]):
        return True
    assert [body for body, _, _ in found] == [b"body", b"body"]
    assert read[1:] == (ITEMS, Weight({0: (5, 8)}, (2, 8), (1, 4)), [(2, 16)])
    return False


def test_a_pruning_that_crashes_is_done_or_not_begun(mongodb_saver: Make) -> None:
    ends: list[bool] = []
    for _, storage, epoch in crashes(mongodb_saver, prunes):
        found = storage.load("t", "", None)
        assert (found.epoch, found.head, found.logs) == (epoch, 2, b"l2")
        ends.append(pruned(storage))
        prunes(storage, epoch)
        assert pruned(storage)
        assert documents(storage, {}) - bundles(storage) == 1, "what was void is gone"
        assert bundles(storage) == 3, "and what nothing names"
    assert set(ends) == {True, False}
    assert ends.index(True) == ends.count(False), "it is done by one of its operations, and none before or after it"


def test_an_event_log_outlives_the_commits_that_brought_it(mongodb_saver: Make) -> None:
    with mongodb_saver() as saver:
        storage = saver.rows
        epoch = begun(storage)
        for seq in (3, 4):
            told = Events("run", Group(seq, 1, b"event %d" % seq), 0, 60.0, ended=seq == 4)
            row = row_of(seq, parent=seq - 1)
            storage.commit(Batch("t", "", 0, seq - 1, epoch, 0, b"l", row=row, release=True, events=told))
        before = storage.events("t", None, 0, 9), storage.weigh("t").events
        assert before[1] == (2, 14)
        for seq in (1, 2):
            storage.prune(Pruning("t", epoch, [seq]))
            with mongodb_saver() as other:
                assert (other.rows.events("t", None, 0, 9), other.rows.weigh("t").events) == before
                assert [one.row and one.row.seq for one in other.rows.scan("t", "", None, 9)] == [4, 3, 2][: 4 - seq]
        storage.commit(Batch("t", "", 0, 4, epoch, events=Events("run", None, 9, 60.0, True)))
        found = storage.events("t", "run", 0, 9)
        assert found is not None
        assert (found.groups, found.last, found.floor) == ([], 4, 9)
        storage.prune(Pruning("t", epoch, [3]))
        bare = {"d": {"$exists": False}}
        assert documents(storage, bare) == 1, "what says that there is a log"
        storage.drop("t")
        assert documents(storage, {}) == 0


# -- whoever sleeps ---------------------------------------------------------------------------------------------------


class Sleeping(Dying):
    """Sleeps before the first of some operations, while something else happens."""

    def __init__(self, operation: str, meanwhile: Callable[[], None]) -> None:
        super().__init__(None, done=False)
        self.operation = operation
        self.meanwhile: Callable[[], None] | None = meanwhile

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if operation.__name__ == self.operation and self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        return operation(*args, **options)


def test_whoever_sleeps_between_looking_and_writing_writes_nothing(mongodb_saver: Make) -> None:
    """Not even where the number that it was to have belongs to a commit of which nothing is left."""
    with mongodb_saver() as sleeper, mongodb_saver() as other:
        epoch = begun(sleeper.rows)
        claimed = new_epoch(epoch)

        def meanwhile() -> None:
            other.rows.commit(Batch("t", "", 0, None, epoch, claimed, lease=LEASE))
            other.rows.commit(Batch("t", "", 0, 2, claimed, 0, b"l3", row=row_of(3, parent=2)))
            other.rows.prune(Pruning("t", claimed, ranges=[(0, 0, 2)]))

        collection = sleeper.rows.connected.collection
        asleep = Sleeping("insert_one", meanwhile)
        sleeper.rows.connected.collection = lambda name: asleep.before(collection(name))
        with pytest.raises(ThreadConflict):
            sleeper.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"z", [(0, 10, b"zombie")], [Kept(2, "x", b"z")], row_of(4)))
        found = other.rows.load("t", "", None)
        assert (found.epoch, found.head, found.logs) == (claimed, 3, b"l3")
        assert other.rows.items("t", [(0, 10, 11)]) == []
        assert [one.row and one.row.seq for one in other.rows.scan("t", "", None, 9)] == [3, 2, 1]


def test_whoever_slept_through_a_deletion_is_told(mongodb_saver: Make) -> None:
    with mongodb_saver() as sleeper, mongodb_saver() as other:
        epoch = begun(sleeper.rows)
        asleep = Sleeping("insert_one", lambda: other.rows.drop("t"))
        collection = sleeper.rows.connected.collection
        sleeper.rows.connected.collection = lambda name: asleep.before(collection(name))
        with pytest.raises(ThreadConflict):
            sleeper.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"z", [(0, 10, b"zombie")], [], row_of(4)))
        assert documents(other.rows, {}) == 0


def goes_back(storage: Storage, ends: list[bool]) -> None:
    """A run takes the thread over and goes on from its oldest checkpoint, if that is there still; notes whether it was."""
    oldest = FIRST.id
    found = storage.load("t", "", oldest)
    if found.row is None:
        found.row = storage.load("t", "", None).row
        ends.append(False)
    else:
        ends.append(True)
    assert found.row is not None
    row = Row(3, stamped(new_checkpoint_id(), 3), found.row.seq, found.row.seq, b"new")
    storage.commit(Batch("t", "", 0, found.head, found.epoch, new_epoch(found.epoch), b"l3", [(0, 10, b"ten")], row=row))


@pytest.mark.parametrize("again", [False, True])
def test_a_pruner_may_sleep_at_any_operation(again: bool, mongodb_saver: Make) -> None:
    """While another run takes over from a checkpoint that is to go, and perhaps prunes as well: it keeps all that it names."""
    ends: list[bool] = []
    at = 0
    while True:
        at += 1
        with mongodb_saver() as pruner, mongodb_saver() as other:
            epoch, told = begun(other.rows), list[bool]()

            def meanwhile(other: MongoDBSaver = other, told: list[bool] = told) -> None:
                goes_back(other.rows, told)
                if again:
                    owner = other.rows.load("t", "", None).epoch
                    other.rows.prune(Pruning("t", owner, [2] if told[0] else [], ranges=[(0, 9, 10)]))

            asleep = Pausing(at, meanwhile)
            collection = pruner.rows.connected.collection
            pruner.rows.connected.collection = lambda name, ask=collection, asleep=asleep: asleep.before(ask(name))
            try:
                prunes(pruner.rows, epoch)
            except ThreadConflict:
                assert told, "nobody else was there"
            if not told:
                assert pruned(other.rows)
                break
            kept(other.rows, went_back=told[0], again=again)
            ends.append(told[0])
            other.rows.drop("t")
    assert set(ends) == {True, False}
    assert at > 10, "it sleeps at every operation in turn"


def kept(storage: Storage, *, went_back: bool, again: bool) -> None:
    found = storage.load("t", "", None)
    assert (found.seq, found.head, found.logs, found.row and found.row.body) == (3, 3, b"l3", b"new")
    assert found.base is not None
    assert found.base.seq == (1 if went_back else 2)
    seqs = ([3, 1] if again else [3, 2, 1]) if went_back else [3, 2]
    assert [one.row and one.row.seq for one in storage.scan("t", "", None, 9)] == seqs
    items = ITEMS if went_back else [(0, 2, b"2"), (0, 3, b"3"), (0, 9, b"other")]
    assert storage.walk("t", (-1, -1), 99) == [*(one for one in items if one[1] != 9 or not again), (0, 10, b"ten")]
    assert len(storage.items("t", [(0, 0, 2)])) == (2 if went_back else 0)
