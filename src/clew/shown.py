"""What readers of a thread are shown. What costs something to load, a long list's values, is loaded when it is first touched.

Users import these names from `clew.types`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

T = TypeVar("T")


class Late:
    """A value that is loaded when it is first asked for."""

    __slots__ = ("_load", "_value")

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load: Callable[[], Any] | None = load
        self._value: Any = None

    def __call__(self) -> Any:
        if self._load is not None:
            self._value, self._load = self._load(), None
        return self._value


class Whole(Late):
    """What all fields of a named tuple are: it stands in each of their places, and is loaded when the first is asked for."""

    __slots__ = ()


if TYPE_CHECKING:  # what type checkers are to see is the named tuple as it is
    from datetime import timedelta

    class _Lately: ...

else:

    class _Lately(tuple):
        """A named tuple some of whose fields are `Late`, or all one `Whole`: nobody who reads it can tell, but that they are
        loaded by then."""

        __slots__ = ()

        def _raw(self) -> Iterator[Any]:
            return tuple.__iter__(self)

        def __iter__(self) -> Iterator[Any]:
            return (self[index] for index in range(len(self)))

        def __getitem__(self, index: Any) -> Any:
            if isinstance(index, slice):
                return tuple(self)[index]
            found: Any = tuple.__getitem__(self, index)
            if type(found) is Whole:
                return found()[index]
            return found() if type(found) is Late else found

        def __eq__(self, other: object) -> bool:
            return isinstance(other, tuple) and tuple(self) == tuple(other)

        def __ne__(self, other: object) -> bool:
            return not self == other

        __hash__ = None  # they hold dicts

        def __repr__(self) -> str:
            fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({fields})"

        def _replace(self, **changed: Any) -> Any:
            """A copy in which these fields are others; what has not been loaded need not be for that."""
            if unknown := changed.keys() - set(self._fields):
                raise ValueError(f"Got unexpected field names: {sorted(unknown)!r}")
            fields = [changed.get(name, field) for name, field in zip(self._fields, self._raw(), strict=True)]
            return tuple.__new__(type(self), fields)


def _late_fields(count: int) -> "Iterator[property]":
    """The fields of a named tuple that may be late, by their places; its own accessors would not load them."""
    return (property(itemgetter(index)) for index in range(count))


@dataclass(frozen=True, slots=True)
class Failed:
    """A task that raised: the error's type, its message, and its traceback as text."""

    type: str
    message: str
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.type}({self.message!r})"


class _Task(NamedTuple):
    id: str
    name: str
    path: tuple[Any, ...] = ()
    error: Failed | None = None
    interrupts: tuple[Any, ...] = ()
    state: Any = None
    result: dict[str, Any] | None = None


class PregelTask(_Lately, _Task):
    """A task as `StateSnapshot.tasks` lists it. The name is LangGraph's.

    `result` has what it came to write, or None; `state` what is kept of a graph within it: its snapshot, or its config.
    """

    __slots__ = ()

    if not TYPE_CHECKING:
        *_, result = _late_fields(7)


class StateUpdate(NamedTuple):
    """One update of `bulk_update_state`: what a node is to have returned, and which; None is inferred, as by `update_state`."""

    values: Any
    as_node: str | None = None


class _Snapshot(NamedTuple):
    values: dict[str, Any]
    next: tuple[str, ...]
    config: dict[str, Any]
    metadata: dict[str, Any] | None
    created_at: str | None
    parent_config: dict[str, Any] | None
    tasks: tuple[PregelTask, ...]
    interrupts: tuple[Any, ...] = ()


class StateSnapshot(_Lately, _Snapshot):
    """A thread as it stood at one checkpoint.

    `values` holds every key that has a value. `next` names the nodes that would run. `config` leads back to this very
    checkpoint; `parent_config` to the one it grew from, or None. `metadata` has `source`, `step` and what the caller
    added; it, `created_at` (ISO 8601, UTC) and `parent_config` are None where nothing is kept yet.

    In a history, a snapshot is made when it is first touched, of a row that was read. `values` and the tasks' results are read
    from the saver by then, so it has to be open.
    """

    __slots__ = ()

    if not TYPE_CHECKING:
        values, next, config, metadata, created_at, parent_config, tasks, interrupts = _late_fields(8)


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event of a run whose events are kept (`stream(…, resumable=True)`, `join_stream`).

    Attributes:
        seq: its number in the run, from 1 on, without gaps. run_id: the run's name, to join it by.
        mode: the stream mode that it is of; or one of these. `"metadata"`, a run's first event: `{"run_id", "thread_id"}`.
            `"attempt"`: a task runs again, and what it had told from number `since` on is void: `{"task", "node", "attempt",
            "since"}`. `"end"`, the last one: `{"status"}`, which is `"success"`, `"interrupted"` or `"error"`, the last with
            `"error"` and `"message"`.
        data: what `stream` would yield. ns: of which graph: `()` for the outermost, one segment for each graph around it.
        task: the id of the task that told it, None where no task did.
    """

    seq: int
    run_id: str
    mode: str
    data: Any
    ns: tuple[str, ...] = ()
    task: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumable:
    """How much of a run's events is kept, and for how long: `stream(…, resumable=Resumable(ttl="10m"))`.

    Attributes:
        keep_last: so many events, the last ones. max_bytes: of what they say. The oldest are dropped, in groups, as they were
            kept; the newest group always stays.
        ttl: for how long after the run's end, or the last event of one that was cut short: seconds, a timedelta, or text such
            as "30m".
    """

    keep_last: int = 10_000
    max_bytes: int = 16 << 20
    ttl: "float | timedelta | str" = 3600.0


@dataclass(frozen=True, slots=True)
class GraphOutput(Generic[T]):
    """What `invoke(..., version="v2")` returns: the state (an instance of its schema, where that is a class)."""

    value: T
    interrupts: tuple[Any, ...] = ()


class Branch(NamedTuple):
    """One line of a thread's checkpoints, from where it left an older one.

    Attributes:
        name: what the run's `config["metadata"]["branch"]` called it; otherwise `main`, or `branch-1` and so on in the order in
            which they began. head: the config of its newest checkpoint. fork_point: that of the checkpoint at which it left an
            older branch, None for one that left none. steps: how many checkpoints it has. current: whether the thread stands
            at its head.
    """

    name: str
    head: dict[str, Any]
    fork_point: dict[str, Any] | None
    steps: int
    current: bool


class Change(NamedTuple):
    """How one key differs between two checkpoints.

    `kind` is `added`, `removed`, `changed`, or `grew`: a sequence that has the old one as its beginning; `new` is what it grew
    by. `before` and `after` are None where the key was not there.
    """

    kind: Literal["added", "removed", "changed", "grew"]
    before: Any
    after: Any

    @property
    def new(self) -> Sequence[Any]:
        return self.after[len(self.before) :] if self.kind == "grew" else ()
