"""The event log of one run, as the run that writes it sees it: events are numbered as they are told, go to the store with
whatever is written next, and are handed over to the run's reader once they are there.

So an event that comes with a checkpoint is kept with it, or not at all; and what is told while something is being written
gathers, and goes together in the next write. Who may read what, and when a run tells something, is not decided here.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

import ormsgpack

from clew.checkpoint.checked import Reading, shown
from clew.checkpoint.codec import decode, encode
from clew.checkpoint.manifest import unpacked
from clew.checkpoint.storage import Batch, Events, EventsFound, Group
from clew.constants import FIRST, LAST
from clew.errors import DamagedData
from clew.types import Failed, RunEvent

METADATA: Final = "metadata"
ATTEMPT: Final = "attempt"
END: Final = "end"


class Told(NamedTuple):
    """An event that has no number yet.

    `tasks` are the ids of the task that told it, and of those with which that comes to nothing; none where a graph tells it
    that is kept. `edge` says that the task has begun, or the graph's run (`FIRST`), or that it has ended (`LAST`). `body` is
    what is kept of `data`.
    """

    mode: str
    ns: tuple[str, ...]
    tasks: tuple[str, ...]
    edge: int
    data: Any
    body: bytes


class Teller(Protocol):
    """A try of a task: once it is over, nobody listens to it."""

    over: bool


class EventLog:
    """A run's event log.

    Attributes:
        run: the run's name. modes: of the events that are kept. below: those of graphs inside nodes are kept as well.
        since: the highest number of a checkpoint when the run began: later ones are its own.
        ended: nothing can be told any more.
    """

    def __init__(self, run: str, since: int, modes: frozenset[str], *, below: bool, most: tuple[int, int, float]) -> None:
        """`most` is how many events are kept, how many bytes of them, and for how many seconds after the end."""
        self.run = run
        self.modes = modes
        self.below = below
        self.since = since
        self.ended = False
        self._most = most
        self._known = since  # the numbers of checkpoints up to this one are those of earlier processes, and told
        self._shown: set[int] = set()
        self._last = 0
        self._floor = 1
        self._groups: deque[tuple[int, int]] = deque()  # of those that are kept, the first number and the size
        self._size = 0
        self._pending: list[tuple[int, Told]] = []
        self._kept: list[RunEvent] = []
        self._end: Told | None = None
        self._broken = False
        self._begun: dict[tuple[str, ...], int] = {}  # tasks, with those around them, by the first event that they told
        self._first: dict[tuple[str, ...], int] = {}  # likewise, by the event that says that they begin
        self._with: dict[str, set[tuple[str, ...]]] = {}  # of these, by a task's id, those that come to nothing with it
        self._tries: dict[str, int] = {}
        self._done: set[str] = set()
        self._entered: set[tuple[str, tuple[str, ...]]] = set()
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    # -- an earlier process of the run --------------------------------------------------------------------------------

    def go_on(self, found: EventsFound, seq: int, *, same: bool) -> None:
        """Takes what is known of the log before its groups are read. `same`: nobody else has moved the thread on since; the
        highest checkpoint has number `seq`."""
        self._last, self._floor = found.last, max(found.floor, 1)
        self._known = seq
        if not same:
            self.since = seq

    def read(self, group: Group, *, same: bool) -> None:
        """Takes a group that an earlier process has written."""
        self._groups.append((group.first, len(group.body)))
        self._size += len(group.body)
        since, events = read_events(group)
        if same:
            self.since = since
        with Reading("An event of a run"):
            for seq, (mode, ns, tasks, edge, body) in enumerate(events, group.first):
                self._note(seq, Told(mode, tuple(ns), tuple(tasks), edge, decode(body) if mode == ATTEMPT else None, body))

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever told."""
        return self._last == 0

    # -- what readers were told already -------------------------------------------------------------------------------

    def knows(self, seq: int) -> bool:
        """Whether the log has what is to be told of checkpoint `seq`."""
        return self.since < seq <= self._known or seq in self._shown

    def show(self, seq: int) -> None:
        """What is to be told of a checkpoint is told with it."""
        self._shown.add(seq)

    def has_entered(self, mode: str, ns: tuple[str, ...]) -> bool:
        """Whether the log has an event of this mode of where a graph's run went in."""
        return (mode, ns) in self._entered

    def is_done(self, task: str) -> bool:
        """Whether the log has how a task has ended."""
        return task in self._done

    # -- telling ------------------------------------------------------------------------------------------------------

    def wants(self, mode: str, ns: tuple[str, ...]) -> bool:
        return mode in self.modes and (self.below or not ns)

    def tell(self, told: Told, unless: Teller | None = None) -> None:
        """Gives an event its number, from whatever thread, `unless` the try that tells it is over by now."""
        with self._lock:
            if not self.ended and not (unless and unless.over):
                self._number(told)

    def again(self, task: str, node: str, ns: tuple[str, ...], *, anew: bool) -> None:
        """A task runs once more: what it has told so far is taken back, where it has told something; that it has begun only
        where it begins `anew`."""
        with self._lock:
            tries = self._tries.get(task, 1) + 1
            for tasks in () if self.ended else sorted(self._with.get(task, ())):
                since = self._first.get(tasks) if anew or tasks[0] != task else None
                since = self._begun.get(tasks) if since is None else since
                if since is not None:
                    data = {"task": tasks[0], "node": node, "attempt": tries, "since": since}
                    self._number(told(ATTEMPT, ns, data, tasks))
                    self._tries[task] = tries

    def end(self, data: dict[str, Any] | None) -> None:
        """The next write is the last: it ends the log, with this. None takes that back, where nothing was written yet."""
        if not self.ended:
            self._end = None if data is None else told(END, (), data)

    def _number(self, one: Told) -> None:
        self._last += 1
        self._pending.append((self._last, one))
        self._note(self._last, one)

    def _note(self, seq: int, one: Told) -> None:
        if one.mode == ATTEMPT:
            self._tries[one.data["task"]] = one.data["attempt"]
            self._begun.pop(one.tasks, None)
            if self._first.get(one.tasks, seq) >= one.data["since"]:
                self._first.pop(one.tasks, None)
        elif one.tasks:
            (self._first if one.edge == FIRST else self._begun).setdefault(one.tasks, seq)
            for task in one.tasks:
                self._with.setdefault(task, set()).add(one.tasks)
            if one.edge == LAST:
                self._done.add(one.tasks[0])
        elif one.edge == FIRST:
            self._entered.add((one.mode, one.ns))

    # -- writing ------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether something is to be written."""
        return bool(self._pending or self._end) and not self.ended and not self._broken

    @property
    def unsettled(self) -> bool:
        """Whether something is to be written, or is being written by another thread right now: `keep` waits for that."""
        return self.waiting or self._writing.locked()

    def commit(self, commit: Callable[[Batch], bool], batch: Batch, more: Iterable[Told] = ()) -> bool:
        """Writes a batch with all that was told, and with `more`, which is told by it. Where that fails nothing is kept any
        more: the log stays as it is in the store, as after a crash."""
        with self._writing:
            return self._commit(commit, batch, more)

    def keep(self, commit: Callable[[Batch], bool], batch: Batch) -> bool:
        """`commit`, where anything is to be written by now."""
        with self._writing:
            return self._commit(commit, batch, ()) if self.waiting else False

    def _commit(self, commit: Callable[[Batch], bool], batch: Batch, more: Iterable[Told]) -> bool:
        taken = self._dress(batch, more)
        try:
            stop = commit(batch)
        except BaseException:
            self._broken = self._broken or bool(taken)
            raise
        with self._lock:
            self._kept += [part_of(self.run, seq, one) for seq, one in taken]
        self.ended = self.ended or (batch.events is not None and batch.events.ended)
        return stop

    def _dress(self, batch: Batch, more: Iterable[Told]) -> list[tuple[int, Told]]:
        if self._broken or self.ended:
            return []
        with self._lock:
            for one in more:
                self._number(one)
            if self._end is not None:
                self._number(self._end)
            taken, self._pending = self._pending, []
        if taken:
            body = ormsgpack.packb([self.since, [[one.mode, one.ns, one.tasks, one.edge, one.body] for _, one in taken]])
            group = Group(taken[0][0], len(taken), body)
            self._bound(group)
            batch.events = Events(self.run, group, self._floor, self._most[2], self._end is not None)
        return taken

    def _bound(self, group: Group) -> None:
        """Counts a group that is added, and moves the floor above those that are too many."""
        number, size, _ = self._most
        self._groups.append((group.first, len(group.body)))
        self._size += len(group.body)
        last = group.first + group.length - 1
        while len(self._groups) > 1 and (self._size > size or last + 1 - self._groups[0][0] > number):
            self._size -= self._groups.popleft()[1]
            self._floor = self._groups[0][0]

    def taken(self) -> list[RunEvent]:
        """What has been kept since this was last asked, in turn."""
        with self._lock:
            kept, self._kept = self._kept, []
        return kept


def told(mode: str, ns: tuple[str, ...], data: Any, tasks: tuple[str, ...] = (), edge: int = 0) -> Told:
    """Raises UnstorableValue."""
    return Told(mode, ns, tasks, edge, data, encode(_without_control(data)))


def _without_control(data: Any) -> Any:
    """What is said of a task that has failed: where control flow went through it, that is told by its name."""
    match data:
        case {"payload": {"error": BaseException()} as inner}:
            return {**data, "payload": _without_control(inner)}
        case {"error": BaseException() as error} if not isinstance(error, Exception):
            return {**data, "error": Failed(type(error).__name__, str(error), "")}
        case _:
            return data


def part_of(run: str, seq: int, one: Told) -> RunEvent:
    return RunEvent(seq, run, one.mode, one.data, one.ns, one.tasks[0] if one.tasks else None)


def read_parts(run: str, group: Group) -> list[RunEvent]:
    """The events of a group. Raises DamagedData where it is none."""
    return [
        part_of(run, seq, Told(mode, tuple(ns), tuple(tasks), edge, decode(body), body))
        for seq, (mode, ns, tasks, edge, body) in enumerate(read_events(group)[1], group.first)
    ]


Fields: TypeAlias = tuple[str, list[str], list[str], int, bytes]


def read_events(group: Group) -> tuple[int, list[Fields]]:
    """The `since` of the log, and what is kept of a group's events. Raises DamagedData where it is no group."""
    fields: Any = unpacked(group.body)
    match fields:
        case [int(since), list(events)] if len(events) == group.length and all(map(_is_event, events)):  # pyright: ignore
            return since, events  # pyright: ignore[reportUnknownVariableType]
        case _:
            raise DamagedData(f"A group of events reads {shown(fields)}: it is not what was written.")


def _is_event(fields: Any) -> bool:
    match fields:
        case [str(), list(), list(), int(), bytes()]:
            return all(isinstance(one, str) for one in (*fields[1], *fields[2]))  # pyright: ignore
        case _:
            return False
