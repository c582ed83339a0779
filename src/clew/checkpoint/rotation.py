"""Sealing anew what was sealed with an older key, or what was never sealed: in small steps, beside whoever reads.

A thread is taken as a run does, by its epoch, so that a run that begins meanwhile takes it away, and nothing is lost by that.
"""

from collections.abc import Iterator
from typing import Final

from clew.checkpoint.crypt import Ring, is_sealed, key_id
from clew.checkpoint.hold import Hold
from clew.checkpoint.places import LogsPlace
from clew.checkpoint.sealed import SealedStorage, Seals, new_mark, open_logs
from clew.checkpoint.storage import Batch, Found, Kept, Pruning, Row, Space, Storage
from clew.errors import ThreadConflict

STEP: Final = 50  # rows or items that are read, and sealed anew, at a time


def reseal(storage: SealedStorage, thread: str, *, plain: bool) -> bool:
    """Seals anew whatever of a thread is not sealed with its current key. Returns whether it did: another run may have it.

    Args:
        plain: what is not sealed is taken as true, and sealed.

    Raises:
        TamperedRow: something was not sealed for its place. MissingKey: a key is gone, or was not given.
    """
    ring, rows = storage.encryption.ring(thread), storage.storage
    if not any(_is_old(ring, data) for data in _everything(rows, thread)):
        return True
    hold = Hold(rows, thread)
    hold.stand(rows.load(thread, "", None))
    if hold.busy:
        return False
    batch = Batch(thread, "", 0, None, 0)
    hold.dress(batch, leasing=False, release=False)
    try:
        hold.written(batch, stop=rows.commit(batch))
        _Rotation(rows, ring, hold, plain=plain).run()
    except ThreadConflict:
        return False
    return True


class _Rotation:
    """One thread on its way to its current key.

    Args:
        rows: the storage that holds what is sealed. hold: has claimed the thread.
    """

    def __init__(self, rows: Storage, ring: Ring, hold: Hold, *, plain: bool) -> None:
        self.rows, self.ring, self.hold, self.plain = rows, ring, hold, plain

    def run(self) -> None:
        thread, spaces = self.hold.thread, self.rows.spaces(self.hold.thread)
        logs = [self._logs(space) for space in spaces]
        mark = next((mark for mark, _ in logs if mark), None) or new_mark()
        seals = Seals(self.ring, mark, plain=self.plain)
        for space, (_, ends) in zip(spaces, logs, strict=True):  # first: the mark stands there, which all else is bound to
            if self._is_old(space.logs):
                sealed = seals.seal_logs(ends, LogsPlace(space.ns, space.number, space.head))
                self.rows.commit(Batch(thread, space.ns, space.number, space.head, self.hold.epoch, logs=sealed))
        for space in spaces:
            for found in _scanned(self.rows, thread, space.ns):
                self._rows(seals, space.ns, found)
        for items in _walked(self.rows, thread):
            old = [seals.seal_item(seals.open_item(item)) for item in items if self._is_old(item[2])]
            if old:
                self.rows.prune(Pruning(thread, self.hold.epoch, items=old))

    def _logs(self, space: Space) -> tuple[bytes | None, bytes]:
        if self.plain and not is_sealed(space.logs):
            return None, space.logs
        return open_logs(self.ring, space.logs, LogsPlace(space.ns, space.number, space.head))

    def _rows(self, seals: Seals, ns: str, found: list[Found]) -> None:
        old: list[Row] = [one.row for one in found if one.row and self._is_old(one.row.body)]
        kept: list[Kept] = [outcome for one in found for outcome in one.kept if self._is_old(outcome.body)]
        thread, epoch = self.hold.thread, self.hold.epoch
        if old:
            changed = [seals.seal_row(seals.open_row(row, ns), ns) for row in old]
            self.rows.prune(Pruning(thread, epoch, changed=changed))
        if kept:
            again = [seals.seal_kept(seals.open_kept(outcome)) for outcome in kept]
            self.rows.commit(Batch(thread, "", 0, None, epoch, kept=again))

    def _is_old(self, data: bytes) -> bool:
        return _is_old(self.ring, data)


def _is_old(ring: Ring, data: bytes) -> bool:
    return not is_sealed(data) or key_id(data) != ring.current


def _everything(rows: Storage, thread: str) -> Iterator[bytes]:
    """All that is sealed of a thread."""
    for space in rows.spaces(thread):
        yield space.logs
        for found in _scanned(rows, thread, space.ns):
            for one in found:
                yield from (one.row.body,) if one.row else ()
                yield from (outcome.body for outcome in one.kept)
    for items in _walked(rows, thread):
        yield from (data for _, _, data in items)


def _scanned(rows: Storage, thread: str, ns: str) -> Iterator[list[Found]]:
    before = None
    while found := rows.scan(thread, ns, before, STEP):
        yield found
        before = found[-1].row.seq if found[-1].row else None


def _walked(rows: Storage, thread: str) -> Iterator[list[tuple[int, int, bytes]]]:
    after = (-1, -1)
    while found := rows.walk(thread, after, STEP):
        yield found
        after = found[-1][:2]
