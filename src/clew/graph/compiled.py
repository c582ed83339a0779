"""The public verbs of a graph, each on both faces. They read the call, choose a host, and call the loop; nothing else."""

from __future__ import annotations

import os.path
from collections.abc import AsyncIterator, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, overload

from clew.errors import ClewError
from clew.graph.call import Call, chunks, finish, read_call
from clew.graph.editing import Editing
from clew.graph.joining import Joining
from clew.graph.reading import tasks
from clew.graph.starting import NAMELESS, Starting
from clew.graph.structure import Structure
from clew.graph.typing import ContextT, InputT, OutputT, StateT
from clew.pool import in_parallel
from clew.runtime.attempt import Program
from clew.runtime.drive import drive, iterate
from clew.runtime.host import Host
from clew.runtime.loop import Run
from clew.runtime.runtime import RunControl
from clew.runtime.settings import merged, read_settings
from clew.runtime.threads import Threads
from clew.types import Command, Config, Durability, GraphOutput, OnBusy, Resumable

if TYPE_CHECKING:
    from clew.cache.base import BaseCache
    from clew.checkpoint.base import Saver
    from clew.graph.state import StateGraph
    from clew.store.base import BaseStore

OURS: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
Modes = str | Sequence[str]


class CompiledStateGraph(Starting, Editing, Joining, Structure, Generic[StateT, ContextT, InputT, OutputT]):
    """A graph that runs.

    Every verb takes a config such as `{"configurable": {"thread_id": "1"}}`; with a checkpointer the thread is required. All
    verbs may be called from many threads and tasks at once; two runs on one *thread* are not merged: the later to commit gets
    `ThreadConflict`.

    Called by a node of another graph, or added to one as a node, it runs as a part of that: with its store and context, its
    events seen there (`subgraphs=True`), and what it keeps left to it; unless the config names a thread of its own.

    Attributes:
        checkpointer: as given to `compile`. store, cache: as given to `compile`. builder: what it was compiled from.
        name: as given to `compile`. program: what runs. config: what `with_config` bound.
    """

    def __init__(
        self,
        program: Program,
        builder: StateGraph[StateT, ContextT, InputT, OutputT],
        *,
        checkpointer: Saver | bool | None = None,
        store: BaseStore | None = None,
        cache: BaseCache[Any] | None = None,
        name: str = NAMELESS,
        debug: bool = False,
        interrupt_before: str | Sequence[str] = (),
        interrupt_after: str | Sequence[str] = (),
    ) -> None:
        self.checkpointer = checkpointer
        self.store = store
        self.cache = cache
        self.builder = builder
        self.name = name
        self.program = program
        self.debug = debug
        self.interrupt_before = interrupt_before
        self.interrupt_after = interrupt_after
        self.config: Config | None = None
        self._registered = False

    def get_name(self) -> str:
        """What the graph is called as a node that is given no name."""
        return self.name

    def with_config(self, config: Config | None = None, **more: Any) -> Self:
        """The same graph with a config bound to it, over which that of a call is laid: `configurable` and `metadata` by key,
        `tags` one after the other, anything else replaced."""
        bound = copy(self)
        bound.config = merged(self.config, {**(config or {}), **more})
        return bound

    # -- running ----------------------------------------------------------------------------------------------------

    @overload
    def invoke(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        version: Literal["v2"],
        context: ContextT | None = None,
        control: RunControl | None = None,
        print_mode: Modes = (),
        output_keys: str | Sequence[str] | None = None,
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
    ) -> GraphOutput[OutputT]: ...
    @overload
    def invoke(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        context: ContextT | None = None,
        control: RunControl | None = None,
        print_mode: Modes = (),
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
    ) -> dict[str, Any]: ...
    @overload
    def invoke(
        self, input: InputT | Command[Any] | None, config: Any = None, *, stream_mode: Modes = "values", **options: Any
    ) -> Any: ...
    def invoke(
        self, input: InputT | Command[Any] | None, config: Any = None, *, stream_mode: Modes = "values", **options: Any
    ) -> Any:
        """Runs to the end and returns the state there, as a dict.

        Args:
            input: a dict with some of the state's keys, or an instance of the state; None to go on with the thread; a
                `Command(update=…, goto=…)` to write and to start somewhere else, beside what is pending.
            config: see `clew.types.Config`.
            stream_mode: with another one than `"values"`, returns the list of what `stream` would yield.
            options: as for `stream`; `version="v2"` returns a `GraphOutput`, whose value is an instance of the state's class.

        Raises:
            EmptyInputError: None, and nothing to go on from. InvalidUpdateError: input or a node's return is nonsense.
            MissingThreadId, CheckpointNotFound: see the config. GraphRecursionError: out of supersteps; the thread can go on.
            ThreadConflict: another run moved the thread on first. UnstorableValue: a node wrote what cannot be stored.
            GraphDrained: stopped through `control`. Whatever a node raises comes out as it is.
        """
        try:
            call = self._call(stream_mode, config, invoked=True, **options)
            run = self._run(call, Threads())
            if stream_mode != "values":
                return [chunk for burst in iterate(chunks(run, call, input)) for chunk in burst]
            return self._output(drive(finish(run, call, input)), call, run.interrupts)
        except Exception as error:
            raise _trimmed(error)  # noqa: B904  (the same error)

    @overload
    async def ainvoke(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        version: Literal["v2"],
        context: ContextT | None = None,
        control: RunControl | None = None,
        print_mode: Modes = (),
        output_keys: str | Sequence[str] | None = None,
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
    ) -> GraphOutput[OutputT]: ...
    @overload
    async def ainvoke(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        context: ContextT | None = None,
        control: RunControl | None = None,
        print_mode: Modes = (),
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
    ) -> dict[str, Any]: ...
    @overload
    async def ainvoke(
        self, input: InputT | Command[Any] | None, config: Any = None, *, stream_mode: Modes = "values", **options: Any
    ) -> Any: ...
    async def ainvoke(
        self, input: InputT | Command[Any] | None, config: Any = None, *, stream_mode: Modes = "values", **options: Any
    ) -> Any:
        """`invoke`, awaited."""
        try:
            call = self._call(stream_mode, config, invoked=True, **options)
            run = self._run(call, _tasks(call))
            if stream_mode != "values":
                return [chunk async for burst in chunks(run, call, input) for chunk in burst]
            return self._output(await finish(run, call, input), call, run.interrupts)
        except Exception as error:
            raise _trimmed(error)  # noqa: B904

    def stream(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        stream_mode: Modes | None = None,
        context: ContextT | None = None,
        output_keys: str | Sequence[str] | None = None,
        subgraphs: bool = False,
        print_mode: Modes = (),
        control: RunControl | None = None,
        debug: bool | None = None,
        version: Literal["v1", "v2"] = "v1",
        interrupt_before: str | Sequence[str] | None = None,
        interrupt_after: str | Sequence[str] | None = None,
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
        resumable: bool | Resumable = False,
    ) -> Iterator[Any]:
        """Runs, yielding as it goes; input, config and errors as for `invoke`.

        Args:
            stream_mode: one of these, or a list of them for `(mode, chunk)` pairs. `"updates"` (default): `{node: what it
                wrote}` as each task finishes. `"values"` (default inside a node): the whole state once the input is applied and
                after each superstep that wrote. `"messages"`: tokens of LangChain's chat models as they are made, and messages
                that nodes return and nobody has streamed, as `(message, metadata)`. `"custom"`: what nodes hand to their stream
                writer, at once. `"tasks"`: each task as it starts and ends. `"checkpoints"`: each checkpoint that is kept.
                `"debug"`: both, with step and time.
            context: what nodes find as `runtime.context`; a dict becomes an instance of the graph's context schema.
            output_keys: one key, to show its bare value, or several; default all.
            subgraphs: events of graphs inside nodes as well; every chunk begins with the namespace, `()` for this graph.
            print_mode: modes to print as well; `debug=True` prints updates and values. control: to stop the run from outside.
            version: `"v2"` yields dicts `{"type", "ns", "data"}` whatever else is asked for.
            interrupt_before, interrupt_after: names of nodes to stop at, or `"*"`; `invoke(None, config)` goes on.
            durability: when a superstep is kept: `"sync"` (default), before the next one starts; `"async"`, while the next one
                runs; `"exit"`, all at once when the run ends. Graphs inside nodes have that of the graph around them.
            on_busy: what to do where the thread is being run already: `"reject"` (default) raises ThreadConflict;
                `"enqueue"` waits its turn; `"interrupt"` asks the other run to stop after its superstep and goes on from there;
                `"rollback"` begins where the other run began, whose work becomes a branch.
            resumable: yields `RunEvent`s, numbered from 1 on, each once it is kept, so that a reader that was lost goes on
                with `join_stream` from wherever it is; how many are kept, and for how long, says a `Resumable`. Going on with
                `None` after a crash, or naming a `run_id` in the config, goes on with that run's numbers. Each superstep is
                kept before the next.

        Every chunk is yielded once what it shows is kept (custom ones and tokens at once). Tasks wait where the reader is slow.
        Closing the iterator half-way leaves the thread at its last commit.
        """
        try:
            call = self._call(
                stream_mode, config, context=context, output_keys=output_keys, subgraphs=subgraphs, print_mode=print_mode,
                control=control, version=version, interrupt_before=interrupt_before, interrupt_after=interrupt_after,
                debug=debug, durability=durability, on_busy=on_busy, resumable=resumable,
            )  # fmt: skip
            for burst in iterate(chunks(self._run(call, Threads()), call, input)):
                yield from burst
        except Exception as error:
            raise _trimmed(error)  # noqa: B904

    async def astream(
        self,
        input: InputT | Command[Any] | None,
        config: Any = None,
        *,
        stream_mode: Modes | None = None,
        context: ContextT | None = None,
        output_keys: str | Sequence[str] | None = None,
        subgraphs: bool = False,
        print_mode: Modes = (),
        control: RunControl | None = None,
        debug: bool | None = None,
        version: Literal["v1", "v2"] = "v1",
        interrupt_before: str | Sequence[str] | None = None,
        interrupt_after: str | Sequence[str] | None = None,
        durability: Durability | None = None,
        on_busy: OnBusy = "reject",
        resumable: bool | Resumable = False,
    ) -> AsyncIterator[Any]:
        """`stream`, as an async iterator."""
        call = self._call(
            stream_mode, config, context=context, output_keys=output_keys, subgraphs=subgraphs, print_mode=print_mode,
            control=control, version=version, interrupt_before=interrupt_before, interrupt_after=interrupt_after,
            debug=debug, durability=durability, on_busy=on_busy, resumable=resumable,
        )  # fmt: skip
        found = chunks(self._run(call, _tasks(call)), call, input)
        try:
            async for burst in found:
                for chunk in burst:
                    yield chunk
        except Exception as error:
            raise _trimmed(error)  # noqa: B904
        finally:
            await found.aclose()

    def batch(self, inputs: Sequence[Any], config: Any = None, *, return_exceptions: bool = False, **options: Any) -> list[Any]:
        """Invokes the graph on each input, independently and at once, and returns the results in the inputs' order.

        Args:
            config: one for all, or a list with one for each; `max_concurrency` bounds how many run at once.
            return_exceptions: put errors among the results instead of raising the first. options: as for `invoke`.
        """
        configs = _configs(inputs, config)
        jobs = [
            lambda given=given, one=one: self.invoke(given, one, **options) for given, one in zip(inputs, configs, strict=True)
        ]
        found = in_parallel(jobs, _limit(configs))
        return _settled(found, return_exceptions)

    async def abatch(
        self, inputs: Sequence[Any], config: Any = None, *, return_exceptions: bool = False, **options: Any
    ) -> list[Any]:
        """`batch`, awaited."""
        import asyncio

        configs = _configs(inputs, config)
        turn = asyncio.Semaphore(_limit(configs) or len(inputs) or 1)

        async def one(given: Any, config: Any) -> Any:
            async with turn:
                return await self.ainvoke(given, config, **options)

        jobs = [one(given, config) for given, config in zip(inputs, configs, strict=True)]
        return _settled(await asyncio.gather(*jobs, return_exceptions=True), return_exceptions)

    # -- as a part of LangChain -------------------------------------------------------------------------------------

    def as_runnable(self) -> Any:
        """The graph as a LangChain `Runnable`, for chains: `prompt | graph.as_runnable()`.

        Raises MissingDependency without langchain-core.
        """
        from clew.interop.runnable import GraphRunnable

        return GraphRunnable(self)

    def astream_events(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        """The run as LangChain's stream of events: of graphs, nodes, models, tools, each as it begins, streams and ends.

        Args:
            options: `version` ("v2", LangChain's default), `include_names`, `include_types`, `include_tags` and the same with
                `exclude_`; anything else as for `astream`.

        Raises MissingDependency without langchain-core.
        """
        return self.as_runnable().astream_events(input, config, **options)

    # -- the cache --------------------------------------------------------------------------------------------------

    def clear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """Forgets what the cache holds of these nodes, or of all. Raises ValueError where the graph has no cache."""
        cache, spaces = self._cached(nodes)
        cache.clear(spaces)

    async def aclear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """`clear_cache`, awaited."""
        cache, spaces = self._cached(nodes)
        await cache.aclear(spaces)

    def _cached(self, nodes: Sequence[str] | None) -> tuple[BaseCache[Any], list[tuple[str, ...]]]:
        if self.cache is None:
            raise ValueError("The graph has no cache: compile it with one, as in `builder.compile(cache=InMemoryCache())`.")
        named = [node for node in self.program.nodes.values() if node.policies and (nodes is None or node.name in nodes)]
        return self.cache, [node.policies.known_as for node in named if node.policies and node.policies.cache]

    # -- within -----------------------------------------------------------------------------------------------------

    def run_on(self, host: Host, config: Any = None, stream_mode: Modes = (), *, durability: Durability | None = None) -> Run:
        """A run on a host of your own choice, not yet begun: for tests, and for whoever brings a third way to wait."""
        return self._run(read_call(stream_mode, merged(self.config, config), durability=durability), host)


def _tasks(call: Call) -> Host:
    return tasks(bool(call.modes | call.printed) or call.around is not None)


def _trimmed(error: Exception) -> Exception:
    """The error with the frames of Clew left out above the user's own, which are what it is about."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OURS):
        trace = trace.tb_next
    return error.with_traceback(trace) if trace is not None or isinstance(error, ClewError) else error


def _configs(inputs: Sequence[Any], config: Any) -> list[Any]:
    if not isinstance(config, list):
        return [config] * len(inputs)
    if len(config) != len(inputs):  # pyright: ignore[reportUnknownArgumentType]
        raise ValueError(f"{len(inputs)} inputs and {len(config)} configs: expected one config for all, or one for each.")  # pyright: ignore[reportUnknownArgumentType]
    return list(config)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _limit(configs: Sequence[Any]) -> int | None:
    return read_settings(configs[0], kept=False).max_concurrency if configs else None


def _settled(found: Sequence[Any], return_exceptions: bool) -> list[Any]:
    for one in found:
        if isinstance(one, BaseException) and not (return_exceptions and isinstance(one, Exception)):
            raise one
    return list(found)
