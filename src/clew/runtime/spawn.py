"""Tasks that a task calls (`@task`): each is started at once, its result is kept before its caller gets it, and a recorded
result answers without running.

A call is told from its siblings by its place, its name and the digest of its arguments (DESIGN §10). Nothing here retries or
waits: that is what `run_task` does, for these as for nodes.
"""

import warnings
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from clew.channels import own
from clew.constants import FIRST, LAST
from clew.engine.answers import opened
from clew.engine.answers import shown as asked
from clew.engine.plan import Plan
from clew.errors import ArgumentsChanged, GraphBubbleUp, GraphInterrupt, TaskMismatch, UnstorableValue
from clew.runtime.attempt import Node
from clew.runtime.context import TaskContext
from clew.runtime.events import Event, Feed
from clew.runtime.host import Host
from clew.runtime.notes import Notes
from clew.runtime.policy import run_task
from clew.schema import ROOT
from clew.types import Checkpoint, Question, Result, Task, Write

MARK: Final = "@"


class Callee(NamedTuple):
    """A function that was made a task: its node, and the entry plan that the node is of."""

    name: str
    node: Node
    plan: Plan


class Record(NamedTuple):
    """A result that is kept: of which task, called with what (a digest), by which code, as which of the caller's calls."""

    name: str
    digest: bytes
    code: bytes
    number: int
    value: Any


class Spawned:
    """The calls that one try of a task has made.

    Attributes:
        prefix, notes: where their results are kept. records: those of earlier tries that have answered no call yet, by their
            places. calls: how many were made. places: how many results have a place. futures: what the calls returned.
    """

    __slots__ = ("calls", "futures", "notes", "places", "prefix", "records")

    def __init__(self, context: TaskContext) -> None:
        self.prefix, self.notes = context.keeping(MARK)
        self.records = {place: Record(*note) for place, note in self.notes.numbered(self.prefix).items()}
        self.places = max(self.records, default=-1) + 1
        self.calls = 0
        self.futures: list[Any] = []


class SpawnedContext(TaskContext):
    """A task that another task has called; what it asks and keeps is told by the way there."""

    def __init__(self, parent: TaskContext, number: int, name: str) -> None:
        super().__init__(parent.scope, f"{parent.key}|{MARK}{number}", name, parent.left, parent.metadata)
        self.parent, self.number = parent, number
        self._graphs, self.held, self.triggers = parent.graphs, parent.held, ("__pregel_push",)
        self.origin = parent.origin and (parent.origin[0], f"{parent.origin[1]}|{MARK}{number}")

    def twin(self) -> TaskContext:
        return SpawnedContext(self.parent, self.number, self.node)

    @property
    def index(self) -> int:
        return self.number

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for it any more: the one that called it was left to itself, or is over."""
        return self.parent.over or (isinstance(self.parent, SpawnedContext) and self.parent.abandoned)

    @property
    def watcher(self) -> Any:
        return self.parent.span

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
    made = context.spawned = context.spawned or Spawned(context)
    number, made.calls = made.calls, made.calls + 1
    child = SpawnedContext(context, number, callee.name)
    digest = _digest(callee.name, args, kwargs) if made.notes.kept else b""
    call = Call(child, callee, Task(callee.name, (args, kwargs), sent=True))
    place = _on_record(context, callee.name, digest, code, number)
    if place is not None:
        value = own(made.records.pop(place).value)
        known = context.scope.events is not None and context.scope.events.is_done(child.id)
        call.tell(lambda feed: [feed.cached(call.task, Result((Write(ROOT, value),)))], keep=not known, edge=LAST)
        future = context.scope.host.settled(value)
    else:
        key, made.places = f"{made.prefix}{made.places}", made.places + 1

        async def body(host: Host) -> Any:
            return await call.run(host, key, Record(callee.name, digest, code, number, None), made.notes)

        future = context.scope.host.spawn(body, callee.node)
    made.futures.append(future)
    return future


class Call:
    """One call of a task: it is run, kept, and told of."""

    __slots__ = ("_callee", "_child", "_feed", "task")

    def __init__(self, child: SpawnedContext, callee: Callee, task: Task) -> None:
        self._child = child
        self._callee = callee
        self._feed = (
            Feed(callee.plan, child.scope, returns="__return__") if child.scope.modes and not callee.node.hidden else None
        )
        self.task = task

    async def run(self, host: Host, key: str, record: Record, notes: Notes) -> Any:
        child, callee, name = self._child, self._callee, self._callee.name
        child.retract(anew=True)
        begun = [(child.key, self.task, callee.node)]
        self.tell(lambda feed: feed.started(Checkpoint({}), begun), edge=FIRST)
        try:
            result, shown = await run_task(callee.plan, callee.node, host, self.task, {}, child)
            value = result.writes[0].value
            if not child.abandoned:
                self._log(lambda feed: feed.ended(child.key, name, shown), LAST)  # goes with the note
                await self._keep(host, key, record._replace(value=own(value)), notes)
        except GraphInterrupt as pause:
            _, outermost = child.slot("")
            waiting = asked(opened(outermost.place, outermost.key, pause.questions))
            self.tell(lambda feed: feed.waiting(child.key, name, waiting))
            raise
        except Exception as error:
            failed = error
            self.tell(lambda feed: feed.failed(child.key, name, failed))
            raise
        finally:
            child.over = True
        self.tell(lambda feed: feed.ended(child.key, name, shown), keep=False)
        return value

    async def _keep(self, host: Host, key: str, record: Record, notes: Notes) -> None:
        try:
            await host.blocking(notes.keep, key, list(record))
        except UnstorableValue as error:
            path = error.path.removeprefix(f"[{len(record) - 1}]")
            raise UnstorableValue(f"task {record.name!r} returned {error.reason}", path) from None

    def tell(self, events: Callable[[Feed], Iterable[Event]], *, keep: bool = True, edge: int = 0) -> None:
        """Tells readers of the run, where there are some; what runs in their own thread holds it for them."""
        child, feed = self._child, self._feed
        if feed is None or child.abandoned:
            return
        if keep:
            self._log(events, edge)
        for event in events(feed):
            if event.mode in child.scope.modes:
                child.scope.host.emit(*event) if child.held is None else child.held.append(event)

    def _log(self, events: Callable[[Feed], Iterable[Event]], edge: int = 0) -> None:
        """Puts events into the run's event log, where there is one."""
        if self._feed is not None and self._child.scope.events is not None:
            for event in events(self._feed):
                self._child.keep(event, edge)


# -- what is on record ----------------------------------------------------------------------------------------------


def _digest(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    from clew.checkpoint.codec import encode  # late: a graph that keeps nothing need not import what keeps

    try:
        try:
            data = encode([list(args), kwargs])
        except UnstorableValue:
            data = encode([list(map(_storeless, args)), {key: _storeless(value) for key, value in kwargs.items()}])
    except UnstorableValue as error:
        raise UnstorableValue(f"task {name!r} was called with {error.reason}", error.path) from None
    return blake2b(data, digest_size=16).digest()


def _storeless(argument: Any) -> Any:
    """An argument as it tells one call from another: which store a task is handed does not."""
    from clew.store.base import BaseStore  # late: few tasks are handed one

    return "a store" if isinstance(argument, BaseStore) else argument


def _on_record(context: TaskContext, name: str, digest: bytes, code: bytes, number: int) -> int | None:
    """The place of the record that answers this call: one of the same name and arguments, this very call's before others';
    else the one of this call, whatever its arguments were. Of those that LangGraph has kept nothing else is known."""
    assert context.spawned is not None
    here = [(place, record) for place, record in context.spawned.records.items() if record.name in (name, "")]
    same = sorted((record.number != number, record.number, place) for place, record in here if record.digest == digest)
    if same and (digest or not same[0][0]):
        return same[0][2]
    found = [(place, record) for place, record in here if record.number == number]
    if not found:  # a call that was not made before
        return None
    place, record = found[-1]
    if not record.name:
        return place
    if record.code != code:
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
    return place


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
    paused = raised is None or isinstance(raised, GraphBubbleUp)
    cancelled = not paused and not isinstance(raised, Exception | BaseExceptionGroup)
    if raised is not None and (cancelled or context.over):  # its time is over: nobody waits for them
        context.over = True
        await host.settle(context.spawned.futures, cancel=True)
        raise raised
    errors = await host.settle(context.spawned.futures, cancel=False)
    all_raised: list[BaseException | None] = [raised, *[error for error, _ in errors]]
    questions = {question.slot: question for error in all_raised for question in _questions(error)}
    if questions and paused:
        raise GraphInterrupt(*questions.values()) from None
    if raised is not None:
        raise raised
    for error, read in errors:
        if error is not None and not read:
            raise error
