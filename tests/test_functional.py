"""Workflows as functions: tasks are kept one by one, an entrypoint is a graph, what is asked and what fails comes out."""

import asyncio
import threading
import time
from typing import Any

import pytest
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log
from support.tasks import RAN, adouble, double, fails_once

from clew.cache.memory import InMemoryCache
from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphError, WrongFace
from clew.func import entrypoint, task
from clew.graph import START, StateGraph
from clew.runtime import Runtime
from clew.types import CachePolicy, Command, RetryPolicy

Config = dict[str, Any]


@pytest.fixture(autouse=True)
def ran() -> None:
    RAN.clear()


# -- an entrypoint is a graph ---------------------------------------------------------------------------------------


def test_an_entrypoint_takes_any_input_and_returns_any_value(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: Any) -> Any:
        return given

    values: list[Any] = [1, "text", [1, (2,)], {"a": 1}, {}]
    assert [face.invoke(workflow, value, thread) for value in values] == values
    assert workflow.name == "workflow"


def test_what_it_returns_may_be_anything_too(face: Face) -> None:
    values: list[Any] = [None, {}, [], Command(update={"x": 1}), 0]
    for value in values:

        @entrypoint()
        def workflow(given: str, value: Any = value) -> Any:
            return value

        assert face.invoke(workflow, "in") == value


def test_previous_is_what_the_last_finished_run_returned_or_saved(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def total(number: int, *, previous: int | None) -> Any:
        if number < 0:
            raise ValueError("negative")
        whole = (previous or 0) + number
        return entrypoint.final(value=f"sum {whole}", save=whole)

    assert face.invoke(total, 1, thread) == "sum 1"
    with pytest.raises(ValueError, match="negative"):
        face.invoke(total, -5, thread)
    assert face.invoke(total, 2, thread) == "sum 3"
    assert face.invoke(total, 2, {"configurable": {"thread_id": "other"}}) == "sum 2"
    assert face.get_state(total, thread).values == "sum 3"


def test_it_has_one_superstep_and_the_steps_of_langgraph(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> int:
        return double(given).result()

    for _ in range(2):
        face.invoke(workflow, 1, thread)
    states = face.history(workflow, thread)
    assert [(s.metadata or {})["step"] for s in states] == [2, 1, 0, -1]
    assert [(s.metadata or {})["source"] for s in states] == ["loop", "input", "loop", "input"]
    assert [s.next for s in states] == [(), ("workflow",), (), ("workflow",)]


def test_runtime_and_config_come_by_their_names(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: str, *, config: Any, runtime: Runtime[Any], store: Any, writer: Any) -> Any:
        writer("said")
        return config["configurable"]["thread_id"], runtime.previous, store

    chunks = face.stream(workflow, "in", thread, stream_mode=["custom", "values"])
    assert chunks == [("custom", "said"), ("values", ("1", None, None))]


def test_streams_show_tasks_and_then_the_result(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> int:
        return double(given).result() + double(10).result()

    assert face.stream(workflow, 1, thread) == [{"double": 2}, {"double": 20}, {"workflow": 22}]
    assert face.stream(workflow, 1, thread, stream_mode="values") == [22]
    kinds = [(chunk["name"], "result" in chunk) for chunk in face.stream(workflow, 1, thread, stream_mode="tasks")]
    assert kinds == [("workflow", False), *[("double", False), ("double", True)] * 2, ("workflow", True)]


def test_many_tasks_in_a_node_of_a_graph_do_not_wait_for_their_reader(face: Face) -> None:
    def node(state: Log) -> Log:
        return {"n": sum(future.result() for future in [double(i) for i in range(600)])}

    graph = StateGraph(Log).add_node(node).add_edge(START, "node").compile()
    chunks = face.stream(graph, {"log": []})
    assert len(chunks) == 601
    assert chunks[-1] == {"node": {"n": 2 * sum(range(600))}}


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda: None, GraphError, "takes no input"),
        (lambda given: (yield given), NotImplementedError, "is a generator"),  # pyright: ignore
    ],
)
def test_what_cannot_be_an_entrypoint(function: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        entrypoint()(function)


def test_it_is_drawn_and_described() -> None:
    @entrypoint()
    def workflow(given: int) -> int:
        """Does it."""
        return given

    assert "workflow" in workflow.get_graph().draw_mermaid()
    assert workflow.__doc__ == "Does it."


# -- tasks ----------------------------------------------------------------------------------------------------------


def test_tasks_run_beside_one_another(face: Face) -> None:
    both = threading.Barrier(2, timeout=10)

    @task
    def meets(x: int) -> int:
        both.wait()
        return x

    @entrypoint()
    def workflow(given: int) -> list[int]:
        return [future.result() for future in [meets(1), meets(2)]]

    assert face.invoke(workflow, 0) == [1, 2]


def test_async_tasks_are_awaited() -> None:
    @entrypoint()
    async def workflow(given: int) -> list[int]:
        return [await adouble(given), *await asyncio.gather(adouble(2), double(3))]  # pyright: ignore

    assert ASYNC.invoke(workflow, 1) == [2, 4, 6]


def test_an_async_task_is_awaited_for_by_plain_code_of_the_async_face() -> None:
    @entrypoint()
    def workflow(given: int) -> int:
        return adouble(given).result() + double(given).result()

    assert ASYNC.invoke(workflow, 1) == 4


def test_an_async_task_on_the_sync_face_says_what_to_call() -> None:
    @entrypoint()
    def workflow(given: int) -> int:
        return adouble(given).result()

    with pytest.raises(WrongFace, match="ainvoke"):
        workflow.invoke(1)


def test_a_task_outside_of_a_run_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match=r"outside of a run.*`double.__wrapped__"):
        double(1)
    assert double.__wrapped__(1) == 2  # pyright: ignore


def test_a_task_may_call_tasks_and_have_a_name(face: Face) -> None:
    @task(name="outer")
    def nested(x: int) -> int:
        return double(x).result() + double(x + 1).result()

    @entrypoint()
    def workflow(given: int) -> int:
        return nested(given).result()

    assert face.stream(workflow, 1) == [{"double": 2}, {"double": 4}, {"outer": 6}, {"workflow": 6}]


def test_arguments_are_passed_as_they_are_and_names_are_injected(face: Face, saver: Saver, thread: Config) -> None:
    @task
    def shows(a: Any, /, *args: Any, config: Any = None, b: Any = None, **kwargs: Any) -> Any:
        return a, args, b, kwargs, config and config["configurable"]["thread_id"]

    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> Any:
        return [shows(1, 2, b=3, c=4).result(), shows(1, config={"configurable": {"thread_id": "mine"}}).result()]

    assert face.invoke(workflow, 0, thread) == [(1, (2,), 3, {"c": 4}, "1"), (1, (), None, {}, "mine")]


def test_a_task_is_tried_again_and_cached_by_its_policies(face: Face) -> None:
    def fails(x: int) -> int:
        RAN.append(x)
        if RAN.count(x) == 1:
            raise ConnectionError(f"{x} is down")
        return x

    def doubles(x: int) -> int:
        RAN.append(x)
        return 2 * x

    retried = task(retry_policy=RetryPolicy(initial_interval=0, jitter=False), name="retried")(fails)
    cached = task(cache_policy=CachePolicy(key_func=str), name="cached")(doubles)

    @entrypoint(cache=(cache := InMemoryCache()))
    def workflow(given: int) -> int:
        return retried(given).result() + cached(given).result() + cached(given).result()

    assert face.invoke(workflow, 7) == 7 + 14 + 14
    assert RAN == [7, 7, 7]
    cached.clear_cache(cache)
    face.invoke(workflow, 7)
    assert RAN == [7, 7, 7, 7, 7]


# -- failing --------------------------------------------------------------------------------------------------------


def test_a_failure_comes_out_where_it_is_read_and_may_be_caught(face: Face) -> None:
    @entrypoint()
    def workflow(given: int) -> str:
        try:
            fails_once(given).result()
        except ConnectionError as error:
            return f"caught: {error}"
        return "not reached"

    assert face.invoke(workflow, 1) == "caught: 1 is down"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_failure_that_nobody_reads_fails_the_run(kind: str) -> None:
    @entrypoint()
    def plain(given: int) -> str:
        fails_once(given)
        return "unread"

    @task
    async def breaks(x: int) -> None:
        raise ConnectionError(f"{x} is down")

    @entrypoint()
    async def awaits(given: int) -> str:
        breaks(given)
        return "unread"

    workflow, face = (plain, SYNC) if kind == "plain" else (awaits, ASYNC)
    with pytest.raises(ConnectionError, match="1 is down"):
        face.invoke(workflow, 1)


def test_what_was_done_is_not_done_again_and_what_failed_is(face: Face, saver: Saver, thread: Config) -> None:
    def workflow(saver: Saver) -> Any:
        @entrypoint(checkpointer=saver)
        def adds(given: int) -> int:
            return sum(future.result() for future in [double(10), double(20), fails_once(given)])

        return adds

    with pytest.raises(ConnectionError, match="1 is down"):
        face.invoke(workflow(saver), 1, thread)
    assert face.invoke(workflow(Saver(saver.storage)), None, thread) == 61
    assert sorted(RAN) == [1, 1, 10, 20]


def test_recorded_results_are_marked_in_streams(face: Face, saver: Saver, thread: Config) -> None:
    @entrypoint(checkpointer=saver)
    def workflow(given: int) -> int:
        return double(1).result() + fails_once(given).result()

    with pytest.raises(ConnectionError):
        face.invoke(workflow, 5, thread)
    cached = {"double": 2, "__metadata__": {"cached": True}}
    assert face.stream(workflow, None, thread) == [cached, {"fails_once": 5}, {"workflow": 7}]


def test_tasks_of_nodes_are_kept_too_and_of_graphs_within(face: Face, saver: Saver, thread: Config) -> None:
    def node(state: Log) -> Log:
        return {"n": double(1).result() + fails_once(5).result()}

    child = StateGraph(Log).add_node(node).add_edge(START, "node").compile()
    for graph in (
        StateGraph(Log).add_node("child", child).add_edge(START, "child").compile(saver),
        StateGraph(Log).add_node("child", lambda state: child.invoke(state)).add_edge(START, "child").compile(saver),
    ):
        RAN.clear()
        config = {"configurable": {"thread_id": repr(graph)}}
        with pytest.raises(ConnectionError):
            face.invoke(graph, {"log": []}, config)
        assert face.invoke(graph, None, config)["n"] == 7
        assert RAN == [1, 5, 5]


# -- and besides ---------------------------------------------------------------------------------------------------


def test_a_future_says_whether_it_is_done() -> None:
    @entrypoint()
    def workflow(given: int) -> Any:
        future = double(given)
        while not future.done():
            time.sleep(0)
        return future.exception(), future.result()

    assert workflow.invoke(2) == (None, 4)


def test_a_retry_of_the_caller_does_not_repeat_its_tasks(face: Face) -> None:
    failed: list[int] = []

    @entrypoint(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError))
    def workflow(given: int) -> int:
        found = double(given).result()
        if not failed:
            failed.append(1)
            raise OSError("after the task")
        return found

    assert face.invoke(workflow, 4) == 8
    assert RAN == [4]


def test_threads_of_entrypoints_go_back_and_branch(face: Face, thread: Config) -> None:
    @entrypoint(checkpointer=InMemorySaver())
    def counts(given: str, *, previous: int | None = None) -> Any:
        return entrypoint.final(value=f"{given} {previous}", save=(previous or 0) + 1)

    for word in ("a", "b"):
        face.invoke(counts, word, thread)
    first_end = face.history(counts, thread)[2]
    assert face.invoke(counts, "again", first_end.config) == "again 1"
