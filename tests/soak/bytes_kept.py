"""How many bytes three growing conversations take on each backend, and what a late turn costs; LangGraph's savers beside them.
On MongoDB these are bytes as BSON with the keys of indexes, before the server compresses them.

python -m soak.bytes_kept [--turns 1000] [--langgraph-turns 400] [--only sqlite …]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from langgraph_side.chats import WORKLOADS, Told, tell
from soak.backends import BACKENDS, backend
from support.langgraph_env import made, run
from support.mongo_server import bson_of
from support.postgres_server import PostgresServer

from clew.checkpoint.mongodb import MongoDBSaver

MOST = {"redis": 3.0}  # of unique content; memory costs what hash tables cost
USUAL = 1.6


def ours(name: str, workload: str, turns: int) -> tuple[int, Told]:
    with backend(name) as one, one.make() as saver:
        saver.setup()
        before = saver.storage.occupies()
        told = tell("clew", workload, saver, turns, lambda turn: said(f"{name}, {workload}: turn {turn} of {turns}", turn))
        if isinstance(saver, MongoDBSaver):  # SecantusDB, should it be that, stores differently from MongoDB
            found = bson_of(saver.rows.connected.collection("clew_commits"))
            return found.bson + found.keys, told
        return saver.storage.occupies() - before * (name != "sqlite"), told


def theirs(store: str, workload: str, turns: int) -> tuple[int, Told]:
    python = made()
    said(f"LangGraph on {store}, {workload}: {turns} turns …", 0)
    with tempfile.TemporaryDirectory() as folder:
        server = PostgresServer(fsync=True)
        try:
            if store == "postgres":
                server.start()
            where = server.database() if store == "postgres" else str(Path(folder, "theirs.db"))
            found: dict[str, Any] = json.loads(run(python, "chats.py", store, where, workload, str(turns)))
        finally:
            server.remove()
    return found["size"], Told(found["unique"], found["text"], {int(mark): ms for mark, ms in found["turns"].items()})


def said(text: str, turn: int) -> None:
    if turn % 50 == 0 and sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif turn == 0:
        print(text, file=sys.stderr, flush=True)


def row(name: str, workload: str, turns: int, size: int, told: Told) -> str:
    (_, first), (_, last) = min(told.turns.items()), max(told.turns.items())
    return (
        f"{name:22} {workload:9} {turns:5} {size / 1000:12,.0f} {told.unique / 1000:9,.0f} {size / told.unique:9.2f} "
        f"{first:7.2f} {last:7.2f} {last / first:6.2f}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--langgraph-turns", type=int, default=400)
    parser.add_argument("--only", nargs="*", default=list(BACKENDS))
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS))
    given = parser.parse_args()
    over: list[str] = []
    head = ("saver", "workload", "turns", "kB", "unique kB", ": unique", "ms@100", "ms@end", ":")
    print("{:22} {:9} {:>5} {:>12} {:>9} {:>9} {:>7} {:>7} {:>6}".format(*head), flush=True)
    for workload in given.workloads:
        for name in given.only:
            size, told = ours(name, workload, given.turns)
            print(row(f"clew {name}", workload, given.turns, size, told), flush=True)
            if size > MOST.get(name, USUAL) * told.unique:
                over.append(f"{name}, {workload}: {size / told.unique:.2f} x its unique content")
        for store in ("sqlite", "postgres") if given.langgraph_turns else ():
            size, told = theirs(store, workload, given.langgraph_turns)
            print(row(f"langgraph {store}", workload, given.langgraph_turns, size, told), flush=True)
    for line in over:
        print(f"TOO MUCH: {line}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
