"""The nouns: plain data that everything else speaks of. No behaviour; imports nothing of ours but constants."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypedDict, TypeVar

from clew.nouns import new_dict, noun
from clew.shown import Branch as Branch
from clew.shown import Change as Change
from clew.shown import Failed as Failed
from clew.shown import GraphOutput as GraphOutput
from clew.shown import Late as Late
from clew.shown import PregelTask as PregelTask
from clew.shown import Resumable as Resumable
from clew.shown import RunEvent as RunEvent
from clew.shown import StateSnapshot as StateSnapshot
from clew.shown import StateUpdate as StateUpdate
from clew.tool_output import ToolOutput

T = TypeVar("T")
S = TypeVar("S")
if TYPE_CHECKING:  # defaults of type variables (PEP 696) are Python's own from 3.13 on
    from datetime import timedelta

    from typing_extensions import TypeVar as DefaultTypeVar

    N = DefaultTypeVar("N", default=str)
else:
    N = TypeVar("N")

StreamMode: TypeAlias = Literal["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"]
"""What a stream yields: the whole state after each superstep; what each task wrote as it finishes; tokens of models and
messages of nodes; what nodes hand to their writer; tasks as they start and end; checkpoints; those two with step and time."""

Durability: TypeAlias = Literal["sync", "async", "exit"]
"""When a superstep is kept, and so what a crash may repeat: before the next one starts; while that runs; or all at the end."""

OnBusy: TypeAlias = Literal["reject", "enqueue", "interrupt", "rollback"]
"""What a run does whose thread is being run already: raises `ThreadConflict`; waits until it is free; asks the other run to
stop after its superstep, and waits for that; or takes the thread from where the other began, whose work becomes a branch."""

StreamWriter: TypeAlias = Callable[[Any], None]
"""Hands a chunk to the readers of `stream_mode="custom"`, at once; does nothing where nobody reads."""

Values: TypeAlias = Mapping[str, Any]
Join: TypeAlias = tuple[tuple[str, ...], str]
"""An edge from a list: the sources, and the node that waits for all of them."""


class Configurable(TypedDict, total=False):
    """The addressable part of a config. Keys of your own may stand beside these."""

    thread_id: str
    checkpoint_id: str
    checkpoint_ns: str


class Config(TypedDict, total=False):
    """What a caller passes as `config`. The same shape as LangChain's `RunnableConfig`, so either will do.

    Attributes:
        configurable: `thread_id` (any scalar; `1` and `"1"` are the same thread), `checkpoint_id` to begin from an older
            checkpoint, and keys of your own.
        recursion_limit: how many supersteps the run may take; default 10,007.
        max_concurrency: how many tasks of one superstep may run at once; default unbounded.
        metadata: scalars kept with each checkpoint.
        tags, run_name, run_id: said of the run to those who watch it. callbacks: LangChain's handlers, which do.
    """

    configurable: Any
    recursion_limit: int
    max_concurrency: int | None
    metadata: dict[str, Any]
    tags: list[str]
    run_name: str
    run_id: Any
    callbacks: Any


@dataclass(frozen=True, slots=True)
class Send:
    """Runs `node` in the next superstep with `arg` as its whole input, beside whatever else runs there.

    Several Sends to one node are several tasks. Their writes are applied in the order of the Sends, after those of the
    nodes that edges reached. `timeout` bounds this task, in place of the node's own.
    """

    node: str
    arg: Any
    timeout: "Timeout | None" = field(default=None, kw_only=True)


class Nothing(Enum):
    """What stands where nothing was given, for None is an answer like any other."""

    GIVEN = "given"

    def __repr__(self) -> str:
        return "nothing given"


@dataclass(frozen=True, kw_only=True)
class Command(ToolOutput, Generic[N]):
    """What a node returns to write state and choose where to go next; its edges are followed as well.

    A return annotation `-> Command[Literal["a", "b"]]` says where a node may go, for drawings and for `compile` to check.

    Attributes:
        update: a dict, a list of `(key, value)` pairs, or an instance of the state schema.
        goto: a node name, a `Send`, or a sequence of them.
        graph: `Command.PARENT` for the graph around this one: as if the node that runs this graph had returned it.
        resume: the answer to an interrupt, when a Command is a run's input: any value, for the only question that is open; or
            `{id: answer}` for several.
    """

    graph: str | None = None
    update: Any = None
    resume: Any = Nothing.GIVEN
    goto: Send | str | Sequence[Send | str] = ()

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalValue(Generic[T, S]):
    """What an `@entrypoint` returns to part its result, `value`, from what the next run finds as `previous`, `save`."""

    value: T
    save: S


@dataclass(frozen=True, slots=True)
class Overwrite:
    """An update that sets a key instead of being folded into it; every other write to the key in that superstep is ignored.

    JSON may say it as `{"__overwrite__": value}`.
    """

    value: Any


class RetryPolicy(NamedTuple):
    """When a node that raised is tried again.

    Attributes:
        initial_interval: seconds before the second try. backoff_factor: what each later wait is longer by.
        max_interval: seconds, at most. max_attempts: tries, the first included. jitter: adds up to a second at random.
        retry_on: an exception class, a sequence of them, or a predicate; default: whatever is not the code's own mistake
            (`ValueError`, `TypeError`, `KeyError` and their like are raised at once; see `clew.runtime.policy`).
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: "type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool] | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """Whether a node that was given the same input before need run again. Works where the graph is compiled with a cache.

    Attributes:
        key_func: makes a string or bytes out of the node's input, equal for inputs that are the same; default: its stored
            bytes. ttl: seconds a result is good for; None for ever.
    """

    key_func: Callable[[Any], str | bytes] | None = None
    ttl: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutPolicy:
    """How long one try of a node may take; past that `NodeTimeoutError` is raised, and what it returns later is discarded.

    Attributes:
        run_timeout: seconds or a timedelta for the whole try. idle_timeout: since it last gave a sign of life.
        refresh_on: what is a sign of life: `"auto"`, what it streams as well as `runtime.heartbeat()`, or `"heartbeat"` only.
    """

    run_timeout: "float | timedelta | None" = None
    idle_timeout: "float | timedelta | None" = None
    refresh_on: Literal["auto", "heartbeat"] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """How threads that were kept by older code are read: `builder.compile(migration=Migration(aliases={"new": ["old"]}))`.

    A key that was added has its default, and one that was removed is kept, unseen, so that going back to the older code finds
    it. (A renamed node is told by `add_node(…, aliases=["old"])`.)

    Attributes:
        aliases: per key of the state the names that it had before. It starts from what is stored under the first of these that
            is there; that stays where it is, for the older code.
    """

    aliases: Mapping[str, Sequence[str]] = field(default_factory=new_dict)


Timeout: TypeAlias = "float | timedelta | TimeoutPolicy"
"""How long one try of a task may take: seconds, a timedelta, or a `TimeoutPolicy`."""


class Running(Protocol):
    """The task now running, as helpers called inside a node find it; see `clew.runtime.context`."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def runtime(self) -> Any: ...
    @property
    def write(self) -> StreamWriter: ...
    def ask(self, value: Any, key: str | None, schema: Any, strict: bool, code: Any) -> Any: ...


RUNNING: ContextVar[Running | None] = ContextVar("clew_running", default=None)
"""Set while user code of a task runs, in its thread or task and in those it starts with a copied context."""


def interrupt(value: Any, *, key: str | None = None, response_schema: Any = None, strict: bool = False) -> Any:
    """Pauses the task until somebody answers: `graph.invoke(Command(resume=answer), config)`. Returns the answer.

    The node then runs again from its first line, and this call returns at once; so whatever stands before it should bear being
    repeated. An answer belongs to this question and is used once.

    Args:
        value: the question, anything that can be stored; callers find it in `result["__interrupt__"]`.
        key: names the question, so that it keeps its answer wherever it moves in the code. Default: it is told by its number
            among the task's interrupts, and by what it asks.
        response_schema: a pydantic model, a dataclass, a TypedDict or another type that the answer must fit, which is then
            returned as such; a dict is a JSON Schema for front ends, and not checked.
        strict: refuse the answer if the question reads differently by now, even where the same code asks it.

    Raises:
        RuntimeError: no task is running here. InterruptMismatch: the answer was given to another question than this.
        UnstorableValue: the question cannot be stored. ValidationError: the answer does not fit; it can be given anew.
    """
    task = RUNNING.get()
    if task is None:
        raise RuntimeError("interrupt() was called outside of a node: only what a graph runs can pause.")
    return task.ask(value, key, response_schema, strict, sys._getframe(1).f_code)  # pyright: ignore[reportPrivateUsage]  (the only way to know who asks)


@noun
class Task:
    """One entry of the frontier. `sent` tells a task with its own input (`arg`) from one that reads the state.

    `origin` is the checkpoint and the key under which it first stood, where a later checkpoint has taken it over unfinished:
    its id stays, and with it what its questions and the graphs within it are known by.
    """

    node: str
    arg: Any = None
    sent: bool = False
    timeout: "Timeout | None" = None
    origin: tuple[bytes, str] | None = None


class Write(NamedTuple):
    """One value for one key of the state."""

    key: str
    value: Any


@noun
class Result:
    """A finished task: what it writes, and where it leads (names and Sends, in the order they were given).

    `children` has, by their namespaces, the newest checkpoints of the graphs with a memory of their own that it ran.
    """

    writes: tuple[Write, ...] = ()
    targets: tuple[str | Send, ...] = ()
    children: Mapping[str, bytes] = field(default_factory=new_dict)


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that a task waits for an answer to.

    Attributes:
        value: what was asked. id: 32 hexadecimal digits, to answer this one by: `Command(resume={id: answer})`.
        response_schema: what an answer must be, as JSON Schema, where `interrupt` was given one.
    """

    value: Any
    id: str = ""
    response_schema: Any = None


UNKNOWN: Final = b""  # in place of a digest, of which nothing is known and which is not compared: threads of LangGraph have it


@dataclass(frozen=True, slots=True)
class Question:
    """An `interrupt` call without an answer.

    `slot` tells it from the task's others: its number or its key. `asked` and `code` are digests of the question, and of the
    code that asked it, or `UNKNOWN`.
    """

    slot: str
    value: Any
    asked: bytes
    code: bytes
    schema: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered with; `asked` and `code` are those of the question.

    `at` is when, in milliseconds since 1970, 0 where that is not known; `by` has what the config of the call that answered said
    in its `metadata`.
    """

    slot: str
    value: Any
    asked: bytes
    code: bytes
    at: int = 0
    by: Mapping[str, Any] = field(default_factory=new_dict)


@dataclass(frozen=True, slots=True)
class Paused:
    """A task that waits for answers."""

    questions: tuple[Question, ...]


Outcome: TypeAlias = Result | Failed | Paused


@noun
class Checkpoint:
    """A thread between two supersteps: all that is needed to go on.

    Attributes:
        values: the state; keys never written are absent.
        frontier: what runs next, `Send`s first in their order, then nodes by name. Stored, never recomputed.
        joins: sources arrived at each join; a full one stays until its target runs.
        waiting: deferred nodes that were reached and have not yet run.
        acted: the nodes of the last superstep.
        step: -1 for a thread's first input, then one more each time.
        source: `input`, `loop`, `update` or `fork`.
        children: by their namespaces, the newest checkpoints of graphs inside nodes that have a memory of their own.
    """

    values: Values
    frontier: tuple[Task, ...] = ()
    joins: Mapping[Join, frozenset[str]] = field(default_factory=new_dict)
    waiting: frozenset[str] = frozenset()
    acted: tuple[str, ...] = ()
    step: int = -2
    source: str = ""
    children: Mapping[str, bytes] = field(default_factory=new_dict)


class Link(NamedTuple):
    """One level of what began a run of a graph inside a task: the namespace and the checkpoint of the graph around it, the key
    of the task there, and which of that task's graphs it is, from 1."""

    ns: str
    checkpoint: bytes
    task: str
    call: int


@noun
class Saved:
    """A checkpoint as a saver keeps it.

    Attributes:
        id: 16 bytes. seq: its number in the thread, counted by the store; the order of a thread.
        parent: the id it grew from, or None.
        records: outcomes of its tasks that were kept while its superstep was open, by task key. answers: those that its tasks
            were given, likewise. stopped: a run has stopped here at a breakpoint.
        metadata: what the caller asked to keep with it.
        begun: what began a graph inside a task, the outermost first; empty for an outermost graph.
    """

    checkpoint: Checkpoint
    id: bytes
    seq: int
    parent: bytes | None = None
    records: Mapping[str, Outcome] = field(default_factory=new_dict)
    metadata: Mapping[str, Any] = field(default_factory=new_dict)
    answers: Mapping[str, tuple[Answer, ...]] = field(default_factory=new_dict)
    stopped: bool = False
    begun: tuple[Link, ...] = ()
