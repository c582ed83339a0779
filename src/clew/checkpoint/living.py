"""What of a thread lives: which checkpoints those that are kept need, and which items the checkpoints name.

Nothing is changed here, and no value is made again: rows are read, and of items only where they lead on.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import ormsgpack

from clew.checkpoint.checked import Reading, entry_of, origin_of, triples
from clew.checkpoint.codec import Split
from clew.checkpoint.entries import PAGES, Entry, is_page
from clew.checkpoint.journal import ANSWERS, NOTE, STOP
from clew.checkpoint.kept import PARTS
from clew.checkpoint.ledger import PAGED
from clew.checkpoint.manifest import FAILED, PAUSED, read_body, unpacked
from clew.checkpoint.registry import SPLIT
from clew.checkpoint.storage import Found, Kept, Space, Storage
from clew.ids import stamp_of
from clew.types import Link

ROWS: Final = 100  # that are read in one go
ITEMS: Final = 256  # likewise
BESIDE: Final = (STOP, ANSWERS, NOTE)
"""How the keys begin of what is kept beside a checkpoint and is no task's outcome."""
LEADS_ON: Final = re.compile(
    rb"\xc7.%(code)b|\xc8..%(code)b|\xc9....%(code)b|[\xd4-\xd8]%(code)b" % {b"code": bytes([SPLIT])}, re.S
)
"""How a `Split` begins in an item's bytes: what has none of these need not be looked into."""


# -- checkpoints ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Member:
    """One checkpoint of a thread, as far as others hang on it.

    Attributes:
        parent, base: as in its row. next: seq of the first one that grew from it in its namespace, None where none did.
        needs: ids of the checkpoints within that it names. origins: of those of its tasks that were taken over unfinished.
        pending: it has tasks. asks: one of them was asked for an answer. metadata: as users see it.
    """

    id: bytes
    ns: str
    parent: int | None
    base: int | None
    next: int | None
    needs: list[bytes]
    origins: list[tuple[bytes, str]]
    begun: tuple[Link, ...]
    pending: bool
    asks: bool
    metadata: dict[str, Any]


@dataclass(slots=True)
class Family:
    """All checkpoints of a thread, by their seqs."""

    spaces: list[Space]
    members: dict[int, Member] = field(default_factory=dict[int, Member])

    @property
    def outermost(self) -> dict[int, Member]:
        """Those of the outermost graph, newest first."""
        return {seq: member for seq, member in sorted(self.members.items(), reverse=True) if member.ns == ""}

    @property
    def heads(self) -> dict[str, int]:
        """The newest checkpoint of each namespace, where it is there."""
        return {space.ns: space.head for space in self.spaces if space.head is not None and space.head in self.members}

    def always(self) -> set[int]:
        """What is kept whatever is asked for: the head, what is named, and ends of branches where something is yet to run."""
        parents = {member.parent for member in self.members.values()}
        found = {seq for seq, member in self.members.items() if member.metadata.get("name")}
        found |= {seq for seq, member in self.outermost.items() if member.pending and seq not in parents}
        found |= {seq for ns, seq in self.heads.items() if ns == ""}
        return found | ({max(self.members)} if self.members else set[int]())  # by which storages list a thread

    def run_of(self, seq: int) -> str | None:
        """The id of the run that made a checkpoint, as the first of them says; None where none was given."""
        member = self.members.get(seq)
        while member is not None and "run_id" not in member.metadata and member.metadata["source"] == "loop":
            member = None if member.parent is None else self.members.get(member.parent)
        return None if member is None else member.metadata.get("run_id")

    def closed(self, roots: Iterable[int]) -> set[int]:
        """These with all that they need: what ran within them, the memories that they name, and the head of each namespace of
        which something is kept."""
        begun: dict[Any, list[int]] = {}
        for seq, member in self.members.items():
            for link in member.begun[-1:]:
                begun.setdefault(link.checkpoint, []).append(seq)
                begun.setdefault((link.checkpoint, link.task), []).append(seq)
        heads, alive, left = self.heads, set[int](), list(roots)
        while left:
            seq = left.pop()
            if seq in alive or seq not in self.members:
                continue
            alive.add(seq)
            member = self.members[seq]
            left += [within for by in (member.id, *member.origins) for within in begun.get(by, ())]
            left += [stamp_of(id_) for id_ in member.needs]
            left += [heads[member.ns]] if member.ns in heads else []
        return alive


def family_of(storage: Storage, thread: str) -> Family:
    """The checkpoints of a thread, of all namespaces. Reads rows, in batches."""
    family = Family(storage.spaces(thread))
    for space in family.spaces:
        for found in rows_of(storage, thread, space.ns):
            assert found.row is not None
            family.members[found.row.seq] = _member(space.ns, found)
    return family


def rows_of(storage: Storage, thread: str, ns: str) -> Iterator[Found]:
    """The checkpoints of a namespace, newest first."""
    before = None
    while batch := storage.scan(thread, ns, before, ROWS):
        yield from batch
        before = batch[-1].row.seq if batch[-1].row else None


def _member(ns: str, found: Found) -> Member:
    assert found.row is not None
    row, body = found.row, read_body(found.row.body)
    with Reading("The tasks of a checkpoint"):
        origins = [origin for task in body.frontier if (origin := origin_of(task)[1])]
    return Member(
        row.id,
        ns,
        row.parent,
        row.base,
        found.next.seq if found.next else None,
        [*body.children.values(), *[id_ for kept in found.kept for id_ in _ended(kept).values()]],
        origins,
        body.begun,
        bool(body.frontier),
        any(not kept.task.startswith(BESIDE) and unpacked(kept.body)[0] == PAUSED for kept in found.kept),
        {"source": body.source, "step": body.step, **body.metadata},
    )


def _ended(kept: Kept) -> dict[str, bytes]:
    """The checkpoints of graphs with a memory of their own that a result names."""
    fields = _fields(kept)
    return fields[3] if len(fields) > 3 else {}


def _fields(kept: Kept) -> list[Any]:
    """A result's fields; none for what is no result."""
    if kept.task.startswith(BESIDE):
        return []
    with Reading("An outcome"):
        fields: list[Any] = unpacked(kept.body)
        return [] if fields[0] in (FAILED, PAUSED) else fields


# -- items ----------------------------------------------------------------------------------------------------------


class Named:
    """The items of a thread that its checkpoints name, however indirectly; whatever is not among them is dead.

    A byte for each number of a log says whether the item is named.
    """

    def __init__(self, storage: Storage, thread: str) -> None:
        self._storage = storage
        self._thread = thread
        self._left: list[tuple[int, int, int]] = []  # ranges of elements that may lead on
        self.logs: dict[int, bytearray] = {}
        for space in storage.spaces(thread):
            for log, _, end in logs_of(space):
                self.logs[log] = bytearray(end)
        for space in storage.spaces(thread):
            for found in rows_of(storage, thread, space.ns):
                self._row(found)
                self._settle()
        self._settle(whole=True)

    def dead(self) -> Iterator[tuple[int, int, int]]:
        """Ranges of items that nothing names, in the order of their places."""
        for log, named in sorted(self.logs.items()):
            for gap in re.finditer(rb"\0+", named):
                yield log, gap.start(), gap.end()

    def count(self, log: int) -> int:
        return self.logs[log].count(1) if log in self.logs else 0

    def _row(self, found: Found) -> None:
        assert found.row is not None
        body = read_body(found.row.body).on(read_body(found.base.body).on(None) if found.base else None)
        with Reading("What a checkpoint names"):
            for entry in body.entries.values():
                self._entry(entry)
            for task in body.frontier:
                self._task(task)
            if found.parent_id is not None:  # of the parent's tasks: without it nobody reads them
                self._outcomes(body.outcomes)
            self._outcomes(body.results)
            for kept in found.kept:
                if fields := _fields(kept):
                    self._writes(fields[1])
                    for target in fields[2]:
                        self._task(target)

    def _outcomes(self, outcomes: Sequence[Any]) -> None:
        for _, kind, *rest in outcomes:
            self._writes(rest[0] if kind == 0 else ())

    def _task(self, fields: Any) -> None:
        """A task of a frontier, or the target of a result: a name, or what it is sent; see `manifest`."""
        fields = origin_of(fields)[0]
        if isinstance(fields, str):
            return
        if fields[0] is None:
            self._writes(fields[1])
        else:
            self._entry(fields[1])

    def _writes(self, writes: Sequence[tuple[str, Entry]]) -> None:
        for _, entry in writes:
            self._entry(entry)

    def _entry(self, entry: Entry) -> None:
        if not isinstance(entry, bytes):
            kind, _, flat = entry_of(entry)
            self._ranges(kind, flat)

    def _ranges(self, kind: int, flat: Sequence[int]) -> None:
        for log, lo, hi in triples(flat):
            named = self.logs.get(log, bytearray())
            at, hi = lo, min(hi, len(named))
            while (at := named.find(0, at, hi)) >= 0:
                end = named.find(1, at, hi)
                end = hi if end < 0 else end
                named[at:end] = b"\1" * (end - at)
                if is_page(log):
                    for page in self._storage.items(self._thread, [(log, at, end)]):
                        self._ranges(kind, unpacked(page))
                elif kind != PARTS:
                    self._left.append((log, at, end))
                at = end

    def _settle(self, *, whole: bool = False) -> None:
        """Looks into the elements that were named; into few of them only when it has come to the end."""
        while self._left and (whole or sum(hi - lo for _, lo, hi in self._left) >= ITEMS):
            left, self._left = self._left, []
            for ranges in chunked(left, ITEMS):
                for data in self._storage.items(self._thread, ranges):
                    for split in _splits(data):
                        self._ranges(split.kind, split.ranges)


def logs_of(space: Space) -> Iterator[tuple[int, str, int]]:
    """The logs of a namespace: number, name, and how far each is written."""
    ends: dict[str, int] = ormsgpack.unpackb(space.logs) if space.logs else {}
    for index, (name, end) in enumerate(ends.items()):
        yield space.number << 16 | (PAGES if name == PAGED else index), name, end


def _splits(data: bytes) -> list[Split]:
    """The containers that an element leads on to: it is one itself, or the value of a pair that is one."""
    if LEADS_ON.search(data) is None:
        return []
    with Reading("An element"):
        found = ormsgpack.unpackb(data, ext_hook=lambda code, payload: _split(payload) if code == SPLIT else None)
    return [one for one in (found, *(cast("list[Any]", found) if type(found) is list else ())) if type(one) is Split]


def _split(payload: bytes) -> Split:
    kind, aux, *ranges = ormsgpack.unpackb(payload)
    return Split(kind, aux, tuple(ranges))


def chunked(ranges: Iterable[tuple[int, int, int]], most: int) -> Iterator[list[tuple[int, int, int]]]:
    """Ranges in lists of which none has more than `most` places."""
    chunk, room = list[tuple[int, int, int]](), most
    for log, lo, hi in ranges:
        while lo < hi:
            end = min(hi, lo + room)
            chunk.append((log, lo, end))
            room -= end - lo
            lo = end
            if not room:
                yield chunk
                chunk, room = [], most
    if chunk:
        yield chunk
