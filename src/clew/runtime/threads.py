"""The sync host: tasks run in threads of one pool for the process. With `tasks.py` and what both stand on, `mail.py`, the only
file of the runtime that knows of threads."""

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from clew.errors import NodeCancelledError, NodeTimeoutError, WrongFace
from clew.pool import POOL
from clew.runtime.context import TaskContext
from clew.runtime.drive import drive
from clew.runtime.host import Action, Finished, Host, Limit
from clew.runtime.mail import Mailbox

LONGEST: Final = 3600.0
"""Seconds that are waited at a time; what a thread can wait for has an end, which an infinite timeout has not."""

T = TypeVar("T")


class Threads(Mailbox):
    """The host of one run on the sync face."""

    __slots__ = ("_bell",)
    aside = staticmethod(POOL.run)
    driven = True

    def __init__(self) -> None:
        super().__init__()
        self._bell: SimpleQueue[None] = SimpleQueue()

    async def blocking(self, fn: Callable[..., T], /, *args: Any) -> T:
        return fn(*args)

    async def call(self, action: Action, given: Any, context: TaskContext, limit: Limit | None = None) -> Any:
        if action.plain is None:
            raise WrongFace(
                f"Node {action.name!r} is async: call the graph with `await graph.ainvoke(…)` or "
                "`async for … in graph.astream(…)`, or make the node a plain function."
            )
        copied = context.entered()
        plain = partial(action.plain, **context.given(action.wants)) if action.wants else action.plain
        try:
            if limit is None:
                return copied.run(plain, given)
            return _bounded(partial(copied.run, plain, given), action.name, context, limit)
        except BaseException as error:
            if type(error).__name__ == "CancelledError" and not isinstance(error, Exception):  # asyncio's
                raise NodeCancelledError(cancelled(action.name)) from error
            raise

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        self._begin()
        context = copy_context()
        POOL.run(lambda: self._end(context.run(drive, body())))

    def spawn(self, body: Callable[[Host], Coroutine[Any, Any, Any]], node: Any) -> Any:
        return spawned(body)

    def settled(self, value: Any) -> Any:
        return done(value)

    async def settle(self, futures: list[Any], *, cancel: bool) -> list[tuple[BaseException | None, bool]]:
        return [] if cancel else [heard(future) for future in futures]  # a thread cannot be stopped

    def _ring(self) -> bool:
        if self._waits:
            self._bell.put(None)
        return True

    async def _rest(self, seconds: float | None) -> None:
        with suppress(Empty):
            self._bell.get(timeout=seconds)

    async def room(self) -> None:
        """`emit` has waited."""

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def cancel(self) -> None:
        """A thread cannot be stopped: what runs is awaited, and its result is kept."""

    async def close(self) -> None:
        """What still runs goes on to its end; nobody hears of it."""
        self._close()


def spawned(body: Callable[[Host], Coroutine[Any, Any, Any]]) -> Any:
    """Runs `body` in a thread of the pool. Returns a future to ask for its result."""
    return _apart(lambda: drive(body(Threads())))


def _apart(call: Callable[[], Any]) -> Any:
    future, context = pending(), copy_context()

    def job() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:  # handed to whoever asks
            future.set_exception(error)

    POOL.run(job)
    return future


def done(value: Any) -> Any:
    future = pending()
    future.set_result(value)
    return future


def heard(future: Any) -> tuple[BaseException | None, bool]:
    """What a future of `spawned` raised, once it has ended, and whether somebody had asked."""
    read = future.read
    return future.exception(), read


def pending() -> Any:
    from clew.runtime.futures import TaskFuture  # late: few runs spawn, and its module loads logging

    return TaskFuture()


def _bounded(call: Callable[[], Any], name: str, context: TaskContext, limit: Limit) -> Any:
    """Calls in a thread, which is left to itself when its time is over."""
    began, future = time.monotonic(), _apart(call)
    while (left := limit.left(context, began)) > 0:
        try:
            future.exception(min(left, LONGEST))
        except TimeoutError:
            continue
        return future.result()
    context.over = True
    raise overdue(name, limit)


def cancelled(name: str) -> str:
    return f"Node {name!r} raised asyncio.CancelledError, and nobody had cancelled the run: let it raise an error of its own."


def overdue(name: str, limit: Limit) -> NodeTimeoutError:
    advice = "give it more in `timeout=`, or a RetryPolicy to try again."
    return NodeTimeoutError(f"Node {name!r} took longer than {limit}: {advice}", name)
