"""Graphs inside nodes, as readers meet them: which there are, in which namespaces they are kept, and what they have kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from clew.checkpoint.records import begun_by
from clew.engine.snapshot import empty
from clew.ids import id_bytes
from clew.runtime.inspect import get_state
from clew.types import Late

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.graph.compiled import CompiledStateGraph
    from clew.graph.node import NodeSpec
    from clew.runtime.host import Host
    from clew.runtime.settings import Settings
    from clew.types import Link, PregelTask, StateSnapshot

DEPTH: Final = 2
"""How far functions that a node's function calls are looked into for graphs that they call."""


def graphs_of(spec: NodeSpec) -> list[CompiledStateGraph]:
    """The graphs that a node is or, as far as its code says, calls."""
    return [spec.graph] if spec.graph is not None else list(dict.fromkeys(_called(spec.given, DEPTH)))


def _called(function: Any, depth: int) -> Iterator[CompiledStateGraph]:
    from clew.graph.compiled import CompiledStateGraph

    while isinstance(function, functools.partial):
        function = function.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    function = getattr(function, "__func__", function)  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(function, FunctionType):
        return
    for found in _named(function):
        if isinstance(found, CompiledStateGraph):
            yield found
        elif depth > 0:
            yield from _called(found, depth - 1)


def _named(function: FunctionType) -> Iterator[Any]:
    """What the names in a function stand for: of variables around it, and of its module."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not set yet
            continue
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield function.__globals__[name]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def graph_at(graph: CompiledStateGraph, ns: str) -> CompiledStateGraph | None:
    """The graph that is kept in a namespace; None where none is known there."""
    segments = ns.split("|") if ns else []
    while segments:
        node = segments.pop(0).partition(":")[0]
        spec = graph.builder.nodes.get(graph.program.plan.current(node))
        found = graphs_of(spec) if spec else []
        if not found:
            return None
        graph, number = found[0], 0
        if segments and segments[0].isdigit():
            number = int(segments.pop(0))
            graph = found[min(number, len(found) - 1)]
        elif segments and (named := [one for one in found if one.own_name == segments[0]]):
            graph = named[0]
            del segments[0]
    return graph


def with_places(graph: CompiledStateGraph, settings: Settings, snapshot: StateSnapshot) -> StateSnapshot:
    """The snapshot, with the config of each task that is a graph. No task is looked at before somebody does."""
    tasks: Any = Late(lambda: tuple(_placed(graph, settings, task) for task in snapshot.tasks))
    return snapshot._replace(tasks=tasks)


def _placed(graph: CompiledStateGraph, settings: Settings, task: PregelTask) -> PregelTask:
    child = _child(graph, task)
    if child is None:
        return task
    first = task.name if child.checkpointer is True else f"{task.name}:{task.id}"
    named = [child.own_name] if child.checkpointer is True and child.own_name not in ("", task.name) else []
    ns = "|".join([*([settings.ns] if settings.ns else []), first, *named])
    return task._replace(state={"configurable": {"thread_id": settings.thread, "checkpoint_ns": ns}})


def _child(graph: CompiledStateGraph, task: PregelTask) -> CompiledStateGraph | None:
    spec = graph.builder.nodes.get(graph.program.plan.current(task.name))
    return next((one for one in graphs_of(spec) if one.checkpointer is not False), None) if spec else None


async def with_states(
    graph: CompiledStateGraph, saver: Saver, host: Host, settings: Settings, snapshot: StateSnapshot
) -> StateSnapshot:
    """The snapshot, with the state of each task that is a graph, and so on all the way in."""
    tasks: list[PregelTask] = []
    anchor = id_bytes(snapshot.config["configurable"].get("checkpoint_id", ""))
    for task in with_places(graph, settings, snapshot).tasks:
        child = _child(graph, task)
        if child is not None and task.state is not None and anchor is not None:
            ns: str = task.state["configurable"]["checkpoint_ns"]
            there = replace(settings, ns=ns, checkpoint=None, configurable=task.state["configurable"])
            inside = empty(there.configurable)
            if child.checkpointer is not True:
                inside = await get_state(child.program.plan, saver, host, there)
            elif newest := await _newest(saver, host, there, anchor, task):
                inside = await get_state(child.program.plan, saver, host, replace(there, checkpoint=newest))
            task = task._replace(state=await with_states(child, saver, host, there, inside))
        tasks.append(task)
    return snapshot._replace(tasks=tuple(tasks))


async def _newest(saver: Saver, host: Host, there: Settings, anchor: bytes, task: PregelTask) -> bytes | None:
    """The newest checkpoint of a memory that this task began; None where it has not yet."""
    key = task.name if task.path[0] == "__pregel_pull" else f"{task.path[1]}:{task.name}"

    def by_task(begun: tuple[Link, ...]) -> bool:
        return bool(begun) and (begun[-1].checkpoint, begun[-1].task) == (anchor, key)

    return await begun_by(saver.on(host), there.thread or "", there.ns, by_task, anchor)
