"""Checkpoint rows one after the other, as bytes: how a storage keeps many of them in one row of its own (ADR 23).

A *record* is one checkpoint, with the number of its namespace. A *segment* is records in the order they were committed, of
whatever namespaces. The newest one of a thread is its *tail*, to which every commit adds; what was the tail before is closed,
and never changes but for a pruning.
"""

import zlib
from struct import Struct, error
from typing import Final

from clew.checkpoint.storage import Row
from clew.errors import DamagedData

HEADER: Final = Struct(">5I12s")
"""Namespace, seq, parent, base (0 for none: seqs begin with 1) and the body's length, four bytes each; then the beginning of
the id, which ends in the seq."""
ID: Final = 12
WHOLE: Final = 1 << 20
"""Bytes above which a segment is not compressed, and so the most that a compressed one can hold."""


def record(number: int, row: Row) -> bytes:
    """A row of a namespace, as bytes."""
    return HEADER.pack(number, row.seq, row.parent or 0, row.base or 0, len(row.body), row.id[:ID]) + row.body


def records(segment: bytes) -> list[tuple[int, Row]]:
    """The rows of a segment, each with the number of its namespace. Raises DamagedData."""
    found: list[tuple[int, Row]] = []
    at, end = 0, len(segment)
    while at < end:
        try:
            number, seq, parent, base, length, start = HEADER.unpack_from(segment, at)
        except error as cut:
            raise _damaged(str(cut)) from cut
        begin = at + HEADER.size
        at = begin + length
        if at > end:
            raise _damaged(f"{at - end} bytes of checkpoint {seq} are missing")
        found.append((number, Row(seq, start + seq.to_bytes(4, "big"), parent or None, base or None, segment[begin:at])))
    return found


def compressed(segment: bytes) -> bytes:
    """A closed segment, in fewer bytes."""
    return b"\1" + zlib.compress(segment) if len(segment) <= WHOLE else b"\0" + segment


def whole(data: bytes) -> bytes:
    """What `compressed` was given. Raises DamagedData; one that would come to more than it could have been is not unpacked."""
    if data[:1] == b"\0":
        return data[1:]
    unpacking = zlib.decompressobj()
    try:
        segment = unpacking.decompress(data[1:], WHOLE)
    except zlib.error as broken:
        raise _damaged(str(broken)) from broken
    if data[:1] != b"\1" or not unpacking.eof:
        raise _damaged(f"it begins with {data[:8]!r}, and has no end")
    return segment


def _damaged(why: str) -> DamagedData:
    return DamagedData(f"Checkpoints that are kept together cannot be read ({why}): that is not something Clew wrote.")
