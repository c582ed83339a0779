"""When a superstep is kept (behaviour §6.3, row 16): each durability, whether a run ends well, fails, pauses, is cancelled or
cannot be saved. Commits are counted."""

import asyncio
from typing import Any

import pytest
from support.faces import ASYNC, SYNC, Face
from support.graphs import Log, says
from support.storages import CountingStorage

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.sqlite import SqliteSaver
from clew.checkpoint.storage import Batch
from clew.errors import DatabaseError, GraphRecursionError, UnkeptWarning, UnstorableValue
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Durability, interrupt

Config = dict[str, Any]
LEVELS: tuple[Durability, ...] = ("sync", "async", "exit")
EACH = pytest.mark.parametrize("durability", LEVELS)


def three(saver: Saver | None, middle: Any = None) -> CompiledStateGraph:
    nodes = [("a", says("a")), ("b", middle or says("b")), ("c", says("c"))]
    return StateGraph(Log).add_sequence(nodes).add_edge(START, "a").compile(saver)


def steps(face: Face, graph: CompiledStateGraph, thread: Config) -> list[Any]:
    return [(state.metadata or {})["step"] for state in face.history(graph, thread)]


# -- what is kept ---------------------------------------------------------------------------------------------------


@EACH
def test_a_run_that_ends_well(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    graph = three(saver)
    assert face.invoke(graph, {"log": ["in"]}, thread, durability=durability)["log"] == ["in", "a", "b", "c"]
    assert steps(face, graph, thread) == ([3] if durability == "exit" else [3, 2, 1, 0, -1])
    assert face.get_state(three(Saver(saver.storage)), thread).values["log"] == ["in", "a", "b", "c"]
    again = face.invoke(graph, {"log": ["again"]}, thread, durability=durability)
    assert again["log"] == ["in", "a", "b", "c", "again", "a", "b", "c"]
    assert face.history(graph, thread)[0].parent_config is not None


@EACH
def test_a_run_that_fails_goes_on_where_it_failed(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    ran: list[str] = []

    def breaks(state: Log) -> Log:
        ran.append("b")
        if len(ran) == 1:
            raise OSError("once")
        return {"log": ["b"]}

    graph = three(saver, breaks)
    with pytest.raises(OSError, match="once"):
        face.invoke(graph, {"log": ["in"]}, thread, durability=durability)
    state = face.get_state(three(Saver(saver.storage)), thread)
    assert (state.next, state.values["log"]) == (("b",), ["in", "a"])
    assert str(state.tasks[0].error) == "OSError('once')"
    assert steps(face, graph, thread) == ([1] if durability == "exit" else [1, 0, -1])
    assert face.invoke(graph, None, thread, durability=durability)["log"] == ["in", "a", "b", "c"]
    assert ran == ["b", "b"]


@EACH
def test_what_finished_beside_a_failure_is_kept(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    ran: list[str] = []

    def breaks(state: Log) -> Log:
        ran.append("breaks")
        if ran.count("breaks") == 1:
            raise OSError("once")
        return {"log": ["mended"]}

    def sibling(state: Log) -> Log:
        ran.append("sibling")
        return {"log": ["sibling"]}

    builder = StateGraph(Log).add_node(breaks).add_node(sibling).add_edge(START, "breaks").add_edge(START, "sibling")
    graph = builder.compile(saver)
    with pytest.raises(OSError, match="once"):
        face.invoke(graph, {"log": []}, thread, durability=durability)
    elsewhere = builder.compile(Saver(saver.storage))
    assert face.invoke(elsewhere, None, thread, durability=durability)["log"] == ["mended", "sibling"]
    assert sorted(ran) in (["breaks", "breaks", "sibling"], ["breaks", "breaks", "sibling", "sibling"]), "it may not have begun"


@EACH
def test_a_run_that_pauses_and_is_answered(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    def asks(state: Log) -> Log:
        return {"log": [interrupt("one?"), interrupt("two?")]}

    graph = three(saver, asks)
    face.invoke(graph, {"log": []}, thread, durability=durability)
    elsewhere = three(Saver(saver.storage), asks)
    assert [found.value for found in face.get_state(elsewhere, thread).interrupts] == ["one?"]
    face.invoke(elsewhere, Command(resume=1), thread, durability=durability)
    assert face.invoke(graph, Command(resume=2), thread, durability=durability)["log"] == ["a", 1, 2, "c"]


@EACH
def test_a_run_that_is_cancelled(saver: Saver, thread: Config, durability: Durability) -> None:
    async def story() -> None:
        begun = asyncio.Event()

        async def slow(state: Log) -> Log:
            begun.set()
            await asyncio.Event().wait()
            return {}

        call = asyncio.ensure_future(three(saver, slow).ainvoke({"log": ["in"]}, thread, durability=durability))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(story())
    graph = three(Saver(saver.storage))
    assert ASYNC.get_state(graph, thread).next == ("b",)
    assert ASYNC.invoke(graph, None, thread)["log"] == ["in", "a", "b", "c"]


@EACH
def test_a_run_that_is_out_of_supersteps_or_left(saver: Saver, thread: Config, durability: Durability) -> None:
    graph = three(saver)
    with pytest.raises(GraphRecursionError):
        graph.invoke({"log": ["in"]}, {**thread, "recursion_limit": 1}, durability=durability)
    assert graph.get_state(thread).values["log"] == ["in", "a"]
    stream: Any = graph.stream(None, thread, durability=durability)
    assert next(stream) == {"b": {"log": ["b"]}}
    stream.close()
    assert graph.get_state(thread).next == ("c",)
    assert graph.invoke(None, thread)["log"] == ["in", "a", "b", "c"]


# -- a save that fails ----------------------------------------------------------------------------------------------


class Full(MemoryStorage):
    """Refuses the checkpoint of step `at`, and counts how many were asked for after it."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at, self.rows, self.after = at, 0, 0

    def commit(self, batch: Batch) -> bool:
        if batch.row is not None:
            self.rows += 1
            if self.rows == self.at:
                raise DatabaseError("the disk is full")
            self.after += self.rows > self.at
        return super().commit(batch)


def test_a_save_that_fails_stops_the_run_before_its_next_superstep(face: Face, thread: Config) -> None:
    ran: list[str] = []

    def node(name: str) -> Any:
        def run(state: Log) -> Log:
            ran.append(name)
            return {"log": [name]}

        return name, run

    names = ("a", "b", "c", "d")
    for durability, expected in (("sync", ["a"]), ("async", ["a", "b"]), ("exit", ["a", "b", "c", "d"])):
        ran.clear()
        storage = Full(1 if durability == "exit" else 2)
        graph = StateGraph(Log).add_sequence([node(name) for name in names]).add_edge(START, "a").compile(Saver(storage))
        with pytest.raises(DatabaseError, match="the disk is full"):
            face.invoke(graph, {"log": []}, thread, durability=durability)
        assert (ran, storage.after) == (expected, 0), durability
        fresh = StateGraph(Log).add_sequence([node(name) for name in names]).add_edge(START, "a").compile(Saver(storage))
        state = face.get_state(fresh, thread)
        assert state.next == (() if durability == "exit" else ("a",))
        given: Any = {"log": []} if durability == "exit" else None
        assert face.invoke(fresh, given, thread)["log"] == ["a", "b", "c", "d"]


@EACH
def test_a_value_that_cannot_be_kept_is_refused_at_its_node(
    face: Face, saver: Saver, thread: Config, durability: Durability
) -> None:
    def writes(state: Log) -> Log:
        return {"other": iter([1])}

    graph = three(saver, writes)
    with pytest.raises(UnstorableValue, match="node 'b' wrote"):
        face.invoke(graph, {"log": []}, thread, durability=durability)
    assert face.get_state(graph, thread).next == ("b",)


# -- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durability", "commits"), [("sync", 4), ("async", 4), ("exit", 2)])
def test_commits(face: Face, thread: Config, durability: Durability, commits: int) -> None:
    """One for the input, and one for each superstep; or one that takes the thread, and one at the end."""
    storage = CountingStorage()
    face.invoke(three(Saver(storage)), {"log": []}, thread, durability=durability)
    assert storage.commits == commits


def test_at_its_end_nothing_of_what_came_between_is_kept(face: Face, thread: Config) -> None:
    def grows(state: Log) -> Log:
        return {"other": "x" * 10_000 + str(len(state.get("log", []))), "log": ["grew"]}

    storage = CountingStorage()
    builder = StateGraph(Log).add_sequence([(f"n{i}", grows) for i in range(10)]).add_edge(START, "n0")
    face.invoke(builder.compile(Saver(storage)), {"log": []}, thread, durability="exit")
    assert storage.item_bytes < 11_000
    assert face.get_state(builder.compile(Saver(storage)), thread).values["other"].endswith("9")


@EACH
def test_graphs_within(face: Face, saver: Saver, thread: Config, durability: Durability) -> None:
    broken = [True]

    def breaks(state: Log) -> Log:
        if broken:
            broken.pop()
            raise OSError("once")
        return {"log": ["mended"]}

    child = StateGraph(Log).add_sequence([("first", says("first")), ("breaks", breaks)]).add_edge(START, "first").compile()
    graph = StateGraph(Log).add_node("child", child).add_edge(START, "child").compile(saver)
    with pytest.raises(OSError, match="once"):
        face.invoke(graph, {"log": []}, thread, durability=durability)
    inside = face.get_state(graph, thread, subgraphs=True).tasks[0].state
    assert (inside.next, inside.values["log"]) == (("breaks",), ["first"])
    assert face.invoke(graph, None, thread, durability=durability)["log"] == ["first", "mended"]


# -- saying it ------------------------------------------------------------------------------------------------------


def test_a_durability_that_there_is_none_of_and_one_of_nothing(face: Face, saver: Saver, thread: Config) -> None:
    with pytest.raises(ValueError, match=r"no durability='never': expected one of \['sync', 'async', 'exit'\]"):
        face.invoke(three(saver), {"log": []}, thread, durability="never")
    with pytest.warns(UnkeptWarning, match="the graph keeps nothing"):
        face.invoke(three(None), {"log": []}, durability="exit")


def test_async_writes_are_read_by_whoever_comes_next(tmp_path: Any, thread: Config) -> None:
    with SqliteSaver(tmp_path / "threads.db") as saver:
        for number in range(20):
            SYNC.invoke(three(saver), {"log": [str(number)]}, thread, durability="async")
            assert len(SYNC.get_state(three(Saver(saver.storage)), thread).values["log"]) == 4 * (number + 1)
