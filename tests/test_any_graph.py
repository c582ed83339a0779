"""Any graph at all: loops, routes, Sends, joins, defers, graphs within. It runs alike whatever ends first, on every host."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.graphs import Log

from clew.checkpoint.memory import InMemorySaver
from clew.errors import GraphRecursionError
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.runtime.drive import drive
from clew.testing import ScriptedHost
from clew.testing.values import orders
from clew.types import Command, Send

THREAD: dict[str, Any] = {"configurable": {"thread_id": "1"}, "recursion_limit": 6}
Number = int
Pairs = list[tuple[Number, Number]]


@dataclass(frozen=True)
class Drawing:
    """A random graph: cycles are allowed, and some nodes are graphs of two nodes themselves."""

    size: int
    entries: list[Number]
    edges: Pairs
    routes: Pairs
    sends: Pairs
    gotos: Pairs
    joins: list[tuple[tuple[Number, Number], Number]]
    deferred: set[Number]
    inner: set[Number]
    awaited: set[Number]


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    size = draw(st.integers(2, 6))
    number = st.integers(0, size - 1)
    pair = st.tuples(number, number)
    two = st.sets(number, min_size=2, max_size=2).map(lambda found: (min(found), max(found)))

    def some(what: st.SearchStrategy[Any], most: int) -> Any:
        return draw(st.lists(what, max_size=most))

    some_numbers = st.sets(number, max_size=2)
    return Drawing(
        size,
        draw(st.lists(number, min_size=1, max_size=3)),
        some(pair, 7),
        some(pair, 3),
        some(pair, 3),
        some(pair, 3),
        some(st.tuples(two, number), 3),
        draw(some_numbers),
        draw(some_numbers),
        draw(some_numbers),
    )


def coin(*seen: Any) -> bool:
    """A decision that depends on nothing but what was seen."""
    return hashlib.blake2b(repr(seen).encode(), digest_size=1).digest()[0] % 2 == 0


def targets(pairs: Pairs, source: Number) -> list[Number]:
    return [target for origin, target in pairs if origin == source]


def action(drawing: Drawing, i: Number, awaited: bool) -> Any:
    """Writes its name, and goes where a look at the state tells it to."""

    def plain(state: Any) -> Command:
        log = state.get("log", [])
        goto: list[Any] = [Send(f"n{t}", {"log": [f"from {i}"]}) for t in targets(drawing.sends, i) if coin("send", i, t, log)]
        goto += [f"n{t}" for t in targets(drawing.gotos, i) if coin("goto", i, t, log)]
        return Command(update={"log": [f"n{i}"]}, goto=goto)

    async def waits(state: Any) -> Command:
        await asyncio.sleep(0)
        return plain(state)

    return waits if awaited else plain


def child(i: Number) -> CompiledStateGraph:
    builder = StateGraph(Log).add_node("x", lambda state: {"log": [f"{i}x"]}).add_node("y", lambda state: {"log": [f"{i}y"]})
    return builder.add_edge(START, "x").add_edge(START, "y").compile()


def built(drawing: Drawing, *, awaited: bool = False) -> CompiledStateGraph:
    builder = StateGraph(Log)
    for i in range(drawing.size):
        if i in drawing.inner:
            builder.add_node(f"n{i}", lambda state, i=i: {"log": child(i).invoke({})["log"]}, defer=i in drawing.deferred)
        else:
            node = action(drawing, i, awaited and i in drawing.awaited)
            builder.add_node(f"n{i}", node, defer=i in drawing.deferred)
        if routes := targets(drawing.routes, i):
            names = [f"n{t}" for t in routes]
            builder.add_conditional_edges(
                f"n{i}", lambda state, i=i, names=names: [n for n in names if coin("route", i, n, state.get("log"))] or END
            )
    for i in drawing.entries:
        builder.add_edge(START, f"n{i}")
    for source, target in drawing.edges:
        builder.add_edge(f"n{source}", f"n{target}")
    for sources, target in drawing.joins:
        builder.add_edge([f"n{source}" for source in sources], f"n{target}")
    return builder.compile(InMemorySaver())


Told = tuple[Any, list[tuple[Any, Any, Any]]]


def told(graph: CompiledStateGraph, ended: Any) -> Told:
    """How the run ended, and its supersteps: what each left behind and what ran next."""
    history = reversed(list(graph.get_state_history(THREAD)))
    return ended, [(shown.values, shown.next, (shown.metadata or {})["step"]) for shown in history]


def ending(run: Callable[[], Any]) -> Any:
    """The state at the end, or that the run was out of supersteps."""
    try:
        return run()
    except GraphRecursionError:
        return "out of supersteps"


def first(waiting: int) -> int:
    return 0


SOME = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SOME
@given(drawings(), orders(), orders())
def test_any_graph_takes_the_same_supersteps_whatever_ends_first(
    drawing: Drawing, one: Callable[[int], int], other: Callable[[int], int]
) -> None:
    stories: list[Told] = []
    for choose in (first, one, other):
        graph = built(drawing)
        run = graph.run_on(ScriptedHost(choose), THREAD)
        stories.append(told(graph, ending(lambda run=run: drive(run.finish({"log": ["in"]})))))
    assert stories[0] == stories[1] == stories[2]


@pytest.mark.slow
@SOME
@given(drawings())
def test_any_graph_takes_the_same_supersteps_on_both_faces(drawing: Drawing) -> None:
    threads, tasks = built(drawing), built(drawing, awaited=True)
    first = told(threads, ending(lambda: threads.invoke({"log": ["in"]}, THREAD)))
    second = told(tasks, ending(lambda: asyncio.run(tasks.ainvoke({"log": ["in"]}, THREAD))))
    assert first == second


@pytest.mark.slow
@SOME
@given(drawings(), st.integers(1, 5))
def test_any_graph_that_is_stopped_and_goes_on_takes_the_same_supersteps(drawing: Drawing, limit: int) -> None:
    whole, parts = built(drawing), built(drawing)
    ended = ending(lambda: whole.invoke({"log": ["in"]}, THREAD))
    short: Any = {**THREAD, "recursion_limit": limit}
    found = ending(lambda: parts.invoke({"log": ["in"]}, short))
    if found == "out of supersteps" and limit < 6:
        found = ending(lambda: parts.invoke(None, {**THREAD, "recursion_limit": 6 - limit}))
    assert told(parts, found) == told(whole, ended)


@pytest.mark.slow
@SOME
@given(drawings(), st.sampled_from(["updates", "tasks", "custom", "debug", "checkpoints"]))
def test_any_graph_takes_the_same_supersteps_whoever_reads(drawing: Drawing, mode: str) -> None:
    alone, read = built(drawing), built(drawing)
    ended = ending(lambda: alone.invoke({"log": ["in"]}, THREAD))

    def reading() -> Any:
        for _ in read.stream({"log": ["in"]}, THREAD, stream_mode=mode, subgraphs=True):
            pass
        return read.get_state(THREAD).values

    assert told(read, ending(reading)) == told(alone, ended)
