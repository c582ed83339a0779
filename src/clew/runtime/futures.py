"""The future that plain code gets for a task that it has called. A module of its own, for it costs more than most need."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any


class TaskFuture(Future[Any]):
    """One that knows whether somebody has asked how it ended. It cannot be cancelled: what it stands for runs already.

    Attributes:
        read: somebody has. stop: asks what it stands for to end early, where that can be asked.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = False
        self.stop: Callable[[], Any] | None = None
        self.set_running_or_notify_cancel()

    def result(self, timeout: float | None = None) -> Any:
        try:
            return super().result(timeout)
        finally:
            self.read = self.read or self.done()

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            return super().exception(timeout)
        finally:
            self.read = self.read or self.done()

    def __await__(self) -> Generator[Any, Any, Any]:
        """For code that runs a loop of its own inside a plain function."""
        self.read = True
        return asyncio.wrap_future(self).__await__()
