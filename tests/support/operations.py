"""What Clew does in scenes that matter, counted: the table tests/operations.json, how it is made anew, what differs from it.

Run as a program, `python -m support.operations [URL]` prints the counts of a process in which nothing else has happened, with
the URL of an empty database of PostgreSQL those of scenes there; `--write` writes all of them into the table.
"""

import asyncio
import gc
import json
import operator
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.sqlite import SqliteSaver
from clew.graph import END, START, MessagesState, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Send
from support.counting import Counts, counting, postgres_counting, sqlite_counting, twice
from support.pages import ROOT

Table = dict[str, Counts]

TABLE: Final = ROOT / "tests" / "operations.json"
REWRITE: Final = "make operations"
SLACK: Final = 0.10
LEAST: Final = {"calls": 2.0, "garbage": 2.0, "statements": 0.0, "transactions": 0.0, "round trips": 0.0, "bytes": 40.0}
"""What is no difference however small the count."""


class Number(TypedDict):
    n: int


class Fan(TypedDict, total=False):
    width: int
    found: Annotated[list[int], operator.add]


class Inner(TypedDict, total=False):
    n: int
    found: Annotated[list[int], operator.add]


class Found(TypedDict):
    found: Annotated[list[int], operator.add]


def config(thread: int | str = "1") -> Any:
    return {"configurable": {"thread_id": str(thread)}, "recursion_limit": 10_000}


# -- graphs -------------------------------------------------------------------------------------------------------------


def counted(state: Number) -> Number:
    return {"n": state["n"] + 1}


async def counted_later(state: Number) -> Number:
    return {"n": state["n"] + 1}


def row(builder: StateGraph, nodes: list[Callable[[Any], Any]]) -> StateGraph:
    names = [f"n{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        builder.add_node(name, node)
    for before, after in pairwise([START, *names, END]):
        builder.add_edge(before, after)
    return builder


def sync_chain(length: int, saver: Saver | None = None) -> Counts:
    return _invoked(row(StateGraph(Number), [counted] * length).compile(saver), {"n": 0})


def async_chain(length: int, saver: Saver | None = None) -> Counts:
    return _ainvoked(row(StateGraph(Number), [counted_later] * length).compile(saver), {"n": 0})


def one_node(calls: int) -> Counts:
    return _invoked(row(StateGraph(Number), [counted]).compile(), *({"n": 0} for _ in range(calls)))


def wide(length: int) -> Counts:
    keys = [f"k{number}" for number in range(600)]

    def node(state: Any) -> Any:
        return {"k1": state["k0"] + 1, "k2": 2, "k3": 3}

    schema: Any = TypedDict("Wide", dict.fromkeys(keys, int))  # pyright: ignore
    return _invoked(row(StateGraph(schema), [node] * length).compile(), dict.fromkeys(keys, 1))


def fan(width: int, worker: Any = None) -> Counts:
    async def one(state: Any) -> Any:
        return {"found": [state["n"]]}

    def route(state: Any) -> list[Send]:
        return [Send("worker", {"n": number}) for number in range(state["width"])]

    builder = StateGraph(Fan).add_node("worker", worker or one).add_conditional_edges(START, route, ["worker"])
    return _ainvoked(builder.compile(), {"width": width})


def subgraphs(width: int) -> Counts:
    async def one(state: Any) -> Any:
        return {"n": state["n"] + 1}

    async def last(state: Any) -> Any:
        return {"found": [state["n"]]}

    return fan(width, row(StateGraph(Inner, output_schema=Found), [one, one, last]).compile())


def agent(turns: int, saver: Saver | None = None) -> Counts:
    """A hand-made loop: a scripted model that calls a tool so many times."""

    def model(state: MessagesState) -> Any:
        turn = len(state["messages"]) // 2
        call: Any = {"name": "look", "args": {}, "id": f"call-{turn}"}
        return {"messages": [AIMessage("done") if turn == turns else AIMessage("", tool_calls=[call])]}

    def tools(state: MessagesState) -> Any:
        calls: Any = getattr(state["messages"][-1], "tool_calls")  # noqa: B009
        return {"messages": [ToolMessage("found", tool_call_id=call["id"]) for call in calls]}

    def route(state: MessagesState) -> str:
        return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END

    builder = StateGraph(MessagesState).add_node("model", model).add_node("tools", tools).add_edge(START, "model")
    builder.add_conditional_edges("model", route, ["tools", END]).add_edge("tools", "model")
    return _invoked(builder.compile(saver), {"messages": [HumanMessage("go")]})


def tokens(tens: int) -> Counts:
    """A model that says ten times as many words, read as it does."""
    from support.speaking import says  # late: where models are loaded each run looks who listens

    model = says(*["word"] * (10 * tens))

    async def node(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile()

    async def read() -> None:
        given: Any = {"messages": ["hi"]}
        assert len([chunk async for chunk in graph.astream(given, stream_mode="messages")]) > 10 * tens

    return _awaited(read)


def _invoked(graph: CompiledStateGraph, *given: Any) -> Counts:
    counts: Counts = {}
    with counting(counts):
        for one in given:
            graph.invoke(one, config())
    return counts


def _ainvoked(graph: CompiledStateGraph, given: Any) -> Counts:
    return _awaited(lambda: graph.ainvoke(given, config()))


def _awaited(work: Callable[[], Coroutine[Any, Any, Any]]) -> Counts:
    """In a loop that is there before and after: it leaves garbage of its own."""
    counts: Counts = {}
    with asyncio.Runner() as runner:
        runner.get_loop()
        with counting(counts):
            runner.run(work())
    return counts


# -- on SQLite ----------------------------------------------------------------------------------------------------------


def on_sqlite(prepare: Callable[[SqliteSaver], Any], work: Callable[[Any], Counts]) -> Counts:
    """What `work` counts with what was prepared on a new file, and what its file did meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "threads.db"))
        with SqliteSaver(path) as saver:
            row(StateGraph(Number), [counted]).compile(saver).invoke({"n": 0}, config("before"))
            prepared = prepare(saver)
            with saver.file.raw() as db:
                pass
            counts: Counts = {}
            with sqlite_counting(db, path, counts):
                found = work(prepared)
            return found | counts


def talk(saver: Saver, messages: int) -> CompiledStateGraph:
    """A graph of one node that answers, and a thread of so many messages."""

    def model(state: MessagesState) -> Any:
        return {"messages": [AIMessage(f"{len(state['messages'])} " * 100)]}

    graph = StateGraph(MessagesState).add_node("model", model).add_edge(START, "model").compile(saver)
    before: Any = {"messages": [HumanMessage(f"{number} " * 100) for number in range(messages - 1)]}
    for given in (before, *said(1)):
        graph.invoke(given, config())
    return graph


def said(count: int) -> list[Any]:
    return [{"messages": [HumanMessage("and then? " * 50)]} for _ in range(count)]


def turns(messages: int) -> Counts:
    """A turn of such a thread."""

    def some(count: int) -> Counts:
        return on_sqlite(lambda saver: talk(saver, messages), lambda graph: _invoked(graph, *said(count)))

    return twice(some, 2, 12)


def opened(messages: int) -> Counts:
    """`get_state` of such a thread, by a saver that has not read it."""

    def read(path: str) -> Counts:
        counts: Counts = {}
        with SqliteSaver(path) as saver:
            graph = row(StateGraph(MessagesState), [lambda state: {}]).compile(saver)
            with counting(counts):
                assert len(graph.get_state(config()).values["messages"]) > messages
        return counts

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "threads.db"))
        with SqliteSaver(path) as saver:
            talk(saver, messages)
        read(path)
        return read(path)


def listed() -> Counts:
    """A checkpoint in a list of them, its values not read."""

    def history(saver: SqliteSaver) -> Counts:
        graph = talk(saver, 100)
        for number in range(40):
            graph.invoke({"messages": [HumanMessage(f"turn {number}")]}, config())

        def some(limit: int) -> Counts:
            counts: Counts = {}
            with counting(counts):
                assert len(list(graph.get_state_history(config(), limit=limit))) == limit
            return counts

        return twice(some, 10, 110)

    with tempfile.TemporaryDirectory() as folder, SqliteSaver(Path(folder, "threads.db")) as saver:
        return history(saver)


# -- on PostgreSQL ------------------------------------------------------------------------------------------------------


def on_postgres(url: str) -> Table:
    """The scenes there."""
    import psycopg

    from clew.checkpoint.postgres import PostgresSaver

    with psycopg.connect(url, autocommit=True) as db, PostgresSaver(db) as saver:
        saver.setup()

        def some(prepare: Callable[[], Any], work: Callable[[Any], Counts]) -> Counts:
            saver.delete_thread("1")
            prepared, counts = prepare(), dict[str, float]()
            with postgres_counting(db, counts):
                found = work(prepared)
            return found | counts

        for _ in range(8):  # what is asked often has been prepared
            some(lambda: None, lambda _: sync_chain(1, saver))
        return {
            "a step, sync, PostgreSQL": twice(lambda n: some(lambda: None, lambda _: sync_chain(n, saver)), 10, 30),
            "a step, async, PostgreSQL": twice(lambda n: some(lambda: None, lambda _: async_chain(n, saver)), 10, 30),
            "a turn of a thread of 100 messages, PostgreSQL": twice(
                lambda n: some(lambda: talk(saver, 100), lambda graph: _invoked(graph, *said(n))), 2, 12
            ),
        }


# -- the table ----------------------------------------------------------------------------------------------------------

SCENES: Final[dict[str, Callable[[], Counts]]] = {
    "a step, sync": lambda: twice(sync_chain, 10, 30),
    "a step, async": lambda: twice(async_chain, 10, 30),
    "a step, sync, in memory": lambda: twice(lambda n: sync_chain(n, InMemorySaver()), 10, 30),
    "a step, sync, SQLite": lambda: twice(lambda n: on_sqlite(_itself, lambda saver: sync_chain(n, saver)), 10, 30),
    "a step, async, SQLite": lambda: twice(lambda n: on_sqlite(_itself, lambda saver: async_chain(n, saver)), 10, 30),
    "a call of one node": lambda: twice(one_node, 1, 11),
    "a step, 600 keys": lambda: twice(wide, 10, 30),
    "a Send of many": lambda: twice(fan, 10, 60),
    "a subgraph of many, three nodes": lambda: twice(subgraphs, 10, 30),
    "a turn of an agent's loop": lambda: twice(agent, 5, 25),
    "a turn of a thread of 100 messages, SQLite": lambda: turns(100),
    "a turn of a thread of 1,000 messages, SQLite": lambda: turns(1_000),
    "get_state of 1,000 messages, SQLite opened anew": lambda: opened(1_000),
    "a checkpoint listed, SQLite": listed,
    "ten tokens, async": lambda: twice(tokens, 10, 30),
}


def _itself(saver: SqliteSaver) -> SqliteSaver:
    return saver


def counted_apart(*urls: str) -> Table:
    """The scenes, in a process of their own: there nothing else has made threads or filled caches."""
    variables = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "support.operations", *urls]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def written(*, on_servers: bool) -> Table:
    """What the table says, of scenes that need a server or of the others."""
    table: Table = json.loads(TABLE.read_text())
    return {scene: counts for scene, counts in table.items() if scene.endswith("PostgreSQL") == on_servers}


def differences(expected: Table, found: Table) -> list[str]:
    """What is more, or less, than the table says by a tenth: one line each."""

    def lines() -> Iterator[str]:
        for scene in sorted({*expected, *found}):
            if scene not in expected or scene not in found:
                yield f"{scene}: {'not in the table' if scene in found else 'not counted any more'}"
                continue
            for what in sorted({*expected[scene], *found[scene]}):
                was, now = expected[scene].get(what, 0), found[scene].get(what, 0)
                if abs(now - was) > max(SLACK * was, LEAST[what]):
                    yield f"{scene}: {now:g} {what}, in the table {was:g}"

    return list(lines())


def write() -> None:
    """Writes the table, from processes that have done nothing else."""
    from support.postgres_server import PostgresServer

    server = PostgresServer()
    try:
        server.start()
        found = counted_apart() | counted_apart(server.url())
    finally:
        server.remove()
    changed = differences(json.loads(TABLE.read_text()) if TABLE.exists() else {}, found)
    TABLE.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(changed) or "Nothing differs by a tenth.")


def main(arguments: list[str]) -> None:
    if arguments == ["--write"]:
        write()
        return
    gc.freeze()  # what is imported need not be looked through each time
    print(json.dumps(on_postgres(*arguments) if arguments else {name: scene() for name, scene in SCENES.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
