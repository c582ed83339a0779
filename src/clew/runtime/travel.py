"""Going back to a checkpoint of a graph inside a task: those around it go back as well, each to where it was at that time.

What is inside is copied first, under the names that it will have in the new branch, and the outermost last: until that is
committed nothing of it is seen, and a crash on the way leaves the thread as it was.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from clew.checkpoint.journal import Journal
from clew.checkpoint.manifest import read_body
from clew.errors import CheckpointNotFound
from clew.ids import id_text, task_id
from clew.types import Link


class Target(NamedTuple):
    """A checkpoint of a graph inside a task. `current`: the thread stands there, and need not go back."""

    ns: str
    id: bytes
    begun: tuple[Link, ...]
    current: bool


async def target_of(journal: Journal, ns: str, checkpoint_id: bytes | None) -> Target:
    """The checkpoint of this id, or the newest one of the namespace. Raises CheckpointNotFound."""
    storage, thread = journal.storage, journal.thread
    found = await storage.load(thread, ns, checkpoint_id)
    begun = read_body(found.row.body).begun if found.row else ()
    if found.row is None or not begun:
        asked = f" {id_text(checkpoint_id)!r}" if checkpoint_id else ""
        raise CheckpointNotFound(
            f"Thread {thread!r} has no checkpoint{asked} in the namespace {ns!r}: pass the config of a state of a graph inside "
            "a task, as `get_state(config, subgraphs=True)` and `get_state_history` of its config give it."
        )
    current = found.row.seq == found.head
    for link in begun:
        around = await storage.load(thread, link.ns, None)
        current = current and around.row is not None and around.row.id == link.checkpoint
    return Target(ns, found.row.id, begun, current)


async def copied(journal: Journal, target: Target, metadata: Mapping[str, Any] | None) -> tuple[int, bytes]:
    """Copies the target and what is between it and the outermost graph. Returns the seq and id that the outermost copy is to
    have: its tasks will find those inside by that."""
    await journal.claim()
    outermost = named = journal.new_id()
    ns, chain = "", tuple[Link, ...]()
    levels = [(link.ns, link.checkpoint) for link in target.begun[1:]] + [(target.ns, target.id)]
    copies: list[tuple[str, bytes, str, tuple[Link, ...], tuple[int, bytes]]] = []
    for link, (old_ns, old_id) in zip(target.begun, levels, strict=True):
        chain = (*chain, Link(ns, named[1], link.task, link.call))
        ns = _moved(old_ns, link.ns, ns, task_id(named[1], link.task))
        named = journal.new_id()
        copies.append((old_ns, old_id, ns, chain, named))
    for old_ns, old_id, ns, chain, named in reversed(copies):
        inside = type(journal)(journal.storage, journal.hold, old_ns)
        saved = await inside.open(old_id)
        assert saved is not None
        await inside.move(ns, chain)
        await inside.commit(replace(saved.checkpoint, source="fork"), {}, metadata, named=named)
    return outermost


def _moved(ns: str, around: str, new_around: str, new_task: str) -> str:
    """The namespace of a graph inside a task, by the names that the graph around it and the task have in the new branch."""
    first, *rest = ns[len(around) :].lstrip("|").split("|")
    node, parted, _ = first.partition(":")
    return "|".join([*([new_around] if new_around else []), f"{node}:{new_task}" if parted else node, *rest])
