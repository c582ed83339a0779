"""Nodes that were renamed or removed while threads stood still: the thread goes on there, or says which name it misses."""

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from support.faces import Face

from clew.checkpoint.base import Saver
from clew.errors import UnknownNode
from clew.graph import START, StateGraph
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, Send, interrupt

Config = dict[str, Any]
Graph = CompiledStateGraph


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def falls(state: Any) -> Any:
    raise OSError("no route")


def says(name: str) -> Callable[[Any], Any]:
    return lambda state: {"log": [name]}


def asks(state: Any) -> Any:
    return {"log": [interrupt("?", key="q")]}


def joined(
    saver: Saver, a: str, b: str, c: str, *, renamed: bool = False, defer: bool = False, **options: Any
) -> CompiledStateGraph:
    """`a` and `x` run; `b` asks after `x`; `c` joins `a` and `b`; deferred where that is wished."""
    builder = StateGraph(Log)
    for name, before, node in ((a, "a", says(a)), (b, "b", asks), (c, "c", says(c))):
        builder.add_node(name, node, aliases=[before] if renamed else [], defer=defer and before == "c")
    builder.add_node("x", says("x")).add_edge(START, a).add_edge(START, "x").add_edge("x", b).add_edge([a, b], c)
    return builder.compile(saver, **options)


@pytest.mark.parametrize("defer", [False, True])
def test_joins_are_completed_by_renamed_nodes(face: Face, saver: Saver, thread: Config, defer: bool) -> None:
    face.invoke(joined(saver, "a", "b", "c", defer=defer), {}, thread)
    after = joined(saver, "a2", "b2", "c2", renamed=True, defer=defer)
    assert face.get_state(after, thread).next == ("b",)
    assert face.invoke(after, Command(resume="b2"), thread)["log"] == ["a", "x", "b2", "c2"]
    assert face.invoke(after, {}, thread)["__interrupt__"]


def deferring(saver: Saver, last: str, *aliases: str) -> CompiledStateGraph:
    """`late` is deferred and reached at once; `b` asks meanwhile."""
    builder = (
        StateGraph(Log).add_node("a", says("a")).add_node("b", asks).add_node(last, says(last), defer=True, aliases=aliases)
    )
    return builder.add_edge(START, "a").add_edge("a", "b").add_edge("a", last).compile(saver)


def test_a_deferred_node_that_waits_may_be_renamed(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deferring(saver, "late"), {}, thread)
    assert face.invoke(deferring(saver, "later", "late"), Command(resume="b"), thread)["log"] == ["a", "b", "later"]


def test_a_deferred_node_that_waits_and_is_gone_is_named_before_anything_runs(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deferring(saver, "late"), {}, thread)
    gone = deferring(saver, "later")
    with pytest.raises(UnknownNode, match=r"Thread '1' has yet to run 'late', which was deferred\..*aliases=\['late'\]"):
        face.invoke(gone, Command(resume="b"), thread)
    assert face.get_state(gone, thread).next == ("b",)
    assert face.invoke(deferring(saver, "late"), Command(resume="b"), thread)["log"] == ["a", "b", "late"]


def test_a_new_input_clears_a_deferred_node_that_is_gone(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(deferring(saver, "late"), {}, thread)
    gone = deferring(saver, "later")
    face.invoke(gone, {}, thread)
    assert face.invoke(gone, Command(resume="b"), thread)["log"] == ["a", "a", "b", "later"]


def longer(saver: Saver, last: str, **options: Any) -> CompiledStateGraph:
    """`a` arrives at the join two supersteps before its other source does."""
    builder = StateGraph(Log)
    for name in ("a", "x", "y", last, "c"):
        builder.add_node(name, says(name))
    builder.add_edge(START, "a").add_edge(START, "x").add_edge("x", "y").add_edge("y", last).add_edge(["a", last], "c")
    return builder.compile(saver, **options)


def test_a_join_half_arrived_that_names_a_node_that_is_gone_is_named(face: Face, saver: Saver, thread: Config) -> None:
    face.invoke(longer(saver, "b", interrupt_before=["y"]), {}, thread)
    gone = longer(saver, "b2")
    with pytest.raises(UnknownNode, match=r"waits at the join \['a', 'b'\] → 'c', where \['a'\] arrived, for 'b'"):
        face.invoke(gone, None, thread)
    assert face.invoke(gone, {"log": ["anew"]}, thread)["log"] == ["a", "x", "anew", "a", "x", "y", "b2", "c"]
    face.invoke(longer(saver, "b", interrupt_before=["y"]), {}, thread)
    face.update(gone, thread, {"log": ["edited"]}, "y")
    assert face.invoke(gone, None, thread)["log"][-2:] == ["edited", "b2"]


def test_a_result_on_record_that_leads_to_a_renamed_node_runs_it_once(face: Face, saver: Saver, thread: Config) -> None:
    def leading(b: Callable[[Any], Any], last: str, *aliases: str, defer: bool = False) -> CompiledStateGraph:
        builder = StateGraph(Log).add_node("a", says("a")).add_node("b", b)
        builder.add_node(last, says(last), aliases=aliases, defer=defer).add_edge(START, "a").add_edge(START, "b")
        return builder.add_edge("a", last).add_edge("b", last).compile(saver)

    with pytest.raises(OSError, match="no route"):
        face.invoke(leading(falls, "c"), {}, thread)
    with pytest.raises(UnknownNode, match=r"Thread '1' has finished 'a', which leads to 'c'\. The graph has no such node"):
        face.invoke(leading(says("b"), "c2"), None, thread)
    assert face.invoke(leading(says("b"), "c2", "c", defer=True), None, thread)["log"] == ["a", "b", "c2"]


def test_a_send_on_record_to_a_renamed_node_reaches_it(face: Face, saver: Saver, thread: Config) -> None:
    def sends(b: Callable[[Any], Any], last: str, *aliases: str) -> CompiledStateGraph:
        builder = StateGraph(Log).add_node("a", lambda state: Command(goto=Send(last, {"n": 1}))).add_node("b", b)
        builder.add_node(last, lambda given: {"log": [f"{last} {given}"]}, aliases=aliases)
        return builder.add_edge(START, "a").add_edge(START, "b").compile(saver)

    with pytest.raises(OSError, match="no route"):
        face.invoke(sends(falls, "c"), {}, thread)
    assert face.invoke(sends(says("b"), "c2", "c"), None, thread)["log"] == ["b", "c2 {'n': 1}"]


def test_an_update_is_by_the_renamed_node_that_ran_last(face: Face, saver: Saver, thread: Config) -> None:
    def two(name: str, *aliases: str) -> CompiledStateGraph:
        builder = StateGraph(Log).add_node(name, says(name), aliases=aliases).add_node("b", says("b"))
        return builder.add_edge(START, name).add_edge(name, "b").compile(saver, interrupt_before=["b"])

    face.invoke(two("a"), {}, thread)
    after = two("a2", "a")
    face.update(after, thread, {"log": ["by a2"]})
    assert face.get_state(after, thread).next == ("b",)
    face.update(after, thread, {"log": ["by its old name"]}, "a")
    assert face.get_state(after, thread).values == {"log": ["a", "by a2", "by its old name"]}


@pytest.mark.parametrize("names", [["b2"], "*"])
def test_a_breakpoint_holds_for_a_node_that_is_stored_under_its_old_name(
    face: Face, saver: Saver, thread: Config, names: Any
) -> None:
    def two(last: str, *aliases: str, **options: Any) -> CompiledStateGraph:
        builder = StateGraph(Log).add_node("a", says("a")).add_node(last, says(last), aliases=aliases)
        return builder.add_edge(START, "a").add_edge("a", last).compile(saver, **options)

    with pytest.raises(RecursionError):
        face.invoke(two("b"), {}, {**thread, "recursion_limit": 1})
    after = two("b2", "b", interrupt_before=names)
    assert face.invoke(after, None, thread) == {"log": ["a"]}
    assert face.invoke(after, None, thread) == {"log": ["a", "b2"]}
