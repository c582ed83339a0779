"""What happens when a node fails, takes long, or was given the same before; and when a run is stopped from outside."""

import asyncio
import operator
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel
from support.faces import Face
from support.graphs import Log, says

from clew.cache.memory import InMemoryCache
from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphDrained, NodeCancelledError, NodeTimeoutError, UnknownNode
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime import RunControl, Runtime
from clew.types import CachePolicy, Command, NodeError, RetryPolicy, Send, TimeoutPolicy

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


@pytest.mark.parametrize(
    "retry_on",
    [KeyError, (OSError, KeyError), [KeyError], lambda error: isinstance(error, KeyError)],  # pyright: ignore[reportUnknownLambdaType]
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

    builder = StateGraph(Log).add_node("fan", fan, cache_policy=CachePolicy()).add_node("b", says("b"))
    graph = builder.add_node("w", lambda given: {"log": [given["i"]]}).add_edge(START, "fan").compile(cache=InMemoryCache())
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
        with pytest.raises(NodeTimeoutError, match=r"'node' took longer than 0\.02 s"):
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
    release, tries = threading.Event(), list[int]()

    def slow(state: Log) -> None:
        tries.append(1)
        release.wait(10)

    def handler(state: Log, error: NodeError) -> Log:
        return {"log": [f"{error.node}: {type(error.error).__name__}"]}

    graph = one(slow, timeout=0.02, retry_policy=AT_ONCE._replace(max_attempts=2), error_handler=handler)
    try:
        assert face.invoke(graph, {})["log"] == ["node: NodeTimeoutError"]
    finally:
        release.set()
    assert len(tries) == 2


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
@pytest.mark.parametrize("awaited", [False, True], ids=["plain node", "async node"])
def test_what_a_node_raises_to_stop_everything(face: Face, awaited: bool, raised: Any, found: Any, beside: bool) -> None:
    def plain(state: Log) -> None:
        raise raised("mine")

    async def waits(state: Log) -> None:
        raise raised("mine")

    if awaited and type(face).__name__ == "Sync":
        pytest.skip("an async node has one face")
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


@pytest.mark.parametrize("awaited", [False, True], ids=["plain node", "async node"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside another"])
def test_context_variables_reach_nodes_and_go_no_further(face: Face, awaited: bool, beside: bool) -> None:
    def plain(state: Log) -> Log:
        seen = VAR.get()
        VAR.set("changed by a node")
        return {"log": [seen]}

    async def waits(state: Log) -> Log:
        return plain(state)

    if awaited and type(face).__name__ == "Sync":
        pytest.skip("an async node has one face")
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
        found = list(pool.map(lambda _: face.invoke(graph, {"depth": 10})["log"], range(20)))
    assert found == [["leaf"]] * 20
