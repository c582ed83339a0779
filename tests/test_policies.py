"""What happens when a node fails, takes long, or was given the same before; and when a run is stopped from outside."""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel
from support.faces import Face
from support.graphs import Log, says

from clew.cache.memory import InMemoryCache
from clew.checkpoint.base import Saver
from clew.errors import NodeError, NodeTimeoutError, UnknownNode
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import Runtime
from clew.types import CachePolicy, Command, RetryPolicy, Send, TimeoutPolicy

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False)


def one(node: Any, saver: Saver | None = None, cache: Any = None, **policies: Any) -> CompiledStateGraph:
    return StateGraph(Log).add_node("node", node, **policies).add_edge(START, "node").compile(saver, cache=cache)


class Failing:
    """A node that raises these, one after the other, and then writes how often it was tried."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.tries = 0

    def __call__(self, state: Any) -> Log:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"log": [str(self.tries)]}


# -- trying again ---------------------------------------------------------------------------------------------------


def test_tries_are_counted_the_first_included(face: Face) -> None:
    node = Failing(*[ConnectionError(str(i)) for i in range(9)])
    with pytest.raises(ConnectionError, match="2"):
        face.invoke(one(node, retry_policy=AT_ONCE), {})
    assert node.tries == 3


def is_key_error(error: Exception) -> bool:
    return isinstance(error, KeyError)


@pytest.mark.parametrize(
    "retry_on",
    [KeyError, (OSError, KeyError), [KeyError], is_key_error],
)
def test_what_is_retried_is_a_class_several_or_a_predicate(face: Face, retry_on: Any) -> None:
    policy = AT_ONCE._replace(retry_on=retry_on)
    assert face.invoke(one(Failing(KeyError()), retry_policy=policy), {})["log"] == ["2"]
    node = Failing(AssertionError())
    with pytest.raises(AssertionError):
        face.invoke(one(node, retry_policy=policy), {})
    assert node.tries == 1


def test_of_several_policies_the_first_that_matches_counts(face: Face) -> None:
    policies = [AT_ONCE._replace(retry_on=KeyError, max_attempts=2), AT_ONCE._replace(retry_on=Exception, max_attempts=4)]
    node = Failing(OSError(), OSError(), KeyError())
    with pytest.raises(KeyError):
        face.invoke(one(node, retry_policy=policies), {})
    assert node.tries == 3


def test_the_codes_own_mistakes_are_not_retried(face: Face) -> None:
    node = Failing(ValueError())
    with pytest.raises(ValueError):
        face.invoke(one(node, retry_policy=AT_ONCE), {})
    assert node.tries == 1


def test_what_a_failed_try_yielded_is_discarded(face: Face) -> None:
    tries: list[int] = []

    def node(state: Log) -> Any:
        tries.append(1)
        yield {"log": [f"try {len(tries)}"]}
        if len(tries) == 1:
            raise ConnectionError

    assert face.invoke(one(node, retry_policy=AT_ONCE), {})["log"] == ["try 2"]


def test_a_router_that_fails_is_tried_again_with_its_node(face: Face) -> None:
    node, route = Failing(), Failing(ConnectionError())

    def router(state: Log) -> Any:
        route(state)
        return []

    builder = StateGraph(Log).add_node("node", node, retry_policy=AT_ONCE).add_edge(START, "node")
    assert face.invoke(builder.add_conditional_edges("node", router).compile(), {})["log"] == ["2"]


def test_a_retried_task_of_a_send_gets_its_input_as_it_was_sent(face: Face) -> None:
    seen: list[Any] = []

    def worker(given: list[int]) -> Log:
        seen.append([*given])
        given.append(1)
        if len(seen) == 1:
            raise ConnectionError
        return {}

    builder = StateGraph(Log).add_node("w", worker, retry_policy=AT_ONCE)
    graph = builder.add_node("fan", lambda state: Command(goto=Send("w", [0]))).add_edge(START, "fan").compile()
    face.invoke(graph, {})
    assert seen == [[0], [0]]


def test_a_node_finds_out_which_try_it_is(face: Face) -> None:
    seen: list[int] = []

    def node(state: Log, runtime: Runtime[Any]) -> None:
        seen.append(runtime.execution_info.node_attempt)
        if len(seen) < 3:
            raise ConnectionError

    face.invoke(one(node, retry_policy=AT_ONCE), {})
    assert seen == [1, 2, 3]


# -- the cache ------------------------------------------------------------------------------------------------------


def test_a_cached_node_does_not_run_and_says_so(face: Face) -> None:
    node = Failing()
    graph = one(node, cache=InMemoryCache(), cache_policy=CachePolicy())
    assert [face.invoke(graph, {"n": 1})["log"], face.invoke(graph, {"n": 1})["log"]] == [["1"], ["1"]]
    assert face.stream(graph, {"n": 1}) == [{"node": {"log": ["1"]}, "__metadata__": {"cached": True}}]
    assert face.invoke(graph, {"n": 2})["log"] == ["2"]


def test_cached_commands_and_sends_lead_where_they_led(face: Face) -> None:
    ran: list[int] = []

    def fan(state: Log) -> Any:
        ran.append(1)
        return Command(update={"log": ["fan"]}, goto=["b", Send("w", {"i": 1}), Send("w", {"i": 2}, timeout=9)])

    def worker(given: Any) -> Log:
        return {"log": [given["i"]]}

    builder = StateGraph(Log).add_node("fan", fan, cache_policy=CachePolicy()).add_node("b", says("b"))
    graph = builder.add_node("w", worker).add_edge(START, "fan").compile(cache=InMemoryCache())
    assert face.invoke(graph, {}) == face.invoke(graph, {}) == {"log": ["fan", "b", 1, 2]}
    assert ran == [1]


class Model(BaseModel):
    n: int = 0


def test_a_state_that_is_a_model_is_a_key_to_the_cache_without_a_saver(face: Face) -> None:
    ran: list[int] = []

    def node(state: Model) -> Any:
        ran.append(1)
        return {"n": state.n + 1}

    builder = StateGraph(Model).add_node(node, cache_policy=CachePolicy()).add_edge(START, "node")
    graph = builder.compile(cache=InMemoryCache())
    assert [face.invoke(graph, {"n": 1}) for _ in range(2)] == [{"n": 2}] * 2
    assert ran == [1]


def test_what_an_error_handler_answered_is_not_cached(face: Face) -> None:
    node = Failing(OSError())
    graph = one(node, cache=InMemoryCache(), cache_policy=CachePolicy(), error_handler=says("handled"))
    assert [face.invoke(graph, {})["log"] for _ in range(3)] == [["handled"], ["2"], ["2"]]


# -- taking long ----------------------------------------------------------------------------------------------------


def held(release: threading.Event, awaited: bool) -> Callable[..., Any]:
    """A node that goes on when released, and then writes and speaks as if nothing had happened."""

    def plain(state: Log, writer: Any) -> Log:
        release.wait(10)
        writer("late")
        return {"log": ["late"]}

    async def waits(state: Log, writer: Any) -> Log:
        try:
            await asyncio.Event().wait()
        finally:
            writer("late")
        return {"log": ["late"]}

    return waits if awaited else plain


@pytest.mark.parametrize("policy", [0.02, TimeoutPolicy(run_timeout=0.02), TimeoutPolicy(idle_timeout=0.02)])
def test_a_sync_node_that_takes_too_long_is_left_and_its_late_result_discarded(face: Face, policy: Any) -> None:
    release, late = threading.Event(), threading.Event()

    def after(state: Log, writer: Any) -> Log:
        release.set()
        late.wait(0.02)
        writer("in time")
        return {"log": ["after"]}

    builder = StateGraph(Log).add_node("slow", held(release, False), timeout=policy, error_handler=says("gave up"))
    graph = builder.add_edge(START, "slow").compile()
    builder = StateGraph(Log).add_node("slow", graph).add_node("after", after).add_edge(START, "slow")
    found = face.stream(builder.add_edge("slow", "after").compile(), {}, stream_mode=["custom", "values"], subgraphs=True)
    assert [data for _, mode, data in found if mode == "custom"] == ["in time"]
    assert found[-1][-1] == {"log": ["gave up", "after"]}


def test_an_async_node_that_takes_too_long_is_cancelled_and_not_heard() -> None:
    graph = one(held(threading.Event(), True), timeout=0.02)

    async def reading() -> list[Any]:
        found: list[Any] = []
        with pytest.raises(NodeTimeoutError, match=r"'node' took longer than 0\.02 s"):  # noqa: PT012  (it is the loop that raises)
            async for chunk in graph.astream({}, stream_mode="custom"):
                found.append(chunk)  # noqa: PERF401  (those before the error count)
        return found

    assert asyncio.run(reading()) == []


@pytest.mark.parametrize("on", ["auto", "heartbeat"])
def test_signs_of_life_keep_a_node_alive(face: Face, on: Any) -> None:
    def node(state: Log, runtime: Runtime[Any]) -> Log:
        for _ in range(4):
            time.sleep(0.02)
            runtime.heartbeat()
        return {"log": ["alive"]}

    policy = TimeoutPolicy(idle_timeout=0.06, refresh_on=on)
    assert face.invoke(one(node, timeout=policy), {})["log"] == ["alive"]


def test_a_timeout_may_be_infinite(face: Face) -> None:
    assert face.invoke(one(says("x"), timeout=float("inf")), {})["log"] == ["x"]


def test_a_timeout_is_retried_and_then_handled(face: Face) -> None:
    release, tries = threading.Event(), threading.Semaphore(0)

    def slow(state: Log) -> None:
        tries.release()
        release.wait(10)

    def handler(state: Log, error: NodeError) -> Log:
        return {"log": [f"{error.node}: {type(error.error).__name__}"]}

    graph = one(slow, timeout=0.02, retry_policy=AT_ONCE._replace(max_attempts=2), error_handler=handler)
    try:
        assert face.invoke(graph, {})["log"] == ["node: NodeTimeoutError"]
    finally:
        release.set()
    assert tries.acquire(timeout=10)
    assert tries.acquire(timeout=10)  # a thread may begin after its time
    assert not tries.acquire(blocking=False)


# -- error handlers -------------------------------------------------------------------------------------------------


def test_a_handler_may_answer_with_a_command_and_the_nodes_own_edges_are_not_followed(face: Face) -> None:
    def handler(state: Log, error: NodeError) -> Command:
        return Command(update={"log": ["handled"]}, goto="rescue")

    builder = StateGraph(Log).add_node("node", Failing(OSError()), error_handler=handler)
    builder.add_node("rescue", says("rescue")).add_node("next", says("next")).add_edge("node", "next")
    assert face.invoke(builder.add_edge(START, "node").compile(), {})["log"] == ["handled", "rescue"]


def test_a_handler_that_raises_fails_the_task(face: Face) -> None:
    def handler(state: Log, error: NodeError) -> None:
        raise LookupError("in the handler")

    with pytest.raises(LookupError, match="in the handler") as caught:
        face.invoke(one(Failing(OSError()), error_handler=handler), {})
    assert isinstance(caught.value.__context__, OSError)


def test_a_handler_that_leads_nowhere_known_is_named(face: Face) -> None:
    graph = one(Failing(OSError()), error_handler=lambda state, error: Command(goto="x"))  # pyright: ignore[reportUnknownLambdaType]
    with pytest.raises(UnknownNode, match="'__error_handler__node' leads to 'x'"):
        face.invoke(graph, {})


def test_a_handler_of_a_sent_task_gets_what_was_sent(face: Face) -> None:
    def handler(given: dict[str, int], error: NodeError) -> Log:
        return {"log": [f"handled {given['i']}"]}

    def worker(given: dict[str, int]) -> Log:
        if given["i"] == 1:
            raise OSError
        return {"log": [f"w{given['i']}"]}

    builder = StateGraph(Log).add_node("w", worker, error_handler=handler)
    builder.add_node("fan", lambda state: Command(goto=[Send("w", {"i": i}) for i in range(3)]))
    assert face.invoke(builder.add_edge(START, "fan").compile(), {})["log"] == ["w0", "handled 1", "w2"]


def test_defaults_are_for_nodes_that_say_nothing_themselves(face: Face) -> None:
    builder = StateGraph(Log).add_node("a", Failing(OSError())).add_node("b", Failing(OSError()), error_handler=says("own"))
    graph = builder.set_node_defaults(error_handler=says("default")).add_edge(START, "a").add_edge(START, "b").compile()
    assert face.invoke(graph, {})["log"] == ["default", "own"]
