"""Streams: the shape of every chunk, their order, a slow reader, and a reader that goes away."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any, cast

import pytest
from support.faces import Face
from support.graphs import Log, drawn, says
from support.storages import CountingStorage

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.config import get_stream_writer
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.mail import BUFFER
from clew.types import Command, RetryPolicy

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}}
MODES = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]


def one(node: Any, name: str = "node", saver: Any = None, **policies: Any) -> CompiledStateGraph:
    return StateGraph(Log).add_node(name, node, **policies).add_edge(START, name).compile(saver)


def speaks(state: Log) -> Log:
    get_stream_writer()("hello")
    return {"log": ["x"]}


def names(ns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(segment.partition(":")[0] for segment in ns)


# -- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_shape_of_a_chunk(face: Face, mode: str, listed: bool, subgraphs: bool, version: str) -> None:
    graph = one(one(speaks), "child", InMemorySaver())
    options: dict[str, Any] = {"subgraphs": subgraphs, "version": version}
    chunks = face.stream(graph, {}, THREAD, stream_mode=[mode] if listed else mode, **options)
    if mode == "custom" and not subgraphs:
        assert chunks == []  # nothing of a graph inside is shown unless asked for
        return
    assert chunks
    for chunk in chunks:
        if version == "v2":
            assert chunk.keys() == {"type", "ns", "data"} | ({"interrupts"} if mode == "values" else set())
            assert (chunk["type"], type(chunk["ns"])) == (mode, tuple)
            continue
        parts: tuple[Any, ...] = chunk if subgraphs or listed else (chunk,)
        assert len(parts) == 1 + subgraphs + listed
        if listed:
            assert parts[-2] == mode
        if subgraphs:
            assert names(parts[0]) in ((), ("child",))
        assert parts[-1] == "hello" if mode == "custom" else isinstance(parts[-1], dict)


def test_events_of_graphs_three_levels_deep_come_in_order(face: Face) -> None:
    graph = one(one(one(speaks, "x"), "m"), "o")
    chunks = face.stream(graph, {"log": ["in"]}, stream_mode=["custom", "updates", "values"], subgraphs=True)
    assert [(names(ns), mode, data) for ns, mode, data in chunks] == [
        ((), "values", {"log": ["in"]}),
        (("o",), "values", {"log": ["in"]}),
        (("o", "m"), "values", {"log": ["in"]}),
        (("o", "m"), "custom", "hello"),
        (("o", "m"), "updates", {"x": {"log": ["x"]}}),
        (("o", "m"), "values", {"log": ["in", "x"]}),
        (("o",), "updates", {"m": {"log": ["in", "x"]}}),
        (("o",), "values", {"log": ["in", "in", "x"]}),
        ((), "updates", {"o": {"log": ["in", "in", "x"]}}),
        ((), "values", {"log": ["in", "in", "in", "x"]}),
    ]


def test_one_namespace_is_one_task_all_the_way_down(face: Face) -> None:
    chunks = face.stream(one(one(one(speaks, "x"), "m"), "o"), {}, stream_mode="custom", subgraphs=True)
    tasks = face.stream(one(one(one(speaks, "x"), "m"), "o"), {}, stream_mode="tasks", subgraphs=True)
    assert [len(ns) for ns, _ in chunks] == [2]
    started = {names(ns): payload for ns, payload in tasks if "input" in payload}
    inner = next(ns for ns, payload in tasks if payload["name"] == "x")
    assert inner == (f"o:{started[()]['id']}", f"m:{started['o',]['id']}")


def test_the_order_of_events_within_a_step(face: Face) -> None:
    chunks = face.stream(one(speaks), {"log": ["in"]}, stream_mode=["values", "updates", "custom", "tasks"])
    kinds = [mode if mode != "tasks" else ("start" if "input" in data else "end") for mode, data in chunks]
    assert kinds == ["values", "start", "custom", "updates", "end", "values"]


def test_custom_chunks_of_a_failed_try_have_been_seen(face: Face) -> None:
    tries: list[int] = []

    def node(state: Log, writer: Any) -> Log:
        tries.append(1)
        writer(len(tries))
        if len(tries) < 3:
            raise ConnectionError
        return {"log": ["done"]}

    graph = one(node, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    assert face.stream(graph, {}, stream_mode=["custom", "updates"]) == [
        ("custom", 1),
        ("custom", 2),
        ("custom", 3),
        ("updates", {"node": {"log": ["done"]}}),
    ]


@pytest.mark.parametrize("target", ["a", END])
def test_a_router_after_start_may_stream_as_much_as_it_likes(face: Face, target: str) -> None:
    def route(state: Log) -> str:
        for number in range(BUFFER * 2):
            get_stream_writer()(number)
        return target

    graph = StateGraph(Log).add_node("a", says("a")).add_conditional_edges(START, route).compile()
    assert face.stream(graph, {}, stream_mode="custom") == list(range(BUFFER * 2))


def test_start_is_not_streamed_even_where_it_has_a_router(face: Face) -> None:
    graph = StateGraph(Log).add_node("a", says("a")).add_conditional_edges(START, lambda state: "a").compile()
    assert face.stream(graph, {"log": ["in"]}, stream_mode=["updates", "custom"]) == [("updates", {"a": {"log": ["a"]}})]
    assert {payload["name"] for payload in face.stream(graph, {}, stream_mode="tasks")} == {"a"}


def test_a_command_as_input_shows_the_state_it_makes(face: Face) -> None:
    graph = one(says("x"), saver=InMemorySaver())
    face.invoke(graph, {}, THREAD)
    assert face.stream(graph, Command(update={"n": 1}), THREAD, stream_mode="values") == [{"log": ["x"], "n": 1}]
    assert face.stream(graph, Command(update={"n": 2}, goto="node"), THREAD, stream_mode="values") == [
        {"log": ["x"], "n": 2},
        {"log": ["x", "x"], "n": 2},
    ]


def test_a_writer_kept_beyond_its_node_writes_to_nobody(face: Face) -> None:
    kept: list[Any] = []

    def keeps(state: Log, writer: Any) -> Log:
        kept.append(writer)
        if len(kept) == 1:
            raise ConnectionError
        return {}

    def uses(state: Log, writer: Any) -> None:
        for late in kept:
            late("late")
        writer("mine")

    builder = StateGraph(Log).add_node(keeps, retry_policy=RetryPolicy(initial_interval=0, jitter=False)).add_node(uses)
    graph = builder.add_edge(START, "keeps").add_edge("keeps", "uses").compile()
    assert face.stream(graph, {}, stream_mode="custom") == ["mine"]


# -- a slow reader --------------------------------------------------------------------------------------------------

MANY = 100_000


class Flood:
    """A graph whose node emits many chunks, and what is known of it.

    Attributes:
        made: how many it has emitted. ended: set when its node is over, however it came about.
    """

    def __init__(self, *, awaits: bool, depth: int = 0) -> None:
        self.made = 0
        self.ended = threading.Event()
        self.saver = InMemorySaver()
        self.calm = False
        graph: Any = self.awaiting if awaits else self.plain
        for _ in range(depth):
            graph = one(graph)
        self.graph = one(graph, saver=self.saver)
        self.bound = BUFFER * (depth + 1) + 8

    def plain(self, state: Log, writer: Any) -> Log:
        try:
            for number in range(0 if self.calm else MANY):
                self.made += 1
                writer(number)
        finally:
            self.ended.set()
        return {"log": ["done"]}

    async def awaiting(self, state: Log, writer: Any) -> Log:
        try:
            for number in range(0 if self.calm else MANY):
                self.made += 1
                writer(number)
                await asyncio.sleep(0)
        finally:
            self.ended.set()
        return {"log": ["done"]}

    def goes_on(self) -> None:
        """The thread can go on, and nothing of the node that was left is running."""
        assert self.ended.wait(10)
        self.calm = True
        assert asyncio.run(self.graph.ainvoke(None, THREAD))["log"] == ["done"]


CASES: dict[str, tuple[bool, bool, int]] = {
    "sync node, sync run": (False, False, 0),
    "async node, async run": (True, True, 0),
    "sync node, async run": (True, False, 0),
    "sync node in a child, sync run": (False, False, 1),
    "async node in a child, async run": (True, True, 1),
    "sync node in a child, async run": (True, False, 1),
}


@pytest.fixture(params=CASES.values(), ids=list(CASES))
def case(request: pytest.FixtureRequest) -> tuple[bool, Flood]:
    on_async, awaits, depth = request.param
    return on_async, Flood(awaits=awaits, depth=depth)


@pytest.mark.slow
def test_a_fast_writer_waits_for_a_slow_reader(case: tuple[bool, Flood]) -> None:
    on_async, flood = case
    worst = read = 0
    if not on_async:
        with closing(cast("Any", flood.graph.stream({}, THREAD, stream_mode="custom", subgraphs=True))) as stream:
            for _ in stream:
                read += 1
                worst = max(worst, flood.made - read)
    else:

        async def reading() -> None:
            nonlocal read, worst
            async for _ in flood.graph.astream({}, THREAD, stream_mode="custom", subgraphs=True):
                read += 1
                worst = max(worst, flood.made - read)

        asyncio.run(reading())
    assert read == MANY
    assert worst <= flood.bound


def test_a_half_read_stream_is_closed_and_nothing_of_it_stays(case: tuple[bool, Flood]) -> None:
    on_async, flood = case
    if not on_async:
        with closing(cast("Any", flood.graph.stream({}, THREAD, stream_mode="custom", subgraphs=True))) as stream:
            next(stream)
    else:

        async def reading() -> None:
            async with aclosing(cast("Any", flood.graph.astream({}, THREAD, stream_mode="custom", subgraphs=True))) as stream:
                await anext(stream)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        asyncio.run(reading())
    flood.goes_on()


def test_what_still_runs_when_its_stream_is_closed_writes_nothing_any_more() -> None:
    """A thread cannot be stopped: its late commit would come between the next run's look at the thread and its first write."""
    storage, may_end, ended = CountingStorage(), threading.Event(), threading.Event()

    def slow(state: Log, writer: Any) -> Log:
        writer("begun")
        assert may_end.wait(10)
        return says("late")(state)

    inside = StateGraph(Log).add_node(slow).add_edge(START, "slow").compile()

    def calls(state: Log) -> Any:
        try:
            return inside.invoke(state)
        finally:
            ended.set()

    graph = StateGraph(Log).add_node(calls).add_edge(START, "calls").compile(Saver(storage))
    with closing(cast("Any", graph.stream({}, THREAD, stream_mode="custom", subgraphs=True))) as stream:
        next(stream)
    commits = storage.commits
    may_end.set()
    assert ended.wait(10)
    assert storage.commits == commits


def test_a_node_that_first_speaks_when_the_reader_is_gone_is_not_held() -> None:
    gone, ended = threading.Event(), threading.Event()

    def late(state: Log, writer: Any) -> Log:
        gone.wait(10)
        for number in range(BUFFER * 3):
            writer(number)
        ended.set()
        return {}

    builder = StateGraph(Log).add_node("a", says("a")).add_node(late).add_edge(START, "a").add_edge(START, "late")
    stream = builder.compile().stream({}, stream_mode=["custom", "updates"])
    assert next(stream) == ("updates", {"a": {"log": ["a"]}})
    cast("Any", stream).close()
    gone.set()
    assert ended.wait(10)


def test_an_async_stream_that_is_dropped_is_closed_by_garbage_collection() -> None:
    flood = Flood(awaits=True)

    async def reading() -> None:
        stream: AsyncIterator[Any] | None = flood.graph.astream({}, THREAD, stream_mode="custom")
        await anext(stream)
        del stream
        gc.collect()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert flood.ended.is_set()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(reading())
    flood.goes_on()


def test_a_sync_stream_that_is_dropped_is_closed_by_garbage_collection() -> None:
    flood = Flood(awaits=False)
    stream: Iterator[Any] | None = flood.graph.stream({}, THREAD, stream_mode="custom")
    next(stream)
    del stream
    gc.collect()
    flood.goes_on()


# -- faces within faces ---------------------------------------------------------------------------------------------


def floods(state: Log) -> None:
    for number in range(BUFFER * 3):
        get_stream_writer()(number)


def test_a_sync_child_inside_an_async_node_streams_more_than_is_held() -> None:
    child = one(floods)

    async def node(state: Log) -> None:
        child.invoke({})

    async def reading() -> list[Any]:
        return [chunk async for _, chunk in one(node).astream({}, stream_mode="custom", subgraphs=True)]

    assert asyncio.run(reading()) == list(range(BUFFER * 3))


def test_an_async_child_in_a_loop_of_its_own_inside_a_sync_node_streams_more_than_is_held(face: Face) -> None:
    async def floods_too(state: Log) -> None:
        floods(state)
        await asyncio.sleep(0)

    child = one(floods_too)

    def node(state: Log) -> None:
        asyncio.run(child.ainvoke({}))

    found = face.stream(one(node), {}, stream_mode="custom", subgraphs=True)
    assert [chunk for _, chunk in found] == list(range(BUFFER * 3))


def test_two_that_flood_at_once_are_both_read_whole(face: Face) -> None:
    def flood(sign: int) -> Callable[[Any], None]:
        def node(state: Any) -> None:
            for number in range(BUFFER * 3):
                get_stream_writer()(sign * number)

        return node

    builder = drawn((START, "z")).add_node("a", flood(1)).add_node("b", flood(-1))
    found = face.stream(builder.add_edge(START, "a").add_edge(START, "b").compile(), {}, stream_mode="custom")
    assert [n for n in found if n > 0] == list(range(1, BUFFER * 3))
    assert [-n for n in found if n < 0] == list(range(1, BUFFER * 3))
