"""Three conversations that grow, written once for both libraries: the package's name is a parameter.

A program as well: `python chats.py langgraph sqlite|postgres WHERE WORKLOAD TURNS` runs one and prints what it found as JSON.
"""

import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

BYTES: Final = 500
AROUND: Final = 20


class Told(NamedTuple):
    """What a conversation came to: the bytes of its messages, each once, and what a turn took, in ms, by the turn before which
    so many turns were told; the median of those around it."""

    unique: int
    text: int
    turns: dict[int, float]


def load(package: str, module: str) -> Any:
    return import_module(f"{package}.{module}")


class Texts:
    """Texts of `BYTES` bytes, each another one, the same in every run."""

    def __init__(self) -> None:
        self.chance = random.Random(20)
        self.words = ["".join(self.chance.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
        self.lock = threading.Lock()

    def __call__(self) -> str:
        with self.lock:
            return " ".join(self.chance.choices(self.words, k=BYTES // 8 + 1))[:BYTES]


def answers(texts: Texts) -> Callable[[Any], Any]:
    def model(state: Any) -> Any:
        return {"messages": [AIMessage(texts())]}

    return model


def chat(package: str, texts: Texts) -> Any:
    """One node that answers."""
    graph = load(package, "graph")
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("model", answers(texts))
    builder.add_edge(graph.START, "model")
    return builder


def handed(package: str, texts: Texts) -> Any:
    """An agent whose subgraph is given the whole list, and gives the whole list back."""
    graph = load(package, "graph")
    inner = graph.StateGraph(graph.MessagesState)
    inner.add_node("model", answers(texts))
    inner.add_edge(graph.START, "model")
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("agent", inner.compile())
    builder.add_edge(graph.START, "agent")
    return builder


def tools(package: str, texts: Texts) -> Any:
    """An agent that calls three tools at once, which end in whatever order, and then answers."""
    graph, types = load(package, "graph"), load(package, "types")
    chance = random.Random(7)

    def agent(state: Any) -> Any:
        if isinstance(state["messages"][-1], HumanMessage):
            calls = [{"name": f"tool_{n}", "args": {"n": n}, "id": f"{len(state['messages'])}-{n}"} for n in range(3)]
            return {"messages": [AIMessage(texts(), tool_calls=calls)]}
        return {"messages": [AIMessage(texts())]}

    def tool(call: Any) -> Any:
        time.sleep(chance.random() / 500)
        return {"messages": [ToolMessage(texts(), tool_call_id=call["id"])]}

    def route(state: Any) -> Any:
        calls = state["messages"][-1].tool_calls
        return [types.Send("tool", call) for call in calls] or graph.END

    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("tool", tool)
    builder.add_edge(graph.START, "agent")
    builder.add_conditional_edges("agent", route, ["tool", graph.END])
    builder.add_edge("tool", "agent")
    return builder


WORKLOADS: Final[dict[str, Callable[[str, Texts], Any]]] = {"chat": chat, "subgraph": handed, "tools": tools}


def tell(package: str, workload: str, saver: Any, turns: int, progress: Callable[[int], None] = lambda turn: None) -> Told:
    """So many turns of one conversation."""
    texts = Texts()
    graph = WORKLOADS[workload](package, texts).compile(checkpointer=saver)
    config, options = {"configurable": {"thread_id": workload}}, {"durability": "sync"}
    took: list[float] = []
    for turn in range(turns):
        began = time.perf_counter()
        graph.invoke({"messages": [HumanMessage(texts())]}, config, **options)
        took.append(1000 * (time.perf_counter() - began))
        progress(turn)
    messages = graph.get_state(config).values["messages"]
    told = [json.dumps([m.type, m.id, m.content, getattr(m, "tool_calls", [])]) for m in messages]
    marks = sorted({min(100, turns), turns})
    middle = {mark: statistics.median(took[max(0, mark - AROUND) : mark]) for mark in marks}
    return Told(sum(map(len, told)), sum(len(m.content) for m in messages), middle)


def main() -> None:
    store, where, workload, turns = sys.argv[1:]
    if store == "sqlite":
        with load("langgraph", "checkpoint.sqlite").SqliteSaver.from_conn_string(where) as saver:
            told = tell("langgraph", workload, saver, int(turns))
            saver.conn.execute("pragma wal_checkpoint(truncate)")
        size = os.stat(where).st_size
    else:
        with load("langgraph", "checkpoint.postgres").PostgresSaver.from_conn_string(where) as saver:
            saver.setup()
            told = tell("langgraph", workload, saver, int(turns))
            tables = "pg_class where relname like 'checkpoint%' and relkind = 'r'"
            found = saver.conn.execute(f"select sum(pg_total_relation_size(oid)) as size from {tables}").fetchone()
            size = int(found["size"])
    print(json.dumps({"size": size, **told._asdict()}))


if __name__ == "__main__":
    main()
