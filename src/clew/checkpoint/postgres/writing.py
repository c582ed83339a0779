"""Checkpoints on their way into the values in which many of them stand together, and out of them again."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

from clew.checkpoint.segments import SIZE, record, records
from clew.checkpoint.storage import Row

FULL: Final = 3775
"""Bytes above which the tail of a thread is closed, as `clew_commit` has it: a page has room for two such rows."""


def joined(rows: Iterable[tuple[int, Row]]) -> bytes:
    """A segment of rows, the newest of which comes first, each with the number of its namespace."""
    return b"".join([record(number, row) for number, row in rows])


def records_of(number: int, rows: Sequence[Row]) -> dict[str, Sequence[Any]]:
    """Rows of a namespace, the oldest first, as `clew_commit` takes them."""
    parts, size = [[rows[0]]], 0
    for before, row in pairwise(rows):
        size += SIZE + len(before.body)
        if size > FULL:
            parts.append([])
            size = 0
        parts[-1].append(row)
    *closed, tail = [(part[0].seq, part[-1].seq, joined([(number, row) for row in reversed(part)])) for part in parts]
    found: dict[str, Sequence[Any]] = {"records": (tail[2], tail[0], len(rows))}
    if closed:
        found["segments"] = [[*column] for column in zip(*closed, strict=True)]
    return found


def without(data: bytes, gone: set[int], changed: dict[int, Row]) -> tuple[bytes, int]:
    """A segment without the rows that go, with those that are put in place of others; and how many went."""
    before = records(data)
    after = [(number, changed.get(row.seq, row)) for number, row in before if row.seq not in gone]
    return joined(after), len(before) - len(after)
