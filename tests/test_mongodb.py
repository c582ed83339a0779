"""What is MongoDB's own: large states, connecting, how much is asked for and kept, the server's death."""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import ormsgpack
import pymongo
import pytest
from langgraph_side.chats import tell
from pymongo.monitoring import CommandListener
from support.dying import dying
from support.faces import Face
from support.graphs import counting
from support.mongo_server import MongoServer, bson_of
from support.mongo_trouble import begun, bundles, documents, everything, row_of

from clew.checkpoint.mongodb import AsyncMongoDBSaver, MongoDBSaver
from clew.checkpoint.mongodb.storage import MongoStorage
from clew.checkpoint.storage import Batch, Kept, Pruning
from clew.errors import DamagedData, DatabaseError
from clew.ids import new_epoch
from clew.testing.crash import Crash

pytestmark = [pytest.mark.slow, pytest.mark.server]
THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}

# -- what is large ----------------------------------------------------------------------------------------------------


def test_no_state_is_too_large(face: Face, mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    with mongodb_saver() as saver:
        graph = counting(saver, "a")
        large = [os.urandom(500_000).hex() for _ in range(50)]
        face.invoke(graph, {"log": large}, THREAD)
    with mongodb_saver() as saver:
        assert face.get_state(counting(saver, "a"), THREAD).values["log"] == [*large, "a"]
        saver.delete_thread("1")
        assert documents(saver.rows, {}) == 0


def test_no_history_is_too_long(mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    """Of which nothing is read before all of it is there."""
    rows = [row_of(seq, bytes(1 << 20), parent=seq - 1 or None) for seq in range(1, 31)]
    kept = [Kept(seq, "task", bytes(1 << 20)) for seq in range(1, 31)]
    batch = Batch("t", "", 0, None, 0, new_epoch(0), b"l", [], kept, rows[-1], rows[:-1])
    with mongodb_saver() as saver, mongodb_saver() as other:
        saver.setup()
        with dying(saver.rows.connected, 8), pytest.raises(Crash):
            saver.rows.commit(batch)
        assert documents(other.rows, {}) > 0
        assert other.rows.scan("t", "", None, 100) == []
        assert other.rows.load("t", "", rows[0].id).row is None
        other.rows.drop("t")
        saver.rows.commit(batch)
        found = other.rows.scan("t", "", None, 100)
        assert [one.row for one in found] == rows[::-1]
        assert [one.kept for one in found] == [[one] for one in kept[::-1]]
        for _ in range(2):
            assert [one.row and one.row.seq for one in other.rows.scan("t", "", 15, 3)] == [14, 13, 12]
            found = other.rows.load("t", "", rows[13].id)
            assert (found.row, found.next, found.kept) == (rows[13], rows[14], [kept[13]])
            other.rows.prune(Pruning("t", batch.claim, rows=[1]))


def test_a_large_outcome_that_comes_alone_is_found(mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    """As a note of a task does, which moves no namespace."""
    note = Kept(2, "task", bytes(1 << 20))
    with mongodb_saver() as saver, mongodb_saver() as other:
        epoch = begun(saver.rows)
        saver.rows.commit(Batch("t", "", 0, None, epoch, kept=[note]))
        assert other.rows.load("t", "", None).kept == [note]
        other.rows.prune(Pruning("t", epoch))
        assert saver.rows.load("t", "", None).kept == [note]


def test_bundles_that_no_commit_names_are_never_read(mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    with mongodb_saver() as saver, mongodb_saver() as other:
        epoch = begun(saver.rows, large=True)
        before = everything(other.rows)
        with dying(saver.rows.connected, None) as counted:
            large = [(0, 10 + n, bytes(3 << 20)) for n in range(6)]
            saver.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"l", large, row=row_of(5)))
            total = counted.calls
        saver.rows.drop("t")
        epoch = begun(saver.rows, large=True)
        before = everything(other.rows)
        with dying(saver.rows.connected, total - 2), pytest.raises(Crash):  # its bundles are written by then
            saver.rows.commit(Batch("t", "", 0, 2, epoch, 0, b"l", large, row=row_of(5)))
        assert bundles(other.rows) == 10, "four of the items, six that nothing names"
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


@contextmanager
def listening(server: MongoServer, name: str) -> Generator[tuple[MongoStorage, list[str]]]:
    """A storage, and what it asks the server for."""
    heard = Commands()
    with (
        pymongo.MongoClient[Any](server.url, event_listeners=[heard]) as client,
        MongoDBSaver(client, name) as saver,
    ):
        saver.setup()
        yield saver.rows, heard.names


def test_how_many_round_trips_a_turn_takes(mongodb_server: MongoServer, mongodb_name: str) -> None:
    with listening(mongodb_server, mongodb_name) as (storage, asked):
        epoch = begun(storage)
        asked.clear()
        storage.load("t", "", None)
        assert len(asked) <= 8
        asked.clear()
        storage.commit(Batch("t", "", 0, 2, epoch, 0, b"l3", [(0, 10, b"ten")], row=row_of(3, parent=2)))
        assert len(asked) <= 4
        assert asked.count("insert") == 1, "a commit is one insert"


def test_the_newest_of_many_commits_is_found_in_few_round_trips(
    mongodb_server: MongoServer, mongodb_name: str, mongodb_saver: Callable[[], MongoDBSaver]
) -> None:
    """Though the last that was heard of it is long ago."""
    with listening(mongodb_server, mongodb_name) as (storage, asked), mongodb_saver() as writer:
        epoch = begun(writer.rows)
        before = 2
        for seq in range(3, 103):
            writer.rows.commit(Batch("t", "", 0, before, epoch, 0, b"", row=row_of(seq, parent=before)))
            before = seq
        asked.clear()
        assert storage.load("t", "", None).head == 102
        assert len(asked) <= 8 + 7, "as many more as there are bits in how far it is"
        asked.clear()
        assert storage.load("t", "", None).head == 102
        assert len(asked) <= 8


def test_how_often_is_asked_for_what_is_listed_and_walked(mongodb_server: MongoServer, mongodb_name: str) -> None:
    """Threads are asked for many at once; items are walked without reading again and again where they are."""
    with listening(mongodb_server, mongodb_name) as (storage, asked):
        for n in range(300):
            storage.commit(Batch(f"thread {n}", "", 0, None, 0, new_epoch(0), b"", row=row_of(1)))
        asked.clear()
        assert len(storage.threads()) == 300
        assert len(asked) <= 6
        items = [(log, n, b"%d" % n) for log in range(4) for n in range(1000)]
        storage.commit(Batch("long", "", 0, None, 0, new_epoch(0), b"", items, row=row_of(1)))
        walks: list[int] = []
        walked: list[tuple[int, int, bytes]] = []
        while True:
            asked.clear()
            part = storage.walk("long", walked[-1][:2] if walked else (-1, -1), 100)
            if not part:
                break
            walks.append(len(asked))
            walked += part
        assert walked == items
        assert max(walks[1:]) <= walks[0] <= 8


@pytest.mark.parametrize("workload", ["chat", "subgraph"])
def test_how_much_is_kept_of_a_conversation(workload: str, mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    """As BSON, with the keys of indexes, before the server compresses any of it."""
    with mongodb_saver() as saver:
        told = tell("clew", workload, saver, 100)
        kept = bson_of(saver.rows.connected.collection("clew_commits"))
        assert kept.bson + kept.keys <= 1.6 * told.unique
        assert kept.whole <= 0.15 * told.unique
        assert saver.prune(keep_last=1).checkpoints >= 299
        after = bson_of(saver.rows.connected.collection("clew_commits"))
        assert after.bson + after.keys <= 1.1 * told.unique
        assert after.documents <= 4, "what is left is written together"


def test_a_later_format_is_refused(mongodb_saver: Callable[[], MongoDBSaver]) -> None:
    with mongodb_saver() as saver:
        begun(saver.rows)
        commits = saver.rows.connected.collection("clew_commits")
        for one in list(commits.find({})):
            commits.update_one({"_id": one["_id"]}, {"$set": {"d": ormsgpack.packb([3, *ormsgpack.unpackb(one["d"])[1:]])}})
        with pytest.raises(DamagedData, match=r"has format 3: expected 2; a newer Clew has written it"):
            saver.rows.load("t", "", None)


# -- the server's death -----------------------------------------------------------------------------------------------


WRITER = """
import sys
from clew.checkpoint.mongodb import MongoDBSaver
from clew.checkpoint.mongodb.storage import MongoStorage
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
