"""A checkpoint row's bytes: the manifest and all else that a checkpoint is, written and read.

A manifest names the keys that changed since its base, each with an entry (see `ledger`); the base names all of them. Rows
hold plain lists of plain values, trailing empty ones left out.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import ormsgpack

from clew.checkpoint.codec import Split, decode, encode
from clew.checkpoint.ledger import DEQUE, DICT, FROZENSET, ITEM, LIST, PARTS, SET, TUPLE, Entry, Ledger, places_of
from clew.checkpoint.storage import Waiting
from clew.constants import START
from clew.errors import CheckpointGone, DatabaseError, UnstorableValue
from clew.types import Answer, Checkpoint, Failed, Link, Outcome, Paused, Question, Result, Send, Task, Write

SENDS: Final = "\0sends"
SOURCES: Final = ("input", "loop", "update", "fork")
FAILED: Final = 1
PAUSED: Final = 2
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
    while not fields[-1]:
        fields.pop()
    return ormsgpack.packb(fields)


def read_body(data: bytes) -> Body:
    fields: list[Any] = unpacked(data)
    empty: list[Any] = [-2, 0, {}, [], [], [], [], [], b"", {}, []]
    whole: list[Any] = [*fields, *empty[len(fields) :]]
    source: int = whole[1]
    body = Body(whole[0], SOURCES[source], *whole[2:])
    body.metadata = decode(cast("bytes", body.metadata)) if body.metadata else {}
    body.begun = tuple(Link(*link) for link in cast("list[Any]", body.begun))
    body.acted = [_long(name) for name in cast("list[Any]", body.acted)]
    return body


def _short(name: str) -> str | None:
    return None if name == START else name


def _long(name: str | None) -> str:
    return START if name is None else name


def unpacked(data: bytes) -> Any:
    try:
        return ormsgpack.unpackb(data)
    except ValueError as error:
        raise DatabaseError(f"A row holds {data[:20]!r}…, which is not something Clew wrote ({error}).") from error


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
    return tuple(Answer(*answer) for answer in decode(unpacked(data)[0]))


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
    """Opens entries: finds the items they name and puts the values together again.

    With a `ledger`, what is read is taken note of there, so that it is never stored again.
    """

    __slots__ = ("_items", "_ledger", "_storage", "_thread")

    def __init__(self, storage: Waiting, thread: str, ledger: Ledger | None = None) -> None:
        self._storage = storage
        self._thread = thread
        self._ledger = ledger
        self._items: dict[int, bytes] = {}

    async def fetch(self, entries: Sequence[Entry]) -> None:
        """Reads all that these entries name at first hand, in one round trip."""
        await self._fetch([range_ for entry in entries if not isinstance(entry, bytes) for range_ in _triples(entry[3:])])

    async def value(self, entry: Entry) -> tuple[Any, list[int]]:
        """A value, and the places of its elements."""
        if isinstance(entry, bytes):
            return decode(entry), []
        kind, level, aux, *flat = entry
        return await self._built(kind, level, aux, flat)

    def said(self, fields: Sequence[Any]) -> Outcome | None:
        """An outcome that says something: why a task failed, what it asks. None for a result."""
        if fields[0] == FAILED:
            return Failed(*decode(fields[1]))
        return Paused(tuple(Question(*question) for question in decode(fields[1]))) if fields[0] == PAUSED else None

    async def outcome(self, task: Task, fields: Sequence[Any]) -> tuple[Outcome, list[list[int]]]:
        """An outcome, and of each write the places of its elements."""
        if (said := self.said(fields)) is not None:
            return said, []
        writes, places = await self.writes(fields[1])
        targets = fields[2] if len(fields) > 2 else ()
        written = task.arg if task.node == START else writes
        children: dict[str, bytes] = fields[3] if len(fields) > 3 else {}
        return Result(written, tuple([await self._target(target) for target in targets]), children), places

    def named(self, fields: Any) -> Task:
        """A task without what it is given."""
        if isinstance(fields, str):
            return Task(fields)
        if isinstance(fields, dict):
            given = cast("dict[str, list[Any]]", fields)
            task = self.named(given["task"] if len(given["task"]) > 1 else given["task"][0])
            return replace(task, origin=(given["origin"][0], given["origin"][1]))
        return Task(START) if fields[0] is None else Task(fields[0], sent=True)

    async def task(self, fields: Any) -> Task:
        if isinstance(fields, str):
            return Task(fields)
        if isinstance(fields, dict):
            given = cast("dict[str, list[Any]]", fields)
            task = await self.task(given["task"] if len(given["task"]) > 1 else given["task"][0])
            return replace(task, origin=(given["origin"][0], given["origin"][1]))
        node, arg, *timeout = fields
        if node is None:
            return Task(START, (await self.writes(arg))[0])
        return Task(node, (await self.value(arg))[0], True, _timeout(timeout))

    async def writes(self, fields: Sequence[tuple[str, Entry]]) -> tuple[tuple[Write, ...], list[list[int]]]:
        opened = [(key, await self.value(entry)) for key, entry in fields]
        return tuple(Write(key, value) for key, (value, _) in opened), [places for _, (_, places) in opened]

    async def _target(self, fields: Any) -> str | Send:
        if isinstance(fields, str):
            return fields
        node, arg, *timeout = fields
        return Send(node, (await self.value(arg))[0], timeout=_timeout(timeout))

    async def _built(self, kind: int, level: int, aux: Any, flat: Sequence[int]) -> tuple[Any, list[int]]:
        await self._fetch(_triples(flat))
        places = places_of(flat)
        for _ in range(level):
            flat = [number for place in places for number in unpacked(self._items[place])]
            await self._fetch(_triples(flat))
            places = places_of(flat)
        if kind == PARTS:
            return decode(b"".join([self._items[place] for place in places])), places
        items = self._items
        elements: list[Any] = []
        for place in places:
            element = decode(items[place])
            if type(element) is Split or (type(element) is list and _is_split_pair(cast("list[Any]", element))):
                element = await self._whole(element)
            elements.append(element)
        return _container(kind, aux, elements), places

    async def _whole(self, element: Any) -> Any:
        if not isinstance(element, Split):
            return [element[0], await self._whole(element[1])]
        level, aux = cast("tuple[int, Any]", element.aux or (0, None))
        value, _ = await self._built(element.kind, level, aux, element.ranges)
        return value

    async def _fetch(self, ranges: list[tuple[int, int, int]]) -> None:
        missing = [(log, lo, hi) for log, lo, hi in ranges if any((log << 40 | n) not in self._items for n in range(lo, hi))]
        if not missing:
            return
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


def _triples(flat: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat), 3)]


def _is_split_pair(element: list[Any]) -> bool:
    return len(element) == 2 and type(element[1]) is Split


def _container(kind: int, aux: Any, elements: list[Any]) -> Any:
    if kind == ITEM and len(elements) == 1:
        return elements[0]
    if kind == DEQUE:
        return deque(elements, aux)
    if kind not in CONTAINERS:
        raise DatabaseError(f"An entry of kind {kind!r} with {len(elements)} elements is not something Clew wrote.")
    return CONTAINERS[kind](elements)
