"""What a backend is: a few verbs about rows. It stores and finds bytes; what they mean is none of its business.

A storage is written once, as plain blocking methods (`Storage`). `on` turns it into awaitables, which is all that the journal
and the savers see: on the sync face they return without ever suspending, on the async one they are awaited (DESIGN §3).
"""

import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

from clew.errors import ThreadConflict

T = TypeVar("T")


class Row(NamedTuple):
    """One checkpoint.

    `seq` counts over all namespaces of a thread, from 1, with gaps: the run that owns the thread hands the numbers out, and
    nobody else can write meanwhile. Its `id` ends in it (`ids.stamped`). `parent` is the seq it grew from. `base` is the seq of
    the row whose manifest it adds to, or None where its own is whole.
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


class Lease(NamedTuple):
    """Who runs a thread: a courtesy to whoever comes by meanwhile; what keeps a thread safe is its epoch.

    Attributes:
        run: the run's id. owner: the process it is in (`lease.this_process`). base: id of the outermost head when it began,
            None where there was none.
        seconds: how long the lease is good for, from now on by the store's clock; below zero where it has ended.
    """

    run: bytes
    owner: str
    base: bytes | None
    seconds: float


class Group(NamedTuple):
    """Events of a run that were kept at once: the number of the first of them, how many, and what they say."""

    first: int
    length: int
    body: bytes


class Events(NamedTuple):
    """What a batch adds to a run's event log, which is made where there is none.

    Attributes:
        run: the run's name. group: events; one that begins with the same number as one that is there takes its place. None adds
            none.
        floor: the first number that is still wanted; groups that end below it are dropped.
        seconds: how long the log is kept, from now on by the store's clock. ended: nothing will be added any more.
    """

    run: str
    group: Group | None
    floor: int
    seconds: float
    ended: bool


@dataclass(slots=True)
class EventsFound:
    """What is stored of a run's event log.

    Attributes:
        run: the run's name. epoch: of the thread, when the log was last written. latest: the thread has no newer log.
        last: number of its newest event, 0 where it has none. floor: as the last batch had it. ended: see `Events`.
        lease: of whoever has the thread now, None where nobody has.
        groups: those asked for, in order.
    """

    run: str
    epoch: int
    latest: bool
    last: int
    floor: int
    ended: bool
    lease: Lease | None
    groups: list[Group]


@dataclass(slots=True)
class Found:
    """What is stored of one namespace of a thread.

    Attributes:
        epoch: the thread's; 0 where there is no thread yet.
        seq: the highest that a checkpoint of the thread ever had. spaces: the first number that no namespace of it has.
        head: seq of the newest committed checkpoint, None where there is none.
        number: of the namespace within its thread, None for a new one.
        logs: ends of the logs, as the journal wrote them.
        lease: of the run that owns the thread, None where none does.
        row: the checkpoint asked for, None where there is none.
        base: the row its manifest adds to, None where its own is whole.
        parent_id: id of its parent.
        next: the first checkpoint that grew from it; only looked for by `scan`, and by `load` where an id is given.
        kept: outcomes kept of its tasks; of each the one with the highest epoch.
    """

    epoch: int = 0
    seq: int = 0
    spaces: int = 0
    head: int | None = None
    number: int | None = None
    logs: bytes = b""
    lease: Lease | None = None
    row: Row | None = None
    base: Row | None = None
    parent_id: bytes | None = None
    next: Row | None = None
    kept: Sequence[Kept] = ()


@dataclass(slots=True)
class Batch:
    """What is written at once: with a `row` the head moves to it, without one only outcomes and items are kept.

    Conditional on the thread's `epoch`, and where a row or items are written on the namespace's `head`, being what the store
    has; otherwise nothing of it is written and `ThreadConflict` is raised.

    Attributes:
        claim: the epoch that the thread has from now on, above every one before (`ids.new_epoch`), so that no other run can
            write under the old one; whatever lease there was is over. 0 leaves both as they are.
        logs: ends of the logs with these items, for the head row; None leaves them, and the head, as they are.
        items: (log, number, bytes), numbers at or above the ends that the head row had.
        history: further checkpoints of the namespace, older than `row`, which come with it and are no heads: a thread that is
            brought from elsewhere. lease: takes or renews the thread's lease. release: gives it back.
        events: what is added to the event log of a run.
    """

    thread: str
    ns: str
    number: int
    head: int | None
    epoch: int
    claim: int = 0
    logs: bytes | None = None
    items: list[tuple[int, int, bytes]] = field(default_factory=list[tuple[int, int, bytes]])
    kept: list[Kept] = field(default_factory=list[Kept])
    row: Row | None = None
    history: list[Row] = field(default_factory=list[Row])
    lease: Lease | None = None
    release: bool = False
    events: Events | None = None


class Space(NamedTuple):
    """A namespace of a thread: its number there, the seq of its head, and the ends of its logs, as the journal wrote them."""

    ns: str
    number: int
    head: int | None
    logs: bytes


@dataclass(slots=True)
class Pruning:
    """What of a thread is deleted, or put in place of what was there, at once; conditional on its `epoch`, as a batch is.

    Attributes:
        rows: seqs of checkpoints that go, with the outcomes kept beside them. changed: rows that replace those of their seqs.
        spaces: numbers of namespaces that go: their heads; their rows and items are named as well. ranges: (log, from, to) of
            items that go; those that are not there do not matter. items: (log, number, bytes) of items that replace those of
            their places.
    """

    thread: str
    epoch: int
    rows: list[int] = field(default_factory=list[int])
    changed: list[Row] = field(default_factory=list[Row])
    spaces: list[int] = field(default_factory=list[int])
    ranges: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    items: list[tuple[int, int, bytes]] = field(default_factory=list[tuple[int, int, bytes]])


class Weight(NamedTuple):
    """How much a thread holds: of items, by their logs, of checkpoints, of outcomes beside them, and of groups of events: how
    many, and bytes."""

    items: dict[int, tuple[int, int]]
    checkpoints: tuple[int, int]
    kept: tuple[int, int]
    events: tuple[int, int] = (0, 0)

    @property
    def bytes(self) -> int:
        """All of it together."""
        return sum(size for _, size in self.items.values()) + self.checkpoints[1] + self.kept[1] + self.events[1]


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

    def commit(self, batch: Batch) -> bool:
        """Writes a batch whole or not at all.

        Returns whether somebody who waits for the thread asks the run that owns it to stop.

        Raises:
            ThreadConflict: head or epoch are not what the batch expects.
        """
        ...

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        """Stands in the queue of those who wait for the thread, for so many seconds; again keeps the place. `stop` asks the
        run that owns the thread to stop.

        Returns whether nobody stands before this run. The one whose lease is taken leaves the queue; none is kept for a thread
        that is not there.
        """
        ...

    def leave(self, thread: str, run: bytes) -> None:
        """Leaves the queue; nothing where it does not stand there."""
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

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        """A run's event log, the thread's newest where none is named, with groups that have events above number `after`,
        `limit` at most. None where there is none, or it is expired.

        A log is expired once its time is over, and it has ended or nobody has the thread; it may be deleted then.
        """
        ...

    def expire(self, limit: int) -> int:
        """Deletes expired event logs of any thread, `limit` at most. Returns how many: below `limit`, none are left.

        0 where the store does so by itself.
        """
        ...

    # -- moving and mending; nothing of these is called while a run goes its way ------------------------------------------

    def spaces(self, thread: str) -> list[Space]:
        """The namespaces of a thread, by their numbers; none where there is no thread."""
        ...

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        """Items as (log, number, bytes), ordered by these, beginning after the place `after`, `limit` at most."""
        ...

    def prune(self, pruning: Pruning) -> None:
        """Deletes what is named, whole or not at all. Raises ThreadConflict where the epoch is another."""
        ...

    def weigh(self, thread: str) -> Weight:
        """How much a thread holds."""
        ...

    def occupies(self) -> int:
        """Bytes that all threads together take where they are kept: of the file, of the tables with their indexes."""
        ...

    def reclaim(self) -> None:
        """Gives back to the system what deleted rows have left free. It may take long, and hold up others meanwhile."""
        ...

    def close(self) -> None: ...


class Waits(Protocol):
    """How a face waits for a blocking call."""

    def __call__(self, fn: Callable[..., T], /, *args: Any) -> Awaitable[T]: ...


class Flight:
    """A write that goes on while its run does. Whoever waits for it hears of its failure, from whatever thread; and makes it,
    where nobody has begun to."""

    __slots__ = ("_begun", "_done", "_error", "_write")

    def __init__(self, write: Callable[[], None]) -> None:
        self._write = write
        self._begun = threading.Lock()
        self._done = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        if not self._begun.acquire(blocking=False):
            return
        try:
            self._write()
        except BaseException as error:  # handed to whoever waits
            self._error = error
        finally:
            self._done.set()

    @property
    def landed(self) -> bool:
        return self._done.is_set() and self._error is None

    def wait(self) -> None:
        self.run()
        self._done.wait()
        if self._error is not None:
            raise self._error


class Waiting:
    """A storage whose verbs are awaited.

    Attributes:
        wait: how any blocking call is waited for. ask: how those of the storage's verbs are that hold up nobody else's.
        aside: runs a job beside the run, None where nothing is gained by that.
    """

    __slots__ = ("aside", "ask", "storage", "wait")

    def __init__(self, storage: Storage, wait: Waits, aside: Callable[[Callable[[], None]], None] | None = None) -> None:
        self.storage = storage
        self.wait = self.ask = wait
        self.aside = aside

    async def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        return await self.ask(self.storage.load, thread, ns, checkpoint_id)

    async def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return await self.ask(self.storage.items, thread, ranges)

    async def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        return await self.ask(self.storage.scan, thread, ns, before, limit)


async def at_once(fn: Callable[..., T], /, *args: Any) -> T:
    """Waits by calling: for what never takes long."""
    return fn(*args)


def done(awaited: Awaitable[T]) -> T:
    """What comes of something that waits for nothing but `at_once`, and so never suspends."""
    steps = awaited.__await__()
    try:
        next(steps)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"{awaited!r} has suspended")


def conflict(thread: str) -> ThreadConflict:
    return ThreadConflict(
        f"Thread {thread!r} was moved on by another run while this one was at work; nothing of this superstep was kept. "
        "Read the thread again (`get_state`) and decide whether to invoke it once more."
    )
