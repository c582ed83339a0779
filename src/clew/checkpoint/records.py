"""Checkpoints as they are listed: a row is read, and looked at when somebody asks what it says; what it names is loaded when
somebody asks for that."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from clew.checkpoint.checked import Naming
from clew.checkpoint.crypt import is_sealed
from clew.checkpoint.journal import ANSWERS, NOTE
from clew.checkpoint.manifest import PAUSED, Body, read_answers, read_body, unpacked
from clew.checkpoint.reader import Reader
from clew.checkpoint.storage import Found, Row, Waiting, at_once, done
from clew.engine.apply import task_key
from clew.errors import DamagedData, MissingKey
from clew.ids import stamp_of
from clew.types import Checkpoint, Late, Link, Outcome, Paused, Saved, Task

BATCH: Final = 50
DAMAGED: Final = "damaged"  # the source of a checkpoint whose row cannot be read


class _Said(NamedTuple):
    """What a row says: see `Record`."""

    saved: Saved
    outcomes: Mapping[str, Outcome | Late]


class Record:
    """One checkpoint of a listing. Its row is looked at when `saved` or `outcomes` is first asked for; a row that is damaged
    says so by its source, and where its values are asked for.

    Attributes:
        id: of the checkpoint. saved: all of it; its values, and what START and `Send`s are given, are late. outcomes: what its
            tasks came to, by their keys; results are late. notes: what its tasks have noted beside (`clew.runtime.notes`).

    What is late cannot be awaited: it blocks, on the async face too.
    """

    __slots__ = ("_found", "_row", "_rows", "_said")

    def __init__(self, rows: "_Rows", found: Found, row: Row) -> None:
        self._rows = rows
        self._found = found
        self._row = row
        self._said: _Said | None = None

    @property
    def id(self) -> bytes:
        return self._row.id

    @property
    def saved(self) -> Saved:
        return self._look().saved

    @property
    def outcomes(self) -> Mapping[str, Outcome | Late]:
        return self._look().outcomes

    @property
    def notes(self) -> dict[str, bytes]:
        return {kept.task.removeprefix(NOTE): kept.body for kept in self._found.kept if kept.task.startswith(NOTE)}

    def whole(self) -> tuple[Saved, dict[str, Outcome]]:
        """All of it, loaded. Raises CheckpointGone, or DamagedData, which names the checkpoint."""
        saved, outcomes = self._look()
        checkpoint = saved.checkpoint
        tasks = tuple([replace(task, arg=_loaded(task.arg)) for task in checkpoint.frontier])
        checkpoint = replace(checkpoint, values=dict(checkpoint.values), frontier=tasks)
        return replace(saved, checkpoint=checkpoint), {key: _loaded(outcome) for key, outcome in outcomes.items()}

    def _look(self) -> _Said:
        if self._said is None:
            self._said = self._looked()
        return self._said

    def _looked(self) -> _Said:
        found, row = self._found, self._row
        naming = Naming(self._rows.thread, row.id)
        try:
            return self._listed(naming)
        except (DamagedData, MissingKey) as error:  # the others can be listed, and this one says so where it is opened
            if isinstance(error, MissingKey) and found.head == row.seq:  # it is no damage: the thread is sealed
                raise
            damage = error if isinstance(error, MissingKey) else naming.named(error)
            lost = Checkpoint(_Values(Late(lambda: _refused(damage))), source=DAMAGED)
            return _Said(Saved(lost, row.id, row.seq, found.parent_id, metadata={DAMAGED: str(error)}), {})

    def _listed(self, naming: Naming) -> _Said:
        rows, found, row = self._rows, self._found, self._row
        base = rows.body(found.base, None) if found.base else None
        body = rows.body(row, base)
        reader = Reader(rows.storage, rows.thread, items=rows.items)
        frontier = tuple([reader.named(fields, _late(naming, _given, reader, fields)) for fields in body.frontier])
        checkpoint = body.checkpoint(_Values(_late(naming, reader.values, body.entries)), frontier)
        keys = {task_key(frontier, index) for index in range(len(frontier))}
        kept: list[tuple[str, Any]] = [(kept.task, unpacked(kept.body)) for kept in found.kept if kept.task in keys]
        after = body.results or rows.outcomes_in(found.next, {row.seq: body, row.base: base})
        fields = dict([*kept, *[(key, fields) for key, *fields in after if key in keys]])
        outcomes = {key: reader.said(found) or _late(naming, _result, reader, key, found) for key, found in fields.items()}
        asked = {key: reader.said(fields) for key, fields in kept if fields[0] == PAUSED}
        records: dict[str, Outcome] = {key: outcome for key, outcome in asked.items() if isinstance(outcome, Paused)}
        answers = {
            kept.task.removeprefix(ANSWERS): read_answers(kept.body) for kept in found.kept if kept.task.startswith(ANSWERS)
        }
        saved = Saved(checkpoint, row.id, row.seq, found.parent_id, records, body.metadata, answers, begun=body.begun)
        return _Said(saved, outcomes)


class _Values(Mapping[str, Any]):
    """The values of a checkpoint, loaded when the first of them is asked for."""

    __slots__ = ("_late",)

    def __init__(self, late: Late) -> None:
        self._late = late

    def __getitem__(self, key: str) -> Any:
        return self._late()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._late())

    def __len__(self) -> int:
        return len(self._late())


def _late(naming: Naming, load: Callable[..., Awaitable[Any]], *given: Any) -> Late:
    def loaded() -> Any:
        with naming:
            return done(load(*given))

    return Late(loaded)


async def _given(reader: Reader, fields: Any) -> Any:
    return (await reader.task(fields)).arg


async def _result(reader: Reader, key: str, fields: list[Any]) -> Outcome:
    return (await reader.outcome(Task(key), fields))[0]  # START's is not asked for: it is its input


def _loaded(value: Any) -> Any:
    return value() if type(value) is Late else value


def _refused(error: DamagedData | MissingKey) -> Any:
    raise error


class _Rows:
    """What the records of one batch share: rows that were looked at, for one may be what others add to, or come after them; and
    the items that were read, with the whole listing."""

    __slots__ = ("_bodies", "items", "storage", "thread")

    def __init__(self, storage: Waiting, thread: str, items: dict[int, bytes]) -> None:
        self.storage = Waiting(storage.storage, at_once)  # what is late is loaded out of a property
        self.thread = thread
        self.items = items
        self._bodies: dict[Row, Body] = {}

    def body(self, row: Row, base: Body | None) -> Body:
        """What a row says, with what it takes from its base. Raises DamagedData."""
        found = self._bodies.get(row)
        if found is None:
            found = read_body(row.body).on(base)
            if row.base is None or base is not None:
                self._bodies[row] = found
        return found

    def outcomes_in(self, row: Row | None, bodies: Mapping[int | None, Body | None]) -> list[Any]:
        """What the tasks of the checkpoint before came to; nothing is known of it where the row after is damaged.

        That adds to the row before it, or to the one which that adds to, or to none: of these the `bodies` are given.
        """
        try:
            return self.body(row, bodies.get(row.base) if row.base else None).outcomes if row else []
        except DamagedData:
            return []


async def listed(storage: Waiting, thread: str, ns: str, before: int | None, limit: int | None) -> AsyncIterator[Record]:
    """Checkpoints of a namespace below seq `before`, newest first, in batches; what they name is read once for all of them.

    Raises MissingKey where they are sealed, and the saver has no key.
    """
    items: dict[int, bytes] = {}
    left = limit if limit is not None else sys.maxsize
    while left > 0:
        batch = await storage.scan(thread, ns, before, min(BATCH, left))
        rows = _Rows(storage, thread, items)
        for found in batch:
            if found.row is not None:
                yield _record(rows, found, found.row)
                before = found.row.seq
        if len(batch) < BATCH:
            return
        left -= len(batch)


async def one(storage: Waiting, thread: str, ns: str, checkpoint_id: bytes) -> Record | None:
    """The checkpoint of this id, None where there is none. Raises MissingKey, as `listed`."""
    found = await storage.load(thread, ns, checkpoint_id)
    return _record(_Rows(storage, thread, {}), found, found.row) if found.row else None


def _record(rows: _Rows, found: Found, row: Row) -> Record:
    record = Record(rows, found, row)
    if is_sealed(row.body):  # whether that is damage, or the key is missing, is said at once
        _ = record.saved
    return record


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
