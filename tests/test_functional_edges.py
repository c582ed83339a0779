"""Tasks that nobody waits for, that are cancelled, in graphs and loops of their own; and what readers see of tasks."""

import asyncio
import threading
from typing import Any

import pytest
from support.faces import ASYNC, Face
from support.graphs import Log
from support.tasks import RAN, adouble, asks, double, fails_once

from clew.cache.memory import InMemoryCache
from clew.checkpoint.base import Saver
from clew.errors import GraphError, NodeTimeoutError
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.types import CachePolicy, Command, interrupt

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def ran() -> None:
    RAN.clear()


# -- nobody waits ---------------------------------------------------------------------------------------------------


def test_a_caller_that_takes_too_long_does_not_wait_for_its_tasks(face: Face) -> None:
    given_up, ended = threading.Event(), list[int]()

    @task
    def hangs(x: int) -> None:
        given_up.wait(10)
        ended.append(x)

    @entrypoint(timeout=0.05)
    def workflow(given: int) -> None:
        hangs(given).result()

    with pytest.raises(NodeTimeoutError):
        face.invoke(workflow, 1)
    assert ended == []
    given_up.set()


def test_a_run_that_is_cancelled_cancels_async_tasks_of_plain_code() -> None:
    ended: list[int] = []

    async def main() -> None:
        begun = asyncio.Event()

        @task
        async def waits(x: int) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(x)

        @entrypoint()
        def workflow(given: int) -> None:
            waits(given).result()

        running = asyncio.create_task(workflow.ainvoke(1))
        await begun.wait()
        running.cancel()
        await asyncio.wait({running}, timeout=10)
        assert running.cancelled()

    asyncio.run(main())
    assert ended == [1]


def test_a_command_for_the_graph_around_leaves_tasks_their_time() -> None:
    ended: list[int] = []

    @task
    async def slow(x: int) -> None:
        for _ in range(9):
            await asyncio.sleep(0)
        ended.append(x)

    up = StateGraph(Log).add_node("up", lambda state: Command(graph=Command.PARENT, update={"log": ["up"]}))
    child = up.add_edge(START, "up").compile()

    async def node(state: Log) -> Any:
        slow(1)
        return await child.ainvoke({})

    assert ASYNC.invoke(StateGraph(Log).add_node(node).add_edge(START, "node").compile(), {}) == {"log": ["up"]}
    assert ended == [1]


def test_a_future_that_is_cancelled_fails_nobody(face: Face) -> None:
    @entrypoint()
    def workflow(given: int) -> bool:
        return double(given).cancel()  # pyright: ignore

    assert face.invoke(workflow, 1) is False  # a thread cannot be stopped
    assert RAN == [1]


def test_an_async_task_can_be_cancelled() -> None:
    @entrypoint()
    async def workflow(given: int) -> bool:
        return adouble(given).cancel()  # pyright: ignore

    assert ASYNC.invoke(workflow, 1) is True
    assert RAN == []


def test_a_failure_that_was_asked_for_too_early_is_not_read() -> None:
    asked = threading.Event()

    @task
    def fails(x: int) -> None:
        asked.wait(10)
        raise ConnectionError("down")

    @entrypoint()
    def workflow(given: int) -> None:
        future = fails(given)
        with pytest.raises(TimeoutError):
            future.result(timeout=0)
        asked.set()

    with pytest.raises(ConnectionError, match="down"):
        workflow.invoke(1)


# -- in graphs, and in loops ----------------------------------------------------------------------------------------


def test_plain_code_with_a_loop_of_its_own_awaits_tasks(face: Face) -> None:
    async def inside() -> list[int]:
        return [await double(1), *await asyncio.gather(double(2), double(3))]  # pyright: ignore

    @entrypoint()
    def workflow(given: int) -> list[int]:
        return asyncio.run(inside())

    assert face.invoke(workflow, 1) == [2, 4, 6]


def test_questions_of_gathered_tasks_are_all_reported(saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    async def workflow(given: int) -> list[str]:
        return list(await asyncio.gather(asks("one?"), asks("two?")))  # pyright: ignore

    asked = ASYNC.invoke(workflow, 1, thread)["__interrupt__"]
    assert sorted(found.value for found in asked) == ["one?", "two?"]


def test_an_entrypoint_within_another(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint()
    def inner(given: int) -> int:
        return double(given).result() + interrupt("inner?")

    @entrypoint(checkpointer=saver)
    def outer(given: int) -> Any:
        return inner.invoke(given), double(10).result()

    face.invoke(outer, 1, thread)
    assert face.invoke(outer, Command(resume=5), thread) == (7, 20)
    assert RAN == [1, 10]


def test_a_node_called_like_a_call_of_its_sibling(face: Face, saver: Saver, thread: Config) -> None:
    child = StateGraph(Log).add_node("ask", lambda state: {"log": [interrupt("?")]}).add_edge(START, "ask").compile()

    @task
    def runs(x: int) -> Any:
        return child.invoke({})["log"]

    builder = StateGraph(Log).add_node("a", lambda state: {"log": runs(1).result()})
    builder.add_node("a@0", lambda state: {"log": child.invoke({})["log"]}).add_edge(START, "a").add_edge(START, "a@0")
    graph = builder.compile(saver)
    asked = face.invoke(graph, {}, thread)["__interrupt__"]
    assert len({found.id for found in asked}) == 2
    assert face.invoke(graph, Command(resume={found.id: "yes" for found in asked}), thread) == {"log": ["yes", "yes"]}


def test_a_name_that_would_part_namespaces() -> None:
    with pytest.raises(GraphError, match=r"'a\|b' contains"):
        task(name="a|b")(lambda: 1)


# -- what readers see -----------------------------------------------------------------------------------------------


def test_tasks_of_a_node_are_shown_before_it_asks_or_fails(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log) -> Log:
        return {"n": double(1).result() + fails_once(5).result() + interrupt("?")}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile(saver)
    chunks: list[Any] = []

    def follow(given: Any) -> None:
        if face is ASYNC:

            async def following() -> None:
                async for chunk in graph.astream(given, thread):
                    chunks.append(chunk)  # noqa: PERF401  (those before an error stay)

            asyncio.run(following())
        else:
            chunks.extend(graph.stream(given, thread))

    with pytest.raises(ConnectionError):
        follow({})
    assert chunks == [{"double": 2}]
    follow(None)
    assert chunks[1:3] == [{"double": 2, "__metadata__": {"cached": True}}, {"fails_once": 5}]
    assert list(chunks[3]) == ["__interrupt__"]


def test_what_a_cache_answers_is_marked(face: Face) -> None:
    remembered = task(cache_policy=CachePolicy(), name="remembered")(len)

    @entrypoint(cache=InMemoryCache())
    def workflow(given: str) -> int:
        return remembered(given).result()

    assert face.stream(workflow, "four") == [{"remembered": 4}, {"workflow": 4}]
    assert face.stream(workflow, "four") == [{"remembered": 4, "__metadata__": {"cached": True}}, {"workflow": 4}]


def test_debug_has_tasks_with_step_and_time(face: Face) -> None:
    @entrypoint()
    def workflow(given: int) -> int:
        return double(given).result()

    chunks = face.stream(workflow, 1, stream_mode="debug")
    seen = [(chunk["type"], chunk["step"], chunk["payload"]["name"]) for chunk in chunks]
    assert seen == [(kind, 0, name) for kind, name in (
        ("task", "workflow"), ("task", "double"), ("task_result", "double"), ("task_result", "workflow"),
    )]  # fmt: skip
    assert [chunk["payload"].get("result") for chunk in chunks[2:]] == [{"__return__": 2}, {"__end__": 2}]


def test_a_task_that_asks_ends_with_its_question(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> str:
        return asks("ok?").result()

    chunks = face.stream(workflow, 1, thread, stream_mode="tasks")
    (question,) = face.get_state(workflow, thread).interrupts
    shown = [{"value": "ok?", "id": question.id, "response_schema": None}]
    assert [(chunk["name"], chunk["interrupts"]) for chunk in chunks[2:]] == [("asks", shown), ("workflow", shown)]


def test_history_shows_what_an_entrypoint_returned(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> Any:
        return entrypoint.final(value=given, save="kept")

    face.invoke(workflow, 1, thread)
    (shown,) = face.history(workflow, thread)[1].tasks
    assert (shown.path, shown.result) == (("__pregel_pull", "workflow"), 1)
