"""The task now running: its answers, its notes, its namespace, its config. Made by the loop, one for each try.

What is the same for all tasks of a run stands in its `Scope`, next door. Nothing here runs anything.
"""

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from clew.ids import id_text, task_id
from clew.runtime.events import ENTERED, Event
from clew.runtime.notes import Notes
from clew.runtime.runtime import ExecutionInfo, Runtime
from clew.runtime.scope import Scope
from clew.types import RUNNING, Answer

if TYPE_CHECKING:
    from clew.checkpoint.journal import Journal
    from clew.runtime.spans import Span
    from clew.runtime.spawn import Spawned


NOTHING: Final[Mapping[str, bytes]] = {}


class TaskContext:
    """One task of a superstep (`clew.types.Running`).

    Attributes:
        key: the task's key in its superstep. node: its name. attempt: which try this is, from 1. since: when the first began.
        left: how many supersteps the run may still take. over: nobody listens to it any more. beat, spoke: its last heartbeat
        and when it last wrote to a stream, in seconds of the monotonic clock. answers: those on record, by slot. whole: the
        task is a graph: no code of a user's stands between its state and that of the graph around. inside: that graph's
        journal, once it has come to its end. spawned: the calls of `@task`s that it has made. held: where events go that
        nobody can read meanwhile, as it runs in the reader's own thread. span: it, as those see it who watch the run. answer:
        what its function returned.
        after: the state with what it has written, where its routers have asked to see that.
    """

    # what few tasks have is set where they have it: until then it is read here, so that a task is quickly made
    attempt = 1
    calls = 0
    asked = 0
    since = beat = spoke = 0.0
    whole = False
    over = False
    answers: Mapping[str, Answer] = {}
    triggers: tuple[str, ...] = ()
    origin: tuple[bytes, str] | None = None
    inside: "Journal | None" = None
    spawned: "Spawned | None" = None
    held: list[Event] | None = None
    span: "Span | None" = None
    answer: Any = None
    after: dict[str, Any] | None = None
    error: Any = None
    _callbacks: Any = None
    _graphs: "tuple[dict[str, bytes], dict[str, Journal]] | None" = None

    def __init__(self, scope: Scope, key: str, node: str, left: int, metadata: Mapping[str, Any] | None = None) -> None:
        self.scope = scope
        self.key = key
        self.node = node
        self.left = left
        self.metadata = metadata

    @property
    def graphs(self) -> "tuple[dict[str, bytes], dict[str, Journal]]":
        """Of the graphs that it ran, by their namespaces: the newest checkpoints of those with a memory of their own; those
        that have ended and are not written yet, as they need not be once the task has a result. All its tries share them."""
        return self.__dict__.setdefault("_graphs", ({}, {}))  # one step, as they may end in several threads

    @property
    def heads(self) -> Mapping[str, bytes]:
        return self._graphs[0] if self._graphs else NOTHING

    def again(self) -> "TaskContext":
        """The same task for its next try; the one before is over, whatever it may still do."""
        self.over, self.after = True, None
        other = self.twin()
        other.triggers, other.since, other.attempt, other.answers = self.triggers, self.since, self.attempt + 1, self.answers
        other.whole = self.whole
        other._graphs, other.origin, other.held = self.graphs, self.origin, self.held
        other.retract(anew=False)
        return other

    def retract(self, *, anew: bool) -> None:
        """This task is tried, or begins `anew`, perhaps not for the first time: what it has told before is void."""
        if self.scope.events is not None:
            self.scope.events.again(self.id, self.node, self.scope.ns, anew=anew)

    def twin(self) -> "TaskContext":
        return TaskContext(self.scope, self.key, self.node, self.left, self.metadata)

    @property
    def place(self) -> tuple[bytes, str]:
        """The checkpoint and the key that the task is known by."""
        return self.origin or (self.scope.anchor, self.key)

    @property
    def id(self) -> str:
        return task_id(*self.place)

    @property
    def segment(self) -> str:
        return f"{self.node}:{self.id}"

    @property
    def ns(self) -> str:
        """The namespace of a graph that this task runs."""
        return "|".join((*self.scope.ns, self.segment))

    def child_ns(self, number: int, alone: str | None) -> tuple[str, ...]:
        """The namespace of a graph that this task runs: from the second on they are numbered.

        One with a memory of its own (`alone`) has the same in every superstep: told by that name where it has one, or else by
        its number.
        """
        first = self.segment if alone is None else self.node
        if alone and alone != self.node:
            return (*self.scope.ns, first, alone)
        return (*self.scope.ns, first, *((str(number - 1),) if number > 1 else ()))

    def ask(
        self, value: Any, key: str | None, schema: Any, strict: bool, code: Any, read: Callable[[Any], Any] | None = None
    ) -> Any:
        """`interrupt`, for this task; see `clew.types.interrupt`. `read` makes of the answer what the caller gets."""
        from clew.runtime.asking import Asking, Rejected, ask  # late: few graphs ask

        own = str(self.asked) if key is None else f"={key}"
        self.asked += key is None
        slot, outermost = self.slot(own)
        asking = Asking(slot, value, key is not None, schema, strict, code, read)
        try:
            return ask(outermost.answers.get(slot), asking, self.node)
        except Rejected as rejected:
            outermost.scope.rejected[outermost.key] = rejected.question
            raise rejected.error from None

    def slot(self, own: str) -> "tuple[str, TaskContext]":
        """What a question is told by, and the outermost task: a question within it is told by the whole way there."""
        around = self.scope.around
        return around.slot(f"{self.scope.number}/{self.scope.step}/{self.key}/{own}") if around else (own, self)

    def keeping(self, own: str) -> "tuple[str, Notes]":
        """Where this task keeps a note of its own: the key, and the notes of the nearest graph that keeps them."""
        around = self.scope.around
        if around is None or self.scope.notes.kept:
            return f"{self.key}|{own}", self.scope.notes
        return around.keeping(f"{self.scope.number}/{self.scope.step}/{self.key}/{own}")

    @property
    def write(self) -> Callable[[Any], None]:
        """What a stream writer is; it tells nothing where nobody reads that."""
        return self.teller("custom") if "custom" in self.scope.modes else self._speak

    def _speak(self, _: Any) -> None:
        self.spoke = monotonic()

    def teller(self, mode: str) -> Callable[[Any], None]:
        """What posts events of one mode to whoever reads the run; it waits where the reader is slow, as far as this face can.

        It raises UnstorableValue where events are kept, and one cannot be.
        """
        scope = self.scope
        emit, ns, events = scope.host.emit, scope.ns, scope.events  # at hand, as it is called for each token

        def tell(data: Any) -> None:
            self.spoke = monotonic()
            if self.over:
                return
            if events is not None:
                self.keep(Event(ns, mode, data), unless=self)
            emit(ns, mode, data)

        return tell

    def pass_on(self, event: Event) -> None:
        """Posts what a graph inside this task has told."""
        if not self.over:
            self.scope.host.emit(*event)

    def keep(self, event: Event, edge: int = 0, *, unless: "TaskContext | None" = None) -> None:
        """Puts an event of this task into the run's event log, where there is one, `unless` that try is over."""
        events = self.scope.events
        if events is not None and events.wants(event.mode, event.ns):
            from clew.checkpoint.events import told  # late: few runs keep their events

            events.tell(told(event.mode, event.ns, event.data, self.scope.tasks(self.id), edge), unless)

    def entered(self) -> Context:
        """A copy of the context, for user code to be called in: there this is the task that runs."""
        copied = copy_context()
        copied.run(RUNNING.set, self)
        if self.scope.heard:
            from clew.runtime.spans import enter  # late: few runs are listened to

            copied.run(enter, self)
        return copied

    @property
    def watcher(self) -> "Span":
        """What this task's span is within."""
        assert self.scope.watch is not None
        return self.scope.watch.span

    def alive(self) -> None:
        """Gives a sign of life, for an idle timeout."""
        self.beat = monotonic()

    @property
    def config(self) -> dict[str, Any]:
        """The call's config as a node sees it, with where it runs among the metadata (the keys that front ends read)."""
        found = self.own_config
        if self.scope.heard:
            if self._callbacks is None:
                from clew.runtime.spans import callbacks_of

                self._callbacks = callbacks_of(self, found["metadata"])
            found["callbacks"] = self._callbacks
        return found

    @property
    def own_config(self) -> dict[str, Any]:
        """The config, with the callbacks of the run's caller where there are some."""
        settings, scope, ns = self.scope.settings, self.scope, self.ns
        place = {
            "langgraph_step": scope.step + 1,
            "langgraph_node": self.node,
            "langgraph_triggers": self.triggers,
            "langgraph_path": ("__pregel_push", self.index) if self.sent else ("__pregel_pull", self.node),
            "langgraph_checkpoint_ns": ns,
        }
        thread = {} if settings.thread is None else {"thread_id": settings.thread}
        given = {key: value for key, value in settings.given.items() if key not in OF_RUNS}
        said: Mapping[str, Any] = given.get("metadata") or {}
        metadata = {**thread, **(settings.metadata or {}), **said, **(self.metadata or {}), **place}
        return {
            "recursion_limit": settings.recursion_limit,
            **given,
            "metadata": metadata,
            "configurable": {**settings.configurable, "checkpoint_ns": ns},
        }

    @property
    def sent(self) -> bool:
        return self.key != self.node and self.triggers != ENTERED

    @property
    def index(self) -> int:
        return int(self.key.partition(":")[0])

    @property
    def runtime(self) -> Runtime[Any]:
        scope = self.scope
        return Runtime(
            context=scope.context,
            store=scope.store,
            stream_writer=self.write,
            heartbeat=self.alive,
            execution_info=self._info(),
            previous=scope.previous,
            control=scope.control,
            task=self,
        )

    def _info(self) -> ExecutionInfo:
        settings = self.scope.settings
        run = settings.given.get("run_id")
        return ExecutionInfo(
            id_text(self.scope.anchor) if settings.thread is not None else None,
            self.ns,
            self.id,
            settings.thread,
            None if run is None else str(run),
            self.attempt,
            self.since or time(),
        )

    def given(self, wants: tuple[str, ...]) -> dict[str, Any]:
        """What a function asked for by the names of its parameters; see `clew.graph.node`."""
        return {name: GIVERS[name](self) for name in wants}


OF_RUNS: Final = ("run_id", "run_name")
"""What a config says of the run itself, and not of what is called in it."""

GIVERS: Mapping[str, Callable[[TaskContext], Any]] = {
    "config": lambda task: task.config,
    "runtime": lambda task: task.runtime,
    "store": lambda task: task.scope.store,
    "writer": lambda task: task.write,
    "previous": lambda task: task.scope.previous,
    "error": lambda task: task.error,
}
