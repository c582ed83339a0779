"""What was last kept of one channel: which elements, and where. Nothing is encoded here, and nothing decided.

Elements are told by identity; those that are remembered here stay alive, so that no other object takes their address.
"""

from collections import deque
from collections.abc import Callable, Iterable
from operator import is_
from typing import Any, Final, cast

from clew.checkpoint.entries import ranges_of

ITEM, LIST, TUPLE, DICT, SET, FROZENSET, DEQUE, PARTS = range(8)
KINDS: Final[dict[type, int]] = {list: LIST, tuple: TUPLE, dict: DICT, set: SET, frozenset: FROZENSET, deque: DEQUE}
AHEAD: Final = 8  # how far a shifted sequence is looked for before the index is asked


class KeptValue:
    """What was last kept of one channel: the elements (a list of our own, never the live container) and their places.

    `pages` has the places of the pages that its first ranges are in.
    """

    __slots__ = ("_index", "elements", "keys", "pages", "places", "ranges")

    def __init__(self, elements: list[Any], places: list[int], keys: list[Any] | None = None) -> None:
        self.elements = elements
        self.places = places
        self.keys = keys
        self.ranges = ranges_of(places)
        self.pages: list[int] = []
        self._index: dict[int, int] | None = None

    @property
    def index(self) -> dict[int, int]:
        """Where each element stands, by its identity; made when it is first asked for."""
        if self._index is None:
            self._index = dict(zip(map(id, self.elements), range(len(self.elements)), strict=True))
        return self._index

    @classmethod
    def read(cls, value: Any, places: list[int]) -> "KeptValue":
        """What is remembered of a value that was read."""
        kind = cast("Any", type(value))
        if kind not in KINDS or len(value) != len(places):
            return cls([value], places)
        keys = list(cast("Iterable[Any]", value))
        return cls(list(value.values()), places, keys) if kind is dict else cls(keys, places)

    def copy(self) -> "KeptValue":
        """The same for another ledger, which may change it."""
        twin = cast("Callable[[Any], KeptValue]", object.__new__)(KeptValue)
        twin.elements, twin.places, twin.ranges, twin.pages = [*self.elements], [*self.places], [*self.ranges], [*self.pages]
        twin.keys, twin._index = self.keys, None
        return twin

    def is_whole(self, value: Any) -> bool:
        """Whether `value`, a sequence or a dict, is made of the very elements that were kept, and no others."""
        inner = value.values() if self.keys is not None else value
        same = len(value) == len(self.elements) and all(map(is_, inner, self.elements))
        return same and (self.keys is None or all(map(is_, value, self.keys)))

    def common(self, other: "KeptValue") -> int:
        """How many elements from the first on stand at the same places in both."""
        ends = min(len(self.elements), len(other.elements))
        if all(map(is_, self.elements, other.elements)) and self.places[:ends] == other.places[:ends]:
            return ends
        same = zip(self.elements, other.elements, self.places, other.places, strict=False)
        return next(i for i, (one, two, at, there) in enumerate(same) if one is not two or at != there)

    def append(self, element: Any, place: int) -> None:
        if self._index is not None:
            self._index[id(element)] = len(self.elements)
        self.elements.append(element)
        self.places.append(place)
        if self.ranges and self.ranges[-3] == place >> 40 and self.ranges[-1] == place & 0xFF_FFFF_FFFF:
            self.ranges[-1] += 1
        else:
            self.ranges += ranges_of([place])

    def find(self, element: Any, start: int) -> int:
        """Where `element` stood, looking on from `start` first; -1 where it did not."""
        elements = self.elements
        for i in range(start, min(start + AHEAD, len(elements))):
            if elements[i] is element:
                return i
        return self.index.get(id(element), -1)
