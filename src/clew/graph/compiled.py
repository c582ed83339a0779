"""The public verbs of a graph, each on both faces. They read the config, choose a host, and call the loop; nothing else."""

from __future__ import annotations

import os.path
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from clew.errors import ClewError, MissingCheckpointer
from clew.runtime.drive import drive, iterate
from clew.runtime.events import read_modes
from clew.runtime.host import Host
from clew.runtime.loop import Program, Run
from clew.runtime.settings import Settings, read_settings
from clew.runtime.threads import Threads, in_parallel
from clew.types import StateSnapshot

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.graph.state import StateGraph

OURS: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")


class CompiledStateGraph:
    """A graph that runs.

    Every verb takes a config such as `{"configurable": {"thread_id": "1"}}`; with a checkpointer the thread is required. All
    verbs may be called from many threads and tasks at once; two runs on one *thread* are not merged: the later to commit gets
    `ThreadConflict`.

    Attributes:
        checkpointer: the saver, or None. builder: what it was compiled from. name: as given to `compile`. program: what runs.
    """

    def __init__(self, program: Program, checkpointer: Saver | None, name: str, builder: StateGraph) -> None:
        self.checkpointer = checkpointer
        self.builder = builder
        self.name = name
        self.program = program

    # -- running ----------------------------------------------------------------------------------------------------

    def invoke(self, input: Any, config: Any = None, *, stream_mode: str | Sequence[str] = "values") -> Any:
        """Runs to the end and returns the state there, as a dict.

        Args:
            input: a dict with some of the state's keys, or an instance of the state; None to go on with the thread.
            config: see `clew.types.Config`.
            stream_mode: with another one than `"values"`, returns the list of what `stream` would yield.

        Raises:
            EmptyInputError: None, and nothing to go on from. InvalidUpdateError: input or a node's return is nonsense.
            MissingThreadId, CheckpointNotFound: see the config. GraphRecursionError: out of supersteps; the thread can go on.
            ThreadConflict: another run moved the thread on first. UnstorableValue: a node wrote what cannot be stored.
            Whatever a node raises comes out as it is.
        """
        try:
            if stream_mode == "values":
                return drive(self.run_on(Threads(), config, ()).finish(input))
            return list(iterate(self._chunks(self.run_on(Threads(), config, stream_mode), input, stream_mode)))
        except Exception as error:
            raise _trimmed(error)  # noqa: B904  (the same error)

    async def ainvoke(self, input: Any, config: Any = None, *, stream_mode: str | Sequence[str] = "values") -> Any:
        """`invoke`, awaited."""
        try:
            if stream_mode == "values":
                return await self.run_on(_tasks(), config, ()).finish(input)
            return [chunk async for chunk in self._chunks(self.run_on(_tasks(), config, stream_mode), input, stream_mode)]
        except Exception as error:
            raise _trimmed(error)  # noqa: B904

    def stream(self, input: Any, config: Any = None, *, stream_mode: str | Sequence[str] | None = None) -> Iterator[Any]:
        """Runs, yielding as it goes; arguments and errors as for `invoke`.

        Args:
            stream_mode: `"updates"` (default): `{node: what it wrote}` as each task finishes. `"values"`: the whole state once
                the input is applied and after each superstep that wrote. A list of modes: `(mode, chunk)` pairs.

        Every chunk is yielded once what it shows is kept. Closing the iterator half-way leaves the thread at its last commit.
        """
        stream_mode = stream_mode or "updates"
        try:
            yield from iterate(self._chunks(self.run_on(Threads(), config, stream_mode), input, stream_mode))
        except Exception as error:
            raise _trimmed(error)  # noqa: B904

    async def astream(
        self, input: Any, config: Any = None, *, stream_mode: str | Sequence[str] | None = None
    ) -> AsyncIterator[Any]:
        """`stream`, as an async iterator."""
        stream_mode = stream_mode or "updates"
        chunks = self._chunks(self.run_on(_tasks(), config, stream_mode), input, stream_mode)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:
            raise _trimmed(error)  # noqa: B904
        finally:
            await chunks.aclose()

    def batch(self, inputs: Sequence[Any], config: Any = None, *, return_exceptions: bool = False) -> list[Any]:
        """Invokes the graph on each input, independently and at once, and returns the results in the inputs' order.

        Args:
            config: one for all, or a list with one for each; `max_concurrency` bounds how many run at once.
            return_exceptions: put errors among the results instead of raising the first.
        """
        configs = _configs(inputs, config)
        jobs = [lambda given=given, one=one: self.invoke(given, one) for given, one in zip(inputs, configs, strict=True)]
        found = in_parallel(jobs, _limit(configs))
        return _settled(found, return_exceptions)

    async def abatch(self, inputs: Sequence[Any], config: Any = None, *, return_exceptions: bool = False) -> list[Any]:
        """`batch`, awaited."""
        import asyncio

        configs = _configs(inputs, config)
        turn = asyncio.Semaphore(_limit(configs) or len(inputs) or 1)

        async def one(given: Any, config: Any) -> Any:
            async with turn:
                return await self.ainvoke(given, config)

        jobs = [one(given, config) for given, config in zip(inputs, configs, strict=True)]
        return _settled(await asyncio.gather(*jobs, return_exceptions=True), return_exceptions)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get_state(self, config: Any) -> StateSnapshot:
        """The thread as it stands; with a `checkpoint_id` in the config, as it stood there.

        The newest checkpoint shows what finished tasks of an open superstep have written, and lists only unfinished ones. One
        asked for by id shows the start of its superstep: all its tasks, each with its result. A thread that does not exist has
        an empty snapshot.

        Raises:
            MissingCheckpointer, MissingThreadId, CheckpointNotFound.
        """
        inspect, saver, settings = self._reading(config)
        return drive(inspect.get_state(self.program.plan, saver, Threads(), settings))

    async def aget_state(self, config: Any) -> StateSnapshot:
        """`get_state`, awaited."""
        inspect, saver, settings = self._reading(config)
        return await inspect.get_state(self.program.plan, saver, _tasks(), settings)

    def get_state_history(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> Iterator[StateSnapshot]:
        """The thread's checkpoints, newest first, those of every branch.

        Args:
            filter: only those whose metadata has all of these. before: a config; only those older than the one it names.
            limit: how many at most.

        Raises:
            MissingCheckpointer, MissingThreadId; CheckpointNotFound where `before` names none.
        """
        inspect, saver, settings = self._reading(config)
        return iterate(inspect.get_state_history(self.program.plan, saver, Threads(), settings, filter, before, limit))

    def aget_state_history(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[StateSnapshot]:
        """`get_state_history`, as an async iterator."""
        inspect, saver, settings = self._reading(config)
        return inspect.get_state_history(self.program.plan, saver, _tasks(), settings, filter, before, limit)

    # -- within -----------------------------------------------------------------------------------------------------

    def run_on(self, host: Host, config: Any = None, stream_mode: str | Sequence[str] = ()) -> Run:
        """A run on a host of your own choice, not yet begun: for tests, and for whoever brings a third way to wait."""
        settings = read_settings(config, kept=self.checkpointer is not None)
        return Run(self.program, host, self.checkpointer, settings, read_modes(stream_mode)[0])

    async def _chunks(self, run: Run, input: Any, stream_mode: str | Sequence[str]) -> AsyncGenerator[Any]:
        _, tagged = read_modes(stream_mode)
        events = run.events(input)
        try:
            async for event in events:
                yield event if tagged else event[1]
        finally:
            await events.aclose()

    def _reading(self, config: Any) -> tuple[Any, Saver, Settings]:
        from clew.runtime import inspect  # late: a graph that keeps nothing has nothing to read

        if self.checkpointer is None:
            raise MissingCheckpointer
        return inspect, self.checkpointer, read_settings(config, kept=True)


def _tasks() -> Host:
    from clew.runtime.tasks import Tasks  # late: asyncio is most of what importing Clew would cost

    return Tasks()


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
    return configs[0].get("max_concurrency") if configs and configs[0] else None


def _settled(found: Sequence[Any], return_exceptions: bool) -> list[Any]:
    for one in found:
        if isinstance(one, BaseException) and not (return_exceptions and isinstance(one, Exception)):
            raise one
    return list(found)
