"""One run's hold on one thread and namespace: checkpoints become commits, and commits checkpoints (DESIGN §4, §5).

The journal remembers what was last kept, so that only differences are written, and which head and epoch it stands on, so that
nothing is written over. It never decides what is kept when: the loop does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import ormsgpack

from clew.checkpoint.checked import Naming
from clew.checkpoint.entries import Base, Entry, size
from clew.checkpoint.hold import Hold, Tells, not_found
from clew.checkpoint.ledger import Ledger
from clew.checkpoint.manifest import read_answers, read_body, unpacked, write_answers, write_body, write_outcome
from clew.checkpoint.reader import Reader
from clew.checkpoint.storage import Batch, Flight, Found, Kept, Row, Waiting
from clew.constants import START
from clew.engine.apply import task_key
from clew.errors import UnstorableValue
from clew.ids import new_checkpoint_id
from clew.types import Answer, Checkpoint, Failed, Link, Outcome, Paused, Result, Saved, Task

STOP: Final = "!|stop"  # no task's key, for no node's name has a bar: a run has stopped here at a breakpoint
ANSWERS: Final = "?|"  # before a task's key: the answers that it has been given
NOTE: Final = "#|"  # before a note's: see `clew.runtime.notes`


class Journal:
    """What one run knows of one namespace of a thread.

    Attributes:
        saved: the checkpoint last opened or committed; None on an empty thread.
        begun: what began the run, where it is of a graph inside a task; kept with each checkpoint.
        late: nothing is written before `flush` (durability `"exit"`). aside: commits are written while the run goes on.
        leasing: the first write takes the thread's lease, the last one gives it back.
        around: that of the graph around, where it is of a graph inside a task. notes: those kept beside `saved`, by keys.
        sound: no write of this journal has failed, so what it remembers is what is stored. tells: what its next write tells.
    """

    __slots__ = ("_base", "_before", "_entries", "_head", "_keeps", "_keys", "_noted", "_number", "_outcomes",
                 "_stored", "around", "aside", "begun", "hold", "late", "leasing", "ledger", "notes", "ns", "saved", "sound",
                 "storage", "tells")  # fmt: skip

    def __init__(self, storage: Waiting, hold: Hold, ns: str = "") -> None:
        self.hold, self.ns, self.sound = hold, ns, True
        self.begun: tuple[Link, ...] = ()
        self.around: Journal | None = None
        self._on(storage)
        self._forget(Found())
        self._stand(Found())

    def _on(self, storage: Waiting) -> None:
        self.storage, self.tells = storage, Tells()
        self.late = self.aside = self.leasing = False

    def begin(self, storage: Waiting) -> None:
        """Another run begins, which may know what was kept before."""
        self._on(storage)
        self.hold.begin()

    @property
    def thread(self) -> str:
        return self.hold.thread

    def _forget(self, found: Found) -> None:
        """Remembers nothing of what was kept, as on a thread that is empty."""
        self.saved: Saved | None = None
        self._stored: Saved | None = None
        self.ledger = Ledger(found.number or 0, found.logs, self.hold.known)
        self._entries: dict[str, Entry] = {}
        self._keeps: Mapping[str, bool] = {}
        self._base = Base()

    def _stand(self, found: Found) -> None:
        """Takes what the store has as what the next write is conditional on."""
        self._head = found.head
        self._number = found.number or 0
        self.ledger.closed()
        self._before: list[Row] = []  # those that are to be written with the next one
        self._outcomes: list[tuple[str, list[Any]]] = []
        self._keys: set[str] = set()
        self.notes: dict[str, bytes] = {}
        self._noted: dict[str, bytes] = {}  # of the notes, those that `flush` is to write

    # -- reading ----------------------------------------------------------------------------------------------------

    async def open(self, checkpoint_id: bytes | None = None) -> Saved | None:
        """The newest checkpoint, or the one of this id, with the outcomes that were kept of its tasks.

        Raises:
            CheckpointNotFound: there is none of this id.
            CheckpointGone: items that it names are not stored.
        """
        found = await self.storage.load(self.thread, self.ns, checkpoint_id)
        if checkpoint_id is not None and found.row is None:
            raise not_found(self.thread, checkpoint_id)
        untouched = self.hold.claimed or found.epoch == self.hold.left.epoch
        if not self.hold.claimed:
            self.hold.stand(found)
            self.hold.left = Found() if self.hold.mended else Found(found.epoch)
        if found.number is None:
            found.number = self.hold.next_space()
        self._stand(found)
        if found.row is None:
            self._know_nothing()
            self._forget(found)
            return None
        same = untouched and not self.ledger.pending and self.ledger.logs() == found.logs
        if self.saved is None or self.saved.id != found.row.id or not same:
            self._know_nothing()
            with Naming(self.thread, found.row.id):
                await self._read(found, found.row)
        elif self.saved.records or self.saved.answers or self.saved.stopped or found.kept:
            await self._read_records(found, self.saved)
        self._stored = self.saved
        return self.saved

    def trust(self) -> Saved | None:
        """What is remembered of the newest checkpoint, where it need not be asked for: nothing waits there to be done, and the
        first write is refused where anybody has written since."""
        saved, left = self.saved, self.hold.left
        if saved is None or self.unwritten or not left.seq or saved.seq != self._head or saved.checkpoint.frontier:
            return None
        self.hold.stand(left)
        self._stand(Found(head=self._head, number=self._number))
        return saved

    def _know_nothing(self) -> None:
        """Others have written meanwhile, or deleted. What this very run has learnt holds."""
        if not self.hold.claimed:
            self.hold.known.clear()

    async def move(self, ns: str, begun: tuple[Link, ...]) -> None:
        """Stands in another namespace with what is saved here: the next checkpoint there grows from it."""
        found = await self.storage.load(self.thread, ns, None)
        self.ns, self.begun, self._head = ns, begun, found.head
        self._number = self.hold.next_space() if found.number is None else found.number
        self.ledger.move(self._number, found.logs)

    async def leave(self) -> None:
        """Stands where nothing was ever kept, beside what is: the next checkpoint grows from none."""
        found = await self.storage.load(self.thread, self.ns, None)
        found.number = self._number if found.number is None else found.number
        self._forget(found)
        self._stand(found)

    @property
    def at_head(self) -> bool:
        """Whether `saved` is the newest checkpoint."""
        return self.saved is not None and (self.unwritten or self.saved.seq == self._head)

    @property
    def unwritten(self) -> bool:
        """Whether `saved` is yet to be written, by `flush`."""
        return self.saved is not None and self.saved is not self._stored

    async def _read(self, found: Found, row: Row) -> None:
        base = read_body(found.base.body).on(None) if found.base else None
        body = read_body(row.body)
        self._forget(found)
        said, self._entries = body.entries, dict(body.on(base).entries)
        self._base = Base(row.base if base else row.seq, base.entries if base else dict(self._entries), apart=body.apart)
        if base:
            self._base.changed.update(dict.fromkeys(said))
            self._base.spent += size(said) * (row.seq - (row.base or 0)) // 2  # about what those between said
        self.begun = body.begun
        reader = Reader(self.storage, self.thread, self.ledger)
        values = await reader.values(self._entries)
        checkpoint = body.checkpoint(values, tuple([await reader.task(fields) for fields in body.frontier]))
        self.saved = Saved(checkpoint, row.id, row.seq, found.parent_id, {}, body.metadata, begun=body.begun)
        await self._read_records(found, self.saved, reader)

    async def _read_records(self, found: Found, saved: Saved, reader: Reader | None = None) -> None:
        reader, frontier = reader or Reader(self.storage, self.thread, self.ledger), saved.checkpoint.frontier
        tasks = {task_key(frontier, index): task for index, task in enumerate(frontier)}
        records: dict[str, Outcome] = {}
        answers: dict[str, tuple[Answer, ...]] = {}
        self.notes = {}
        for kept in found.kept:
            if kept.task.startswith(ANSWERS):
                answers[kept.task.removeprefix(ANSWERS)] = read_answers(kept.body)
            if kept.task.startswith(NOTE):
                self.notes[kept.task.removeprefix(NOTE)] = kept.body
            if (task := tasks.get(kept.task)) is None:
                continue
            outcome, places = await reader.outcome(task, unpacked(kept.body))
            records[kept.task] = outcome
            if isinstance(outcome, Result):
                for index, write in enumerate(outcome.writes):
                    self._keys.add(write.key)
                    self.ledger.note(write.value, places[index] if places else ())
        stopped = any(kept.task == STOP for kept in found.kept)
        self.saved = replace(saved, records=records, answers=answers, stopped=stopped)

    # -- taking: what the next write keeps --------------------------------------------------------------------------

    def borrow(self) -> None:
        """What the run is given is what `around` has kept: nothing but the engine has had it in hand since."""
        if self.around is not None and not self.around.late:
            self.ledger.lender = self.around.ledger

    def take(self, key: str, task: Task, result: Result, inside: "Journal | None" = None) -> None:
        """Encodes what a task wrote; kept by the next `keep` or `commit`.

        `inside` is of the graph that the task is, where what that came to is what the task wrote.

        Raises:
            UnstorableValue: a value that cannot be stored; nothing of this result is taken.
        """
        mark = len(self.ledger.pending)
        try:
            fields = write_outcome(self.ledger, task, result, inside.ledger if inside and not inside.late else None)
        except UnstorableValue as error:
            self.ledger.undo(mark)
            name = "the input" if task.node == START else f"node {task.node!r}"
            raise UnstorableValue(f"{name} wrote {error.reason}", error.path) from None
        self._keys.update([write.key for write in result.writes])
        self._outcomes.append((key, fields))

    def fail(self, keys: Sequence[str], failed: Failed) -> None:
        """Notes that these tasks failed, whatever was taken of them before; kept by the next `keep`."""
        taken = [outcome for outcome in self._outcomes if outcome[0] not in keys]
        fields = write_outcome(self.ledger, Task(""), failed)
        self._outcomes = taken + [(key, fields) for key in keys]

    def pause(self, key: str, paused: Paused) -> None:
        """Notes that a task waits for answers; kept by the next `keep`."""
        self._outcomes.append((key, write_outcome(self.ledger, Task(""), paused)))

    def answer(self, key: str, answers: Sequence[Answer]) -> None:
        """Notes all answers that a task has been given; kept by the next `keep`. Raises UnstorableValue."""
        self._outcomes.append((ANSWERS + key, write_answers(answers)))

    def stop(self) -> None:
        """Notes that a run stops here at a breakpoint; kept by the next `keep`."""
        self._outcomes.append((STOP, []))

    # -- writing ----------------------------------------------------------------------------------------------------

    def note(self, key: str, body: bytes) -> None:
        """Keeps a note beside the checkpoint at once, from whatever thread; it blocks. Raises ThreadConflict."""
        assert self.saved is not None
        if self.late:
            self._noted[key] = body
        else:
            self.hold.note(self.saved.seq, NOTE + key, body)
        self.notes[key] = body

    async def keep(self, *, last: bool = False) -> None:
        """Keeps the outcomes taken so far while the superstep goes on; `last` gives the lease back. Raises ThreadConflict."""
        if not self.late:
            await self._write(self._kept(), last=last)

    async def claim(self) -> None:
        """Takes the thread for this run, where none of its writes has. Raises ThreadConflict."""
        if not self.hold.claimed:
            await self._write([])

    async def flush(self) -> None:
        """The run is over: what has not been written yet is, and the lease is given back. Raises ThreadConflict."""
        await self._landed()
        kept = self._kept() if self.late else []
        kept += [Kept(self.saved.seq, NOTE + key, body) for key, body in self._noted.items()] if self.saved else []
        if self.late and self.saved is not None and self.unwritten:
            await self._write_row(self.saved, kept, last=True)
        elif kept or (self.leasing and (self.hold.leased or (self.saved and self.hold.tells))):
            await self._write(kept, last=True)

    def _kept(self) -> list[Kept]:
        """The outcomes taken so far, as rows, to be written now."""
        seq, taken, self._outcomes = self.saved.seq if self.saved else 0, self._outcomes, []
        return [Kept(seq, key, ormsgpack.packb(fields)) for key, fields in taken]

    async def commit(
        self, checkpoint: Checkpoint, keeps: Mapping[str, bool], metadata: Mapping[str, Any] | None = None, *,
        last: bool = False, aside: bool = False, joined: bool = False, named: tuple[int, bytes] | None = None,
        answers: Mapping[str, Sequence[Answer]] | None = None, notes: Mapping[str, bytes] | None = None,
    ) -> Saved:  # fmt: skip
        """Commits a checkpoint that grows from `saved`, with all outcomes taken since. One transaction.

        Args:
            keeps: the keys of the state, each with whether its channel `keeps_elements`.
            metadata: what to keep with it beside source and step. last: the lease is given back with it. aside: it may be
                written while the run goes on, where `self.aside` says so. joined: it is of START, which does nothing but write
                what it is given, and is written with the one after that. named: the seq and id that it is to have (`new_id`);
                default: the next. answers, notes: what its tasks have been given, and have noted, by their keys.

        Raises:
            ThreadConflict: another run has moved the thread on; nothing was written.
            UnstorableValue: a value that cannot be stored; nothing was written.
        """
        seq, id_ = named or self.new_id()
        saved = Saved(checkpoint, id_, seq, self._stored and self._stored.id, {}, metadata or {}, {}, False, self.begun)
        self._keeps = keeps
        beside = [(ANSWERS + key, write_answers(given)) for key, given in answers.items()] if answers else []
        if self.late:
            self.ledger.dropped()
            self._outcomes = beside
        else:
            kept = [Kept(seq, key, ormsgpack.packb(fields)) for key, fields in beside] if beside else []
            kept += [Kept(seq, NOTE + key, body) for key, body in notes.items()] if notes else []
            await self._write_row(saved, kept, last=last, aside=aside and self.aside, joined=joined)
        self.saved, self.notes = saved, dict(notes) if notes else {}
        self._noted = self.notes.copy() if self.late else {}
        return saved

    def new_id(self) -> tuple[int, bytes]:
        """The seq and id of a checkpoint that is yet to be committed."""
        seq = self.hold.next_seq()
        return seq, new_checkpoint_id(seq)

    async def _write_row(
        self, saved: Saved, kept: list[Kept], *, last: bool, aside: bool = False, joined: bool = False
    ) -> None:
        """Writes a checkpoint; what its tasks came to stands beside it, and what those of the one before came to in it."""
        sound, self.sound = self.sound, False  # until it is written, what the ledger holds is not what is stored
        said, base = self._said(saved.checkpoint)
        taken, self._outcomes = self._outcomes, []
        body = write_body(self.ledger, saved.checkpoint, self._entries, said, taken, saved.metadata, self.begun, base)
        row = Row(saved.seq, saved.id, self._stored.seq if self._stored else None, base.seq if base else None, body)
        self._before.append(row)
        self.tells.show(saved)
        if not joined:
            await self._write(kept, last=last, aside=aside)
        self.sound = sound
        self._base = base or Base(saved.seq, dict(self._entries))
        self._stored = saved
        self._keys.clear()
        if joined:  # what START is given is what it writes, and stands in the ledger already
            self._keys.update([write.key for write in saved.checkpoint.frontier[0].arg])
        else:
            self.ledger.closed()

    def _said(self, checkpoint: Checkpoint) -> tuple[dict[str, Entry], Base | None]:
        """What the manifest says of the values, and the row that it adds to, None where it says all of them.

        The first one of a graph inside a task adds to that of the graph around it, whose values it may have been given.
        """
        ledger, values, mark = self.ledger, checkpoint.values, len(self.ledger.pending)
        keys = sorted([key for key in self._keys if key in values])
        if ledger.written:
            keys += [key for key in ledger.kept if key not in self._keys and key in values and ledger.touches(key)]
        if not values.keys() <= self._entries.keys():  # in the order that whoever reads them sees
            keys = list(filter({*keys, *(values.keys() - self._entries.keys())}.__contains__, values))
        for key in keys:
            try:
                self._entries[key] = ledger.value(key, values[key], self._keeps.get(key, False))
            except UnstorableValue as error:
                ledger.undo(mark)
                raise UnstorableValue(f"the reducer produced {error.reason}", f"{key}{error.path}") from None
        gone = len(self._entries) > len(values)
        if gone:  # a manifest can only add to its base
            for key in self._entries.keys() - values.keys():
                del self._entries[key]
                ledger.kept.pop(key, None)
        base = self._base
        if base.seq is None and self.around is not None and not self.late:
            base = Base(self.around._base.seq, self.around._base.entries, apart=True)
        said = base.said(self._entries, keys, gone=gone)
        return (self._entries, None) if said is None else (said, base)

    async def _write(self, kept: list[Kept], *, last: bool = False, aside: bool = False) -> None:
        if self.hold.flight is not None:
            await self._landed()
        rows, self._before = self._before, []
        ledger, hold = self.ledger, self.hold
        sent, told = ledger.sent(), self.tells.taken()
        items = [(place >> 40, place & 0xFF_FFFF_FFFF, data) for place, _, data in sent] if sent else []
        logs = ledger.logs() if items or rows or (self._head and not hold.claimed) else None  # who claims has read the head
        batch = Batch(hold.thread, self.ns, self._number, self._head, hold.epoch, 0, logs, items, kept, None, [])
        if rows:
            *batch.history, batch.row = rows
            self._head = batch.row.seq
        hold.dress(batch, leasing=self.leasing, release=last and self.leasing)

        def write() -> None:
            hold.written(batch, stop=hold.commit(self.storage.storage.commit, batch, told))
            ledger.stored(sent)

        if aside and self.storage.aside:
            hold.flight = Flight(write)
            self.storage.aside(hold.flight.run)
            return
        try:
            await (self.storage.ask(write) if hold.events is None else self.storage.wait(write))
        except BaseException:
            self.sound = False
            raise

    async def _landed(self) -> None:
        """Waits for the write that is on its way."""
        flight = self.hold.flight
        if flight is not None and not flight.landed:
            self.sound, sound = False, self.sound
            await self.storage.wait(flight.wait)
            self.sound = sound
        self.hold.flight = None
