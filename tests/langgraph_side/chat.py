"""A chat run by LangGraph, of so many turns and 500-byte messages that nothing repeats, on one saver; prints figures as JSON.

chat.py SAVER TURNS PLACE      SAVER is of `support_savers`, or LangGraph's own: theirs-sqlite, theirs-postgres
"""

import json
import random
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, HumanMessage
from langgraph import graph as lg
from support_savers import opened

from clew.interop.langgraph import as_langgraph_saver

StateGraph: Any = lg.StateGraph  # its types say little to a strict reader
MessagesState = lg.MessagesState
LETTERS = "abcdefghijklmnopqrstuvwxyz     "


def text_of(number: int) -> str:
    return "".join(random.Random(number).choices(LETTERS, k=500))


def say(state: MessagesState) -> Any:
    number = len(state["messages"])
    return {"messages": [AIMessage(text_of(number), id=str(number))]}


def file_size(place: str) -> int:
    return sum(path.stat().st_size for path in Path(place).parent.glob(f"{Path(place).name}*"))


def named(backend: str) -> Any:
    """A module that is installed where this runs, and not where it is checked."""
    return import_module(f"langgraph.checkpoint.{backend}")


@contextmanager
def theirs(kind: str, place: str) -> Generator[tuple[Any, Callable[[], int]]]:
    if kind == "theirs-sqlite":
        with named("sqlite").SqliteSaver.from_conn_string(place) as saver:
            yield saver, lambda: file_size(place)
    else:
        with named("postgres").PostgresSaver.from_conn_string(place) as saver:
            saver.setup()
            sql = "select sum(pg_total_relation_size(oid)) n from pg_class where relname like 'checkpoint%' and relkind = 'r'"
            yield saver, lambda: int(saver.conn.execute(sql).fetchone()["n"])


@contextmanager
def ours(kind: str, place: str) -> Generator[tuple[Any, Callable[[], int]]]:
    with opened(kind, place) as saver:
        yield as_langgraph_saver(saver), saver.storage.occupies


def main(kind: str, turns: int, place: str) -> None:
    with (theirs if kind.startswith("theirs-") else ours)(kind, place) as (saver, size):
        graph = StateGraph(MessagesState).add_node(say).add_edge(lg.START, "say").compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "1"}}
        began, last, marks, found = time.perf_counter(), 0.0, list[Any](), cast("Any", None)
        for turn in range(turns):
            last = time.perf_counter()
            found = graph.invoke({"messages": [HumanMessage(text_of(2 * turn), id=str(2 * turn))]}, config)
            if (turn + 1) % 50 == 0:
                marks.append([turn + 1, size()])
                print(f"{kind}: {turn + 1} turns, {marks[-1][1] / 1e6:.2f} MB", file=sys.stderr, flush=True)
        now = time.perf_counter()
        unique = sum(len(message.content) for message in found["messages"])
        assert len(found["messages"]) == 2 * turns
        figures = {"bytes": size(), "unique": unique, "seconds": now - began, "last": now - last, "marks": marks}
    print(json.dumps(figures))


main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
