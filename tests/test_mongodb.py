"""What is MongoDB's own: one document a commit, crashes between any two operations, large states, the server's death."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pymongo
import pytest
from pymongo.monitoring import CommandListener
from support.dying import Dying, dying
from support.faces import Face
from support.graphs import counting
from support.mongo_server import MongoServer

from clew.checkpoint.mongodb import AsyncMongoDBSaver, MongoDBSaver
from clew.checkpoint.storage import Batch, Kept, Lease, Pruning, Row, Storage
from clew.errors import DatabaseError, ThreadConflict
from clew.ids import new_checkpoint_id, new_epoch, stamped
from clew.testing.crash import Crash

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
LEASE = Lease(b"run", "owner", None, 30.0)
NEXT = Lease(b"next", "owner", None, 30.0)


@pytest.fixture
def make(mongodb_server: MongoServer, mongodb_name: str) -> Generator[Callable[[], MongoDBSaver]]:
    """Savers of one database, closed afterwards."""
    made: list[MongoDBSaver] = []

    def saver() -> MongoDBSaver:
        made.append(MongoDBSaver(mongodb_server.url, mongodb_name))
        return made[-1]

    yield saver
    for one in made:
        one.close()


def row_of(seq: int, body: bytes = b"body", parent: int | None = None) -> Row:
    return Row(seq, stamped(new_checkpoint_id(), seq), parent, None, body)


def everything(storage: Storage) -> Any:
    """All that can be read of a thread, but its lease."""
    found = storage.load("t", "", None)
    listed = [(one.row, sorted(one.kept)) for one in storage.scan("t", "", None, 100)]
    return found.epoch, found.seq, found.head, found.logs, listed, storage.walk("t", (-1, -1), 1000), storage.weigh("t")


# -- crashes ----------------------------------------------------------------------------------------------------------


def begun(storage: Storage, large: bool = False) -> int:
    """A thread of two checkpoints, with items and outcomes; returns its epoch."""
    epoch = new_epoch(0)
    items = [(0, n, b"%d" % n * (3 << 20 if large else 1)) for n in range(4)]
    storage.commit(Batch("t", "", 0, None, 0, epoch, b"l1", items, row=row_of(1), lease=LEASE))
    storage.commit(Batch("t", "", 0, 1, epoch, 0, b"l2", [(0, 9, b"nine")], [Kept(1, "task", b"done")], row_of(2, parent=1)))
    return epoch


def drops(storage: Storage, epoch: int) -> None:
    storage.drop("t")


def commits(storage: Storage, epoch: int) -> None:
    batch = Batch("t", "", 0, 2, epoch, new_epoch(epoch), b"l3", [(0, 10, b"ten")], [Kept(2, "task", b"done")])
    batch.row, batch.lease = row_of(3, parent=2), NEXT
    storage.commit(batch)


def commits_much(storage: Storage, epoch: int) -> None:
    items = [(0, 10 + n, bytes(3 << 20)) for n in range(6)]
    storage.commit(Batch("t", "", 0, 2, epoch, new_epoch(epoch), b"l3", items, row=row_of(3, parent=2), lease=NEXT))


def crashes(make: Callable[[], MongoDBSaver], act: Callable[[Storage, int], None]) -> Generator[tuple[Any, Any, int]]:
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


@pytest.mark.slow
@pytest.mark.parametrize("act", [commits, commits_much])
def test_a_commit_that_crashes_is_there_whole_or_not_at_all(act: Any, make: Callable[[], MongoDBSaver]) -> None:
    ends: set[bool] = set()
    for before, storage, epoch in crashes(make, act):
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


@pytest.mark.slow
def test_a_deletion_that_crashes_is_done_or_not_begun(make: Callable[[], MongoDBSaver]) -> None:
    ends: set[bool] = set()
    for before, storage, epoch in crashes(make, drops):
        after = everything(storage)
        ends.add(after == before)
        if after != before:
            assert after == (0, 0, None, b"", [], [], ({}, (0, 0), (0, 0)))
            with pytest.raises(ThreadConflict):
                storage.commit(Batch("t", "", 0, 2, epoch, kept=[Kept(2, "task", b"late")]))
            begun(storage)
            assert storage.load("t", "", None).head == 2
    assert ends == {True, False}


@pytest.mark.slow
def test_a_pruning_that_crashes_is_made_good_by_the_next(make: Callable[[], MongoDBSaver]) -> None:
    """In between whatever stays reads as it did."""

    def prunes(storage: Storage, epoch: int) -> None:
        changed = [row_of(2, b"changed")]
        storage.prune(Pruning("t", epoch, [1], changed, [], [(0, 0, 2)], [(0, 9, b"other")]))

    for _, storage, epoch in crashes(make, prunes):
        found = storage.load("t", "", None)
        assert (found.epoch, found.head, found.logs) == (epoch, 2, b"l2")
        assert found.row is not None
        assert found.row.body in (b"body", b"changed")
        assert len(storage.items("t", [(0, 2, 10)])) == 3
        prunes(storage, epoch)
        assert [one.row and one.row.body for one in storage.scan("t", "", None, 9)] == [b"changed"]
        assert storage.walk("t", (-1, -1), 9) == [(0, 2, b"2"), (0, 3, b"3"), (0, 9, b"other")]
        assert storage.weigh("t") == ({0: (3, 7)}, (1, 7), (0, 0))
        assert [(one.checkpoints, one.size) for one in storage.threads()] == [(1, 14)]


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


def test_whoever_sleeps_between_looking_and_writing_writes_nothing(make: Callable[[], MongoDBSaver]) -> None:
    """Not even where the number that it was to have belongs to a commit of which nothing is left."""
    with make() as sleeper, make() as other:
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


def test_a_pruning_that_is_overtaken_leaves_the_newest_commit(make: Callable[[], MongoDBSaver]) -> None:
    with make() as sleeper, make() as other:
        epoch = begun(sleeper.rows)
        claimed = new_epoch(epoch)
        collection = sleeper.rows.connected.collection

        claim, told = Batch("t", "", 0, None, epoch, claimed, lease=LEASE), list[bool]()
        asleep = Sleeping("update_many", lambda: told.append(other.rows.commit(claim)))
        sleeper.rows.connected.collection = lambda name: asleep.before(collection(name))
        with pytest.raises(ThreadConflict):
            sleeper.rows.prune(Pruning("t", epoch, [1], ranges=[(0, 0, 4)]))
        assert other.rows.load("t", "", None).epoch == claimed
        assert len(other.rows.items("t", [(0, 0, 10)])) == 5, "no item goes once another has the thread"


# -- what is large ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_state_is_too_large(face: Face, make: Callable[[], MongoDBSaver]) -> None:
    with make() as saver:
        graph = counting(saver, "a")
        large = [os.urandom(500_000).hex() for _ in range(50)]
        face.invoke(graph, {"log": large}, THREAD)
    with make() as saver:
        assert face.get_state(counting(saver, "a"), THREAD).values["log"] == [*large, "a"]
        saver.delete_thread("1")
        assert saver.rows._parts.count_documents({}) == 0  # pyright: ignore
        assert saver.rows._commits.count_documents({}) == 0  # pyright: ignore


@pytest.mark.slow
def test_no_history_is_too_long(make: Callable[[], MongoDBSaver]) -> None:
    """Of which nothing is read before all of it is there."""
    rows = [row_of(seq, bytes(1 << 20)) for seq in range(1, 31)]
    kept = [Kept(seq, "task", bytes(1 << 20)) for seq in range(1, 31)]
    batch = Batch("t", "", 0, None, 0, new_epoch(0), b"l", [], kept, rows[-1], rows[:-1])
    with make() as saver, make() as other:
        saver.setup()
        with dying(saver.rows.connected, 8), pytest.raises(Crash):
            saver.rows.commit(batch)
        assert other.rows._commits.count_documents({}) > 0  # pyright: ignore
        assert other.rows.scan("t", "", None, 100) == []
        assert other.rows.load("t", "", rows[0].id).row is None
        other.rows.drop("t")
        saver.rows.commit(batch)
        found = other.rows.scan("t", "", None, 100)
        assert [one.row for one in found] == rows[::-1]
        assert [one.kept for one in found] == [[one] for one in kept[::-1]]


@pytest.mark.slow
def test_parts_that_no_commit_names_are_never_read(make: Callable[[], MongoDBSaver]) -> None:
    with make() as saver, make() as other:
        epoch = begun(saver.rows, large=True)
        before = everything(other.rows)
        with dying(saver.rows.connected, None) as counted:
            large = [(0, 10 + n, bytes(3 << 20)) for n in range(6)]
            insert = partial(saver.rows.commit, Batch("t", "", 0, 1, epoch, 0, b"l", large, row=row_of(5)))
            with pytest.raises(ThreadConflict):  # the head is another: its parts are written by then
                insert()
        assert counted.calls > 3
        assert other.rows._parts.count_documents({}) > len(before[5]) // 4  # pyright: ignore
        assert everything(other.rows) == before


# -- connecting, counting ---------------------------------------------------------------------------------------------


def test_a_client_of_either_kind_tells_how_to_connect(face: Face, mongodb_server: MongoServer, mongodb_name: str) -> None:
    with pymongo.MongoClient[Any](mongodb_server.url) as client:
        for n, one in enumerate([mongodb_server.url, client, pymongo.AsyncMongoClient[Any](mongodb_server.url)]):
            with MongoDBSaver(one, mongodb_name) as saver:
                saver.setup()
                assert face.invoke(counting(saver, "a"), {"log": []}, THREAD)["n"] == n + 1
        assert client.admin.command("ping")["ok"], "a client that was handed over stays open"
    assert AsyncMongoDBSaver is MongoDBSaver


def test_what_is_none_is_said(mongodb_server: MongoServer, mongodb_name: str) -> None:
    with pytest.raises(TypeError, match=r"client is 7: expected MongoDBSaver\('mongodb://"):
        MongoDBSaver(7)
    saver = MongoDBSaver.from_conn_string(mongodb_server.url, mongodb_name)
    saver.close()
    with pytest.raises(DatabaseError, match="is closed: make a new one"):
        counting(saver, "a").invoke({"log": []}, THREAD)


class Commands(CommandListener):
    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


def test_how_many_round_trips_a_turn_takes(mongodb_server: MongoServer, mongodb_name: str) -> None:
    heard = Commands()
    with (
        pymongo.MongoClient[Any](mongodb_server.url, event_listeners=[heard]) as client,
        MongoDBSaver(client, mongodb_name) as saver,
    ):
        epoch = begun(saver.rows)
        heard.names.clear()
        saver.rows.load("t", "", None)
        assert len(heard.names) <= 8
        heard.names.clear()
        saver.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"l3", [(0, 10, b"ten")], row=row_of(3, parent=2)))
        assert len(heard.names) <= 5
        assert heard.names.count("insert") == 1, "a commit is one insert"


# -- the server's death -----------------------------------------------------------------------------------------------


WRITER = """
import sys
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.storage import Batch, Row
from clew.ids import new_checkpoint_id, new_epoch, stamped

storage, epoch, before = MongoDBSaver(sys.argv[1], "db").rows, new_epoch(0), None
for seq in range(1, 100_000):
    row = Row(seq, stamped(new_checkpoint_id(), seq), before, None, b"body")
    claim = {"epoch": 0, "claim": epoch} if before is None else {"epoch": epoch}
    storage.commit(Batch("t", "", 0, before, logs=b"l", items=[(0, seq, b"%d" % seq)], row=row, **claim))
    before = seq
    print(seq, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_survives_the_servers_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEW_TEST_MONGODB_URL", raising=False)
    server = MongoServer(tmp_path)
    server.start()
    try:
        told: list[int] = []
        with subprocess.Popen([sys.executable, "-c", WRITER, server.url], stdout=PIPE, stderr=DEVNULL, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                told.append(int(line))
                if len(told) == 60:
                    server.kill()
        last = told[-1]
        server.start()
        with MongoDBSaver(server.url, "db") as saver:
            found = saver.rows.load("t", "", None)
            assert found.head in (last, last + 1), "the last one may have been done and nobody told"
            assert saver.rows.items("t", [(0, 1, last + 1)]) == [b"%d" % seq for seq in range(1, last + 1)]
            assert len(saver.rows.scan("t", "", None, 1000)) == found.head
    finally:
        server.kill()
