"""Which elements of a thread are kept, and where: values go in, ranges of items come out (DESIGN §4).

The difference is taken between values, by identity where that is sound and by print where it is not; a reducer is never run
again. Nothing here waits or reads: new items pile up in `pending` until the journal commits them.

What an entry, a place and a range are stands in `entries`.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain
from operator import is_
from typing import Any, Final, cast

import ormsgpack

from clew.checkpoint.checked import Reading, name_of
from clew.checkpoint.codec import Split, encode
from clew.checkpoint.entries import PAGE, PAGES, Entry, place_of, ranges_of
from clew.checkpoint.kept import AHEAD, DEQUE, DICT, FROZENSET, ITEM, KINDS, PARTS, SET, KeptValue
from clew.checkpoint.prints import MOST, Known, Print
from clew.errors import UnstorableValue

ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})

INLINE: Final = 48  # bytes up to which a value stands in the manifest itself: an item costs about as much to find
SMALL: Final = 64  # bytes below which an element is rather stored again than sought elsewhere: ranges cost as well
SPLIT: Final = 1024  # bytes above which a container inside an element is split into items of its own
PART: Final = 8 << 20  # bytes above which an item is stored in parts
LONG: Final = 2048  # bytes above which an item is told by a digest: it takes longer, and does not keep them in memory
PAGED: Final = "\0pages"


class Ledger:
    """The places of one namespace's elements, over all of a run.

    Attributes:
        kept: per key of the state, what its last commit kept; values that stand in the manifest have none.
        pending: items not yet stored, `(place, print, bytes)`.
        written: identities of everything mutable among this superstep's writes; these are never passed over unseen.
        lender: of the graph around, where nothing but the engine has had its values in hand since, which are this one's input.

    `known` has the places of what is stored, by its print, over all namespaces of the run.
    """

    __slots__ = ("_atoms", "_ends", "_fresh", "_known", "_lent", "_number", "_packed", "_placed", "_prints", "_room", "kept",
                 "lender", "pending", "written")  # fmt: skip

    def __init__(self, number: int = 0, logs: bytes = b"", known: Known | None = None) -> None:
        self.kept: dict[str, KeptValue] = {}
        self.pending: list[tuple[int, Print, bytes]] = []
        self.written: set[int] = set()
        self.lender: Ledger | None = None
        self._number = number
        self._ends = _unpacked(logs)
        self._packed: bytes | None = None
        self._lent: dict[str, KeptValue] = {}
        self._atoms: dict[str, tuple[Any, Entry]] = {}  # what was written and cannot change, by its key
        self._known = known if known is not None else Known()
        self._fresh: dict[Print, int] = {}
        self._prints: dict[int, Print] = {}  # of what values are made of, and of other items as long as there is room
        self._room = MOST
        self._placed: dict[int, list[int]] = {}

    def move(self, number: int, logs: bytes) -> None:
        """New items go to the logs of another namespace; what is known of those that are stored holds."""
        self._number = number
        self._ends = _unpacked(logs)
        self._packed = None

    def logs(self) -> bytes:
        if self._packed is None:
            self._packed = ormsgpack.packb(self._ends)
        return self._packed

    def learn(self, places: Sequence[int], found: Sequence[bytes]) -> None:
        """Takes note of items that are stored."""
        prints = [data if len(data) <= LONG else _digest(data) for data in found]
        self._known.learn(prints, places)
        self._prints.update(zip(places, prints, strict=True))

    def undo(self, mark: int) -> None:
        """Forgets the items that were made pending since `len(pending)` was `mark`."""
        self._atoms.clear()
        logs, self._packed = dict(enumerate(self._ends)) | {PAGES: PAGED}, None
        while len(self.pending) > mark:
            place, print_, _ = self.pending.pop()
            self._prints.pop(place)
            if self._fresh.get(print_) == place:
                del self._fresh[print_]
            self._ends[logs[(place >> 40) & 0xFFFF]] = place & 0xFF_FFFF_FFFF

    def sent(self) -> list[tuple[int, Print, bytes]]:
        """What is pending, to be written now."""
        sent, self.pending = self.pending, []
        return sent

    def stored(self, sent: Iterable[tuple[int, Print, bytes]]) -> None:
        """These have been written: whoever shares `known` may name them from now on."""
        for place, print_, _ in sent:
            self._known.note(print_, place)
            self._fresh.pop(print_, None)

    def dropped(self) -> None:
        """What is pending will never be written; its elements count as written by this superstep all the same."""
        self.undo(0)
        self._placed.clear()
        self._lent.clear()

    def closed(self) -> None:
        """The superstep is over: its writes are an element like any other from now on."""
        self._known.turn()
        if len(self._prints) > self._room:
            places = chain.from_iterable(kept.places for kept in self.kept.values())
            self._prints = {place: self._prints[place] for place in places if place in self._prints}
            self._room = 2 * len(self._prints) + MOST
        self.written.clear()
        self._placed.clear()
        self._lent.clear()
        self._atoms.clear()

    # -- writes: encoded as their task ends -------------------------------------------------------------------------

    def note(self, value: Any, places: Sequence[int] = ()) -> None:
        """Counts `value` and what it contains among the superstep's writes; `places` are those of its elements."""
        kind = cast("Any", type(value))
        if kind in ATOMS:
            return
        self.written.add(id(value))
        if kind in KINDS:
            inner = list(cast("Iterable[Any]", value.values() if kind is dict else value))
            for element in inner:
                self.note(element)
            if kind is not dict and len(inner) == len(places):
                for element, place in zip(inner, places, strict=True):
                    self._placed.setdefault(id(element), []).append(place)

    def write(self, log: str, value: Any, lender: "Ledger | None" = None) -> Entry:
        """Encodes one write, before it is folded. What a `lender` has kept, and only the engine has had since, is not."""
        if type(value) in ATOMS:
            entry = self._whole_entry(log, encode(value))
            self._atoms[log] = value, entry
            return entry
        lent = lender and lender.lends(log, value)
        if lent:
            self._borrow(log, lent)
            return self._entry(KINDS[type(value)], value, lent.ranges, [*lent.pages])
        entry, places = self._encoded(log, value)
        self.note(value, places)
        return entry

    def lends(self, key: str, value: Any) -> KeptValue | None:
        """What is kept under `key`, where `value` is just that, and none of it among this superstep's writes."""
        kept, kind = self.kept.get(key), KINDS.get(cast("Any", type(value)), ITEM)
        if kept is None or kind in (ITEM, SET, FROZENSET) or (kept.keys is not None) != (kind == DICT):
            return None
        return kept if self._untouched(kept) and kept.is_whole(value) else None

    def _untouched(self, kept: KeptValue) -> bool:
        return not self.written or self.written.isdisjoint(map(id, kept.elements))

    def _borrow(self, log: str, lent: KeptValue) -> None:
        """Counts what is lent among the writes, as far as it does not stand here in the same places."""
        self._lent[log] = lent
        if not self.kept:
            return
        own = self.kept.get(log)
        for index in range(own.common(lent) if own else 0, len(lent.elements)):
            element = lent.elements[index]
            self.note(element)
            if lent.keys is None:
                self._placed.setdefault(id(element), []).append(lent.places[index])

    def _encoded(self, log: str, value: Any) -> tuple[Entry, list[int]]:
        """A value by what it is made of, each element looked up by its print."""
        kind = KINDS.get(cast("Any", type(value)), ITEM)
        if (data := _whole(kind, value)) is not None:
            return self._whole_entry(log, data), []
        places = self._places(log, kind, value, reuse=False)
        return self._entry(kind, value, ranges_of(places)), places

    def _whole_entry(self, log: str, data: bytes) -> Entry:
        return data if len(data) <= INLINE else [ITEM, 0, None, *ranges_of([self._item(log, data)])]

    def _places(self, log: str, kind: int, value: Any, *, reuse: bool) -> list[int]:
        if kind == DICT:
            return [self._element(log, [key, inner], (), key, True) for key, inner in cast("dict[Any, Any]", value).items()]
        places: list[int] = []
        for index, element in enumerate(value):
            near = (places[-1] + 1,) if places else ()
            places.append(self._element(log, element, near, index, reuse and not places))
        return sorted(places) if kind in (SET, FROZENSET) else places

    # -- values: the difference to what was kept --------------------------------------------------------------------

    def touches(self, key: str) -> bool:
        """Whether an element kept under `key` is among this superstep's writes, to whatever key."""
        kept = self.kept.get(key)
        return kept is not None and any(identity in kept.index for identity in self.written)

    def value(self, key: str, value: Any, keeps_elements: bool) -> Entry:
        """The entry of a value that may have changed; only what is new becomes an item.

        `keeps_elements` is what the channel promises of its reducer (`Channel.keeps_elements`).
        """
        atom = self._atoms.get(key)
        if atom is not None and atom[0] is value:
            if isinstance(atom[1], bytes):
                self.kept.pop(key, None)
            else:
                self.kept[key] = KeptValue([value], [place_of(atom[1][3], atom[1][4])])
            return atom[1]
        kind = KINDS.get(cast("Any", type(value)), ITEM)
        kept = self.kept.get(key)
        lent = self._lent.get(key) if kept is None and keeps_elements else None
        if lent and self._untouched(lent) and lent.is_whole(value):
            kept = self.kept[key] = lent.copy()
            return self._entry(kind, value, kept.ranges, kept.pages)
        if kept is None or (kept.keys is not None) != (kind == DICT):  # a pair's place is no element's
            kept = KeptValue([], [])
        if (data := _whole(kind, value)) is not None:
            if len(data) <= INLINE:
                self.kept.pop(key, None)
                return data
            place = self._item(key, data)
            self.kept[key] = KeptValue([value], [place])
            return [ITEM, 0, None, *ranges_of([place])]
        if kind == DICT:
            kept = self._pairs(key, kept, value, keeps_elements)
        elif kind in (SET, FROZENSET):
            kept = self._members(key, kept, value)
        else:
            kept = self._sequence(key, kept, value, keeps_elements)
        self.kept[key] = kept
        return self._entry(kind, value, kept.ranges, kept.pages)

    def _sequence(self, key: str, kept: KeptValue, value: Any, keeps_elements: bool) -> KeptValue:
        elements = list(value)
        same = self._unseen(kept, elements) if keeps_elements else 0
        growing = same == len(kept.elements)
        after = kept
        if not growing:
            after = KeptValue(kept.elements[:same], kept.places[:same])
            after.pages = kept.pages[: max(0, len(after.ranges) // 3 - 1) // PAGE]
        stood = same
        for element in elements[same:]:
            place = -1
            if keeps_elements:
                if not growing and id(element) not in self.written and (i := kept.find(element, stood)) >= 0:
                    place, stood = kept.places[i], i + 1
                else:
                    place = self._just_placed(element)
            if place < 0:
                ahead = [] if growing else kept.places[stood : stood + AHEAD]
                near = (*ahead, *[last + 1 for last in after.places[-1:]])
                place = self._element(key, element, near, len(after.places))
                if place in ahead:
                    stood += ahead.index(place) + 1
            after.append(element, place)
        return after

    def _unseen(self, kept: KeptValue, elements: list[Any]) -> int:
        """How many elements from the first on may be passed over: the ones kept before and not among the writes."""
        old = kept.elements
        same = len(old) if len(old) <= len(elements) and all(map(is_, old, elements)) else _prefix(old, elements)
        touched = [i for identity in self.written if (i := kept.index.get(identity)) is not None and i < same]
        if touched:
            return next(i for i in range(same) if id(old[i]) in self.written)
        return same

    def _just_placed(self, element: Any) -> int:
        places = self._placed.get(id(element))
        if not places:
            return -1
        return places.pop(0) if len(places) > 1 else places[0]

    def _pairs(self, key: str, kept: KeptValue, value: dict[Any, Any], keeps_elements: bool) -> KeptValue:
        old = {} if kept.keys is None else dict(zip(kept.keys, zip(kept.elements, kept.places, strict=True), strict=True))
        places: list[int] = []
        for name, inner in value.items():
            before, place = old.get(name, (None, -1))
            if place < 0 or not keeps_elements or before is not inner or id(inner) in self.written or type(inner) in ATOMS:
                place = self._element(key, [name, inner], (place,), name, True)
            places.append(place)
        return KeptValue(list(value.values()), places, list(value))

    def _members(self, key: str, kept: KeptValue, value: Iterable[Any]) -> KeptValue:
        """Members are hashable, so they do not change; a set has no order, so the order of places is as good as any."""
        placed = [(self._element(key, member, self._stood(kept, member), member, True), member) for member in value]
        placed.sort(key=lambda pair: pair[0])
        return KeptValue([member for _, member in placed], [place for place, _ in placed])

    def _stood(self, kept: KeptValue, member: Any) -> tuple[int, ...]:
        i = kept.index.get(id(member), -1)
        return (kept.places[i],) if i >= 0 else ()

    # -- items ------------------------------------------------------------------------------------------------------

    def _entry(self, kind: int, value: Any, flat: list[int], pages: list[int] | None = None) -> Entry:
        return [kind, 0, value.maxlen if kind == DEQUE else None, *self._paged(flat, pages if pages is not None else [])]

    def _paged(self, flat: list[int], pages: list[int]) -> list[int]:
        """Ranges that are too many, the first of them as ranges of full pages; a value is never rewritten for being fragmented.

        `pages` are those that were made before, to which new ones are added. The last range may grow, so it is in none.
        """
        full = max(0, len(flat) // 3 - 1) // PAGE
        del pages[full:]
        starts = range(3 * PAGE * len(pages), 3 * PAGE * full, 3 * PAGE)
        pages += [self._item(PAGED, ormsgpack.packb(flat[i : i + 3 * PAGE])) for i in starts]
        return [*self._paged(ranges_of(pages), []), *flat[3 * PAGE * full :]] if full else list(flat)

    def _element(self, log: str, element: Any, near: tuple[int, ...], index: Any, reuse: bool = False) -> int:
        """The place of an element, or of a dict's `[key, value]`; `index` is what it is found by in its container."""
        try:
            data = encode(element)
        except UnstorableValue as error:
            path = error.path.removeprefix("[1]") if _is_pair_of(element, index) else error.path
            raise UnstorableValue(error.reason, f"[{index!r}]{path}") from None
        if len(data) > SPLIT:
            inner = element[1] if _is_pair_of(element, index) else element
            if type(inner) in KINDS and inner:
                split = self._split(log, inner)
                data = encode(split if inner is element else [element[0], split])
        return self._item(log, data, near, reuse=reuse)

    def _split(self, log: str, container: Any) -> Split:
        kind = KINDS[type(container)]
        flat = self._paged(ranges_of(self._places(log, kind, container, reuse=True)), [])
        return Split(kind, [0, container.maxlen if kind == DEQUE else None], tuple(flat))

    def _item(self, log: str, data: bytes, near: tuple[int, ...] = (), *, reuse: bool = True) -> int:
        """The place of an item: one of those it may stand at, another with the same bytes, or a new one.

        Without `reuse` a small item is stored again rather than sought elsewhere, which would cost a range of its own.
        """
        if len(data) > PART:
            parts = [self._item(log, data[i : i + PART]) for i in range(0, len(data), PART)]
            data = encode(Split(PARTS, None, tuple(ranges_of(parts))))
        print_ = data if len(data) <= LONG else _digest(data)
        for place in near:
            if self._prints.get(place) == print_:
                return place
        place = self._fresh.get(print_)
        if place is None:
            place = self._known.find(print_)
        if place is not None and (reuse or len(data) >= SMALL):
            return place
        if log not in self._ends:
            self._ends[log] = 0
        number = self._ends[log]
        self._ends[log], self._packed = number + 1, None
        place = place_of(self._number << 16 | (PAGES if log == PAGED else list(self._ends).index(log)), number)
        self._fresh[print_] = place
        self._prints[place] = print_
        self.pending.append((place, print_, data))
        return place


def _unpacked(logs: bytes) -> dict[str, int]:
    """The ends of the logs. Raises DamagedData."""
    if not logs:
        return {}
    with Reading("The ends of the logs"):
        return {name_of(name): int(end) for name, end in ormsgpack.unpackb(logs).items()}


def _digest(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=16).digest(), "big")


def _prefix(old: list[Any], new: list[Any]) -> int:
    for i, (before, after) in enumerate(zip(old, new, strict=False)):
        if before is not after:
            return i
    return min(len(old), len(new))


def _is_pair_of(element: Any, index: Any) -> bool:
    return type(element) is list and len(cast("list[Any]", element)) == 2 and element[0] is index


def _whole(kind: int, value: Any) -> bytes | None:
    """The bytes of a value that is not to be taken apart: no container, or one so small that it stands in the manifest."""
    if kind == ITEM:
        return encode(value)
    inner = cast("Iterable[Any]", value.values() if kind == DICT else value)
    if len(value) > AHEAD or not all(type(element) in ATOMS for element in inner):
        return None
    data = encode(value)
    return data if len(data) <= INLINE else None
