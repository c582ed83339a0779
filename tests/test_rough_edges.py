"""Small things that users stumble over."""

import asyncio
import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from support.faces import Face
from support.graphs import Log, drawn, says

from clew.cache.memory import InMemoryCache
from clew.checkpoint.base import Saver
from clew.constants import TAG_HIDDEN
from clew.errors import CacheWarning, GraphDrained, GraphRecursionError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import RunControl
from clew.types import CachePolicy


class Anything(TypedDict, total=False):
    foo: Any
    log: Annotated[list[str], operator.add]


def writes_anything(state: Any) -> Any:
    return {"foo": object()}


def cached(node: Any) -> CompiledStateGraph:
    builder = StateGraph(Anything).add_node("a", node, cache_policy=CachePolicy()).add_edge(START, "a")
    return builder.compile(cache=InMemoryCache())


def test_what_cannot_be_cached_runs_with_a_warning(face: Face) -> None:
    with pytest.warns(CacheWarning, match="The input of node 'a' cannot be cached: a builtins.object|a object"):
        assert face.invoke(cached(says("a")), {"foo": object()})["log"] == ["a"]
    with pytest.warns(CacheWarning, match="The result of node 'a' cannot be cached"):
        assert "foo" in face.invoke(cached(writes_anything), {"log": []})


def test_a_node_that_is_tagged_hidden_is_left_out_of_streams(face: Face) -> None:
    hidden: Any = RunnableLambda(says("a")).with_config(tags=[TAG_HIDDEN])
    graph = StateGraph(Log).add_node("a", hidden).add_node("b", says("b")).add_edge(START, "a").add_edge("a", "b").compile()
    assert face.stream(graph, {"log": []}) == [{"b": {"log": ["b"]}}]
    tasks = face.stream(graph, {"log": []}, stream_mode="tasks")
    assert [task["name"] for task in tasks] == ["b", "b"]


def test_an_argument_that_there_is_none_of_is_told_those_there_are(face: Face) -> None:
    with pytest.raises(TypeError, match=r"There is no argument 'contxt': expected some of \['context', "):
        face.invoke(drawn((START, "a")).compile(), {}, contxt=1)


def test_a_drained_run_without_a_saver_is_not_told_to_go_on(face: Face) -> None:
    control = RunControl()
    control.request_drain("shutdown")
    with pytest.raises(GraphDrained, match=r"asked to stop \(shutdown\) and did; the graph keeps nothing"):
        face.invoke(drawn((START, "a")).compile(), {}, control=control)


def test_an_inner_graph_that_runs_in_circles_is_named(face: Face) -> None:
    inner = drawn((START, "c"), ("c", "c")).compile()
    graph = StateGraph(Log).add_node("outer", inner).add_edge(START, "outer").compile()
    with pytest.raises(GraphRecursionError, match=r"\['c'\] would run next, in the graph within 'outer'"):
        face.invoke(graph, {"log": []}, {"recursion_limit": 3})


def test_a_plain_function_beside_an_async_node_that_fails_counts(saver: Saver, thread: dict[str, Any]) -> None:
    began, failed, ran = threading.Event(), threading.Event(), list[str]()

    def steady(state: Any) -> Any:
        began.set()
        failed.wait()
        ran.append("steady")
        return {"log": ["steady"]}

    async def shaky(state: Any) -> Any:
        if failed.is_set():
            return {"log": ["shaky"]}
        await asyncio.to_thread(began.wait)
        failed.set()
        raise OSError("once")

    builder = StateGraph(Log).add_node("steady", steady).add_node("shaky", shaky)
    graph = builder.add_edge(START, "steady").add_edge(START, "shaky").compile(saver)
    with pytest.raises(OSError, match="once"):
        asyncio.run(graph.ainvoke({}, thread))
    assert asyncio.run(graph.ainvoke(None, thread))["log"] == ["shaky", "steady"]
    assert ran == ["steady"]


def test_the_injected_config_with_another_thread_is_a_run_of_its_own(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    inner = drawn((START, "a")).compile(saver)

    def calls(state: Any, config: Any) -> Any:
        other = {**config, "configurable": {**config["configurable"], "thread_id": "another"}}
        return {"log": inner.invoke({"log": ["in"]}, other)["log"]}

    graph = StateGraph(Log).add_node("n", calls).add_edge(START, "n").compile(saver)
    assert face.invoke(graph, {}, thread)["log"] == ["in", "a"]
    assert face.get_state(inner, {"configurable": {"thread_id": "another"}}).values == {"log": ["in", "a"]}


def test_what_a_reader_does_to_a_chunk_stays_with_the_reader() -> None:
    graph = drawn((START, "a"), (START, "b")).compile()
    seen = list[Any]()
    for mode, chunk in graph.stream({"log": []}, stream_mode=["updates", "values"]):
        if mode == "updates" and "a" in chunk:
            chunk["a"]["log"].append("mine")
        seen.append(chunk)
    assert seen[-1] == {"log": ["a", "b"]}
