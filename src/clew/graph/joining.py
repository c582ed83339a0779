"""The verbs of a graph that follow a run whose events are kept, from wherever it runs; nothing runs here."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any

from clew.graph.reading import Reading, tasks
from clew.runtime.drive import iterate
from clew.runtime.host import Host
from clew.runtime.threads import Threads
from clew.types import RunEvent


class Joining(Reading):
    """What `CompiledStateGraph` can say about runs that are streamed with `resumable=True`."""

    def join_stream(
        self, config: Any, *, after: int = 0, run_id: Any = None, patience: float | None = 30.0
    ) -> Iterator[RunEvent]:
        """The events of a run, as they were told and as they come, up to its end; from any process, any number of readers.

        Args:
            config: the thread. after: the number of the last event that the reader has; 0 begins with the first.
            run_id: which run; by default the thread's newest one whose events are kept.
            patience: seconds to wait for somebody to go on with a run that was cut short, as its process has died; None waits
                for ever.

        It looks for new events in the database, each 10 ms and then more rarely, at last twice a second.

        Raises:
            EventsGone: events above `after` are not kept any more, or nothing of the run is. RunLost: it was cut short, and
            nobody has gone on with it; or the thread has begun another run since. ValueError: `after` is above all numbers.
            MissingCheckpointer, MissingThreadId; NotImplementedError where the saver keeps no events.
        """
        return iterate(self._joined(config, after, run_id, patience, Threads()))

    def ajoin_stream(
        self, config: Any, *, after: int = 0, run_id: Any = None, patience: float | None = 30.0
    ) -> AsyncIterator[RunEvent]:
        """`join_stream`, as an async iterator."""
        return self._joined(config, after, run_id, patience, tasks())

    async def _joined(
        self, config: Any, after: int, run_id: Any, patience: float | None, host: Host
    ) -> AsyncGenerator[RunEvent]:
        from clew.runtime.resumable import follow  # late: a graph that keeps nothing has nothing to follow

        _, saver, settings = self._reading(config)
        if after < 0:
            raise ValueError(f"after is {after!r}: expected the number of the last event that was read, or 0.")
        run = run_id if run_id is not None else settings.given.get("run_id")
        parts = follow(saver, host, settings.thread or "", None if run is None else str(run), after, patience)
        try:
            async for part in parts:
                yield part
        finally:
            await parts.aclose()
