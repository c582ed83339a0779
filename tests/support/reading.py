"""What is kept of a thread, as users read it and as it is stored: all of it, to be compared."""

import copy
from typing import Any

from clew.checkpoint.base import Saver
from clew.checkpoint.living import Named
from clew.checkpoint.memory import MemoryStorage
from clew.checkpoint.storage import Storage
from clew.graph.compiled import CompiledStateGraph
from clew.types import Command, StateSnapshot
from support.faces import Face
from support.tales import Config, line

THREAD: Config = {"configurable": {"thread_id": "1"}}


def told(snapshot: StateSnapshot) -> Any:
    """All that a checkpoint reads as, but for its parent, which may be gone; with the graphs within."""
    tasks = [
        (
            task.id,
            task.name,
            repr(task.error),
            task.interrupts,
            task.result,
            isinstance(task.state, StateSnapshot) and told(task.state),
        )
        for task in snapshot.tasks
    ]
    return snapshot.config, copy.copy(snapshot.values), snapshot.next, snapshot.metadata, tasks, snapshot.interrupts


def within(graph: CompiledStateGraph, config: Config) -> Any:
    return told(graph.get_state(config, subgraphs=True))


def history(graph: CompiledStateGraph, thread: Config = THREAD) -> list[Any]:
    """Newest first; each as it is listed, and as it is read on its own."""
    return [(told(one), within(graph, one.config)) for one in graph.get_state_history(thread)]


def swept(storage: Storage, thread: str = "1") -> None:
    """Nothing is stored that no checkpoint names, and all that is named is stored."""
    stored = [(log, number) for log, number, _ in storage.walk(thread, (-1, 0), 100_000)]
    named = Named(storage, thread).logs
    assert stored == [(log, at) for log, numbers in sorted(named.items()) for at, is_named in enumerate(numbers) if is_named]


def words(face: Face, saver: Saver, count: int) -> CompiledStateGraph:
    graph = line("a", "b", checkpointer=saver)
    for number in range(count):
        face.invoke(graph, {"log": [f"{number}" * 100]}, THREAD)
    return graph


def tell(graph: CompiledStateGraph, given: Any, thread: Config = THREAD) -> Any:
    ended = graph.invoke(given, thread)
    while asked := graph.get_state(thread).interrupts:
        ended = graph.invoke(Command(resume={one.id: "yes" for one in asked}), thread)
    return ended


def copied(storage: MemoryStorage) -> MemoryStorage:
    made = MemoryStorage()
    made._threads = copy.deepcopy(storage._threads)  # pyright: ignore[reportPrivateUsage]
    return made
