"""A checkpoint row's bytes: the manifest and all else that a checkpoint is, written and read.

A manifest names the keys that changed since its base, each with an entry (see `ledger`); the base names all of them. Rows
hold plain lists of plain values, trailing empty ones left out.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import ormsgpack

from clew.checkpoint.checked import (
    EACH,
    FACTOR,
    NESTED,
    RANGE,
    SPLITS,
    Budget,
    Reading,
    checked_body,
    damaged,
    entry_of,
    in_parts,
    is_str,
    name_of,
    origin_of,
    shown,
    split_of,
    triples,
)
from clew.checkpoint.codec import Split, decode, encode
from clew.checkpoint.ledger import ATOMS, DEQUE, DICT, FROZENSET, ITEM, LIST, PARTS, SET, TUPLE, Entry, Ledger, places_of
from clew.checkpoint.registry import uncrowded
from clew.checkpoint.storage import Waiting
from clew.constants import START
from clew.errors import CheckpointGone, UnstorableValue
from clew.types import Answer, Checkpoint, Failed, Link, Outcome, Paused, Question, Result, Send, Task, Write

T = TypeVar("T")
FETCHED: Final = 1 << 16  # items that are asked for at once
FIRST: Final = object()  # an element that has not been decoded yet,
AGAIN: Final = object()  # and one that must be again: it can be changed
SENDS: Final = "\0sends"
SOURCES: Final = ("input", "loop", "update", "fork")
FAILED: Final = 1
PAUSED: Final = 2
ANSWER: Final = (str, object, bytes, bytes, int, dict)  # types of their fields
QUESTION: Final = (str, object, bytes, bytes, object)
CONTAINERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    LIST: list,
    TUPLE: tuple,
    DICT: dict,
    SET: set,
    FROZENSET: frozenset,
}


@dataclass(slots=True)
class Body:
    """A row's content, entries not yet opened."""

    step: int
    source: str
    entries: dict[str, Entry]
    frontier: list[Any]
    joins: list[Any]
    waiting: list[str]
    acted: list[str]
    outcomes: list[Any]
    metadata: dict[str, Any]
    children: dict[str, bytes]
    begun: tuple[Link, ...]
    results: list[Any]  # of its own tasks, where the checkpoint that had them is gone; `outcomes` are of the parent's

    def checkpoint(self, values: Mapping[str, Any], frontier: tuple[Task, ...]) -> Checkpoint:
        """The checkpoint with these, which have been opened."""
        joins = {(tuple(sources), target): frozenset(arrived) for sources, target, arrived in self.joins}
        waiting, acted = frozenset(self.waiting), tuple(self.acted)
        return Checkpoint(values, frontier, joins, waiting, acted, self.step, self.source, self.children)


def write_body(
    ledger: Ledger,
    checkpoint: Checkpoint,
    entries: Mapping[str, Entry],
    outcomes: list[Any],
    metadata: Mapping[str, Any],
    begun: Sequence[Link] = (),
) -> bytes:
    joins = [[list(sources), target, sorted(arrived)] for (sources, target), arrived in checkpoint.joins.items()]
    fields: list[Any] = [
        checkpoint.step,
        SOURCES.index(checkpoint.source),
        entries,
        [_write_task(ledger, task) for task in checkpoint.frontier],
        joins,
        sorted(checkpoint.waiting),
        [_short(name) for name in checkpoint.acted],
        outcomes,
        encode(metadata) if metadata else b"",
        dict(checkpoint.children),
        [list(link) for link in begun],
    ]
    return packed(fields)


def read_body(data: bytes) -> Body:
    """A row's content. Raises DamagedData where it has none."""
    whole = fields_of(data)
    source: int = whole[1]
    body = Body(whole[0], SOURCES[source], *whole[2:])
    body.metadata = _metadata(cast("bytes", body.metadata)) if body.metadata else {}
    body.begun = tuple(Link(*link) for link in cast("list[Any]", body.begun))
    body.acted = [_long(name) for name in cast("list[Any]", body.acted)]
    return body


def fields_of(data: bytes) -> list[Any]:
    """A row's plain fields, all of them. Raises DamagedData."""
    fields = checked_body(unpacked(data))
    return [*fields, *[-2, 0, {}, [], [], [], [], [], b"", {}, [], []][len(fields) :]]


def _metadata(data: bytes) -> dict[str, Any]:
    found = decode(data)
    if type(found) is not dict or not all(map(is_str, cast("dict[Any, Any]", found))):
        raise damaged(f"The metadata of a checkpoint read {shown(found)}")
    return cast("dict[str, Any]", found)


def packed(fields: list[Any]) -> bytes:
    """The bytes of a row's fields; trailing empty ones are left out."""
    while not fields[-1]:
        fields.pop()
    return ormsgpack.packb(fields)


def _short(name: str) -> str | None:
    return None if name == START else name


def _long(name: str | None) -> str:
    return START if name is None else name


def unpacked(data: bytes) -> Any:
    try:
        return ormsgpack.unpackb(data)
    except ValueError as error:
        raise damaged(f"A row holds {data[:20]!r}… ({error})") from error


def write_outcome(ledger: Ledger, task: Task, outcome: Outcome) -> list[Any]:
    """An outcome as plain lists. START writes what its task in the frontier already holds, so only its targets are."""
    if isinstance(outcome, Failed):
        return [FAILED, encode([outcome.type, outcome.message, outcome.traceback])]
    if isinstance(outcome, Paused):
        return [PAUSED, encode([[q.slot, q.value, q.asked, q.code, q.schema] for q in outcome.questions])]
    entries = [[key, _write_value(ledger, key, key, value)] for key, value in outcome.writes]
    written = [] if task.node == START else entries
    fields = [0, written, [_write_target(ledger, target) for target in outcome.targets]]
    return [*fields, dict(outcome.children)] if outcome.children else fields


def write_answers(answers: Sequence[Answer]) -> list[Any]:
    return [encode([[a.slot, a.value, a.asked, a.code, a.at, dict(a.by)] for a in answers])]


def read_answers(data: bytes) -> tuple[Answer, ...]:
    """The answers that a task was given. Raises DamagedData."""
    with Reading("The answers of a task"):
        return tuple(_made(Answer, answer, ANSWER) for answer in decode(unpacked(data)[0]))


def _made(kind: Callable[..., T], fields: Any, types: Sequence[type]) -> T:
    """One of our nouns out of its fields, each of these types."""
    if len(fields) > len(types) or any(type(f) is not t for f, t in zip(fields, types, strict=False) if t is not object):
        raise TypeError(f"{kind.__name__} of {shown(fields)}")
    return kind(*fields)


def over(fields: list[Any]) -> list[Any]:
    """What is worth keeping of an outcome once its superstep is over: where it led stands in the next frontier."""
    return fields if fields[0] == FAILED else fields[:2]


def _write_value(ledger: Ledger, log: str, name: str, value: Any) -> Entry:
    try:
        return ledger.write(log, value)
    except UnstorableValue as error:
        raise UnstorableValue(error.reason, f"{name}{error.path}") from None


def _write_target(ledger: Ledger, target: str | Send) -> Any:
    if isinstance(target, str):
        return target
    return [target.node, _write_value(ledger, SENDS, f"Send({target.node!r}).arg", target.arg), *_write_timeout(target.timeout)]


def _write_timeout(timeout: Any) -> list[bytes]:
    return [] if timeout is None else [encode(timeout)]


def _write_task(ledger: Ledger, task: Task) -> Any:
    if task.node == START:
        writes = cast("tuple[Write, ...]", task.arg)
        try:
            return [None, [[key, _write_value(ledger, key, key, value)] for key, value in writes]]
        except UnstorableValue as error:
            raise UnstorableValue(f"the input has {error.reason}", error.path) from None
    if not task.sent and task.origin is None:
        return task.node
    sent = [ledger.write(SENDS, task.arg), *_write_timeout(task.timeout)] if task.sent else []
    return [task.node, *sent] if task.origin is None else {"origin": [*task.origin], "task": [task.node, *sent]}


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
        self._items = items if items is not None else {}
        self._made: dict[int, Any] = {}
        self._budget = Budget(lambda: sum(map(len, self._items.values())))

    async def fetch(self, entries: Sequence[Entry]) -> None:
        """Reads all that these entries name at first hand, in one round trip."""
        await self._fetch([range_ for entry in entries if type(entry) is not bytes for range_ in triples(entry_of(entry)[3])])

    async def value(self, entry: Entry) -> tuple[Any, list[int]]:
        """A value, and the places of its elements."""
        if isinstance(entry, bytes):
            self._budget.spend(EACH)
            return decode(entry), []
        return await self._built(*entry_of(entry))

    def said(self, fields: Sequence[Any]) -> Outcome | None:
        """An outcome that says something: why a task failed, what it asks. None for a result."""
        with Reading("What a task came to"):
            if fields[0] == FAILED:
                return _made(Failed, decode(fields[1]), (str, str, str))
            if fields[0] == PAUSED:
                return Paused(tuple(_made(Question, question, QUESTION) for question in decode(fields[1])))
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

    def named(self, fields: Any) -> Task:
        """A task without what it is given."""
        with Reading("A task"):
            fields, origin = origin_of(fields)
            node = fields if isinstance(fields, str) else START if fields[0] is None else name_of(fields[0])
            return Task(node, sent=not isinstance(fields, str) and node != START, origin=origin)

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

    async def _built(self, kind: int, level: int, aux: Any, flat: Sequence[int], depth: int = 0) -> tuple[Any, list[int]]:
        if depth > NESTED:
            raise damaged(f"Containers are split within one another more than {NESTED} deep")
        await self._fetch(triples(flat))
        places = places_of(flat)
        for _ in range(level):
            flat = self._pages(places)
            await self._fetch(triples(flat))
            places = places_of(flat)
        items = self._items
        if kind == PARTS:
            parts = [items[place] for place in places]
            if len(set(places)) < len(places):
                self._budget.spend(sum(map(len, parts)))
            return decode(b"".join(parts)), places
        made, pairs = self._made, kind == DICT
        element: Any
        elements: list[Any] = []
        for place in places:
            element = made.get(place, FIRST)
            if element is FIRST:
                element = decode(items[place])
                inner = cast("Any", element[1] if pairs and _is_pair(element) else element)
                made[place] = element if type(inner) in ATOMS else AGAIN
            elif element is AGAIN or (type(element) is list and not pairs):
                self._budget.spend(EACH + len(items[place]))
                element = decode(items[place])
            else:  # it cannot be changed, so it may stand in many places
                self._budget.spend(EACH)
            if type(element) is Split or (type(element) is list and _is_split_pair(cast("list[Any]", element))):
                element = await self._whole(element, depth + 1)
            elements.append(element)
        return _container(kind, aux, elements), places

    def _pages(self, places: Sequence[int]) -> list[int]:
        pages = [self._items[place] for place in places]
        self._budget.spend(FACTOR * sum(map(len, pages)))
        with Reading("A page of ranges"):
            return [number for page in pages for number in unpacked(page)]

    async def _whole(self, element: Any, depth: int) -> Any:
        if not isinstance(element, Split):
            return [element[0], await self._whole(element[1], depth)]
        self._budget.spend(SPLITS)
        level, aux = split_of(element.aux)
        value, _ = await self._built(element.kind, level, aux, element.ranges, depth)
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
        places = places_of([number for range_ in missing for number in range_])
        if len(found) != len(places):
            raise CheckpointGone(
                f"Thread {self._thread!r}: the checkpoint names {len(places)} items, of which {len(found)} are stored. "
                "Begin from another one: `get_state_history` lists them."
            )
        for place, data in zip(places, found, strict=True):
            self._items[place] = data
            if self._ledger:
                self._ledger.learn(place, data)


def _timeout(rest: list[bytes]) -> Any:
    return decode(rest[0]) if rest else None


def _is_pair(element: Any) -> bool:
    return type(element) is list and len(cast("list[Any]", element)) == 2


def _is_split_pair(element: list[Any]) -> bool:
    return len(element) == 2 and type(element[1]) is Split


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
