"""One call of a graph's verb: what its arguments mean, read once, and the shape that its chunks have."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, cast

from clew.nouns import noun
from clew.runtime.context import TaskContext
from clew.runtime.events import Event, data_in, read_modes, told_in
from clew.runtime.host import Host
from clew.runtime.loop import Run
from clew.runtime.runtime import RunControl
from clew.runtime.scope import Scope
from clew.runtime.settings import Settings, merged, read_settings
from clew.runtime.spans import watching
from clew.schema import is_annotated_class
from clew.types import RUNNING, Durability, OnBusy, Resumable, RunEvent

if TYPE_CHECKING:
    from clew.store.base import BaseStore

DURABILITIES: Final = ("sync", "async", "exit")
ON_BUSY: Final = ("reject", "enqueue", "interrupt", "rollback")
NONE: Final[frozenset[str]] = frozenset()
NESTED: Final = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


@noun
class Call:
    """What a caller asked for.

    Attributes:
        config: as given, laid over the one that was bound to the graph. around: the task that it is made in (`surrounding`).
        modes: those that the caller reads. printed: those that are printed. tagged: chunks carry their mode, as a list of modes
            was given. subgraphs: events of the graphs inside nodes are read as well. version: of the chunks' shape.
        resumable: events are kept, and how many.
        before, after: the nodes to stop at, `"*"` for all. build: makes the state's class out of a dict, for `values` in
            version 2.
    """

    config: Any = None
    around: TaskContext | None = None
    modes: frozenset[str] = NONE
    printed: frozenset[str] = NONE
    tagged: bool = False
    subgraphs: bool = False
    version: str = "v1"
    output_keys: str | Sequence[str] | None = None
    context: Any = None
    control: RunControl | None = None
    build: Callable[..., Any] | None = None
    before: str | Sequence[str] = ()
    after: str | Sequence[str] = ()
    durability: Durability | None = None
    on_busy: OnBusy = "reject"
    resumable: bool | Resumable = False

    def shown(self, event: Event) -> Any:
        """A chunk in the shape that was asked for: `data`, `(mode, data)`, `(ns, data)` or `(ns, mode, data)`; in v2 a dict."""
        if self.version == "v2":
            part = {"type": event.mode, "ns": event.ns, "data": event.data}
            if event.mode != "values":
                return part
            data, asked = event.data, ()
            if type(data) is dict:
                data = cast("dict[str, Any]", data)
                asked = data.pop("__interrupt__", ())
            whole = self.build is not None and not event.ns and self.output_keys is None
            return {**part, "data": self.build(**data) if self.build and whole else data, "interrupts": asked}
        if self.subgraphs:
            return (event.ns, event.mode, event.data) if self.tagged else (event.ns, event.data)
        return (event.mode, event.data) if self.tagged else event.data

    def print(self, event: Event) -> None:
        where = f"[{'/'.join(event.ns)}] " if event.ns else ""
        print(f"{where}[{event.mode}] {event.data!r}")


def read_call(
    stream_mode: str | Sequence[str] | None,
    config: Any = None,
    *,
    build: Callable[..., Any] | None = None,
    print_mode: str | Sequence[str] = (),
    subgraphs: bool = False,
    debug: bool | None = None,
    version: str = "v1",
    output_keys: str | Sequence[str] | None = None,
    context: Any = None,
    control: RunControl | None = None,
    interrupt_before: str | Sequence[str] | None = None,
    interrupt_after: str | Sequence[str] | None = None,
    durability: Durability | None = None,
    on_busy: OnBusy = "reject",
    resumable: bool | Resumable = False,
) -> Call:
    """`stream_mode` is None for what goes without saying: updates, or the state inside a node.

    Raises ValueError for a mode, a version, a durability or an `on_busy` that there is none of, or that does not go with
    `resumable`."""
    around = surrounding(config)
    if stream_mode is None:
        stream_mode = "values" if around else "updates"
    if durability is not None and durability not in DURABILITIES:
        raise ValueError(f"There is no durability={durability!r}: expected one of {[*DURABILITIES]}.")
    if on_busy not in ON_BUSY:
        raise ValueError(f"There is no on_busy={on_busy!r}: expected one of {[*ON_BUSY]}.")
    modes, tagged = read_modes(stream_mode) if stream_mode != () else (NONE, True)
    if version not in ("v1", "v2"):
        raise ValueError(f"There is no version {version!r} of stream chunks: expected 'v1' or 'v2'.")
    printed = read_modes(print_mode)[0] if print_mode else NONE
    if resumable and version != "v1":
        raise ValueError(f"resumable=True yields `RunEvent`s, and version={version!r} another shape: leave one of them out.")
    if resumable and durability == "exit":
        raise ValueError(
            "resumable=True yields what is kept, and durability='exit' keeps nothing before the run's end: leave one out."
        )
    return Call(
        config,
        around,
        modes,
        printed | {"updates", "values"} if debug else printed,
        tagged,
        subgraphs,
        version,
        output_keys,
        context,
        control,
        build,
        interrupt_before or (),
        interrupt_after or (),
        durability,
        on_busy,
        resumable,
    )


def surrounding(config: Any) -> TaskContext | None:
    """The task that this call is made in, which makes the graph a graph inside it; None where it is a run of its own.

    A call whose config names a thread of its own is one. The config that a node was given names its task, not a thread.
    """
    task: Any = RUNNING.get()
    if task is None:
        return None
    own = _configurable(config)
    names_a_thread = any(own.get(key) for key in NESTED)
    return None if names_a_thread and not _is_of(task, own) else task


def _is_of(task: TaskContext, configurable: dict[str, Any]) -> bool:
    """Whether this is what the task's own config has, passed on."""
    thread = configurable.get("thread_id")
    same_thread = thread is None or str(thread) == task.scope.settings.thread
    return configurable.get("checkpoint_ns") == task.ns and same_thread


def _of_its_own(config: Any) -> Any:
    """A task's config in which only the thread was changed: what else it says of a place is the task's, not the thread's."""
    task: Any = RUNNING.get()
    if task is None or (own := _configurable(config)).get("checkpoint_ns") != task.ns:
        return config
    return {**config, "configurable": {key: own[key] for key in own if key not in NESTED[1:]}}


def _configurable(config: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", config).get("configurable") or {} if isinstance(config, dict) else {}


def scope_of(
    call: Call,
    host: Host,
    *,
    kept: bool,
    context: Any,
    store: "BaseStore | None",
    cache: Any,
    name: str,
    alone: str | None,
) -> Scope:
    """What all tasks of the run that is called for have in common.

    `name` is the graph's; `alone`: by which name it has a memory of its own, "" for none in particular, None where it has none.
    """
    parent = call.around
    read = call.modes | call.printed
    if parent is None:
        settings = read_settings(_of_its_own(call.config), kept=kept)
        below: frozenset[str] = read if call.subgraphs else frozenset()
        watch = watching(name, settings, call.config or {}, driven=host.driven)
        scope = Scope(host, settings, read, below, context=context, store=store, cache=cache, control=call.control,
                      durability=call.durability or "sync", watch=watch)  # fmt: skip
        if call.resumable:
            from clew.runtime.resumable import wanted  # late: few runs keep their events

            scope.wanted, scope.durability = wanted(call.resumable, call.modes, below=call.subgraphs), "sync"
        return scope
    around, settings = parent.scope, _within(parent.scope.settings, call.config)
    below = around.below | read if call.subgraphs else around.below
    return Scope(
        host,
        settings,
        read | around.below,
        below,
        around=parent,
        context=context if context is not None else around.context,
        store=around.store if around.store is not None else store,
        cache=around.cache if around.cache is not None else cache,
        control=around.control,
        durability=call.durability or around.durability,
        alone=alone,
        watch=watching(name, settings, call.config or {}, driven=host.driven),
    )


def _within(around: Settings, config: Any) -> Settings:
    """The settings of a graph inside a task: those around it, with the call's own laid over; nothing of it is kept."""
    if not config:
        return around
    extra = {key: value for key, value in _configurable(config).items() if key not in NESTED}
    base = {**around.given, "configurable": dict(around.configurable)}
    return read_settings(merged(base, {**config, "configurable": extra}), kept=False)


def as_context(schema: Any, context: Any) -> Any:
    """`context` as its schema says: a dict becomes an instance where the schema is a class that is none."""
    if type(context) is not dict or not is_annotated_class(schema) or issubclass(schema, dict):
        return cast("Any", context)
    try:
        return schema(**context)
    except TypeError as error:
        raise TypeError(f"context={context!r} does not make a {schema.__name__}: {error}") from error


# -- running it -----------------------------------------------------------------------------------------------------


def finish(run: Run, call: Call, input: Any) -> Coroutine[Any, Any, Any]:
    """Runs to the end; returns the state there."""
    return _finish(run, call, input) if run.scope.modes or run.scope.watch else run.finish(input)


async def _finish(run: Run, call: Call, input: Any) -> Any:
    async for _ in _events(run, call, input):
        pass
    return run.output()


async def chunks(run: Run, call: Call, input: Any) -> AsyncGenerator[list[Any]]:
    """What the caller is to get, as much as there is at a time."""
    if call.version == "v1" and not (call.tagged or call.subgraphs or call.printed or call.resumable or run.scope.nested):
        async with aclosing(_told(run, input)) as events:
            async for event in events:
                yield data_in(event)  # there is nothing else among them
        return
    async with aclosing(_events(run, call, input)) as bursts:
        if call.resumable:
            async with aclosing(_kept(run, bursts)) as parts:
                async for some in parts:
                    yield some
            return
        async for burst in bursts:
            yield [call.shown(event) for event in burst if event.mode in call.modes]


def _told(run: Run, input: Any) -> AsyncGenerator[Event]:
    return run.scope.watch.events(run, input) if run.scope.watch else run.events(input)


async def _kept(run: Run, bursts: AsyncGenerator[list[Event]]) -> AsyncGenerator[list[RunEvent]]:
    """What the run has told, once it is kept; each of its events says that there is something to keep."""
    failed: Exception | None = None
    try:
        async for _ in bursts:
            yield await run.kept()
    except Exception as error:  # what was told before is kept, and the end with it
        failed = error
    yield await run.kept()
    if failed is not None:
        raise failed


async def _events(run: Run, call: Call, input: Any) -> AsyncGenerator[list[Event]]:
    """The run's events: those for the graph around it are handed up, the caller's own are yielded."""
    scope, parent = run.scope, call.around
    events = _told(run, input)
    try:
        async for event in events:
            burst = told_in(event)
            if parent is not None:
                for one in burst:
                    if one.mode in parent.scope.below:
                        parent.pass_on(one)
                if not scope.host.driven:
                    await parent.scope.host.room()
            if call.printed:
                for one in burst:
                    if one.ns == scope.ns and one.mode in call.printed:
                        call.print(one)
            if parent is not None and not call.subgraphs:
                burst = [one for one in burst if one.ns == scope.ns]
            yield [one._replace(ns=one.ns[len(scope.ns) :]) for one in burst] if parent else burst
    finally:
        await events.aclose()
