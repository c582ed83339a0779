"""The verbs of a graph that read its threads; nothing runs. See `inspect` in the runtime for what they do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clew.errors import MissingCheckpointer
from clew.runtime.attempt import Program
from clew.runtime.drive import drive, iterate
from clew.runtime.host import Host
from clew.runtime.settings import Settings, merged, read_settings
from clew.runtime.threads import Threads
from clew.types import Config, StateSnapshot

if TYPE_CHECKING:
    from clew.checkpoint.base import Saver


class Reading:
    """What `CompiledStateGraph` can say about its threads."""

    checkpointer: Saver | None
    program: Program
    config: Config | None

    def get_state(self, config: Any) -> StateSnapshot:
        """The thread as it stands; with a `checkpoint_id` in the config, as it stood there.

        The newest checkpoint shows what finished tasks of an open superstep have written; `next` names the unfinished ones. One
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
        return await inspect.get_state(self.program.plan, saver, tasks(), settings)

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
        return inspect.get_state_history(self.program.plan, saver, tasks(), settings, filter, before, limit)

    def _reading(self, config: Any) -> tuple[Any, Saver, Settings]:
        from clew.runtime import inspect  # late: a graph that keeps nothing has nothing to read

        if self.checkpointer is None:
            raise MissingCheckpointer
        return inspect, self.checkpointer, read_settings(merged(self.config, config), kept=True)


def tasks(read: bool = False) -> Host:
    """A host of the async face; `read` says that events are read while tasks run."""
    from clew.runtime.tasks import Tasks  # late: asyncio is most of what importing Clew would cost

    return Tasks(read)
