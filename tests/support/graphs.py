"""Graphs that many tests draw."""

import operator
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Annotated, Any, TypedDict, TypeVar

from clew.checkpoint.base import Saver
from clew.graph import END, START, StateGraph
from clew.graph.compiled import CompiledStateGraph

T = TypeVar("T")


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int
    other: Any


class Adding(TypedDict, total=False):
    x: Annotated[list[Any], operator.add]
    y: Any


def says(name: str) -> Callable[[Any], Any]:
    """A node that writes its name."""

    def node(state: Any) -> Any:
        return {"log": [name]}

    return node


def drawn(*edges: tuple[str | list[str], str], defer: tuple[str, ...] = ()) -> StateGraph:
    """A graph of nodes that write their names."""
    builder = StateGraph(Log)
    names = {name for source, target in edges for name in [*([source] if isinstance(source, str) else source), target]}
    for name in sorted(names - {START, END}):
        builder.add_node(name, says(name), defer=name in defer)
    for source, target in edges:
        builder.add_edge(source, target)
    return builder


def chain(saver: Saver | None, *names: str) -> CompiledStateGraph:
    """Nodes one after the other; each writes its name, and how long the log was."""
    builder = StateGraph(Log)
    for name in names:
        builder.add_node(name, lambda state, name=name: {"log": [name], "n": len(state.get("log", []))})
    for before, after in pairwise(names):
        builder.add_edge(before, after)
    return builder.add_edge(START, names[0]).compile(saver)


def of(schema: Any, node: Callable[[Any], Any]) -> Callable[[Saver], CompiledStateGraph]:
    """What makes a graph of one node."""

    def build(saver: Saver) -> CompiledStateGraph:
        return StateGraph(schema).add_node("node", node).add_edge(START, "node").compile(saver)

    return build


def elsewhere(job: Callable[[], T]) -> T:
    """Does something in a thread of its own, as another part of the program would: outside of the run it is called in."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(job).result()


class Counted(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    n: int


def counting(saver: Saver | None, *names: str) -> CompiledStateGraph:
    """Nodes in a row, each of which says its name and counts one more."""

    def says_and_counts(name: str) -> Callable[[Counted], Counted]:
        return lambda state: {"log": [name], "n": state.get("n", 0) + 1}

    return (
        StateGraph(Counted)
        .add_sequence([(name, says_and_counts(name)) for name in names])
        .add_edge(START, names[0])
        .compile(saver)
    )
