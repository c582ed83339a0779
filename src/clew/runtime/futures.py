"""The future that plain code gets for a task that it has called. A module of its own, for it costs more than most need."""

from concurrent.futures import Future
from typing import Any


class TaskFuture(Future[Any]):
    """One that knows whether somebody has asked how it ended.

    Attributes:
        read: somebody has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = False

    def result(self, timeout: float | None = None) -> Any:
        self.read = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self.read = True
        return super().exception(timeout)
