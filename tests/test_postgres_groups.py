"""What many runs ask of PostgreSQL at once: one round trip for all of them, and each hears of its own alone."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.graphs import Log, says
from support.postgres_server import PostgresServer, pgbouncer
from support.proxy import proxy_to

from clew.checkpoint.crypt import Encryption
from clew.checkpoint.postgres import PostgresSaver
from clew.checkpoint.storage import Batch, Row
from clew.errors import ThreadConflict
from clew.graph import START, StateGraph

pytestmark = [pytest.mark.slow, pytest.mark.server]
NAMES = [f"{n}" for n in range(10)]


def batch(name: str, seq: int) -> Batch:
    """The commit of checkpoint `seq` of a thread, each of which grows from the one before."""
    row = Row(seq, bytes(12) + seq.to_bytes(4, "big"), seq - 1 or None, None, b"body")
    return Batch(name, "", 0, seq - 1 or None, 7 if seq > 1 else 0, 7 if seq == 1 else 0, b"logs", row=row)


def answered(saver: PostgresSaver, asks: list[Callable[[], Any]]) -> list[Any]:
    """What calls of the storage return that are made together, or raise."""

    found: list[Any] = [None] * len(asks)

    def call(n: int) -> None:
        try:
            found[n] = asks[n]()
        except Exception as error:
            found[n] = error

    with saver.rows.groups.together() as each:
        for _ in each(call, range(len(asks))):
            pass
    return found


def commits(saver: PostgresSaver, seq: int) -> list[Callable[[], Any]]:
    return [partial(saver.storage.commit, batch(name, seq)) for name in NAMES]


def heads(saver: PostgresSaver) -> list[int | None]:
    return [saver.storage.load(name, "", None).head for name in NAMES]


def through(port: int, url: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/{url.rpartition('/')[2]}?sslmode=disable"


def test_a_group_is_one_round_trip(postgres_url: str, postgres_server: PostgresServer) -> None:
    with proxy_to(postgres_server.port) as proxy, PostgresSaver(through(proxy.port, postgres_url)) as saver:
        loads = [partial(saver.storage.load, name, "", None) for name in NAMES]
        for seq in range(1, 4):
            assert answered(saver, commits(saver, seq)) == [False] * 10
            answered(saver, loads)
        proxy.trips = 0
        assert answered(saver, commits(saver, 4)) == [False] * 10
        found = answered(saver, loads)
        assert proxy.trips == 2
        assert [one.head for one in found] == [4] * 10


def test_a_large_group(postgres_url: str) -> None:
    """More than fits into the buffers between here and there, both ways."""
    with PostgresSaver(postgres_url) as saver:
        answered(saver, commits(saver, 1))
        large = [replace(batch(name, 2), items=[(1, 0, name.encode() * (4 << 20))]) for name in NAMES]
        assert answered(saver, [partial(saver.storage.commit, one) for one in large]) == [False] * 10
        assert answered(saver, [partial(saver.storage.items, name, [(1, 0, 1)]) for name in NAMES]) == [
            [name.encode() * (4 << 20)] for name in NAMES
        ]


@pytest.mark.parametrize("moved", [(3, 8), (0, 1, 4, 6, 9)])
def test_what_is_refused_is_told_to_whom_it_concerns(postgres_url: str, moved: tuple[int, ...]) -> None:
    with PostgresSaver(postgres_url) as saver, PostgresSaver(postgres_url) as other:
        answered(saver, commits(saver, 1))
        for n in moved:
            other.storage.commit(batch(NAMES[n], 2))
        told = answered(saver, commits(saver, 2))
        assert [n for n, one in enumerate(told) if isinstance(one, ThreadConflict)] == [*moved]
        assert [one for n, one in enumerate(told) if n not in moved] == [False] * (10 - len(moved))
        assert heads(saver) == [2] * 10


def test_a_thread_may_be_there_twice(postgres_url: str) -> None:
    with PostgresSaver(postgres_url) as saver:
        both = [partial(saver.storage.commit, batch("1", seq)) for seq in (1, 2)]
        assert answered(saver, both) == [False, False]
        assert saver.storage.load("1", "", None).head == 2


def test_a_group_whose_answer_is_lost_is_not_done_twice(postgres_url: str, postgres_server: PostgresServer) -> None:
    with proxy_to(postgres_server.port) as proxy, PostgresSaver(through(proxy.port, postgres_url)) as saver:
        answered(saver, commits(saver, 1))
        proxy.cut = b"clew_commit"
        assert answered(saver, commits(saver, 2)) == [False] * 10
        assert proxy.cut is None, "an answer was swallowed"
        assert heads(saver) == [2] * 10
        assert len(saver.storage.scan("5", "", None, 10)) == 2


def test_groups_behind_pgbouncer(postgres_url: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Two clients of one session, which ends meanwhile: what one has prepared is there for the other, and then for nobody."""
    with pgbouncer(postgres_server, tmp_path) as bouncer:
        url = bouncer + postgres_url.rpartition("/")[2]
        with PostgresSaver(url) as one, PostgresSaver(url) as other:
            for seq in (1, 3, 5):
                assert answered(one, commits(one, seq)) == [False] * 10
                assert answered(other, commits(other, seq + 1)) == [False] * 10
                if seq == 3:
                    postgres_server.end_backends()
            assert heads(one) == [6] * 10


def test_rows_that_another_has_locked_hold_up_no_other(postgres_url: str) -> None:
    with PostgresSaver(postgres_url) as saver, psycopg.connect(postgres_url) as other:
        answered(saver, commits(saver, 1))
        other.execute("select from clew_thread where name <= '4' for update")
        told: list[Any] = []
        group = threading.Thread(target=lambda: told.extend(answered(saver, commits(saver, 2))))
        group.start()
        while heads(saver) != [1] * 5 + [2] * 5:
            assert group.is_alive()
        other.rollback()
        group.join()
        assert told == [False] * 10


@pytest.mark.parametrize("encryption", [None, Encryption(bytes(32))], ids=["plain", "encrypted"])
def test_many_runs_at_once(postgres_url: str, encryption: Encryption | None) -> None:
    async def talks(saver: PostgresSaver) -> None:
        graph = StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)

        async def one(n: int) -> None:
            for turn in range(3):
                found = await graph.ainvoke({"log": ["in"]}, {"configurable": {"thread_id": str(n)}})
                assert found["log"] == ["in", "x"] * (turn + 1)

        await asyncio.gather(*map(one, range(100)))

    with PostgresSaver(postgres_url, encryption=encryption) as saver:
        asyncio.run(talks(saver))
        assert len(saver.threads()) == 100


def test_who_waits_for_a_lock_holds_up_nobody_who_comes_later(postgres_url: str) -> None:
    with PostgresSaver(postgres_url) as saver, psycopg.connect(postgres_url) as other:
        graph = StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)

        async def talk(name: str) -> list[str]:
            return (await graph.ainvoke({"log": ["in"]}, {"configurable": {"thread_id": name}}))["log"]

        async def talks() -> None:
            held = [f"held {n}" for n in range(4)]
            await asyncio.gather(*map(talk, held))
            other.execute("select from clew_thread where substring(name for 4) = 'held' for update")
            waiting = [asyncio.create_task(talk(name)) for name in held]
            for n in range(10):
                assert await talk(f"free {n}") == ["in", "x"]
            assert not any(task.done() for task in waiting)
            other.rollback()
            assert await asyncio.gather(*waiting) == [["in", "x"] * 2] * 4

        asyncio.run(talks())


def test_a_group_waits_for_a_server_that_is_away(postgres_url: str, postgres_server: PostgresServer) -> None:
    with PostgresSaver(postgres_url) as saver:
        answered(saver, commits(saver, 1))
        postgres_server.stop()
        told: list[Any] = []
        group = threading.Thread(target=lambda: told.extend(answered(saver, commits(saver, 2))))
        group.start()
        with suppress(psycopg.Error):
            psycopg.connect(postgres_url).close()
        postgres_server.start()
        group.join()
        assert told == [False] * 10
        assert heads(saver) == [2] * 10
