"""Every connection killed once a second for 30 seconds under load: all runs finish, nothing is lost, nothing is there twice.

PYTHONPATH=src:tests .venv/bin/python tests/soak/postgres_killed.py
"""

import asyncio
import sys
import threading
import time
from collections import Counter
from typing import Any, Final

from support.graphs import Log
from support.postgres_server import PostgresServer

from clew.checkpoint.postgres import PostgresSaver
from clew.graph import START, StateGraph

SECONDS: Final = 30
THREADS: Final = 8
TASKS: Final = 16


def main() -> int:
    server = PostgresServer()
    try:
        server.start()
        return killed(server)
    finally:
        server.remove()


def killed(server: PostgresServer) -> int:
    ran: Counter[str] = Counter()
    lock = threading.Lock()

    def node(state: Log) -> dict[str, Any]:
        asked = state.get("log", [])[-1]
        with lock:
            ran[asked] += 1
        return {"log": [f"answer to {asked}"]}

    failures: list[BaseException] = []
    asked: dict[str, int] = {}
    with PostgresSaver(server.database()) as saver:
        graph = StateGraph(Log).add_node("node", node).add_edge(START, "node").compile(saver)
        saver.setup()
        until = time.monotonic() + SECONDS

        def works(name: str) -> None:
            turn = 0
            try:
                while time.monotonic() < until:
                    asked[name] = turn + 1
                    graph.invoke({"log": [f"{name} {turn}"]}, {"configurable": {"thread_id": name}})
                    turn += 1
            except BaseException as error:
                failures.append(error)

        async def tasks() -> None:
            async def works_async(name: str) -> None:
                turn = 0
                while time.monotonic() < until:
                    asked[name] = turn + 1
                    await graph.ainvoke({"log": [f"{name} {turn}"]}, {"configurable": {"thread_id": name}})
                    turn += 1

            failures.extend(
                found
                for found in await asyncio.gather(*(works_async(f"task {n}") for n in range(TASKS)), return_exceptions=True)
                if found is not None
            )

        threads = [threading.Thread(target=works, args=(f"thread {n}",)) for n in range(THREADS)]
        threads.append(threading.Thread(target=asyncio.run, args=(tasks(),)))
        for thread in threads:
            thread.start()
        ended = 0
        while time.monotonic() < until:
            time.sleep(1)
            ended += server.end_backends()
            print(f"{ended:4} connections killed, {sum(ran.values()):6} turns", flush=True)
        for thread in threads:
            thread.join()
        wrong = [name for name, turns in asked.items() if not whole(graph, name, turns)]
    twice = [name for name, count in ran.items() if count > 1]
    print(f"{sum(asked.values()):,} turns on {len(asked)} threads; {ended} connections killed")
    print(
        f"runs that failed: {len(failures)}; threads with something lost or twice: {len(wrong)}; nodes run twice: {len(twice)}"
    )
    print(*map(repr, failures[:3]), sep="\n")
    return 1 if failures or wrong or twice or not ended else 0


def whole(graph: Any, name: str, turns: int) -> bool:
    config: dict[str, Any] = {"configurable": {"thread_id": name}}
    expected = [line for turn in range(turns) for line in (f"{name} {turn}", f"answer to {name} {turn}")]
    return graph.get_state(config).values["log"] == expected and len(list(graph.get_state_history(config))) == 3 * turns


if __name__ == "__main__":
    sys.exit(main())
