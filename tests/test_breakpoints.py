"""Stopping before and after nodes: a stop is recorded, and a run that goes on passes that one only."""

from typing import Any

import pytest
from support.faces import SYNC, Face
from support.graphs import Log, says

from clew.checkpoint.base import Saver
from clew.errors import GraphError
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph

Config = dict[str, Any]


def line(saver: Saver | bool | None, **options: Any) -> CompiledStateGraph:
    builder = StateGraph(Log).add_sequence([(name, says(name)) for name in ("a", "b", "c")]).add_edge(START, "a")
    return builder.compile(saver, **options)


def test_a_stop_is_passed_by_another_process(face: Face, saver: Saver, thread: Config) -> None:
    assert face.invoke(line(saver, interrupt_before=["b"]), {}, thread) == {"log": ["a"]}
    elsewhere = line(Saver(saver.storage), interrupt_before=["b"])
    assert (face.get_state(elsewhere, thread).next, face.get_state(elsewhere, thread).interrupts) == (("b",), ())
    assert face.invoke(elsewhere, None, thread)["log"] == ["a", "b", "c"]


def test_only_a_stop_that_was_made_is_passed(face: Face, saver: Saver, thread: Config) -> None:
    plain = line(saver, interrupt_after=["a"])
    face.invoke(plain, {}, thread)
    deployed = line(saver, interrupt_before=["b", "c"])  # it stopped after a, which is before b: that one is passed
    assert face.invoke(deployed, None, thread)["log"] == ["a", "b"]
    assert face.invoke(deployed, None, thread)["log"] == ["a", "b", "c"]


def test_a_thread_that_failed_stops_where_it_had_not_stopped_yet(face: Face, saver: Saver, thread: Config) -> None:
    broken = [True]

    def breaks(state: Log) -> Log:
        if broken[0]:
            raise OSError("no disk")
        return {"log": ["b"]}

    builder = StateGraph(Log).add_sequence([("a", says("a")), ("b", breaks)]).add_edge(START, "a")
    with pytest.raises(OSError, match="no disk"):
        SYNC.invoke(builder.compile(saver), {}, thread)
    broken[0] = False
    stopping = builder.compile(saver, interrupt_before=["b"])
    assert face.invoke(stopping, None, thread) == {"log": ["a"]}
    assert face.invoke(stopping, None, thread) == {"log": ["a", "b"]}


def test_a_stop_goes_with_the_branch_that_grows_from_it(face: Face, saver: Saver, thread: Config) -> None:
    graph = line(saver, interrupt_before=["b"])
    face.invoke(graph, {}, thread)
    stopped = face.get_state(graph, thread)
    face.invoke(graph, None, thread)
    assert face.invoke(graph, None, stopped.config)["log"] == ["a", "b", "c"]
    edited = face.update(graph, stopped.config, {"log": ["by hand"]})
    assert face.invoke(graph, None, edited)["log"] == ["a", "by hand", "b", "c"]


def test_without_a_saver_the_run_ends_early(face: Face) -> None:
    assert face.invoke(line(None, interrupt_after="a"), {}) == {"log": ["a"]}


@pytest.mark.parametrize("option", ["interrupt_before", "interrupt_after"])
def test_a_breakpoint_at_no_node_is_refused_naming_those_there_are(face: Face, option: str) -> None:
    with pytest.raises(GraphError, match=r"A breakpoint names 'z', which is not a node: name some of \['a', 'b', 'c'\]"):
        line(None, **{option: ["z"]})
    with pytest.raises(GraphError, match="A breakpoint names 'z'"):
        face.invoke(line(None), {}, **{option: ["z"]})


def within(child: CompiledStateGraph, saver: Saver | None) -> CompiledStateGraph:
    return StateGraph(Log).add_node("inner", child).add_edge(START, "inner").compile(saver)


@pytest.mark.parametrize("remembers", [None, True])
def test_a_breakpoint_in_a_graph_within_stops_those_around_it_and_is_passed_once(
    face: Face, saver: Saver, thread: Config, remembers: bool | None
) -> None:
    graph = within(line(remembers, interrupt_before=["b"]), saver)
    face.invoke(graph, {"log": []}, thread)
    state = face.get_state(graph, thread, subgraphs=True)
    assert (state.next, state.interrupts, state.tasks[0].state.next) == (("inner",), (), ("b",))
    assert face.invoke(graph, None, thread)["log"] == ["a", "b", "c"]


def test_a_breakpoint_in_a_graph_within_ends_a_run_that_is_not_kept(face: Face) -> None:
    assert face.invoke(within(line(None, interrupt_before=["b"]), None), {"log": []}) == {"log": []}


def test_a_breakpoint_in_a_graph_within_that_keeps_nothing_is_refused(face: Face, saver: Saver, thread: Config) -> None:
    graph = within(line(False, interrupt_before=["b"]), saver)
    with pytest.raises(GraphError, match=r"has to be kept.*`checkpointer=False`"):
        face.invoke(graph, {"log": []}, thread)
