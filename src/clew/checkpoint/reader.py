"""Entries opened: the items they name are found, and values put together again out of them (see `entries`, `manifest`)."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from clew.checkpoint.checked import (
    EACH,
    FACTOR,
    LEVELS,
    NESTED,
    RANGE,
    SPLITS,
    Budget,
    Reading,
    damaged,
    entry_of,
    in_parts,
    name_of,
    origin_of,
    shown,
    split_of,
    triples,
)  # fmt: skip
from clew.checkpoint.codec import Split, decode, decode_each
from clew.checkpoint.entries import Entry, is_page, places_of
from clew.checkpoint.kept import DEQUE, DICT, FROZENSET, ITEM, LIST, PARTS, SET, TUPLE, KeptValue
from clew.checkpoint.ledger import ATOMS, Ledger
from clew.checkpoint.manifest import FAILED, PAUSED, made, unpacked
from clew.checkpoint.registry import uncrowded
from clew.checkpoint.storage import Waiting
from clew.constants import START
from clew.errors import CheckpointGone
from clew.types import Failed, Outcome, Paused, Question, Result, Send, Task, Write

FETCHED: Final = 1 << 16  # items that are asked for at once
FIRST: Final = object()  # an element that has not been decoded yet
INNER: Final = frozenset({Split, list})  # types of elements that may have some of their own elsewhere
QUESTION: Final = (str, object, bytes, bytes, object)  # types of its fields
CONTAINERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    LIST: list,
    TUPLE: tuple,
    DICT: dict,
    SET: set,
    FROZENSET: frozenset,
}


class Reader:
    """Opens entries: finds the items they name and puts the values together again. One of its own for each checkpoint.

    With a `ledger`, what is read is taken note of there, so that it is never stored again. `items` are those read before, by
    their places; readers may share them. All that is read may raise DamagedData or CheckpointGone.
    """

    __slots__ = ("_budget", "_items", "_ledger", "_made", "_storage", "_thread")

    def __init__(
        self, storage: Waiting, thread: str, ledger: Ledger | None = None, items: dict[int, bytes] | None = None
    ) -> None:
        self._storage = storage
        self._thread = thread
        self._ledger = ledger
        self._items = read = items if items is not None else {}
        self._made: dict[int, Any] = {}
        self._budget = Budget(lambda: sum(map(len, read.values())))

    async def fetch(self, entries: Sequence[Entry]) -> None:
        """Reads all that these entries name at first hand, in one round trip."""
        await self._fetch([range_ for entry in entries if type(entry) is not bytes for range_ in triples(entry_of(entry)[2])])

    async def values(self, entries: Mapping[str, Entry]) -> dict[str, Any]:
        """All values of a state; the ledger, where there is one, has from now on what is kept of each."""
        await self.fetch(list(entries.values()))
        found: dict[str, Any] = {}
        for key, entry in entries.items():
            found[key], places = await self.value(entry)
            if places and self._ledger:
                self._ledger.kept[key] = KeptValue.read(found[key], places)
        return found

    async def value(self, entry: Entry) -> tuple[Any, list[int]]:
        """A value, and the places of its elements."""
        if isinstance(entry, bytes):
            self._budget.spend(EACH)
            return decode(entry), []
        kind, aux, flat = entry_of(entry)
        return await self._built(kind, aux, flat)

    def said(self, fields: Sequence[Any]) -> Outcome | None:
        """An outcome that says something: why a task failed, what it asks. None for a result."""
        with Reading("What a task came to"):
            if fields[0] == FAILED:
                return made(Failed, decode(fields[1]), (str, str, str))
            if fields[0] == PAUSED:
                return Paused(tuple(made(Question, question, QUESTION) for question in decode(fields[1])))
            if type(fields[0]) is not int:
                raise TypeError(f"an outcome of kind {shown(fields[0])}")
        return None

    async def outcome(self, task: Task, fields: Sequence[Any]) -> tuple[Outcome, list[list[int]]]:
        """An outcome, and of each write the places of its elements."""
        if (said := self.said(fields)) is not None:
            return said, []
        with Reading("What a task came to"):
            writes, places = await self.writes(fields[1])
            targets = fields[2] if len(fields) > 2 else ()
            written = task.arg if task.node == START else writes
            children: dict[str, bytes] = fields[3] if len(fields) > 3 else {}
            return Result(written, tuple([await self._target(target) for target in targets]), dict(children)), places

    def named(self, fields: Any, given: Any) -> Task:
        """A task, with this in place of what it is given, if it is given anything."""
        with Reading("A task"):
            fields, origin = origin_of(fields)
            if isinstance(fields, str):
                return Task(fields, origin=origin)
            node = START if fields[0] is None else name_of(fields[0])
            return Task(node, given, sent=node != START, origin=origin)

    async def task(self, fields: Any) -> Task:
        with Reading("A task"):
            fields, origin = origin_of(fields)
            if isinstance(fields, str):
                return Task(fields, origin=origin)
            node, arg, *timeout = fields
            if node is None:
                return Task(START, (await self.writes(arg))[0], origin=origin)
            return Task(name_of(node), (await self.value(arg))[0], True, _timeout(timeout), origin)

    async def writes(self, fields: Sequence[tuple[str, Entry]]) -> tuple[tuple[Write, ...], list[list[int]]]:
        opened = [(name_of(key), await self.value(entry)) for key, entry in fields]
        return tuple(Write(key, value) for key, (value, _) in opened), [places for _, (_, places) in opened]

    async def _target(self, fields: Any) -> str | Send:
        if isinstance(fields, str):
            return fields
        node, arg, *timeout = fields
        return Send(name_of(node), (await self.value(arg))[0], timeout=_timeout(timeout))

    async def _built(self, kind: int, aux: Any, flat: Sequence[int], depth: int = 0) -> tuple[Any, list[int]]:
        if depth > NESTED:
            raise damaged(f"Containers are split within one another more than {NESTED} deep")
        ranges = await self._unpaged(triples(flat))
        await self._fetch(ranges)
        places = places_of(ranges)
        if kind == PARTS:
            parts = [self._items[place] for place in places]
            if len(set(places)) < len(places):
                self._budget.spend(sum(map(len, parts)))
            return decode(b"".join(parts)), places
        elements = self._elements(places, pairs=kind == DICT)
        if not INNER.isdisjoint(map(type, elements)):
            for index, element in enumerate(elements):
                if isinstance(element, Split) or _is_split_pair(element):
                    elements[index] = await self._whole(element, depth + 1)
        return _container(kind, aux, elements), places

    def _elements(self, places: list[int], *, pairs: bool) -> list[Any]:
        """What stands at these places, decoded; it may be `Split`, and is `[key, value]` where it is of a dict's `pairs`."""
        made, items = self._made, self._items
        if made.keys().isdisjoint(places) and len(set(places)) == len(places):  # mostly so: none has been decoded before
            elements = decode_each(map(items.__getitem__, places))
            made.update(zip(places, map(_pair, elements) if pairs else elements, strict=True))
            return elements
        return [self._element(place, pairs) for place in places]

    def _element(self, place: int, pairs: bool) -> Any:
        found, data = self._made.get(place, FIRST), self._items[place]
        if found is not FIRST:
            if _is_fixed(found, pairs):  # so it may stand in many places
                self._budget.spend(EACH)
                return found
            self._budget.spend(EACH + len(data))
        element = decode(data)
        self._made[place] = _pair(element) if pairs else element
        return element

    async def _unpaged(self, ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
        """The ranges of items, where some are of pages."""
        for _ in range(LEVELS):
            if not any(is_page(log) for log, _, _ in ranges):
                return ranges
            await self._fetch([range_ for range_ in ranges if is_page(range_[0])])
            ranges = [inner for range_ in ranges for inner in (self._pages(range_) if is_page(range_[0]) else (range_,))]
        raise damaged(f"Pages stand in pages more than {LEVELS} deep")

    def _pages(self, range_: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        pages = [self._items[place] for place in places_of([range_])]
        self._budget.spend(FACTOR * sum(map(len, pages)))
        with Reading("A page of ranges"):
            return [inner for page in pages for inner in triples(unpacked(page))]

    async def _whole(self, element: Any, depth: int) -> Any:
        if not isinstance(element, Split):
            return [element[0], await self._whole(element[1], depth)]
        self._budget.spend(SPLITS)
        value, _ = await self._built(element.kind, split_of(element.aux), element.ranges, depth)
        return value

    async def _fetch(self, ranges: list[tuple[int, int, int]]) -> None:
        """Reads what is missing. A range that says more than there is is found out at the first part of it."""
        missing: list[tuple[int, int, int]] = []
        count = 0
        for log, lo, hi in in_parts(ranges, FETCHED):
            if all(map(self._items.__contains__, range(log << 40 | lo, (log << 40 | hi - 1) + 1))):
                self._budget.spend(RANGE + hi - lo)
                continue
            if count + hi - lo > FETCHED:
                await self._read(missing)
                missing, count = [], 0
            missing.append((log, lo, hi))
            count += hi - lo
        if missing:
            await self._read(missing)

    async def _read(self, missing: list[tuple[int, int, int]]) -> None:
        found = await self._storage.items(self._thread, missing)
        places = places_of(missing)
        if len(found) != len(places):
            raise CheckpointGone(
                f"Thread {self._thread!r}: the checkpoint names {len(places)} items, of which {len(found)} are stored. "
                "Begin from another one: `get_state_history` lists them."
            )
        self._items.update(zip(places, found, strict=True))
        if self._ledger:
            self._ledger.learn(places, found)


def _timeout(rest: list[bytes]) -> Any:
    return decode(rest[0]) if rest else None


def _pair(element: Any) -> Any:
    """A dict's `[key, value]` so that it cannot be changed; what else may stand there as it is."""
    return tuple(cast("list[Any]", element)) if _is_pair(element) else element


def _is_fixed(element: Any, pairs: bool) -> bool:
    """Whether an element cannot be changed; of a pair it is the value that might be."""
    parts = cast("tuple[Any, ...]", element)[1:] if pairs and type(element) is tuple else (element,)
    return ATOMS.issuperset(map(type, parts))


def _is_pair(element: Any) -> bool:
    return type(element) is list and len(cast("list[Any]", element)) == 2


def _is_split_pair(element: Any) -> bool:
    return _is_pair(element) and type(element[1]) is Split


def _container(kind: int, aux: Any, elements: list[Any]) -> Any:
    if kind == ITEM and len(elements) == 1:
        return elements[0]
    with Reading("A container"):
        if kind == DEQUE:
            return deque(elements, aux)
        if kind == DICT:
            uncrowded([key for key, _ in elements])
        if kind in (SET, FROZENSET):
            uncrowded(elements)
        if kind in CONTAINERS:
            return CONTAINERS[kind](elements)
    raise damaged(f"An entry is of kind {kind!r} with {len(elements)} elements")
