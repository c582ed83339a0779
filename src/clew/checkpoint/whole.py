"""A run's hold on a thread whose checkpoints are kept whole: no items, no manifests, and no number that counts for all."""

import threading
from typing import Any, Final, Protocol, cast

import ormsgpack

from clew.checkpoint.codec import encode
from clew.checkpoint.entries import Base, Entry
from clew.checkpoint.hold import Hold
from clew.checkpoint.journal import NOTE, Journal
from clew.checkpoint.ledger import Ledger
from clew.checkpoint.manifest import over
from clew.checkpoint.storage import Batch, Found, Kept, Storage
from clew.constants import START
from clew.errors import UnstorableValue
from clew.ids import created_ms, new_checkpoint_id, stamped
from clew.types import Checkpoint, Saved

AFTER: Final = "=|"  # before the key of an outcome that came with the end of its superstep


class Newest(Protocol):
    """What the journal asks of the storage besides."""

    def newest(self, thread: str, ns: str) -> bytes: ...


class WholeHold(Hold):
    """A hold whose numbers are above all that it has seen: no row of a classic saver counts over all namespaces."""

    __slots__ = ("_lock", "_top")

    def __init__(self, storage: Storage, thread: str, seconds: float) -> None:
        self._lock = threading.Lock()
        self._top = 0
        super().__init__(storage, thread, seconds)

    def next_seq(self) -> int:
        with self._lock:
            self._top = max(self._top + 1, super().next_seq())
            return self._top

    def seen(self, seq: int) -> None:
        with self._lock:
            self._top = max(self._top, seq)


class WholeLedger(Ledger):
    """Keeps each value whole, where it is named."""

    __slots__ = ()

    def write(self, log: str, value: Any, lender: Ledger | None = None) -> Entry:
        return encode(value)

    def value(self, key: str, value: Any, keeps_elements: bool) -> Entry:
        return encode(value)


class WholeJournal(Journal):
    """A journal whose checkpoints are whole, and whose outcomes all stand beside the checkpoint that their tasks are of: no row
    of a classic saver is found by the one that it grew from."""

    __slots__ = ()

    def _forget(self, found: Found) -> None:
        super()._forget(found)
        self.ledger = WholeLedger(found.number or 0)

    def _stand(self, found: Found) -> None:
        super()._stand(found)
        cast(WholeHold, self.hold).seen(found.seq)

    def _said(self, checkpoint: Checkpoint) -> tuple[dict[str, Entry], Base | None]:
        self._entries = {}
        for key, value in checkpoint.values.items():
            try:
                self._entries[key] = encode(value)
            except UnstorableValue as error:
                raise UnstorableValue(f"the reducer produced {error.reason}", f"{key}{error.path}") from None
        return self._entries, None

    def new_id(self) -> tuple[int, bytes]:
        """Above the newest of the namespace, as which is the newest is all that a classic saver goes by; clocks may differ."""
        seq, made = self.hold.next_seq(), new_checkpoint_id()
        newest = cast("Newest", self.storage.storage).newest(self.thread, self.ns)
        if made <= newest:
            made = (created_ms(newest) + 1).to_bytes(6, "big") + made[6:]
        return seq, stamped(made, seq)

    async def _write_row(
        self, saved: Saved, kept: list[Kept], *, last: bool, aside: bool = False, joined: bool = False
    ) -> None:
        """One after the other: a classic saver takes them no other way."""
        taken = [(key, over(fields)) for key, fields in self._outcomes if key != START]
        self._outcomes = []
        if taken and self._stored is not None:
            await self._write([Kept(self._stored.seq, AFTER + key, ormsgpack.packb(fields)) for key, fields in taken])
        await super()._write_row(saved, kept, last=last, aside=aside)

    def note(self, key: str, body: bytes) -> None:
        if self.late or self.saved is None:
            super().note(key, body)
            return
        if self.hold.flight is not None:
            self.hold.flight.wait()
        kept = Kept(self.saved.seq, NOTE + key, body)
        self.storage.storage.commit(Batch(self.thread, self.ns, 0, None, 0, kept=[kept]))
        self.notes[key] = body
