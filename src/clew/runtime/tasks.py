"""The async host: tasks are asyncio tasks, plain functions and databases are called in worker threads."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from clew.runtime.host import Action, Finished


class Tasks:
    """The host of one run on the async face."""

    __slots__ = ("_mail", "_running")

    blocking = staticmethod(asyncio.to_thread)

    def __init__(self) -> None:
        self._mail: asyncio.Queue[Finished] = asyncio.Queue()
        self._running: set[asyncio.Task[None]] = set()

    async def call(self, action: Action, given: Any) -> Any:
        if action.awaited is not None:
            return await action.awaited(given)
        assert action.plain is not None
        return await asyncio.to_thread(action.plain, given)

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        async def post() -> None:
            self._mail.put_nowait(await body())

        task = asyncio.get_running_loop().create_task(post())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def receive(self) -> Finished:
        return await self._mail.get()

    def cancel(self) -> None:
        for task in self._running:
            task.cancel()

    async def close(self) -> None:
        if self._running:
            self.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
