"""One saver, shared by 16 threads and 200 async tasks, with PostgreSQL 5 ms away: what a pool gains over one connection.

    PYTHONPATH=src:tests .venv/bin/python tests/soak/postgres_pool.py

Ends with 1 where a pool is less than 8 times as fast as one connection on which calls take turns: those of the threads alone,
as what the tasks ask goes out together.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Final

from support.graphs import Log, says
from support.postgres_server import PostgresServer
from support.proxy import Proxy

from clew.checkpoint.postgres import PostgresSaver
from clew.graph import START, StateGraph

THREADS: Final = 16
TASKS: Final = 200
DELAY: Final = 0.0025  # seconds each way
SECONDS: Final = 15.0
POOL: Final = 20  # more than that two cores cannot serve
AT_LEAST: Final = 8.0


def turns(url: str, size: int, tasks: int) -> float:
    """Turns a second of all of them together."""
    done: list[int] = []
    with PostgresSaver(url, pool_size=size, timeout=300) as saver:
        graph = StateGraph(Log).add_node("node", says("x")).add_edge(START, "node").compile(saver)
        saver.setup()
        until = time.monotonic() + SECONDS

        def works(n: int) -> None:
            turn = 0
            while time.monotonic() < until:
                config: dict[str, Any] = {"configurable": {"thread_id": f"{size} thread {n} {turn // 10}"}}
                graph.invoke({"log": ["in"]}, config)
                turn += 1
            done.append(turn)

        async def talks() -> None:
            async def works_async(n: int) -> None:
                turn = 0
                while time.monotonic() < until:
                    config: dict[str, Any] = {"configurable": {"thread_id": f"{size} task {n} {turn // 10}"}}
                    await graph.ainvoke({"log": ["in"]}, config)
                    turn += 1
                done.append(turn)

            await asyncio.gather(*(works_async(n) for n in range(tasks)))

        started = time.monotonic()
        threads = [threading.Thread(target=works, args=(n,)) for n in range(THREADS)]
        for thread in threads:
            thread.start()
        asyncio.run(talks())
        for thread in threads:
            thread.join()
        return sum(done) / (time.monotonic() - started)


def away(port: int, told: Any) -> None:
    proxy = Proxy(port)
    proxy.delay = DELAY
    told.send(proxy.port)
    told.recv()


@contextmanager
def network(port: int) -> Generator[int]:
    """A port that is `DELAY` away from this one, in a process of its own: no network takes the time of its clients."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=away, args=(port, there), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()


def main() -> int:
    server = PostgresServer()
    try:
        server.start()
        with network(server.port) as port:
            url = f"postgresql://postgres@127.0.0.1:{port}/{server.database().rpartition('/')[2]}?sslmode=disable"
            found: list[float] = []
            for size, tasks in ((1, 0), (1, TASKS), (10, TASKS), (POOL, TASKS)):
                print(f"{THREADS} threads and {tasks} tasks, {size} connection(s), {SECONDS:g} s ...", flush=True)
                found.append(turns(url, size, tasks))
                print(f"  {found[-1]:,.0f} turns a second", flush=True)
    finally:
        server.remove()
    gain = found[-1] / found[0]
    print(f"{POOL} connections are {gain:.1f} times as fast as one that takes turns; must be at least {AT_LEAST:g}")
    return 0 if gain >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
