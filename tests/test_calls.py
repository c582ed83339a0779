"""How often a superstep calls what users wrote, and where: reducers once, plain functions in threads, whatever that saves."""

import asyncio
import threading
from typing import Annotated, Any, TypedDict
from uuid import RFC_4122, UUID

from support.faces import Face

from clew.graph import END, START, StateGraph
from clew.graph.message import random_id
from clew.types import RetryPolicy, Send


def counted(calls: list[str]) -> Any:
    def add(current: list[str], update: list[str]) -> list[str]:
        calls.extend(update)
        return current + update

    class State(TypedDict, total=False):
        log: Annotated[list[str], add]

    return State


def test_a_reducer_runs_once_though_a_router_sees_what_it_has_made(face: Face) -> None:
    calls: list[str] = []
    seen: list[list[str]] = []

    def route(state: Any) -> str:
        seen.append(state["log"])
        state["log"].append("the router's own")
        return "b" if len(seen) == 1 else END

    builder = StateGraph(counted(calls)).add_node("a", lambda state: {"log": ["a"]}).add_node("b", lambda state: {"log": ["b"]})
    builder.add_edge(START, "a").add_conditional_edges("a", route).add_edge("b", END)
    assert face.invoke(builder.compile(), {"log": ["in"]}) == {"log": ["in", "a", "b"]}
    assert seen == [["in", "a", "the router's own"]]
    assert calls == ["in", "a", "b"]


def test_what_is_kept_is_of_the_try_that_ended_well(face: Face) -> None:
    tries: list[int] = []

    def node(state: Any) -> Any:
        tries.append(len(tries) + 1)
        return {"log": [f"try {tries[-1]}"]}

    def route(state: Any) -> str:
        if len(tries) == 1:
            raise ConnectionError("not yet")
        return END

    policy = RetryPolicy(initial_interval=0.0, jitter=False)
    builder = StateGraph(counted([])).add_node("a", node, retry_policy=policy)
    builder.add_edge(START, "a").add_conditional_edges("a", route)
    assert face.invoke(builder.compile(), {"log": []}) == {"log": ["try 2"]}


def test_an_error_handlers_answer_is_kept_and_not_what_a_router_had_seen(face: Face) -> None:
    def route(state: Any) -> str:
        raise ValueError(f"of no use: {state['log']}")

    def handler(state: Any, error: Any) -> Any:
        return {"log": ["handled"]}

    builder = StateGraph(counted([])).add_node("a", lambda state: {"log": ["a"]}, error_handler=handler)
    builder.add_edge(START, "a").add_conditional_edges("a", route)
    assert face.invoke(builder.compile(), {"log": []}) == {"log": ["handled"]}


def test_siblings_with_routers_are_folded_together(face: Face) -> None:
    seen: list[list[str]] = []

    def route(state: Any) -> str:
        seen.append(state["log"])
        return END

    builder = StateGraph(counted([])).add_node("a", lambda state: {"log": [state["n"]]}).add_conditional_edges("a", route)
    builder.add_conditional_edges(START, lambda state: [Send("a", {"n": "1"}), Send("a", {"n": "2"})], ["a"])
    assert face.invoke(builder.compile(), {"log": ["in"]}) == {"log": ["in", "1", "2"]}
    assert sorted(seen) == [["in", "1"], ["in", "2"]]


def test_a_plain_function_may_wait_for_the_loop_that_it_is_called_from() -> None:
    """The loop waits for it only for a moment, and then goes on."""
    ran_in: list[str] = []

    async def main() -> Any:
        loop, opened = asyncio.get_running_loop(), threading.Event()

        async def answer() -> str:
            return "from the loop"

        async def opens() -> None:
            opened.set()

        def node(state: Any) -> Any:
            ran_in.append(threading.current_thread().name)
            assert opened.wait(30)
            return {"log": [asyncio.run_coroutine_threadsafe(answer(), loop).result(30)]}

        builder = StateGraph(counted([])).add_node("a", node).add_edge(START, "a").add_conditional_edges("a", lambda state: END)
        running = asyncio.ensure_future(builder.compile().ainvoke({"log": []}))
        beside = asyncio.ensure_future(opens())
        found = await running
        await beside
        return found

    assert asyncio.run(main()) == {"log": ["from the loop"]}
    assert ran_in == ["clew"]


def test_a_sync_stream_that_is_begun_in_a_running_loop_outlives_it() -> None:
    builder = StateGraph(Count).add_node("a", counts).add_node("b", counts).add_edge(START, "a").add_edge("a", "b")
    graph = builder.compile()

    async def begin() -> Any:
        stream = graph.stream({"n": 0}, stream_mode="values")
        return stream, next(stream)

    stream, first = asyncio.run(begin())
    assert [first, *stream] == [{"n": 0}, {"n": 1}, {"n": 2}]


class Count(TypedDict):
    n: int


def counts(state: Count) -> Count:
    return {"n": state["n"] + 1}


def test_a_random_id_is_a_uuid_of_version_4() -> None:
    made = {random_id() for _ in range(500)}
    assert len(made) == 500
    assert {(UUID(one).version, UUID(one).variant, str(UUID(one)) == one) for one in made} == {(4, RFC_4122, True)}
