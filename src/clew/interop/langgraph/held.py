"""One thread of LangGraph's as this process writes it: where its journals stand, and which row has which of LangGraph's ids."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import ormsgpack

from clew.checkpoint.hold import Hold
from clew.checkpoint.journal import Journal
from clew.checkpoint.manifest import write_outcome
from clew.checkpoint.storage import Kept, Waiting, conflict
from clew.errors import ThreadConflict, UnstorableValue
from clew.types import Result, Task, Write

Writes = dict[int, tuple[str, Any]]
"""What one task has written, by the places that the writes have in it: the channel, and the value as it is kept."""
SPECIAL: Final = {"__error__": -1, "__scheduled__": -2, "__interrupt__": -3, "__resume__": -4}


class Keeper(Journal):
    """A journal that is told what has changed, and keeps what tasks wrote beside any checkpoint, also one that is yet to come.

    Attributes:
        at: LangGraph's id of the checkpoint that is saved; None where none is.
    """

    __slots__ = ("at",)

    def __init__(self, storage: Waiting, hold: Hold, ns: str = "") -> None:
        super().__init__(storage, hold, ns)
        self.at: str | None = None

    def changed(self, keys: set[str]) -> None:
        self._keys.update(keys)

    async def keep_of(self, seq: int, task: str, result: Result) -> None:
        """Keeps what a task of checkpoint `seq` wrote, in place of what is there. Raises UnstorableValue, ThreadConflict."""
        mark = len(self.ledger.pending)
        try:
            fields = write_outcome(self.ledger, Task(""), result)
        except UnstorableValue:
            self.ledger.undo(mark)
            raise
        await self._write([Kept(seq, task, ormsgpack.packb(fields))])


class Held:
    """What this process knows of a thread.

    Attributes:
        lock: held by whoever reads or changes any of it. journals: by namespace. rows: by namespace and LangGraph's id the seq
            and id of the row that has it. writes: by namespace, LangGraph's id and task what is kept of the checkpoints that
            were written to last. early: what tasks wrote whose checkpoint is yet to come (durability "async").
        odd: channels that have held values which only LangGraph's serializer knows.
        tips: by namespace LangGraph's id of the checkpoint that was written last. overtaken: what those were before another
            process took the thread. lost: another one has, and who goes on here is to hear of it.
    """

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.lock = threading.RLock()
        self.journals: dict[str, Keeper] = {}
        self.rows: dict[tuple[str, str], tuple[int, bytes]] = {}
        self.early: dict[tuple[str, str], list[tuple[Sequence[tuple[str, Any]], str, str]]] = {}
        self.writes: dict[tuple[str, str], dict[str, tuple[str, Writes]]] = {}
        self.odd: set[str] = set()
        self.tips: dict[str, str] = {}
        self.overtaken: dict[str, str] = {}
        self.lost = False

    @contextmanager
    def writing(self) -> Generator[None]:
        """The thread is written to by whoever is within, and nobody else of this process. Where that goes wrong nothing that is
        known of it holds, except under which epoch it was taken. Raises ThreadConflict where that is over."""
        with self.lock:
            if self.lost:
                raise conflict(self.hold.thread)
            try:
                yield
            except BaseException as error:
                self.lost = isinstance(error, ThreadConflict)
                self.journals.clear()
                self.writes.clear()
                raise


def merged(before: Writes, writes: "list[tuple[str, Any]]") -> Writes:
    """What a task has written, after it has written these as well. A channel of `SPECIAL` has one place in a task; what was
    written before stays where it was, unless all of the new ones are special."""
    anew = {SPECIAL.get(channel, number): (channel, value) for number, (channel, value) in enumerate(writes)}
    replaces = all(channel in SPECIAL for channel, _ in writes)
    return {**before, **anew} if replaces else {**anew, **before}


def as_result(path: str, writes: Writes) -> Result:
    """What a task wrote as an outcome: where it led has the path of the task and the places of the writes."""
    places = sorted(writes)
    return Result(tuple(Write(*writes[place]) for place in places), (path, *map(str, places)))


def as_writes(result: Result) -> tuple[str, Writes]:
    path, *places = (str(target) for target in result.targets)
    return path, {int(place): (write.key, write.value) for place, write in zip(places, result.writes, strict=True)}
