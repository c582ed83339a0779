"""A node called by itself: it is given what it would be in a run, and what it returns comes back as it is."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict, cast

import pytest
from support.faces import ASYNC, Face

from clew.errors import UnkeptPause
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import Runtime
from clew.store.memory import InMemoryStore
from clew.types import Command, RetryPolicy, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int


class Context(TypedDict):
    who: str


def one(node: Callable[[Any], Any] | CompiledStateGraph, **options: Any) -> CompiledStateGraph:
    """A graph in which the node leads nowhere that is there, and from nowhere."""
    builder = StateGraph(State, context_schema=Context).add_node("other", lambda state: {"log": ["other"]})
    builder.add_node("node", node, **options).add_edge(START, "other").add_edge("other", "node").add_edge("node", END)
    return builder.compile(store=InMemoryStore())


def call(face: Face, graph: CompiledStateGraph, state: Any, **options: Any) -> Any:
    node = graph.nodes["node"]
    return asyncio.run(node.ainvoke(state, **options)) if face is ASYNC else node.invoke(state, **options)


def test_what_it_returns_comes_back(face: Face) -> None:
    graph = one(lambda state: {"log": [str(state["n"])]})
    assert call(face, graph, {"n": 3}) == {"log": ["3"]}
    assert call(face, one(lambda state: None), {"log": []}) is None
    leads = one(lambda state: Command(update={"n": 1}, goto="other"))
    assert call(face, leads, {}) == Command(update={"n": 1}, goto="other")


def test_an_async_one_and_one_that_yields(face: Face) -> None:
    async def waits(state: State) -> State:
        return {"log": ["waited"]}

    def yields(state: State) -> Any:
        yield {"n": 1}
        yield {"n": 2}

    assert asyncio.run(one(waits).nodes["node"].ainvoke({})) == {"log": ["waited"]}
    assert call(face, one(yields), {}) == [{"n": 1}, {"n": 2}]


def test_it_is_given_what_it_asks_for(face: Face) -> None:
    def node(state: State, config: Any, runtime: Runtime[Context], store: InMemoryStore) -> State:
        store.put(("a",), "k", {"n": 1})
        return {"log": [runtime.context["who"], config["tags"][0], config["metadata"]["langgraph_node"]]}

    graph = one(cast("Any", node))
    assert call(face, graph, {}, context={"who": "bob"}, config={"tags": ["mine"]}) == {"log": ["bob", "mine", "node"]}
    assert isinstance(graph.store, InMemoryStore)
    assert graph.store.get(("a",), "k") is not None


def test_a_graph_that_is_a_node(face: Face) -> None:
    def within(state: State) -> State:
        return {"log": ["within"], "n": 2}

    inner = StateGraph(State).add_node(within).add_edge(START, "within")
    assert call(face, one(inner.compile()), {"n": 1, "log": ["before"]}) == {"log": ["before", "within"], "n": 2}


def test_nothing_is_tried_again_and_nothing_handled(face: Face) -> None:
    tries = list[int]()

    def fails(state: State) -> State:
        tries.append(1)
        raise OSError("as told")

    def handles(state: State) -> State:
        return {"log": ["handled"]}

    graph = one(fails, retry_policy=RetryPolicy(max_attempts=3), error_handler=handles)
    with pytest.raises(OSError, match="as told"):
        call(face, graph, {})
    assert tries == [1]


def test_one_that_asks_says_so(face: Face) -> None:
    graph = one(lambda state: {"log": [interrupt("?")]})
    with pytest.warns(UnkeptPause), pytest.raises(RuntimeError, match="Node 'node' asks for an answer"):
        call(face, graph, {})


def test_all_are_there_by_their_names() -> None:
    graph = one(lambda state: None)
    assert list(graph.nodes) == ["other", "node"]
    assert graph.nodes["other"].invoke({"n": 1}) == {"log": ["other"]}
