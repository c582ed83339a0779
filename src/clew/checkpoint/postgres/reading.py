"""Checkpoints of a namespace, found where those of its thread stand together: in its tail, and in closed segments."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from clew.checkpoint.segments import records
from clew.checkpoint.storage import Found, Kept, Row
from clew.errors import DamagedData

MOST: Final = (1 << 31) - 1
"""No seq is higher."""
UP: Final = 16
"""Segments that are looked through at a time for what grew from a checkpoint."""

Segments: TypeAlias = Sequence[tuple[int, bytes]]
"""The oldest first, each with a seq that none in it exceeds."""
Ask: TypeAlias = Callable[[int, int, int], Segments]
"""Closed ones that end at one seq or above and begin at another or below, so many."""


class Read:
    """What has been read of a thread, and how more of it is.

    Args:
        number: of the namespace. ask: how more is read. closed: segments. tail: the thread's newest one.
        top: the last of those closed before which all others stand that are older; None where the tail comes right after.

    Attributes:
        sought: seqs that are here or nowhere, as are those from `bottom` to below `at`.
        damaged: something that cannot be read may have held what is not found.
    """

    __slots__ = ("_ask", "_newer", "_number", "_own", "_rows", "_top", "at", "bottom", "damaged", "sought")

    def __init__(self, number: int, ask: Ask, closed: Segments, tail: Segments, top: int | None) -> None:
        self._number = number
        self._ask = ask
        self._rows: dict[int, tuple[int, Row]] = {}
        self._top = top
        self.sought: list[int] = []
        self.bottom, self.at = MOST, MOST
        self.damaged = False
        near = [segment for segment in closed if top is None or segment[0] <= top]
        self._own = self._added(near)
        self._newer = self._added([*closed[len(near) :], *tail])

    def _added(self, segments: Segments) -> list[Row]:
        """Takes segments in. Returns the rows of the namespace in the order in which they were committed.

        A segment that cannot be read is a row that cannot be, so that the others can.
        """
        own: list[Row] = []
        for last, data in segments:
            try:
                found = records(data)
            except DamagedData:
                own.append(unreadable(last))
                self.damaged = True
                continue
            for number, row in reversed(found):  # the newest stands first
                self._rows[row.seq] = number, row
                if number == self._number:
                    own.append(row)
        return own

    def page(self, limit: int) -> list[Row]:
        """The rows of the namespace below `at`, the newest first."""
        return [row for row in reversed([*self._own, *self._newer]) if row.seq < self.at][:limit]

    def own(self, seq: int) -> Row | None:
        """A row of the namespace."""
        if not self._is_known(seq):  # the server took something else for it
            self._newer = [*self._own, *self._newer]
            self._own, self._top = [], seq - 1
            self.find(seq)
        number, row = self._rows.get(seq, (None, None))
        return row if number == self._number else None

    def find(self, seq: int | None) -> Row | None:
        """A row of whatever namespace. Where something that cannot be read may have it, one that says so when it is read."""
        if seq is None:
            return None
        if not self._is_known(seq):
            self.sought.append(seq)
            self._added(self._ask(seq, seq, MOST))
        found = self._rows.get(seq)
        return found[1] if found else unreadable(seq) if self.damaged else None

    def _is_known(self, seq: int) -> bool:
        return seq in self._rows or seq in self.sought or self.bottom <= seq < self.at

    def followed(self, seqs: set[int]) -> dict[int, Row]:
        """By these seqs, the first row of the namespace that grew from each. Reads upward until each has one, or there is no
        more."""
        found: dict[int, Row] = {}

        def look(rows: Iterable[Row]) -> None:
            for row in rows:
                if row.parent in seqs and row.parent < row.seq:
                    found.setdefault(row.parent, row)

        look(self._own)
        while self._top is not None and len(found) < len(seqs):
            above = self._ask(self._top + 1, MOST, UP)
            look(self._added(above))
            self._top = above[-1][0] if len(above) == UP else None
        look(self._newer)
        return found


def unreadable(seq: int, id_: bytes | None = None) -> Row:
    """What stands for a checkpoint that is there, and cannot be read."""
    return Row(seq, id_ or bytes(12) + seq.to_bytes(4, "big"), None, None, b"")


def completed(found: Found, row: Row, read: Read, kept: list[Kept], next_: Row | None) -> Found:
    """`found`, with a row and all that belongs to it."""
    parent = read.find(row.parent)
    found.row, found.base, found.next, found.kept = row, read.find(row.base), next_, kept
    found.parent_id = parent.id if parent else None
    return found
