"""The verbs of a graph that read its threads; nothing runs. See `inspect` in the runtime for what they do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

from clew.engine.branches import differences
from clew.errors import MissingCheckpointer
from clew.runtime.attempt import Program
from clew.runtime.drive import drive, iterate
from clew.runtime.host import Host
from clew.runtime.settings import Settings, merged, read_settings
from clew.runtime.threads import Threads
from clew.types import Branch, Change, Config, StateSnapshot

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver
    from clew.graph.compiled import CompiledStateGraph


class Reading:
    """What `CompiledStateGraph` can say about its threads."""

    checkpointer: Saver | bool | None
    program: Program
    config: Config | None

    def get_state(self, config: Any, *, subgraphs: bool = False) -> StateSnapshot:
        """The thread as it stands; with a `checkpoint_id` in the config, as it stood there.

        The newest checkpoint shows what finished tasks of an open superstep have written; `next` names the unfinished ones. One
        asked for by id shows the start of its superstep: all its tasks, each with its result. A thread that does not exist has
        an empty snapshot.

        Args:
            config: the thread; with a `checkpoint_ns`, the graph inside a task that is kept there.
            subgraphs: show, as the `state` of each task that is a graph, its snapshot, and so on all the way in; otherwise the
                config to ask for it with.

        Raises:
            MissingCheckpointer, MissingThreadId, CheckpointNotFound.
        """
        return drive(self._state(config, subgraphs, Threads()))

    async def aget_state(self, config: Any, *, subgraphs: bool = False) -> StateSnapshot:
        """`get_state`, awaited."""
        return await self._state(config, subgraphs, tasks())

    async def _state(self, config: Any, subgraphs: bool, host: Host) -> StateSnapshot:
        from clew.graph.inside import with_places, with_states  # late: see `_reading`

        inspect, saver, settings = self._reading(config)
        graph = self._at(settings.ns) or cast("CompiledStateGraph", self)
        found = await inspect.get_state(graph.program.plan, saver, host, settings)
        return await with_states(graph, saver, host, settings, found) if subgraphs else with_places(graph, settings, found)

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
        return iterate(self._history(config, Threads(), filter, before, limit))

    def aget_state_history(
        self, config: Any, *, filter: Mapping[str, Any] | None = None, before: Any = None, limit: int | None = None
    ) -> AsyncIterator[StateSnapshot]:
        """`get_state_history`, as an async iterator."""
        return self._history(config, tasks(), filter, before, limit)

    async def _history(
        self, config: Any, host: Host, filter: Mapping[str, Any] | None, before: Any, limit: int | None
    ) -> AsyncGenerator[StateSnapshot]:
        from clew.graph.inside import with_places  # late: see `_reading`

        inspect, saver, settings = self._reading(config)
        graph = self._at(settings.ns) or cast("CompiledStateGraph", self)
        shown = partial(with_places, graph, settings)
        async for found in inspect.get_state_history(graph.program.plan, saver, host, settings, filter, before, limit, shown):
            yield found

    def branches(self, config: Any) -> list[Branch]:
        """Every branch of the thread, the one with the newest head first. None is ever lost: going back begins another.

        The first line is called `main`, the others `branch-1` and so on in the order in which they began, unless a run on it
        was given a name in its config, `{"metadata": {"branch": "what-if"}}`.

        Raises:
            MissingCheckpointer, MissingThreadId.
        """
        inspect, saver, settings = self._reading(config)
        return drive(inspect.get_branches(saver, Threads(), settings))

    async def abranches(self, config: Any) -> list[Branch]:
        """`branches`, awaited."""
        inspect, saver, settings = self._reading(config)
        return await inspect.get_branches(saver, tasks(), settings)

    def diff(self, before: Any, after: Any) -> dict[str, Change]:
        """What changed between two checkpoints, key by key; keys that are the same are left out.

        Args:
            before, after: configs, of one thread or of two; without a `checkpoint_id` the newest.

        Raises:
            MissingCheckpointer, MissingThreadId, CheckpointNotFound.
        """
        return differences(self.get_state(before).values, self.get_state(after).values)

    async def adiff(self, before: Any, after: Any) -> dict[str, Change]:
        """`diff`, awaited."""
        return differences((await self.aget_state(before)).values, (await self.aget_state(after)).values)

    def _at(self, ns: str) -> CompiledStateGraph | None:
        """The graph that is kept in a namespace of this one's threads; None where it is not known."""
        from clew.graph.inside import graph_at  # late: see `_reading`

        return graph_at(cast("CompiledStateGraph", self), ns)

    def _reading(self, config: Any) -> tuple[Any, Saver, Settings]:
        from clew.runtime import inspect  # late: a graph that keeps nothing has nothing to read

        if self.checkpointer is None or isinstance(self.checkpointer, bool):
            raise MissingCheckpointer
        return inspect, self.checkpointer, read_settings(merged(self.config, config), kept=True)


def tasks(read: bool = False) -> Host:
    """A host of the async face; `read` says that events are read while tasks run."""
    return _async_host()(read)


@cache
def _async_host() -> Callable[[bool], Host]:
    from clew.runtime.tasks import Tasks  # late: asyncio is most of what importing Clew would cost

    return Tasks
