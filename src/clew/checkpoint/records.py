"""Checkpoints as they are listed: their rows are read; the values that a row names are loaded when somebody asks for them."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from clew.checkpoint.checked import Naming
from clew.checkpoint.entries import Entry
from clew.checkpoint.journal import ANSWERS, NOTE
from clew.checkpoint.manifest import PAUSED, Body, read_answers, read_body, unpacked
from clew.checkpoint.reader import Reader
from clew.checkpoint.storage import Found, Row, Waiting, at_once
from clew.engine.apply import task_key
from clew.errors import DamagedData, MissingKey
from clew.ids import stamp_of
from clew.types import Answer, Checkpoint, Link, Outcome, Paused, Result, Saved, Task

BATCH: Final = 50
DAMAGED: Final = "damaged"  # the source of a checkpoint whose row cannot be read


class Record:
    """One checkpoint of a listing.

    Attributes:
        saved: all of it but `values` and what its tasks were given. outcomes: what its tasks came to, by their keys; None for
            one that has a result, which `result` loads. notes: what its tasks have noted beside (`clew.runtime.notes`).
    """

    __slots__ = ("_damage", "_entries", "_fields", "_frontier", "_naming", "_reader", "notes", "outcomes", "saved")

    def __init__(self, reader: Reader, found: Found, thread: str) -> None:
        assert found.row is not None
        self._reader = reader
        self._naming = Naming(thread, found.row.id)
        self._damage: DamagedData | MissingKey | None = None
        self._entries: Mapping[str, Entry] = {}
        self._frontier: list[Any] = []
        self._fields: dict[str, Any] = {}
        self.outcomes: dict[str, Outcome | None] = {}
        self.notes = {row.task.removeprefix(NOTE): row.body for row in found.kept if row.task.startswith(NOTE)}
        try:
            self._listed(reader, found, found.row)
        except (DamagedData, MissingKey) as error:  # the others can be listed, and this one says so where it is opened
            if isinstance(error, MissingKey) and found.head == found.row.seq:  # it is no damage: the thread is sealed
                raise
            self._damage = error if isinstance(error, MissingKey) else self._naming.named(error)
            lost = Checkpoint({}, source=DAMAGED)
            said = {DAMAGED: str(error)}
            self._entries, self._frontier, self._fields, self.outcomes = {}, [], {}, {}
            self.saved = Saved(lost, found.row.id, found.row.seq, found.parent_id, metadata=said)

    def _listed(self, reader: Reader, found: Found, row: Row) -> None:
        base = read_body(found.base.body).on(None) if found.base else None
        body = read_body(row.body).on(base)
        self._entries = body.entries
        self._frontier = body.frontier
        frontier = tuple(reader.named(fields) for fields in body.frontier)
        checkpoint = body.checkpoint({}, frontier)
        keys = {task_key(frontier, index) for index in range(len(frontier))}
        kept: list[tuple[str, Any]] = [(kept.task, unpacked(kept.body)) for kept in found.kept if kept.task in keys]
        after = body.results or _outcomes(found.next, {row.seq: body, row.base: base})
        self._fields = dict([*kept, *[(key, fields) for key, *fields in after if key in keys]])
        self.outcomes = {key: reader.said(fields) for key, fields in self._fields.items()}
        asked = {key: reader.said(fields) for key, fields in kept if fields[0] == PAUSED}
        answers: dict[str, tuple[Answer, ...]] = {
            row.task.removeprefix(ANSWERS): read_answers(row.body) for row in found.kept if row.task.startswith(ANSWERS)
        }
        records: dict[str, Outcome] = {key: outcome for key, outcome in asked.items() if isinstance(outcome, Paused)}
        self.saved = Saved(checkpoint, row.id, row.seq, found.parent_id, records, body.metadata, answers, begun=body.begun)

    async def values(self) -> dict[str, Any]:
        """The values of the state. Raises CheckpointGone, or DamagedData, which names the checkpoint."""
        if self._damage is not None:
            raise self._damage
        with self._naming:
            await self._reader.fetch(list(self._entries.values()))
            return {key: (await self._reader.value(entry))[0] for key, entry in self._entries.items()}

    async def whole(self) -> tuple[Saved, dict[str, Outcome]]:
        """All of it, with what its tasks came to."""
        tasks = [replace(task, arg=await self.given(i)) for i, task in enumerate(self.saved.checkpoint.frontier)]
        checkpoint = replace(self.saved.checkpoint, values=await self.values(), frontier=tuple(tasks))
        outcomes = {key: found or await self.result(key) for key, found in self.outcomes.items()}
        return replace(self.saved, checkpoint=checkpoint), outcomes

    async def given(self, index: int) -> Any:
        """What the task at this place of the frontier is given."""
        with self._naming:
            return (await self._reader.task(self._frontier[index])).arg

    async def result(self, key: str) -> Result:
        """What a task that has a result came to."""
        with self._naming:
            outcome, _ = await self._reader.outcome(Task(key), self._fields[key])  # START's is not asked for: it is its input
        assert isinstance(outcome, Result)
        return outcome


async def listed(storage: Waiting, thread: str, ns: str, before: int | None, limit: int | None) -> AsyncIterator[Record]:
    """Checkpoints of a namespace below seq `before`, newest first, in batches; what they name is read once for all of them."""
    items: dict[int, bytes] = {}
    left = limit if limit is not None else sys.maxsize
    while left > 0:
        batch = await storage.scan(thread, ns, before, min(BATCH, left))
        for found in batch:
            yield Record(_reader(storage, thread, items), found, thread)
        if len(batch) < BATCH:
            return
        left -= len(batch)
        before = batch[-1].row.seq if batch[-1].row else None


async def one(storage: Waiting, thread: str, ns: str, checkpoint_id: bytes) -> Record | None:
    """The checkpoint of this id, None where there is none."""
    found = await storage.load(thread, ns, checkpoint_id)
    return Record(_reader(storage, thread, {}), found, thread) if found.row else None


def _outcomes(row: Row | None, bodies: Mapping[int | None, Body | None]) -> list[Any]:
    """What the tasks of the checkpoint before came to; nothing is known of it where the row after is damaged.

    That adds to the row before it, or to the one which that adds to, or to none: of these the `bodies` are given.
    """
    try:
        return read_body(row.body).on(bodies.get(row.base) if row.base else None).outcomes if row else []
    except DamagedData:
        return []


def _reader(storage: Waiting, thread: str, items: dict[int, bytes]) -> Reader:
    """What is late is loaded out of a property, which cannot be awaited: it blocks, and never suspends."""
    return Reader(Waiting(storage.storage, at_once), thread, items=items)


async def begun_by(
    storage: Waiting, thread: str, ns: str, begun: Callable[[tuple[Link, ...]], bool], since: bytes
) -> bytes | None:
    """The newest checkpoint of a namespace whose `begun` is one of these, None where there is none; it stands after `since`,
    the checkpoint that began it."""
    before = None
    while rows := await storage.scan(thread, ns, before, BATCH):
        for found in rows:
            if found.row is None or found.row.seq < stamp_of(since):
                return None
            if begun(read_body(found.row.body).begun):
                return found.row.id
            before = found.row.seq
    return None
