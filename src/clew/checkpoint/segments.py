"""Checkpoint rows one after the other, as bytes: how a storage keeps many of them in one row of its own (ADR 23).

A *record* is one checkpoint, with the number of its namespace. A *segment* is records one after the other, of whatever
namespaces, as they were committed. The newest one of a thread is its *tail*, to which every commit adds; one that has become
large is closed, and never changes but for a pruning.
"""

import zlib
from collections.abc import Collection, Iterable, Mapping
from struct import Struct, error
from typing import Final, NamedTuple

from clew.checkpoint.storage import Row
from clew.errors import DamagedData
from clew.nouns import maker

SHORT: Final = Struct(">BHIBBB")
"""How most records begin: 1, the namespace, the seq, how far before it parent and base stand (0 for none: seqs begin with 1),
the length of the body. Then comes the beginning of the id, which ends in the seq, and the body."""
LONG: Final = Struct(">B5I")
"""How those do whose numbers are larger: 0, the namespace, the seq, parent and base themselves (0 for none), and the length."""
ID: Final = 12
SIZE: Final = LONG.size + ID
"""Bytes that are enough for all but the body."""
WHOLE: Final = 1 << 20
"""Bytes above which a segment is not compressed, and so the most that a compressed one can hold."""


class Head(NamedTuple):
    """What is looked at of a record before its row is made: its numbers, and where in the segment its body begins."""

    number: int
    seq: int
    parent: int
    base: int
    length: int
    body: int


_head, _row = maker(Head), maker(Row)


def record(number: int, row: Row) -> bytes:
    """A row of a namespace, as bytes."""
    seq, id_, parent, base, body = row
    since, on = (seq - parent or -1) if parent else 0, (seq - base or -1) if base else 0
    try:
        return SHORT.pack(1, number, seq, since, on, len(body)) + id_[:ID] + body
    except error:
        return LONG.pack(0, number, seq, parent or 0, base or 0, len(body)) + id_[:ID] + body


def joined(rows: Iterable[tuple[int, Row]]) -> bytes:
    """A segment of rows in the order given, each with the number of its namespace."""
    return b"".join([record(number, row) for number, row in rows])


def heads(segment: bytes) -> list[Head]:
    """The heads of a segment's records. Raises DamagedData."""
    found: list[Head] = []
    at = 0
    try:
        while at < len(segment):
            if segment[at] == 1:
                _, number, seq, since, on, length = SHORT.unpack_from(segment, at)
                at += SHORT.size + ID
                found.append(_head((number, seq, since and seq - since, on and seq - on, length, at)))
            else:
                kind, *numbers, length = LONG.unpack_from(segment, at)
                if kind:
                    raise _damaged(f"a record that begins with {kind}")
                at += LONG.size + ID
                found.append(_head((*numbers, length, at)))
            at += length
    except (error, TypeError) as cut:
        raise _damaged(str(cut)) from cut
    if at > len(segment):
        raise _damaged(f"{at - len(segment)} bytes are missing at its end")
    return found


def row_of(segment: bytes, head: Head) -> Row:
    """The row that a head is of."""
    _, seq, parent, base, length, at = head
    id_ = segment[at - ID : at] + seq.to_bytes(4, "big")
    return _row((seq, id_, parent or None, base or None, segment[at : at + length]))


def records(segment: bytes) -> list[tuple[int, Row]]:
    """The rows of a segment, each with the number of its namespace. Raises DamagedData."""
    return [(head.number, row_of(segment, head)) for head in heads(segment)]


def without(segment: bytes, gone: Collection[int], changed: Mapping[int, Row]) -> tuple[bytes, int]:
    """A segment without the rows that go, with those that are put in place of others, both by their seqs; and how many went.
    Raises DamagedData."""
    before = records(segment)
    after = [(number, changed.get(row.seq, row)) for number, row in before if row.seq not in gone]
    return joined(after), len(before) - len(after)


def unreadable(seq: int, id_: bytes | None = None) -> Row:
    """In place of a checkpoint that is there and cannot be read: one that says so when it is looked at."""
    return Row(seq, id_ or bytes(ID) + seq.to_bytes(4, "big"), None, None, b"")


def newest_id(segment: bytes) -> bytes:
    """The id of the first record, of which `SIZE` bytes will do. Raises DamagedData."""
    numbers = SHORT if segment[:1] == b"\1" else LONG
    if len(segment) < numbers.size + ID:
        raise _damaged(f"{len(segment)} bytes")
    return segment[numbers.size : numbers.size + ID] + numbers.unpack_from(segment)[2].to_bytes(4, "big")


def compressed(segment: bytes) -> bytes:
    """A closed segment, in fewer bytes: the quickest level takes half the time of the usual one for 7 % more of them."""
    return b"\1" + zlib.compress(segment, 1) if len(segment) <= WHOLE else b"\0" + segment


def whole(data: bytes) -> bytes:
    """What `compressed` was given. Raises DamagedData; one that would come to more than it could have been is not unpacked."""
    unpacking = zlib.decompressobj()
    try:
        if data[0] == 0:
            return data[1:]
        segment = unpacking.decompress(data[1:], WHOLE)
    except (zlib.error, LookupError, TypeError) as broken:
        raise _damaged(str(broken)) from broken
    if data[0] != 1 or not unpacking.eof:
        raise _damaged(f"it begins with {data[:8]!r}, and has no end")
    return segment


def _damaged(why: str) -> DamagedData:
    return DamagedData(f"Checkpoints that are kept together cannot be read ({why}): that is not something Clew wrote.")
