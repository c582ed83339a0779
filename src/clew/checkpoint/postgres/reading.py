"""Checkpoints of a namespace, found where those of its thread stand together: in its tail, and in closed segments."""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from clew.checkpoint.segments import Head, heads, row_of, unreadable
from clew.checkpoint.storage import Found, Kept, Row
from clew.errors import DamagedData

MOST: Final = (1 << 31) - 1
"""No seq is higher."""
UP: Final = 16
"""Segments that are looked through at a time for what grew from a checkpoint."""

Segments: TypeAlias = Sequence[tuple[int, bytes]]
"""The oldest first, each with a seq that none in it exceeds."""
Part: TypeAlias = tuple[bytes, list[Head]]
"""A segment, and the heads of some of its records."""
UNREADABLE: Final[Part] = (b"", [])
Ask: TypeAlias = Callable[[int, int, int], Segments]
"""Closed ones that end at one seq or above and begin at another or below, so many."""


class Read:
    """What has been read of a thread, and how more of it is. It is unpacked as it is needed.

    Args:
        number: of the namespace. ask: how more is read. closed: segments. tail: the thread's newest one.
        top: the last of those closed before which all others stand that are older; None where the tail comes right after.

    Attributes:
        firsts: the lowest seqs of segments. sought: seqs that are here or nowhere; so are those from `bottom` to below `at`.
    """

    __slots__ = (
        *("_ask", "_damaged", "_heads", "_near", "_number", "_packed", "_rows", "_top", "_unpacked"),
        *("at", "bottom", "firsts", "sought"),
    )

    def __init__(self, number: int, ask: Ask, closed: Segments, tail: Segments, top: int | None) -> None:
        self._number = number
        self._ask = ask
        self._packed = [*closed, *tail]
        self._unpacked: list[Part | None] = [None] * len(self._packed)
        self._heads: dict[int, tuple[bytes, Head]] = {}
        self._rows: dict[int, Row] = {}
        self._damaged = False
        self._top = top
        self._near = len(self._packed) if top is None else sum(last <= top for last, _ in closed)
        self.firsts: Sequence[int] = ()
        self.sought: list[int] = []
        self.bottom, self.at = MOST, MOST

    def _part(self, place: int) -> Part:
        """What a segment has of the namespace, the newest first."""
        part = self._unpacked[place]
        if part is None:
            part = self._unpacked[place] = self._taken(self._packed[place][1])
        return part

    def _taken(self, data: bytes) -> Part:
        try:
            found = heads(data)
        except DamagedData:
            self._damaged = True
            return UNREADABLE
        self._heads.update({head[1]: (data, head) for head in found})
        return data, [head for head in found if head[0] == self._number]

    def _row(self, data: bytes, head: Head) -> Row:
        if (row := self._rows.get(head[1])) is None:
            row = self._rows[head[1]] = row_of(data, head)
        return row

    def page(self, limit: int) -> list[Row]:
        """The rows of the namespace below `at`, the newest first. A segment that cannot be read is one that cannot be."""
        found: list[Row] = []
        for place in reversed(range(len(self._packed))):
            data, own = part = self._part(place)
            found += [self._row(data, head) for head in own if head[1] < self.at]
            if part is UNREADABLE and self.firsts[place] < self.at:
                found.append(unreadable(min(self._packed[place][0], self.at - 1)))
            if len(found) >= limit:
                break
        return found[:limit]

    def own(self, seq: int, id_: bytes | None) -> Row | None:
        """A row of the namespace. `id_`: what it is called, should it be one that cannot be read."""
        if not self._is_here(seq):  # the server took something else for it, and looked no further
            self._top, self._near = seq - 1, 0
        row = self.find(seq)
        if seq not in self._heads:
            return row and unreadable(seq, id_)
        return row if self._heads[seq][1][0] == self._number else None

    def find(self, seq: int | None) -> Row | None:
        """A row of whatever namespace. Where something that cannot be read may have it, one that says so when it is read."""
        if seq is None:
            return None
        if not self._is_here(seq):
            self.sought.append(seq)
            for _, data in self._ask(seq, seq, MOST):
                self._taken(data)
        found = self._heads.get(seq)
        return self._row(*found) if found else unreadable(seq) if self._damaged else None

    def _is_here(self, seq: int) -> bool:
        """Whether a row is here, or nowhere."""
        for place, (last, _) in enumerate(self._packed):
            if seq in self._heads:
                return True
            if last >= seq:
                self._part(place)
        return seq in self._heads or seq in self.sought or self.bottom <= seq < self.at

    def followed(self, seqs: set[int]) -> dict[int, Row]:
        """By these seqs, the first row of the namespace that grew from each. Reads upward until each has one, or there is no
        more."""
        found: dict[int, Row] = {}
        if not seqs:
            return found

        def look(part: Part) -> bool:
            data, own = part
            for head in reversed(own):
                _, seq, parent, *_ = head
                if parent in seqs and parent < seq and parent not in found:
                    found[parent] = self._row(data, head)
            return len(found) == len(seqs)

        near = [place for place in range(self._near) if self._packed[place][0] > min(seqs)]
        is_done = any(look(self._part(place)) for place in near)
        while not is_done and self._top is not None:
            above = self._ask(self._top + 1, MOST, UP)
            is_done = any(look(self._taken(data)) for _, data in above)
            self._top = above[-1][0] if len(above) == UP else None
        if not is_done:
            any(look(self._part(place)) for place in range(self._near, len(self._packed)))
        return found


def completed(found: Found, row: Row, read: Read, kept: list[Kept], next_: Row | None) -> Found:
    """`found`, with a row and all that belongs to it."""
    parent = read.find(row.parent)
    found.row, found.base, found.next, found.kept = row, read.find(row.base), next_, kept
    found.parent_id = parent.id if parent else None
    return found
