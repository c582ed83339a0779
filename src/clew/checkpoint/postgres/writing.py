"""Checkpoints on their way into the values in which many of them stand together."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from clew.checkpoint.segments import SIZE, joined
from clew.checkpoint.storage import Row

FULL: Final = 3775
"""Bytes above which the tail of a thread is closed, as `clew_commit` has it: a page has room for two such rows."""


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
