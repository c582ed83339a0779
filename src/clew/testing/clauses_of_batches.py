"""The clauses of `stores.py` about writing: batches, their conditions, and how long items live."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from clew.errors import VersionConflict
from clew.store.items import GetOp, ListNamespacesOp, PutOp, SearchOp
from clew.store.keeping import Store
from clew.store.storage import Place
from clew.testing.stores import Subject, clause, held, keys, raised, until, version

LONG: Final = 1e9  # minutes
BRIEF: Final = 1e-5
WRITERS: Final = 100

# -- batches --------------------------------------------------------------------------------------------------------


@clause
def a_batch_reads_what_was_there_before_it(on: Subject) -> None:
    """Results come in the order of what was asked, reads do not see the batch's puts, and of several puts the last counts."""
    store = on.store()
    store.put(on.ns("a"), "k", {"n": 1})
    results: Any = store.batch(
        [
            PutOp(on.ns("a"), "k", {"n": 2}),
            GetOp(on.ns("a"), "k"),
            PutOp(on.ns("b"), "new", {"n": 3}),
            SearchOp(on.ns()),
            PutOp(on.ns("a"), "k", {"n": 4}),
            ListNamespacesOp([("prefix", on.ns())]),  # pyright: ignore[reportArgumentType]  (a pair will do)
            PutOp(on.ns("c"), "k", {"n": 5}),
            PutOp(on.ns("c"), "k", None),
            GetOp(on.ns("b"), "new"),
        ]
    )
    assert results[1].value == {"n": 1}
    assert [item.value for item in results[3]] == [{"n": 1}]
    assert results[5] == [on.ns("a")]
    assert [results[number] for number in (0, 2, 4, 6, 7, 8)] == [None] * 6
    assert {(item.namespace[1], item.value["n"]) for item in store.search(on.ns())} == {("a", 4), ("b", 3)}
    assert store.batch([]) == []


@clause
def a_batch_is_written_whole_or_not_at_all(on: Subject) -> None:
    """Where one put's condition does not hold, nothing of the batch is written."""
    store = on.store()
    store.put(on.ns(), "old", {"n": 1})
    ops = [PutOp(on.ns(), f"{number}", {}) for number in range(20)]
    ops += [PutOp(on.ns(), "old", None), PutOp(on.ns(), "cond", {}, if_version=7), PutOp(on.ns(), "last", {})]
    error = raised(VersionConflict, store.batch, ops)
    assert isinstance(error, VersionConflict)
    assert (error.namespace, error.key, error.expected, error.found) == (on.ns(), "cond", 7, 0)
    assert keys(store, *on.ns()) == ["old"]
    store.batch([*ops[:20], PutOp(on.ns(), "old", None, if_version=version(store, on.ns(), "old"))])
    assert sorted(keys(store, *on.ns())) == sorted(str(number) for number in range(20))
    twice = [PutOp(on.ns(), "x", {}, if_version=0), PutOp(on.ns(), "x", {})]
    raised(ValueError, store.batch, twice)


# -- conditions -----------------------------------------------------------------------------------------------------


@clause
def a_put_may_ask_for_a_version(on: Subject) -> None:
    """`if_version` is the version that is there, or 0 for no item; else `VersionConflict`, and what is there stays. A version
    is not used again, though the item is deleted and made anew."""
    store = on.store()
    store.put(on.ns(), "k", {"n": 1}, if_version=0)
    first = version(store, on.ns(), "k")
    for stale in (0, first - 1, first + 1):
        error = raised(VersionConflict, store.put, on.ns(), "k", {"n": 2}, if_version=stale)
        assert isinstance(error, VersionConflict)
        assert (error.expected, error.found) == (stale, first)
    store.put(on.ns(), "k", {"n": 2}, if_version=first)
    raised(VersionConflict, store.put, on.ns(), "k", {"n": 3}, if_version=first)
    raised(VersionConflict, store.delete, on.ns(), "k", if_version=first)
    item = held(store, on.ns(), "k")
    assert item.value == {"n": 2}
    store.delete(on.ns(), "k", if_version=item.version)
    raised(VersionConflict, store.put, on.ns(), "k", {}, if_version=item.version)
    raised(VersionConflict, store.delete, on.ns(), "k", if_version=item.version)
    store.put(on.ns(), "k", {"n": 4}, if_version=0)
    raised(VersionConflict, store.put, on.ns(), "k", {}, if_version=first)
    raised(VersionConflict, store.put, on.ns(), "k", {}, if_version=item.version)


@clause
def a_hundred_writers_lose_nothing(on: Subject) -> None:
    """One hundred writers at once that each count one item up, by `if_version`, come to one hundred; on the one face they are
    threads, on the other tasks."""
    stores: list[Store] = [on.make() for _ in range(2)]
    on.opened += stores
    tries = 0

    def counted(value: dict[str, Any] | None) -> dict[str, Any]:
        nonlocal tries
        tries += 1
        return {"n": (value or {"n": 0})["n"] + 1}

    async def tasks() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(stores[number % 2].aupdate(on.ns(), "k", counted))

    if on.face == "async":
        asyncio.run(tasks())
    else:
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [pool.submit(stores[number % 2].update, on.ns(), "k", counted) for number in range(WRITERS)]
        for writer in writers:
            writer.result()
    assert held(stores[0], on.ns(), "k").value == {"n": WRITERS}
    assert tries >= WRITERS


# -- how long items live --------------------------------------------------------------------------------------------


@clause
def what_has_expired_is_not_there(on: Subject) -> None:
    """An item whose time is over is in no answer, swept or not; what is put in its place is new."""
    store = on.store()
    store.put(on.ns("brief"), "k", {"n": 1})
    before = held(store, on.ns("brief"), "k")
    store.put(on.ns("brief"), "k", {"n": 2}, ttl=BRIEF)
    store.put(on.ns("long"), "k", {"n": 3}, ttl=LONG)
    until(lambda: store.get(on.ns("brief"), "k", refresh_ttl=False) is None)
    assert store.get(on.ns("brief"), "k") is None  # and reading does not bring it back
    assert [item.value for item in store.search(on.ns())] == [{"n": 3}]
    assert store.list_namespaces(prefix=on.ns()) == [on.ns("long")]
    store.put(on.ns("brief"), "k", {"n": 4}, if_version=0)
    item = held(store, on.ns("brief"), "k")
    assert item.created_at == item.updated_at > before.created_at


@clause
def reading_lets_an_item_live_on(on: Subject) -> None:
    """`get` and `search` give an item its whole time again, unless they, or the store's `ttl`, say no; its version stays."""
    store, still = on.store(), on.store(ttl={"refresh_on_read": False})
    storage = on.opened[0].storage

    def expires() -> int:
        place = Place(on.ns(), "k")
        row = storage.get([place])[place]
        assert row.expires is not None
        return row.expires

    store.put(on.ns(), "k", {}, ttl=60)
    item = store.get(on.ns(), "k", refresh_ttl=False)
    at = expires()
    store.search(on.ns(), refresh_ttl=False)
    still.get(on.ns(), "k")
    still.search(on.ns())
    assert expires() == at
    for read in (
        lambda: store.get(on.ns(), "k"),
        lambda: store.search(on.ns()),
        lambda: still.get(on.ns(), "k", refresh_ttl=True),
        lambda: still.search(on.ns(), refresh_ttl=True),
    ):
        at = expires()
        until(lambda read=read, at=at: read() is not None and expires() > at)
    assert store.get(on.ns(), "k") == item


@clause
def a_default_says_how_long_items_live(on: Subject) -> None:
    """`default_ttl` goes for what is put without a `ttl`; `ttl=None` is for ever. Each put says it anew."""
    store = on.store(ttl={"default_ttl": BRIEF, "refresh_on_read": False})
    store.batch([PutOp(on.ns(), "brief", {}), PutOp(on.ns(), "ever", {}, ttl=None), PutOp(on.ns(), "long", {}, ttl=LONG)])
    until(lambda: sorted(keys(store, *on.ns())) == ["ever", "long"])
    plain = on.store()
    plain.put(on.ns(), "once", {}, ttl=BRIEF)
    plain.put(on.ns(), "once", {})
    store.put(on.ns(), "brief", {})
    until(lambda: store.get(on.ns(), "brief") is None)
    assert plain.get(on.ns(), "once") is not None
    for wrong in (0, -1, float("nan")):
        raised(ValueError, store.put, on.ns(), "k", {}, ttl=wrong)


@clause
def sweeping_deletes_what_has_expired(on: Subject) -> None:
    """`sweep_ttl` deletes what has expired, and nothing else, and may be called at any time."""
    store = on.store()
    store.sweep_ttl()  # what others have left
    store.batch([PutOp(on.ns(), f"{number}", {}, ttl=BRIEF if number % 2 else LONG) for number in range(10)])
    until(lambda: len(keys(store, *on.ns(), refresh_ttl=False)) == 5)
    assert store.sweep_ttl() in range(6)  # a backend may have been faster
    store.sweep_ttl()
    assert keys(store, *on.ns()) == ["0", "2", "4", "6", "8"]


@clause
def a_sweeper_sweeps_until_it_is_stopped(on: Subject) -> None:
    """A sweeper that was started sweeps every so often, and not after it was stopped, or its store closed."""
    store = on.store(ttl={"sweep_interval_minutes": BRIEF})
    store.put(on.ns(), "k", {}, ttl=BRIEF)
    sweeper = store.start_ttl_sweeper()
    assert store.start_ttl_sweeper() is sweeper
    until(lambda: sweeper.sweeps > 1)
    assert store.stop_ttl_sweeper()
    assert not sweeper.running
    sweeper = store.start_ttl_sweeper(1000)
    store.close()
    assert not sweeper.running


@clause
def setting_up_twice_does_nothing(on: Subject) -> None:
    """`setup` may be called, again and by anybody, or not at all."""
    first = on.store()
    first.put(on.ns(), "k", {})
    second = on.store()
    for store in (first, second, first):
        store.setup()
    assert keys(second, *on.ns()) == ["k"]
