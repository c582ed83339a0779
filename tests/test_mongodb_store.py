"""What is MongoDB's own in a store: crashes between any two operations, slow writers, large batches, the server's death."""

import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandListener
from support.dying import dying
from support.mongo_server import MongoServer

from clew.errors import DatabaseError, VersionConflict
from clew.store.items import PutOp
from clew.store.mongodb import AsyncMongoDBStore, MongoDBStore
from clew.store.mongodb.aio import AsyncMongoDBStore as FromAio
from clew.store.mongodb.storage import MongoStorage
from clew.store.storage import Place
from clew.testing.crash import Crash
from clew.testing.stores import held

pytestmark = [pytest.mark.slow, pytest.mark.server]
NS = ("notes", "ann")
BIG = 3 << 20


def storage_of(store: Any) -> MongoStorage:
    return store.storage


@pytest.fixture
def make(mongodb_server: MongoServer, mongodb_name: str) -> Generator[Callable[[], MongoDBStore]]:
    """Stores of one database, closed afterwards."""
    made: list[MongoDBStore] = []

    def store() -> MongoDBStore:
        made.append(MongoDBStore(mongodb_server.url, mongodb_name))
        return made[-1]

    yield store
    for one in made:
        one.close()


@pytest.mark.parametrize("size", [1, BIG])
def test_a_crash_between_any_two_operations_leaves_all_or_nothing(size: int, make: Callable[[], MongoDBStore]) -> None:
    """Of four puts, which are more than fits into one document where they are big; and the next writer goes on."""
    store, other = make(), make()
    before = {"changed": "old", "deleted": "old"}
    after = {"changed": "new", "made": "new", "too": "new"}
    ops = [PutOp(NS, key, {"is": "new", "data": bytes(size)}) for key in after] + [PutOp(NS, "deleted", None)]
    outcomes: list[bool] = []
    number, done = 0, False
    while True:
        store.batch([PutOp(NS, key, {"is": before[key]} if key in before else None) for key in {*before, *after}])
        with dying(storage_of(store).connected, number, done=done) as died:
            try:
                store.batch(ops)
            except Crash:
                pass
            else:
                break
        assert died.calls >= number
        found = {item.key: item.value["is"] for item in other.search(NS)}
        assert found in (before, after), (number, done)
        outcomes.append(found == after)
        number, done = number + done, not done
    assert outcomes == sorted(outcomes), "from some operation on it is all there"
    assert set(outcomes) == {False, True}
    assert {item.key: item.value["is"] for item in other.search(NS)} == after


def test_a_batch_that_is_done_late_undoes_nothing(make: Callable[[], MongoDBStore]) -> None:
    """A writer sleeps right after its batch is there; others do it, and write on; then it wakes."""
    store, other = make(), make()
    storage = storage_of(store)
    settle = storage._settle  # pyright: ignore[reportPrivateUsage]
    asleep: list[Any] = []
    storage._settle = lambda *args: asleep.append(args)  # pyright: ignore
    store.batch([PutOp(NS, key, {"n": 1}) for key in ("deleted", "changed", "same")])
    assert [item.value["n"] for item in other.search(NS)] == [1, 1, 1]
    other.delete(NS, "deleted")
    other.put(NS, "changed", {"n": 2})
    versions = {item.key: (item.version, item.value["n"]) for item in other.search(NS)}
    settle(*asleep[0])
    assert {item.key: (item.version, item.value["n"]) for item in other.search(NS)} == versions
    assert versions.keys() == {"changed", "same"}
    assert other.get(NS, "deleted") is None


def test_what_a_call_asks(mongodb_server: MongoServer, mongodb_name: str) -> None:
    class Commands(CommandListener):
        names: list[str]

        def started(self, event: Any) -> None:
            self.names.append(event.command_name)

        def succeeded(self, event: Any) -> None: ...
        def failed(self, event: Any) -> None: ...

    commands = Commands()
    with (
        MongoClient[Any](mongodb_server.url, event_listeners=[commands]) as client,
        MongoDBStore(client, mongodb_name) as store,
    ):
        store.setup()
        for call, asked in (
            (lambda: store.put(NS, "k", {}), "aggregate find update update insert update"),
            (lambda: store.batch([PutOp(NS, f"{n}", {}) for n in range(50)]), "aggregate find update update insert update"),
            (lambda: store.get(NS, "k"), "aggregate find"),
            (lambda: store.search(NS), "aggregate find"),
            (lambda: store.list_namespaces(), "aggregate aggregate"),
        ):
            commands.names = []
            call()
            assert " ".join(commands.names) == asked
    assert AsyncMongoDBStore is FromAio is MongoDBStore


def test_a_large_batch_leaves_nothing_behind(make: Callable[[], MongoDBStore]) -> None:
    store = make()
    storage = storage_of(store)
    store.batch([PutOp(NS, f"{n}", {"data": bytes([n]) * BIG}) for n in range(8)])
    assert {item.key: item.value["data"][0] for item in store.search(NS)} == {f"{n}": n for n in range(8)}
    batches: Any = storage.connected.collection("clew_store_batches")
    assert all("puts" not in one for one in batches.find())
    batches.insert_one({"_id": b"left", "made": storage._settled()["now"], "puts": [{}]})  # pyright: ignore[reportPrivateUsage]
    store.sweep_ttl()
    assert batches.find_one({"_id": b"left"}), "its writer may still be at it"
    batches.update_one({"_id": b"left"}, [{"$set": {"made": {"$subtract": ["$made", 2 * 86_400_000]}}}])
    store.sweep_ttl()
    assert batches.find_one({"_id": b"left"}) is None


def test_an_item_that_is_too_large_is_refused(make: Callable[[], MongoDBStore]) -> None:
    store = make()
    with pytest.raises(DatabaseError, match="Put it in several items: one of them is too large for MongoDB"):
        store.batch([PutOp(NS, "small", {}), PutOp(NS, "large", {"data": bytes(17 << 20)})])
    assert store.search(NS) == []


def test_a_clock_that_is_set_back_gives_no_version_twice(make: Callable[[], MongoDBStore]) -> None:
    store = make()
    store.put(NS, "k", {})
    ahead = held(store, NS, "k").version + 3_600_000_000
    batches: Any = storage_of(store).connected.collection("clew_store_batches")
    batches.update_one({"_id": b"head"}, {"$set": {"u": ahead}})
    store.put(NS, "k", {})
    store.delete(NS, "k")
    store.put(NS, "k", {})
    assert held(store, NS, "k").version == ahead + 3
    with pytest.raises(VersionConflict):
        store.put(NS, "k", {}, if_version=ahead + 1)


def test_what_is_swept_has_no_value_any_more(make: Callable[[], MongoDBStore]) -> None:
    store = make()
    items: Any = storage_of(store).connected.collection("clew_store")
    store.batch([PutOp(NS, "gone", {}, ttl=60), PutOp(NS, "stays", {})])
    items.update_one({"key": "gone"}, [{"$set": {"x": "$$NOW"}}])
    assert store.sweep_ttl() == 1
    assert [("d" in one, one["key"]) for one in items.find().sort("key", 1)] == [(False, "gone"), (True, "stays")]
    assert storage_of(store).get([Place(NS, "gone")]) == {}


def test_a_database_that_was_dropped_is_begun_anew(make: Callable[[], MongoDBStore], mongodb_server: MongoServer) -> None:
    store = make()
    store.put(NS, "k", {})
    with mongodb_server.client() as client:
        client.drop_database(storage_of(store).connected.collection("clew_store").database.name)
    assert store.search(()) == []
    store.put(NS, "k", {}, if_version=0)
    assert [item.key for item in store.search(NS)] == ["k"]


def test_a_client_of_either_kind_tells_how_to_connect(mongodb_server: MongoServer, mongodb_name: str) -> None:
    with MongoClient[Any](mongodb_server.url) as client:
        clients: list[Any] = [client, AsyncMongoClient[Any](mongodb_server.url)]
        for number, one in enumerate(clients):
            with MongoDBStore(one, mongodb_name) as store:
                store.put(NS, str(number), {})
                assert len(store.search(NS)) == number + 1
        with MongoDBStore(client, mongodb_name, "other") as store:
            assert store.search(()) == []
    with pytest.raises(TypeError, match=r"expected MongoDBStore\('mongodb:"):
        MongoDBStore(7)


WRITES = """
import sys
from clew.store.mongodb import MongoDBStore
store = MongoDBStore(sys.argv[1], "db")
for number in range(1, 1000):
    store.put(("n",), "k", {"n": number})
    print(number, flush=True)
"""


def test_what_was_heard_of_survives_the_servers_death(tmp_path: Path) -> None:
    server = MongoServer(tmp_path)
    if server.given:
        return  # a server of somebody else's is not killed
    server.start()
    try:
        last = 0
        with subprocess.Popen([sys.executable, "-c", WRITES, server.url], stdout=PIPE, stderr=DEVNULL, text=True) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                last = int(line)
                if last == 20:
                    server.kill()
                    break
            writer.kill()
        server.start()
        with MongoDBStore(server.url, "db") as store:
            assert held(store, ("n",), "k").value["n"] in (last, last + 1), "the last one may have been done and nobody told"
    finally:
        server.kill()
