"""What a manifest says of one value, and how two such entries differ. Pure arithmetic: nothing is read, nothing encoded.

A *place* is a log and a number in it, packed into one int. A *ranges* list is flat: log, from, to, log, from, to, ...
An *entry* is a value's bytes where they are few, else `[kind, shared, aux, *ranges]`: the first `shared` places are those of
the row that its own adds to, the ranges are what comes after them. A range over a log of pages stands for the ranges in them.
"""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

Entry: TypeAlias = bytes | list[Any]

PAGE: Final = 16  # ranges above which they go into pages
PAGES: Final = 0xFFFF  # which of a namespace's logs has its pages


def place_of(log: int, number: int) -> int:
    return log << 40 | number


def ranges_of(places: Iterable[int]) -> list[int]:
    flat: list[int] = []
    expected = -1
    for place in places:
        if place == expected:
            flat[-1] += 1
        else:
            number = place & 0xFF_FFFF_FFFF
            flat += (place >> 40, number, number + 1)
        expected = place + 1
    return flat


def places_of(ranges: Iterable[tuple[int, int, int]]) -> list[int]:
    return list(chain.from_iterable(range(place_of(log, lo), place_of(log, hi - 1) + 1) for log, lo, hi in ranges))


def is_page(log: int) -> bool:
    return log & 0xFFFF == PAGES


def shorter(entry: Entry, other: Entry | None) -> Entry:
    """The entry by what comes after the places that it shares with the beginning of `other`, where that says less."""
    if other is None or isinstance(entry, bytes) or isinstance(other, bytes):
        return entry
    kind, _, aux, *flat = entry
    shared, at = 0, 3
    while at < len(entry) and at < len(other) and entry[at : at + 2] == other[at : at + 2]:
        ends = min(entry[at + 2], other[at + 2])
        shared += ends - entry[at + 1]
        if entry[at + 2] != other[at + 2]:
            rest = [entry[at], ends, entry[at + 2]] if entry[at + 2] > ends else []
            return [kind, shared, aux, *rest, *flat[at:]]
        at += 3
    return [kind, shared, aux, *flat[at - 3 :]] if shared else entry


def longer(entry: list[Any], other: list[Any]) -> list[Any]:
    """The entry whole, where it shares places with the beginning of `other`. Raises ValueError where that has not so many."""
    kind, shared, aux, *rest = entry
    flat: list[int] = []
    for at in range(3, len(other), 3):
        if not shared:
            break
        log, first, last = other[at : at + 3]
        taken = min(shared, last - first)
        flat += (log, first, first + taken)
        shared -= taken
    if shared:
        raise ValueError(f"{entry[1]} places shared with {len(other)} numbers")
    if rest and flat and flat[-3] == rest[0] and flat[-1] == rest[1]:
        flat[-1] = rest[2]
        rest = rest[3:]
    return [kind, 0, aux, *flat, *rest]


def size(entries: Mapping[str, Entry]) -> int:
    """How much a manifest says, in numbers."""
    return sum([3 if isinstance(entry, bytes) else len(entry) for entry in entries.values()])


class Base:
    """The row that manifests add to, and what has been said since: all is said again when that comes to as much.

    So reading takes two rows at most, and writing stays in proportion to what changes.

    Attributes:
        seq: of the row, None where there is none. entries: its own, whole. apart: it is another namespace's, of which
            nothing is taken that is not named.
    """

    __slots__ = ("apart", "changed", "entries", "seq", "spent")

    def __init__(self, seq: int | None = None, entries: Mapping[str, Entry] | None = None, *, apart: bool = False) -> None:
        self.seq = seq
        self.entries: Mapping[str, Entry] = entries if entries is not None else {}
        self.apart = apart
        self.changed: dict[str, None] = {}  # a dict for its order
        self.spent = -size(self.entries) if apart else 0

    def said(self, entries: Mapping[str, Entry], changed: Iterable[str], *, gone: bool) -> dict[str, Entry] | None:
        """What a row says that adds to this one, None where it says all; `gone`: there is less than was there."""
        for key in changed:
            self.changed[key] = None
        if self.seq is None or (gone and not self.apart):
            return None
        least = self.spent + 3 * len(self.changed)  # an entry is three numbers at least
        if not self.apart and least >= 3 * len(entries) and least >= size(entries):
            return None
        short: dict[str, Entry] = {}
        for key in entries if self.apart else self.changed:
            if (entry := entries.get(key)) is not None:
                short[key] = shorter(entry, self.entries.get(key))
        self.spent += size(short)
        # all of them are looked at only where that may decide
        return short if self.spent < 3 * len(entries) or self.spent < size(entries) else None
