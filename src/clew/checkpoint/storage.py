"""What a backend is: a few verbs about rows. It stores and finds bytes; what they mean is none of its business.

A storage is written once, as plain blocking methods (`Storage`). `on` turns it into awaitables, which is all that the journal
and the savers see: on the sync face they return without ever suspending, on the async one they are awaited (DESIGN §3).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from clew.errors import ThreadConflict

T = TypeVar("T")


class Row(NamedTuple):
    """One checkpoint.

    `seq` is counted by the store, from 1, over all namespaces of a thread; a row to be committed has 0, and an id into which
    the store puts its seq (`ids.stamped`). `parent` is the seq it grew from. `base` is the seq of the row whose manifest it
    adds to, or None where its own is whole.
    """

    seq: int
    id: bytes
    parent: int | None
    base: int | None
    body: bytes


class Kept(NamedTuple):
    """One task's outcome, kept while the superstep of checkpoint `seq` is open."""

    seq: int
    task: str
    body: bytes


@dataclass(slots=True)
class Found:
    """What is stored of one namespace of a thread.

    Attributes:
        epoch: the thread's; 0 where there is no thread yet.
        head: seq of the newest committed checkpoint, None where there is none.
        number: of the namespace within its thread; for a new one the next that is free.
        logs: ends of the logs, as the journal wrote them.
        row: the checkpoint asked for, None where there is none.
        base: the row its manifest adds to, None where its own is whole.
        parent_id: id of its parent.
        next: the first checkpoint that grew from it; only looked for by `scan`, and by `load` where an id is given.
        kept: outcomes kept of its tasks; of each the one with the highest epoch.
    """

    epoch: int = 0
    head: int | None = None
    number: int = 0
    logs: bytes = b""
    row: Row | None = None
    base: Row | None = None
    parent_id: bytes | None = None
    next: Row | None = None
    kept: Sequence[Kept] = ()


@dataclass(slots=True)
class Batch:
    """What is written at once: with a `row` the head moves to it, without one only outcomes and items are kept.

    Conditional on both `head` and `epoch` being what the store has; otherwise nothing of it is written and `ThreadConflict`
    is raised. `claim` raises the epoch by one, so that no other run can write under the same one.

    Attributes:
        items: (log, number, bytes), numbers at or above the ends that the head row had.
        logs: ends of the logs with these items, for the head row.
    """

    thread: str
    ns: str
    number: int
    head: int | None
    epoch: int
    claim: bool
    logs: bytes
    items: list[tuple[int, int, bytes]] = field(default_factory=list[tuple[int, int, bytes]])
    kept: list[Kept] = field(default_factory=list[Kept])
    row: Row | None = None


class ThreadRow(NamedTuple):
    """A thread as `clew threads` lists it: its name, how many checkpoints it has, and the newest one's id."""

    thread: str
    checkpoints: int
    newest: bytes
    size: int


class Storage(Protocol):
    """A backend. Every method may be called from any thread."""

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        """One checkpoint, the newest where no id is given, with all that belongs to it but items. One round trip."""
        ...

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """The items of `(log, from, to)` ranges, in that order; those that are not there are left out."""
        ...

    def commit(self, batch: Batch) -> int:
        """Writes a batch whole or not at all.

        Returns the new row's seq, or the head's where there was no row.

        Raises:
            ThreadConflict: head or epoch are not what the batch expects.
        """
        ...

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        """Checkpoints below seq `before`, newest first, `limit` at most, each with base, parent id and outcomes."""
        ...

    def threads(self) -> list[ThreadRow]:
        """Every thread, the one moved last first."""
        ...

    def drop(self, thread: str) -> None:
        """Deletes a thread with all its namespaces; nothing where there is none."""
        ...

    def close(self) -> None: ...


class Waits(Protocol):
    """How a face waits for a blocking call."""

    def __call__(self, fn: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


async def at_once(fn: Callable[..., T], /, *args: Any) -> T:
    """Waits by calling: for what never takes long."""
    return fn(*args)


class Waiting:
    """A storage whose verbs are awaited."""

    __slots__ = ("storage", "wait")

    def __init__(self, storage: Storage, wait: Waits) -> None:
        self.storage = storage
        self.wait = wait

    async def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        return await self.wait(self.storage.load, thread, ns, checkpoint_id)

    async def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return await self.wait(self.storage.items, thread, ranges)

    async def commit(self, batch: Batch) -> int:
        return await self.wait(self.storage.commit, batch)

    async def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        return await self.wait(self.storage.scan, thread, ns, before, limit)

    async def threads(self) -> list[ThreadRow]:
        return await self.wait(self.storage.threads)

    async def drop(self, thread: str) -> None:
        await self.wait(self.storage.drop, thread)


def conflict(thread: str) -> ThreadConflict:
    return ThreadConflict(
        f"Thread {thread!r} was moved on by another run while this one was at work; nothing of this superstep was kept. "
        "Read the thread again (`get_state`) and decide whether to invoke it once more."
    )
