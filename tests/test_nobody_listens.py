"""Runs that nobody listens to: nothing of LangChain or OpenTelemetry is there."""

import subprocess
import sys
from typing import Any

from langchain_core.runnables import RunnableConfig
from support.faces import Face

from clew.graph import START, MessagesState, StateGraph

QUIET = """
import sys
from clew.graph import StateGraph, START
graph = StateGraph(dict).add_node("n", lambda state: {}).add_edge(START, "n").compile()
graph.invoke({})
list(graph.stream({}, stream_mode=["updates", "custom", "values"]))
print([name for name in sys.modules if name.startswith(("langchain", "langsmith", "opentelemetry", "clew.interop."))])
"""


def test_nothing_is_loaded_for_those_who_do_not_listen() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"clew.interop.langchain", "clew.interop.pydantic"}


def test_a_config_that_nobody_listens_to_has_no_callbacks(face: Face) -> None:
    seen: list[Any] = []

    def node(state: MessagesState, config: RunnableConfig) -> None:
        seen.append(config.get("callbacks"))

    graph = StateGraph(MessagesState).add_node(node).add_edge(START, "node").compile()
    face.invoke(graph, {"messages": ["hi"]})
    assert seen == [None]


WITHOUT = """
import sys
sys.modules["langchain_core"] = None  # as if it were not installed
from clew.errors import MissingDependency
from clew.graph import StateGraph, START
graph = StateGraph(dict).add_node("n", lambda state, writer: writer("w")).add_edge(START, "n").compile()
print(list(graph.stream({}, stream_mode=["messages", "custom"])))
try:
    graph.as_runnable()
except MissingDependency as error:
    print(error)
"""


def test_without_langchain_nobody_speaks() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[('custom', 'w')]",
        "A graph in a chain, and its events, take langchain-core, which is not installed: "
        'type `pip install "clew[langchain]"`.',
    ]
