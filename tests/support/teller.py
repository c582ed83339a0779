"""A run in a process of its own, which tells each event that it is given: to be killed at any point.

    python -m support.teller SAVER PLACE [call before|after]

It says each word once it has read a line; or, where a storage call is named, at once, and kills itself before or after that.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from clew.checkpoint.base import Saver
from clew.checkpoint.through import Through
from clew.config import get_stream_writer
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from support.graphs import Log

T = TypeVar("T")
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
WORDS = 40
pace: Callable[[], Any] = lambda: None  # noqa: E731  (replaced by `main`)
OPTIONS: dict[str, Any] = {"stream_mode": ["custom", "updates"], "subgraphs": True, "resumable": True}


def speaks(name: str) -> Callable[[Log], Log]:
    def node(state: Log) -> Log:
        for word in range(WORDS):
            pace()
            get_stream_writer()(f"{name}-{word}")
        return {"log": [name]}

    return node


def drawn(saver: Saver) -> CompiledStateGraph:
    """Two that speak side by side, one of them within a graph; then one alone."""
    within = StateGraph(Log).add_node("deep", speaks("deep")).add_edge(START, "deep").compile()
    builder = StateGraph(Log).add_node("a", speaks("a")).add_node("within", within).add_node("last", speaks("last"))
    builder.add_edge(START, "a").add_edge(START, "within").add_edge(["a", "within"], "last")
    return builder.compile(saver)


def opened(kind: str, place: str) -> Saver:
    match kind:
        case "sqlite":
            from clew.checkpoint.sqlite import SqliteSaver

            return SqliteSaver(place)
        case "postgres":
            from clew.checkpoint.postgres import PostgresSaver

            return PostgresSaver(place)
        case "redis":
            from clew.checkpoint.redis import RedisSaver

            return RedisSaver(place)
        case _:
            from clew.checkpoint.mongodb import MongoDBSaver

            url, _, name = place.rpartition(" ")
            return MongoDBSaver(url, name)


class Deadly(Through):
    """Kills its process before or after a call."""

    def __init__(self, storage: Any, at: int, when: str) -> None:
        super().__init__(storage)
        self._left, self._when = at, when

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        self._left -= 1
        if self._left < 0 and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = verb(*args)
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found


def main(kind: str, place: str, at: str = "", when: str = "") -> None:
    global pace
    saver = opened(kind, place)
    if at:
        saver.storage = Deadly(saver.storage, int(at), when)
    else:
        pace = sys.stdin.readline
    for part in drawn(saver).stream({"log": []}, CONFIG, **OPTIONS):
        print(part.seq, part.mode, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
