"""A checkpoint row's bytes: the manifest and all else that a checkpoint is, written and read.

A manifest names the keys that changed since its base, each with an entry (see `entries`); the base names all of them. What
tasks wrote is said by what it shares with the values, or with the base's. Rows hold plain lists, trailing empty ones left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import ormsgpack

from clew.checkpoint.checked import (
    Reading,
    checked_body,
    damaged,
    is_number,
    is_str,
    shown,
    triples,
)
from clew.checkpoint.codec import decode, encode
from clew.checkpoint.crypt import refuse_sealed
from clew.checkpoint.entries import Base, Entry, longer, shorter
from clew.checkpoint.ledger import Ledger
from clew.constants import START
from clew.errors import UnstorableValue
from clew.types import Answer, Checkpoint, Failed, Link, Outcome, Paused, Send, Task, Write

T = TypeVar("T")
SENDS: Final = "\0sends"
SOURCES: Final = ("input", "loop", "update", "fork")
FAILED: Final = 1
PAUSED: Final = 2
ANSWER: Final = (str, object, bytes, bytes, int, dict)  # types of their fields


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
    apart: bool
    results: list[Any]  # of its own tasks, where the checkpoint that had them is gone; `outcomes` are of the parent's

    def on(self, base: "Body | None") -> "Body":
        """Whole, with what it takes from the row that it adds to. Raises DamagedData."""
        before: Mapping[str, Entry] = base.entries if base else {}
        self.entries = {key: _longer(entry, before.get(key)) for key, entry in self.entries.items()}
        if base and not self.apart:
            self.entries = {**before, **self.entries}

        def whole(key: str, entry: Entry) -> Entry:
            return _longer(entry, _beside(key, self.entries, before))

        with Reading("What tasks wrote"):
            self.frontier = [_given(task, whole) for task in self.frontier]
            self.outcomes = [_written(outcome, whole) for outcome in self.outcomes]
        return self

    def checkpoint(self, values: Mapping[str, Any], frontier: tuple[Task, ...]) -> Checkpoint:
        """The checkpoint with these, which have been opened."""
        joins = {(tuple(sources), target): frozenset(arrived) for sources, target, arrived in self.joins}
        waiting, acted = frozenset(self.waiting), tuple(self.acted)
        return Checkpoint(values, frontier, joins, waiting, acted, self.step, self.source, self.children)


def write_body(
    ledger: Ledger,
    checkpoint: Checkpoint,
    entries: Mapping[str, Entry],
    said: Mapping[str, Entry],
    taken: Iterable[tuple[str, list[Any]]],
    metadata: Mapping[str, Any],
    begun: Sequence[Link] = (),
    base: Base | None = None,
) -> bytes:
    """The bytes of a row. `entries` are those of all values, `said` what the row says of them, adding to its `base`; `taken`
    are the outcomes of the tasks before it, by their keys."""
    before: Mapping[str, Entry] = base.entries if base else {}

    def short(key: str, entry: Entry) -> Entry:
        return shorter(entry, _beside(key, entries, before))

    joins, waiting, children = checkpoint.joins, checkpoint.waiting, checkpoint.children
    fields: list[Any] = [
        checkpoint.step,
        SOURCES.index(checkpoint.source),
        said,
        [_write_task(ledger, task, short) for task in checkpoint.frontier],
        [[list(sources), target, sorted(arrived)] for (sources, target), arrived in joins.items()] if joins else [],
        sorted(waiting) if waiting else [],
        [None if name == START else name for name in checkpoint.acted],
        [_written([key, *over(outcome)], short) for key, outcome in taken if key != START],
    ]
    if metadata or children or begun or (base and base.apart):  # few have any
        fields += [encode(metadata) if metadata else b"", dict(children), [list(link) for link in begun]]
        fields += [base is not None and base.apart]
    return packed(fields)


def read_body(data: bytes) -> Body:
    """A row's content, of which `Body.on` has yet to make a whole. Raises DamagedData where it has none."""
    whole = fields_of(data)
    source: int = whole[1]
    body = Body(whole[0], SOURCES[source], *whole[2:])
    body.metadata = _metadata(cast("bytes", body.metadata)) if body.metadata else {}
    body.begun = tuple(Link(*link) for link in cast("list[Any]", body.begun))
    body.acted = [START if name is None else name for name in cast("list[Any]", body.acted)]
    return body


def _beside(key: str, entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> Entry | None:
    """Whose beginning a written value's entry may share: that of the value, or where it is small, of the one before."""
    own = entries.get(key)
    return own if isinstance(own, list) else before.get(key)


def _longer(entry: Entry, other: Entry | None) -> Entry:
    if isinstance(entry, bytes) or not (len(entry) > 1 and entry[1]):
        return entry
    with Reading("An entry"):
        if not (isinstance(other, list) and is_number(entry[1]) and len(entry) > 2):
            raise TypeError(shown(entry))
        triples(entry[3:])
        return longer(entry, other)


def _given(task: Any, change: Callable[[str, Entry], Entry]) -> Any:
    """A task's fields with the entries of what START writes changed."""
    if isinstance(task, dict):
        given = cast("dict[str, Any]", task)
        return {**given, "task": _given(given["task"], change)}
    fields = cast("list[Any]", task)
    if type(task) is list and fields[0] is None:
        return [None, [[key, change(key, entry)] for key, entry in fields[1]]]
    return fields


def _written(outcome: list[Any], change: Callable[[str, Entry], Entry]) -> list[Any]:
    """An outcome's fields with the entries of what it wrote changed."""
    key, kind, written = outcome[:3]
    if kind != 0:
        return outcome
    return [key, kind, [[name, entry if isinstance(entry, bytes) else change(name, entry)] for name, entry in written]]


def fields_of(data: bytes) -> list[Any]:
    """A row's plain fields, all of them. Raises DamagedData."""
    fields = checked_body(unpacked(data))
    return [*fields, *[-2, 0, {}, [], [], [], [], [], b"", {}, [], False, []][len(fields) :]]


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


def unpacked(data: bytes) -> Any:
    try:
        return ormsgpack.unpackb(data)
    except ValueError as error:
        refuse_sealed(data)
        raise damaged(f"A row holds {data[:20]!r}… ({error})") from error


def write_outcome(ledger: Ledger, task: Task, outcome: Outcome, lender: Ledger | None = None) -> list[Any]:
    """An outcome as plain lists. START writes what its task in the frontier already holds, so only its targets are.

    `lender` kept what a graph inside the task has come to, where that is what the task wrote.
    """
    if isinstance(outcome, Failed):
        return [FAILED, encode([outcome.type, outcome.message, outcome.traceback])]
    if isinstance(outcome, Paused):
        return [PAUSED, encode([[q.slot, q.value, q.asked, q.code, q.schema] for q in outcome.questions])]
    lender = ledger.lender if task.node == START else lender
    entries = [[key, _write_value(ledger, key, key, value, lender)] for key, value in outcome.writes]
    written = [] if task.node == START else entries
    fields = [0, written, [target if isinstance(target, str) else _write_send(ledger, target) for target in outcome.targets]]
    return [*fields, dict(outcome.children)] if outcome.children else fields


def write_answers(answers: Sequence[Answer]) -> list[Any]:
    return [encode([[a.slot, a.value, a.asked, a.code, a.at, dict(a.by)] for a in answers])]


def read_answers(data: bytes) -> tuple[Answer, ...]:
    """The answers that a task was given. Raises DamagedData."""
    with Reading("The answers of a task"):
        return tuple(made(Answer, answer, ANSWER) for answer in decode(unpacked(data)[0]))


def made(kind: Callable[..., T], fields: Any, types: Sequence[type]) -> T:
    """One of our nouns out of its fields, each of these types."""
    if len(fields) > len(types) or any(type(f) is not t for f, t in zip(fields, types, strict=False) if t is not object):
        raise TypeError(f"{kind.__name__} of {shown(fields)}")
    return kind(*fields)


def over(fields: list[Any]) -> list[Any]:
    """What is worth keeping of an outcome once its superstep is over: where it led stands in the next frontier."""
    return fields if fields[0] == FAILED else fields[:2]


def _write_value(ledger: Ledger, log: str, name: str, value: Any, lender: Ledger | None = None) -> Entry:
    try:
        return ledger.write(log, value, lender)
    except UnstorableValue as error:
        raise UnstorableValue(error.reason, f"{name}{error.path}") from None


def _write_send(ledger: Ledger, send: Send) -> list[Any]:
    return [send.node, _write_value(ledger, SENDS, f"Send({send.node!r}).arg", send.arg), *_write_timeout(send.timeout)]


def _write_timeout(timeout: Any) -> list[bytes]:
    return [] if timeout is None else [encode(timeout)]


def _write_task(ledger: Ledger, task: Task, change: Callable[[str, Entry], Entry]) -> Any:
    """A task's fields; the entries of what START writes are changed."""
    if not task.sent and task.origin is None and task.node != START:
        return task.node
    if task.node == START:
        writes = cast("tuple[Write, ...]", task.arg)
        try:
            return [None, [[key, change(key, _write_value(ledger, key, key, value, ledger.lender))] for key, value in writes]]
        except UnstorableValue as error:
            raise UnstorableValue(f"the input has {error.reason}", error.path) from None
    sent = [ledger.write(SENDS, task.arg), *_write_timeout(task.timeout)] if task.sent else []
    return [task.node, *sent] if task.origin is None else {"origin": [*task.origin], "task": [task.node, *sent]}
