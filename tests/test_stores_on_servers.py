"""What stores on servers have in common beyond the clauses: lost connections, many processes, what a call costs."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from support.proxy import Proxy
from support.store_servers import Served

from clew.errors import DatabaseError, VersionConflict
from clew.store.items import PutOp
from clew.store.keeping import Store
from clew.testing.stores import held

pytestmark = [pytest.mark.slow, pytest.mark.server]
NS = ("notes", "ann")
PROCESSES, ROUNDS, THREADS = 5, 20, 8

COUNTS = """
import sys
{opens}
sys.stdin.readline()
for _ in range({rounds}):
    store.update({ns!r}, "k", lambda value: {{"n": (value or {{"n": 0}})["n"] + 1}})
store.close()
"""


def counted(value: dict[str, Any] | None) -> dict[str, Any]:
    return {"n": (value or {"n": 0})["n"] + 1}


def asked(store: Store, call: str, by: str, *args: Any, **given: Any) -> Any:
    return asyncio.run(getattr(store, f"a{call}")(*args, **given)) if by == "async" else getattr(store, call)(*args, **given)


@pytest.mark.parametrize("by", ["sync", "async"])
def test_a_write_whose_answer_was_lost_is_done_once(by: str, served: Served, store_proxy: Proxy) -> None:
    with served.make(served.through(store_proxy.port)) as store:
        for given in ({"value": {"n": 1}, "if_version": 0}, {"value": {"n": 2}}):
            store.get(NS, "k")
            store_proxy.cut = served.writes
            asked(store, "put", by, NS, "k", **given)
            assert store_proxy.cut is None, "an answer was swallowed"
            assert held(store, NS, "k").value == given["value"]
        store_proxy.cut = served.writes
        asked(store, "delete", by, NS, "k", if_version=held(store, NS, "k").version)
        assert store_proxy.cut is None
        assert store.get(NS, "k") is None


def test_what_others_wrote_meanwhile_is_not_undone(served: Served, store_proxy: Proxy) -> None:
    with served.make(served.through(store_proxy.port)) as store, served.make() as other:
        ops: list[tuple[str, Any]] = [("put", {"value": {"by": "store"}}), ("delete", {})]
        for verb, given in ops:
            store.put(NS, "k", {"by": "nobody"})
            store_proxy.cut, store_proxy.then = served.writes, lambda: other.put(NS, "k", {"by": "other"})
            getattr(store, verb)(NS, "k", **given, if_version=held(store, NS, "k").version)
            assert held(store, NS, "k").value == {"by": "other"}
            store_proxy.cut = served.writes
            getattr(store, verb)(NS, "k", **given)
            assert held(store, NS, "k").value == {"by": "other"}


def test_a_conflict_whose_answer_was_lost_stays_one(served: Served, store_proxy: Proxy) -> None:
    """Though by then the condition would hold."""
    with served.make(served.through(store_proxy.port)) as store, served.make() as other:
        store.put(NS, "k", {"n": 1})
        first = held(store, NS, "k").version
        store_proxy.cut, store_proxy.then = served.writes, lambda: other.delete(NS, "k")
        with pytest.raises(VersionConflict) as caught:
            store.batch([PutOp(NS, "other", {}), PutOp(NS, "k", {"n": 2}, if_version=0)])
        assert (caught.value.key, caught.value.found) == ("k", first)
        assert [item.value for item in store.search(NS)] in ([], [{"n": 1}])  # of MongoDB no conflict is an answer to a write


def test_connections_that_are_ended_lose_nothing(served: Served) -> None:
    ending = threading.Lock()  # whoever ends connections is not ended himself
    with served.make() as store:

        def count(number: int) -> None:
            for turn in range(ROUNDS):
                if turn % 5 == number % 5:
                    with ending:
                        served.end()
                store.update(NS, "k", counted)

        threads = [threading.Thread(target=count, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert held(store, NS, "k").value == {"n": THREADS * ROUNDS}


def test_processes_lose_nothing(served: Served) -> None:
    code = COUNTS.format(opens=served.opens, rounds=ROUNDS, ns=NS)
    many = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in many:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[1] for process in many] == [""] * PROCESSES
    with served.make() as store:
        assert held(store, NS, "k").value == {"n": PROCESSES * ROUNDS}


def test_writers_of_the_same_items_in_any_order_do_not_block_one_another(served: Served) -> None:
    keys = [f"{number}" for number in range(10)]
    with served.make() as store:

        def write(number: int) -> None:
            mine = keys if number % 2 else keys[::-1]
            for turn in range(ROUNDS):
                store.batch([PutOp(NS, key, {"by": number, "turn": turn} if turn % 3 else None) for key in mine])

        threads = [threading.Thread(target=write, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [item.value for item in store.search(NS, limit=100)]
        assert found in ([], found[:1] * len(keys)), "all of one batch"


def test_names_may_be_long(served: Served) -> None:
    label, key = "é\U0001f9f6x" * 3000, "".join(chr(0x4E00 + number) for number in range(9000))
    with served.make() as store:
        for number, last in enumerate(("a", "b")):
            store.put((label, last), key + last, {"n": number})
        assert held(store, (label, "a"), key + "a").value == {"n": 0}
        assert store.get((label, "a"), key + "b") is None
        assert [item.key[-1] for item in store.search((label,))] == ["b", "a"]
        assert [item.key[-1] for item in store.search((label, "a"))] == ["a"]
        assert store.search((label[:-1],)) == []
        assert store.list_namespaces(prefix=(label,)) == [(label, "a"), (label, "b")]


def test_a_server_that_is_away_is_said(store_proxy: Proxy, served: Served) -> None:
    store_proxy.close()
    with (
        served.make(served.through(store_proxy.port), patience=0.1) as store,
        pytest.raises(DatabaseError, match=r"could not be reached for 0\.1 s"),
    ):
        store.get(NS, "k")


@pytest.mark.parametrize("served", ["postgres", "redis"], indirect=True)
def test_a_call_is_one_round_trip(served: Served, store_proxy: Proxy) -> None:
    with served.make(served.through(store_proxy.port)) as store:
        store.put(NS, "k", {})
        store.get(NS, "k")
        for call in (
            lambda: store.batch([PutOp(NS, f"{number}", {}) for number in range(50)]),
            lambda: store.get(NS, "k"),
            lambda: store.search(NS),
            lambda: store.list_namespaces(),
        ):
            store_proxy.trips = 0
            call()
            assert store_proxy.trips == 1
