"""Which items are stored, and where, as far as that is remembered."""

from collections.abc import Iterable
from typing import Final, TypeAlias

Print: TypeAlias = bytes | int
"""What an item is told by: its bytes, where these are few, else a digest of them (an int: no item has such bytes)."""

MOST: Final = 1 << 13
"""How many items a run remembers at least, and half of what it does at most. One that is forgotten may be stored again."""


class Known:
    """The places of items, by their prints, over all namespaces of a run: those that were made or asked for last.

    A thread may replace a value a million times; what is remembered of it must not grow with that. So there are two halves: the
    older one is let go when the newer one is full, and what was asked for meanwhile is in the newer one by then.
    """

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def clear(self) -> None:
        self._new: dict[Print, int] = {}
        self._old: dict[Print, int] = {}

    def find(self, print_: Print) -> int | None:
        place = self._new.get(print_)
        if place is None and self._old and (place := self._old.pop(print_, None)) is not None:
            self._new[print_] = place
        return place

    def note(self, print_: Print, place: int) -> None:
        self._new[print_] = place

    def learn(self, prints: Iterable[Print], places: Iterable[int]) -> None:
        self._new.update(zip(prints, places, strict=True))

    def turn(self) -> None:
        """A superstep is over: nothing that it has asked for is let go."""
        if len(self._new) > MOST:
            self._old, self._new = self._new, {}
