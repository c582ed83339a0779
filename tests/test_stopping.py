"""Runs that are drained, cancelled and interrupted; context variables, nested runs, and how much runs at once."""

import asyncio
import operator
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log, says

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphDrained, NodeCancelledError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import RunControl
from clew.types import Command, RetryPolicy, Send

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False)
FACES = [  # an async node has one face
    pytest.param(SYNC, False, id="sync, plain node"),
    pytest.param(ASYNC, False, id="async, plain node"),
    pytest.param(ASYNC, True, id="async, async node"),
]


def one(node: Any, saver: Saver | None = None, cache: Any = None, **policies: Any) -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", node, **policies).add_edge(START, "node").compile(saver, cache=cache)


# -- stopping -------------------------------------------------------------------------------------------------------


def draining(control: RunControl) -> Callable[[Log], Log]:
    def node(state: Log) -> Log:
        control.request_drain("deploy")
        return {"log": ["first"]}

    return node


def test_a_drained_run_stops_between_two_steps_and_goes_on(face: Face, saver: Saver, thread: dict[str, Any]) -> None:
    control = RunControl()
    builder = StateGraph(Log).add_sequence([("a", draining(control)), ("b", says("b"))]).add_edge(START, "a")
    graph = builder.compile(saver)
    with pytest.raises(GraphDrained, match="deploy") as caught:
        face.invoke(graph, {}, thread, control=control)
    assert caught.value.reason == "deploy"
    assert face.get_state(graph, thread).next == ("b",)
    assert face.invoke(graph, None, thread)["log"] == ["first", "b"]


@pytest.mark.parametrize("policy", [{"retry_policy": AT_ONCE}, {"error_handler": says("handled")}])
def test_a_drained_child_is_neither_tried_again_nor_handled(face: Face, policy: Any) -> None:
    control, ran = RunControl(), list[int]()

    def first(state: Log) -> Log:
        ran.append(1)
        return draining(control)(state)

    child = StateGraph(Log).add_sequence([("a", first), ("b", says("b"))]).add_edge(START, "a").compile()
    with pytest.raises(GraphDrained):
        face.invoke(one(child, **policy), {}, control=control)
    assert ran == [1]


def test_a_cancelled_run_keeps_what_its_siblings_had_finished(saver: Saver, thread: dict[str, Any]) -> None:
    async def run() -> None:
        async def hangs(state: Log) -> None:
            await asyncio.Event().wait()

        builder = StateGraph(Log).add_node("a", says("a")).add_node(hangs).add_edge(START, "a").add_edge(START, "hangs")
        graph = builder.compile(saver)
        stream: Any = graph.astream({}, thread)
        assert await anext(stream) == {"a": {"log": ["a"]}}
        task = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        state = await graph.aget_state(thread)
        assert (state.values["log"], state.next) == (["a"], ("hangs",))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
@pytest.mark.parametrize(
    ("raised", "found"),
    [
        (asyncio.CancelledError, NodeCancelledError),
        (KeyboardInterrupt, KeyboardInterrupt),
        (SystemExit, SystemExit),
        (StopIteration, RuntimeError),
        (GeneratorExit, GeneratorExit),
    ],
)
@pytest.mark.parametrize(("face", "awaited"), FACES)
def test_what_a_node_raises_to_stop_everything(face: Face, awaited: bool, raised: Any, found: Any, beside: bool) -> None:
    def plain(state: Log) -> None:
        raise raised("mine")

    async def waits(state: Log) -> None:
        raise raised("mine")

    builder = StateGraph(Log).add_node("node", waits if awaited else plain).add_edge(START, "node")
    if beside:
        builder.add_node("other", says("other")).add_edge(START, "other")
    saver = InMemorySaver()
    graph = builder.compile(saver)
    with pytest.raises(found):
        face.invoke(graph, {"n": 1}, {"configurable": {"thread_id": "1"}})
    assert face.get_state(graph, {"configurable": {"thread_id": "1"}}).values["n"] == 1


# -- contexts, threads, concurrency ---------------------------------------------------------------------------------

VAR: ContextVar[str] = ContextVar("VAR", default="unset")


@pytest.mark.parametrize(("face", "awaited"), FACES)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_context_variables_reach_nodes_and_go_no_further(face: Face, awaited: bool, beside: bool) -> None:
    def plain(state: Log) -> Log:
        seen = VAR.get()
        VAR.set("changed by a node")
        return {"log": [seen]}

    async def waits(state: Log) -> Log:
        return plain(state)

    builder = StateGraph(Log).add_node("a", waits if awaited else plain).add_node("b", plain)
    builder.add_edge(START, "a").add_edge(START if beside else "a", "b")
    token = VAR.set("the caller's")
    try:
        assert face.invoke(builder.compile(), {})["log"] == ["the caller's"] * 2
        assert VAR.get() == "the caller's"
    finally:
        VAR.reset(token)


@pytest.mark.parametrize("bad", [-1, 1.5, "2"])
def test_a_max_concurrency_that_is_none_is_refused(face: Face, bad: Any) -> None:
    graph = one(says("x"))
    with pytest.raises(ValueError, match="max_concurrency is"):
        face.invoke(graph, {}, {"max_concurrency": bad})
    with pytest.raises(ValueError, match="max_concurrency is"):
        face.batch(graph, [{}, {}], {"max_concurrency": bad})


def test_max_concurrency_holds_for_threads_that_meet(face: Face) -> None:
    running, most, lock = set[int](), list[int](), threading.Lock()

    def worker(number: int) -> None:
        with lock:
            running.add(number)
            most.append(len(running))
        time.sleep(0.001)
        with lock:
            running.discard(number)

    builder = StateGraph(Log).add_node("w", worker)
    builder.add_node("fan", lambda state: Command(goto=[Send("w", i) for i in range(20)]))
    face.invoke(builder.add_edge(START, "fan").compile(), {}, {"max_concurrency": 3})
    assert len(most) == 20
    assert max(most) <= 3


def test_sync_in_async_in_sync(face: Face) -> None:
    inner = one(lambda state: {"log": ["inner"]})  # pyright: ignore[reportUnknownLambdaType]

    async def waits(state: Log) -> Any:
        return inner.invoke(state)

    middle = one(waits)

    def plain(state: Log) -> Any:
        return asyncio.run(middle.ainvoke(state))

    outer = one(plain)
    assert face.invoke(outer, {"log": []})["log"] == ["inner"]


class Depth(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    depth: int


def test_two_hundred_nested_runs_do_not_dead_lock(face: Face) -> None:
    """Ten levels of two parallel nodes, each of which runs the graph again in threads of its own: 20 roots at once."""

    def node(state: Depth) -> Any:
        if state.get("depth", 0) == 0:
            return {"log": ["leaf"]}
        return {"log": graph.invoke({"depth": state.get("depth", 0) - 1})["log"]}

    builder = StateGraph(Depth).add_node("node", node).add_node("other", lambda state: {"log": []})
    graph = builder.add_edge(START, "node").add_edge(START, "other").compile()
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(face.invoke, graph, {"depth": 10}) for _ in range(20)]
    found = [future.result()["log"] for future in futures]
    assert found == [["leaf"]] * 20
