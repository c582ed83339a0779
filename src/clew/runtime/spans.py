"""Whoever watches a run: what it does are spans, each within the one that it is done in. Nothing is made where nobody watches.

LangChain's callbacks (`interop.callbacks`) and OpenTelemetry (`interop.otel`) are the two that ship.
"""

from collections.abc import AsyncGenerator, Awaitable, Coroutine, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar

from clew.interop.langchain import is_heard, messages_in
from clew.runtime.settings import Settings
from clew.schema import ROOT
from clew.types import Write

if TYPE_CHECKING:
    from clew.runtime.context import TaskContext
    from clew.runtime.events import Event
    from clew.runtime.loop import Run

T = TypeVar("T")
Kind = Literal["run", "superstep", "task", "router", "commit"]


class Observer(Protocol):
    """Where spans begin."""

    async def begin(self, kind: Kind, name: str, given: Any, config: Mapping[str, Any]) -> "Span":
        """Something begins: what it is called and what it is given. `config` is what code in it sees as its config."""
        ...


class Span(Observer, Protocol):
    """Something that has begun; what begins in it is within it. It is told of its end once."""

    def enter(self) -> None:
        """Called in the context (`contextvars`) in which user code is about to be called."""
        ...

    def callbacks(self, given: Any) -> Any:
        """What LangChain's models are called with in here, who would be called with `given`."""
        ...

    async def end(self, returned: Any) -> None: ...

    async def fail(self, error: BaseException) -> None:
        """It has ended with an error; a pause (`GraphInterrupt`) is one as well."""
        ...


OBSERVERS: Final[list[Observer]] = []
"""Those who watch every run of this process."""


class Spans:
    """Several spans that are one."""

    def __init__(self, spans: Sequence[Any]) -> None:
        self._spans = spans

    async def begin(self, kind: Kind, name: str, given: Any, config: Mapping[str, Any]) -> "Spans":
        return Spans([await span.begin(kind, name, given, config) for span in self._spans])

    def enter(self) -> None:
        for span in self._spans:
            span.enter()

    def callbacks(self, given: Any) -> Any:
        for span in self._spans:
            given = span.callbacks(given)
        return given

    async def end(self, returned: Any) -> None:
        for span in self._spans:
            await span.end(returned)

    async def fail(self, error: BaseException) -> None:
        for span in self._spans:
            await span.fail(error)


class Watch:
    """One run as it is watched.

    Attributes:
        span: the innermost span that tasks and commits are within: the superstep's.
    """

    def __init__(self, observers: Sequence[Observer], name: str, config: Mapping[str, Any]) -> None:
        self._observer = Spans(observers)
        self._name = name
        self._config = config
        self._run: Span
        self._step: Span | None = None

    @property
    def span(self) -> Span:
        return self._step or self._run

    async def events(self, run: "Run", given: Any) -> AsyncGenerator["Event"]:
        """The events of the run, which is a span."""
        self._run = await self._observer.begin("run", self._name, given, self._config)
        events = run.events(given)
        try:
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()
        except BaseException as error:
            if self._step:
                await self._step.fail(error)
            await self._run.fail(error)
            raise
        if self._step:
            await self._step.end(None)
        await self._run.end(run.output())

    async def superstep(self, number: int) -> None:
        """One begins, and the one before it is over."""
        if self._step:
            await self._step.end(None)
        self._step = await self._run.begin("superstep", f"superstep {number}", None, self._config)

    async def commit(self, work: Coroutine[Any, Any, T]) -> T:
        return await within(self.span.begin("commit", "commit", None, self._config), work)


async def begun(beginning: Awaitable[Span], work: Coroutine[Any, Any, Any]) -> Span:
    """The span that `work` is to be done in."""
    try:
        return await beginning
    except BaseException:
        work.close()
        raise


async def within(beginning: Awaitable[Span], work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, with which its span ends."""
    span = await begun(beginning, work)
    try:
        found = await work
    except BaseException as error:
        await span.fail(error)
        raise
    await span.end(found)
    return found


async def tried(context: "TaskContext", given: Any, work: Coroutine[Any, Any, T]) -> T:
    """One try of a task, `work`, as a span that ends with what the node returned."""
    context.span = await begun(context.watcher.begin("task", context.node, given, context.own_config), work)
    try:
        found = await work
    except BaseException as error:
        await context.span.fail(error)
        raise
    await context.span.end(context.answer)
    return found


# -- LangChain's models inside tasks --------------------------------------------------------------------------------


@cache
def _has_langchain() -> bool:
    return find_spec("langchain_core") is not None


def watching(name: str, settings: Settings, own: Mapping[str, Any], *, driven: bool) -> Watch | None:
    """Who watches a run, None for nobody: those whom its own config names, or whom it is called among, and all `OBSERVERS`.

    Args:
        own: the config that it is called with, without those of the runs around it. driven: on the sync face.
    """
    if not OBSERVERS and not is_heard(own.get("callbacks")):
        return None
    given, observers = settings.given, [*OBSERVERS]
    said: Mapping[str, Any] = given.get("metadata") or {}
    thread = {} if settings.thread is None else {"thread_id": settings.thread}
    config = {"tags": given.get("tags"), "metadata": {**thread, **said}, "run_id": own.get("run_id")}
    if is_heard(own.get("callbacks")):
        from clew.interop.callbacks import listening  # late: few runs are listened to

        if found := listening(own.get("callbacks"), config, driven=driven):
            observers.insert(0, found)
    return Watch(observers, own.get("run_name") or name, config) if observers else None


def callbacks_of(context: "TaskContext", metadata: Mapping[str, Any]) -> Any:
    """What a task's models are called with, so that those hear of them who listen. `metadata` is the task's."""
    scope = context.scope
    found = scope.settings.given.get("callbacks")
    if not _has_langchain():
        return found
    from clew.interop.callbacks import of_others, with_handler

    found = of_others(found)
    if span := context.span or (scope.watch and scope.watch.span):  # an error handler has none of its own
        found = span.callbacks(found)
    if scope.told is not None:
        from clew.interop.tokens import Tokens

        found = with_handler(found, Tokens(context.teller("messages"), scope.told, {**metadata}))
    return found


def enter(context: "TaskContext") -> None:
    """Called in the context in which a task's code is about to run: who listens is found there."""
    if _has_langchain():
        from clew.interop.callbacks import enter as enter_langchain

        enter_langchain(context.config)
    if context.span is not None:
        context.span.enter()


def tell_messages(context: "TaskContext", given: Any, writes: Sequence[Write]) -> None:
    """Tells readers of `messages` those that a node returned, unless they know of them: as they were streamed, or as the node
    was given them."""
    told = context.scope.told
    assert told is not None
    found = [message for write in writes for message in messages_in(write.value, deep=write.key == ROOT)]
    new = {message.id or id(message): message for message in found if message.id not in told}
    before = {message.id for message in messages_in(given, deep=True)} if new else set[str]()
    for message in new.values():
        if message.id is None or message.id not in before:
            context.teller("messages")((message, context.own_config["metadata"]))
    told.update(message.id for message in new.values() if message.id is not None)
