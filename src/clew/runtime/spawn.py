"""Tasks that a task calls (`@task`): each is started at once, its result is kept before its caller gets it, and a recorded
result answers without running.

A call is told from its siblings by its place, its name and the digest of its arguments (DESIGN §10). Nothing here retries or
waits: that is what `run_task` does, for these as for nodes.
"""

import warnings
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from clew.engine.plan import Plan
from clew.errors import ArgumentsChanged, GraphInterrupt, TaskMismatch, UnstorableValue
from clew.runtime.attempt import Node
from clew.runtime.context import TaskContext
from clew.runtime.events import Event
from clew.runtime.host import Host
from clew.runtime.notes import Notes
from clew.runtime.policy import run_task
from clew.types import Question, Task

MARK: Final = "@"


class Callee(NamedTuple):
    """A function that was made a task: its node, and the entry plan that the node is of."""

    name: str
    node: Node
    plan: Plan


class Spawned:
    """The calls that one task has made.

    Attributes:
        calls: how many. futures: what they returned. used: the records that have answered, by their numbers.
    """

    __slots__ = ("calls", "futures", "used")

    def __init__(self) -> None:
        self.calls = 0
        self.futures: list[Any] = []
        self.used: set[int] = set()


class SpawnedContext(TaskContext):
    """A task that another task has called; what it asks and keeps is told by the way there."""

    __slots__ = ("number", "parent")

    def __init__(self, parent: TaskContext, number: int, name: str) -> None:
        super().__init__(parent.scope, f"{parent.key}{MARK}{number}", name, parent.left, parent.metadata)
        self.parent, self.number = parent, number
        self.heads, self.ended, self.held, self.triggers = parent.heads, parent.ended, parent.held, ("__pregel_push",)
        self.origin = parent.origin and (parent.origin[0], f"{parent.origin[1]}{MARK}{number}")

    def twin(self) -> TaskContext:
        return SpawnedContext(self.parent, self.number, self.node)

    def slot(self, own: str) -> tuple[str, TaskContext]:
        return self.parent.slot(f"{MARK}{self.number}/{own}")

    def keeping(self, own: str) -> tuple[str, Notes]:
        return self.parent.keeping(f"{MARK}{self.number}/{own}")


def spawn(context: TaskContext, callee: Callee, args: tuple[Any, ...], kwargs: dict[str, Any], code: bytes) -> Any:
    """Starts a call, or answers it from the record. Returns a future, of the kind that the caller can wait for.

    Raises:
        TaskMismatch: what is on record here is of other code, which called it with other arguments.
        UnstorableValue: the arguments cannot be told from others, as they cannot be stored.
    """
    if context.spawned is None:
        context.spawned = Spawned()
    made, number = context.spawned, context.spawned.calls
    made.calls += 1
    child = SpawnedContext(context, number, callee.name)
    prefix, notes = context.keeping(MARK)
    records = notes.numbered(prefix)
    digest = _digest(callee.name, args, kwargs) if notes.kept else b""
    found = _on_record(context, callee.name, digest, code, number, records)
    if found is not None:
        made.used.add(found)
        value = records[found][3]
        _tell(child, "updates", {callee.name: value, "__metadata__": {"cached": True}})
        future = context.scope.host.settled(value)
    else:
        place = number if number not in records else max(records) + 1
        made.used.add(place)
        record = [callee.name, digest, code]
        key = f"{prefix}{place}"
        future = context.scope.host.spawn(lambda host: _run(child, callee, args, kwargs, host, notes, key, record), callee.node)
    made.futures.append(future)
    return future


async def _run(
    child: TaskContext,
    callee: Callee,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    host: Host,
    notes: Notes,
    key: str,
    record: list[Any],
) -> Any:
    task = Task(callee.name, (args, kwargs), sent=True)
    begun = {"id": child.id, "name": child.node, "input": (args, kwargs), "triggers": child.triggers}
    _tell(child, "tasks", begun)
    try:
        result, _ = await run_task(callee.plan, callee.node, host, task, {}, child)
        value = result.writes[0].value
        await host.blocking(notes.keep, key, [*record, value])
    except BaseException as error:
        asked = [{"value": q.value, "response_schema": q.schema} for q in _questions(error)]
        failed = None if asked else error
        _tell(child, "tasks", {"id": child.id, "name": child.node, "error": failed, "result": {}, "interrupts": asked})
        raise
    finally:
        child.over = True
    _tell(child, "updates", {callee.name: value})
    _tell(child, "tasks", {"id": child.id, "name": child.node, "error": None, "result": value, "interrupts": []})
    return value


def _tell(child: TaskContext, mode: str, data: Any) -> None:
    scope = child.scope
    if mode in scope.modes:
        event = Event(scope.ns, mode, data)
        scope.host.emit(event) if child.held is None else child.held.append(event)


# -- what is on record ----------------------------------------------------------------------------------------------


def _digest(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    from clew.checkpoint.codec import encode  # late: a graph that keeps nothing need not import what keeps

    try:
        return blake2b(encode([list(args), kwargs]), digest_size=16).digest()
    except UnstorableValue as error:
        raise UnstorableValue(f"task {name!r} was called with {error.reason}", error.path) from None


def _on_record(
    context: TaskContext, name: str, digest: bytes, code: bytes, number: int, records: dict[int, list[Any]]
) -> int | None:
    """The number of the record that answers this call: one of the same name and arguments, else the one at its place."""
    assert context.spawned is not None
    unused = {place: record for place, record in records.items() if place not in context.spawned.used}
    same = [place for place, record in sorted(unused.items()) if record[0] == name and record[1] == digest]
    if same:
        return same[0] if digest else (number if number in same else None)
    record = unused.get(number)
    if record is None or record[0] != name:  # a call that was not made before
        return None
    if record[2] != code:
        raise TaskMismatch(
            f"Task {name!r}, call {number + 1} of node {context.node!r}, has a result on record that was made with other "
            "arguments by other code, which stood here before it was changed. It was not delivered. Begin anew with a new "
            "input, or go back to the code that had called it."
        )
    warnings.warn(
        f"Task {name!r}, call {number + 1} of node {context.node!r}, was called with other arguments before; the result on "
        "record was delivered, as the same code calls it. What changes from run to run belongs into a task of its own.",
        ArgumentsChanged,
        stacklevel=4,
    )
    return number


# -- the end of the task that called --------------------------------------------------------------------------------


def _questions(error: BaseException | None) -> Iterable[Question]:
    return error.questions if isinstance(error, GraphInterrupt) else ()


async def ended(context: TaskContext, host: Host, raised: BaseException | None) -> None:
    """Waits for what the task has called and nobody waited for. What they ask is asked together; a failure that nobody has
    read is the task's own.

    Raises:
        GraphInterrupt: there are questions. Whatever a task raised, or `raised`.
    """
    assert context.spawned is not None
    gone = raised is not None and not isinstance(raised, Exception | GraphInterrupt)
    errors = await host.settle(context.spawned.futures, cancel=gone)
    asked = {question.slot: question for error in (raised, *[e for e, _ in errors]) for question in _questions(error)}
    if asked and (raised is None or isinstance(raised, GraphInterrupt)):
        raise GraphInterrupt(*asked.values()) from None
    if raised is not None:
        raise raised
    for error, read in errors:
        if error is not None and not read:
            raise error
