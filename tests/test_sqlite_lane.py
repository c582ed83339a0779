"""What many runs on one loop write to a SQLite file is committed together, and each of it is whole or not at all."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest

from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch
from clew.errors import DatabaseError, ThreadConflict
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.tasks import Tasks

MANY = 20


def on_a_loop(test: Callable[[Path], Awaitable[None]]) -> Callable[[Path], None]:
    @wraps(test)
    def run(tmp_path: Path) -> None:
        asyncio.run(cast("Any", test(tmp_path)))

    return run


class State(TypedDict, total=False):
    n: int


async def one_more(state: State) -> State:
    return {"n": state.get("n", 0) + 1}


def counting(saver: SqliteSaver) -> CompiledStateGraph:
    return StateGraph(State).add_node("node", one_more).add_edge(START, "node").compile(saver)


def config(thread: int) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(thread)}}


@contextmanager
def statements(saver: SqliteSaver) -> Generator[list[str]]:
    """What is asked of the file meanwhile."""
    said: list[str] = []
    with saver.file.using() as db:
        db.set_trace_callback(said.append)
    yield said
    db.set_trace_callback(None)


def claims(thread: str, epoch: int = 0) -> Batch:
    return Batch(thread, "", 0, None, epoch, claim=epoch + 1)


async def at_once(saver: SqliteSaver, *verbs: Callable[..., Any]) -> list[Any]:
    """What verbs come to that have queued up before the first of them is asked."""
    waits = saver.on(Tasks())
    with ThreadPoolExecutor(1) as other:
        lock = saver.file._lock  # pyright: ignore[reportPrivateUsage]
        other.submit(lock.acquire).result()
        coming: list[Awaitable[Any]] = [asyncio.ensure_future(waits.ask(verb)) for verb in verbs]
        await asyncio.sleep(0)  # each begins, and waits
        other.submit(lock.release).result()
        return await asyncio.gather(*coming, return_exceptions=True)


def commits(said: list[str]) -> int:
    return sum(statement.lower() == "commit" for statement in said)


@on_a_loop
async def test_what_has_queued_up_is_committed_together(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        saver.setup()
        with statements(saver) as said:
            found = await at_once(saver, *[lambda n=n: saver.storage.commit(claims(str(n))) for n in range(MANY)])
        assert found == [False] * MANY
        assert commits(said) <= 2, "the first may have gone alone"
        assert all(saver.storage.load(str(n), "", None).epoch == 1 for n in range(MANY))


@on_a_loop
async def test_a_run_that_is_alone_waits_for_nobody(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = counting(saver)
        await graph.ainvoke({}, config(0))
        with statements(saver) as said:
            await graph.ainvoke({}, config(1))
        assert commits(said) == 2


@on_a_loop
async def test_one_that_is_refused_leaves_the_others_alone(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        saver.storage.commit(claims("taken"))
        verbs = [lambda name=name: saver.storage.commit(claims(name)) for name in ("one", "taken", "two")]
        first, second, third = await at_once(saver, *verbs)
        assert (first, third) == (False, False)
        assert isinstance(second, ThreadConflict)
        assert [saver.storage.load(name, "", None).epoch for name in ("one", "taken", "two")] == [1, 1, 1]


@on_a_loop
async def test_what_is_read_beside_is_not_what_was_refused(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        saver.storage.commit(claims("1"))

        def half() -> None:
            with saver.file.writing() as db:
                db.execute("update thread set epoch = 99")
                raise KeyError("half done")

        failed, found = await at_once(saver, half, lambda: saver.storage.load("1", "", None))
        assert isinstance(failed, KeyError)
        assert found.epoch == 1


@on_a_loop
async def test_many_conversations_at_once(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = counting(saver)
        for turn in range(3):
            found = await asyncio.gather(*[graph.ainvoke({}, config(n)) for n in range(100)])
            assert found == [{"n": turn + 1}] * 100
    with SqliteSaver(tmp_path / "threads.db") as saver:
        assert [counting(saver).get_state(config(n)).values for n in range(100)] == [{"n": 3}] * 100


def test_loops_in_several_threads_share_the_file(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver, ThreadPoolExecutor(4) as pool:
        graph = counting(saver)

        async def talk(first: int) -> None:
            for _ in range(5):
                await asyncio.gather(*[graph.ainvoke({}, config(first + n)) for n in range(5)])

        for talked in [pool.submit(asyncio.run, talk(first)) for first in range(0, 20, 5)]:
            talked.result()
        assert [graph.get_state(config(n)).values for n in range(20)] == [{"n": 5}] * 20


@on_a_loop
async def test_one_who_is_cancelled_holds_up_nobody(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = counting(saver)
        runs = [asyncio.ensure_future(graph.ainvoke({}, config(n))) for n in range(40)]
        await asyncio.sleep(0)
        for run in runs[::2]:
            run.cancel()
        found = await asyncio.gather(*runs, return_exceptions=True)
        assert found[1::2] == [{"n": 1}] * 20
        assert await asyncio.gather(*[graph.ainvoke({}, config(n)) for n in range(1, 40, 2)]) == [{"n": 2}] * 20


FULL = """
import asyncio, resource, signal, sys
from clew.checkpoint.sqlite import SqliteSaver
from clew.errors import DatabaseError
sys.path.insert(0, sys.argv[2])
from test_sqlite_lane import config, counting

async def main():
    with SqliteSaver(sys.argv[1]) as saver:
        graph = counting(saver)
        await asyncio.gather(*[graph.ainvoke({}, config(n)) for n in range(20)])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # as if the disk were full
        found = await asyncio.gather(*[graph.ainvoke({}, config(n)) for n in range(20)], return_exceptions=True)
        assert all(isinstance(one, DatabaseError) for one in found), found
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        found = await asyncio.gather(*[graph.ainvoke({}, config(n)) for n in range(20)])
        assert found == [{"n": 2}] * 20, found

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_disk_that_is_full_is_told_to_each_of_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "threads.db"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@on_a_loop
async def test_a_commit_that_fails_at_the_end_is_told_to_each_of_them(tmp_path: Path) -> None:
    """A reader in a transaction cannot stop a commit in WAL mode; one that holds the file in `delete` mode can."""
    path = tmp_path / "threads.db"
    with SqliteSaver(path, timeout=0.01) as saver:
        saver.storage.commit(claims("1"))
        with saver.file.using() as db:
            db.execute("pragma journal_mode = delete")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("begin")
        reader.execute("select * from thread").fetchall()
        found = await at_once(saver, *[lambda n=n: saver.storage.commit(claims(str(n))) for n in range(2, 5)])
        assert [type(one) for one in found] == [DatabaseError] * 3
        reader.close()
        assert [saver.storage.load(str(n), "", None).epoch for n in range(1, 5)] == [1, 0, 0, 0]
        assert await at_once(saver, lambda: saver.storage.commit(claims("2"))) == [False]


@pytest.mark.slow
@on_a_loop
async def test_a_forked_child_has_a_lane_of_its_own(tmp_path: Path) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = counting(saver)
        await graph.ainvoke({}, config(1))
        child = os.fork()
        if not child:
            with ThreadPoolExecutor(1) as pool:
                found = pool.submit(lambda: asyncio.run(graph.ainvoke({}, config(1)))).result()
            os._exit(0 if found == {"n": 2} else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert await graph.ainvoke({}, config(1)) == {"n": 3}
