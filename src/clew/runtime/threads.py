"""The sync host: tasks run in threads of one pool for the process. With `tasks.py` and what both stand on, `mail.py`, the only
file that knows of threads."""

import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from clew.errors import NodeCancelledError, NodeTimeoutError, WrongFace
from clew.runtime.context import TaskContext
from clew.runtime.drive import drive
from clew.runtime.host import Action, Finished, Host, Limit
from clew.runtime.mail import Mailbox

LONGEST: Final = 3600.0
"""Seconds that are waited at a time; what a thread can wait for has an end, which an infinite timeout has not."""

T = TypeVar("T")


class Pool:
    """Threads that are kept for the next caller. It grows when none is idle: a bounded pool dead-locks when runs nest."""

    IDLE: Final = 32

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[SimpleQueue[Callable[[], None]]] = []

    def run(self, job: Callable[[], None]) -> None:
        """Runs `job`, which does not raise, in a thread of its own."""
        with self._lock:
            inbox = self._idle.pop() if self._idle else None
        if inbox is None:
            inbox = SimpleQueue[Callable[[], None]]()
            threading.Thread(target=self._work, args=(inbox,), name="clew", daemon=True).start()
        inbox.put(job)

    def _work(self, inbox: "SimpleQueue[Callable[[], None]]") -> None:
        while True:
            inbox.get()()
            with self._lock:
                if len(self._idle) >= self.IDLE:
                    return
                self._idle.append(inbox)

    def forget(self) -> None:
        """A forked child has none of its parent's threads."""
        self.__init__()


POOL: Final = Pool()
os.register_at_fork(after_in_child=POOL.forget)


def in_parallel(jobs: list[Callable[[], T]], limit: int | None) -> list[T | BaseException]:
    """Runs jobs in threads, `limit` at once; what each returned or raised, in their order."""
    found: list[T | BaseException] = [RuntimeError("not run")] * len(jobs)
    ended: SimpleQueue[None] = SimpleQueue()
    waiting = list(enumerate(jobs))[::-1]

    def start() -> None:
        index, job = waiting.pop()
        context = copy_context()

        def body() -> None:
            try:
                found[index] = context.run(job)
            except BaseException as error:  # handed to the caller, whatever it is
                found[index] = error
            ended.put(None)

        POOL.run(body)

    for _ in range(min(limit or len(jobs), len(jobs))):
        start()
    for _ in jobs:
        ended.get()
        if waiting:
            start()
    return found


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
        copied = copy_context()
        copied.run(context.enter)
        extra = context.given(action.wants) if action.wants else {}
        plain = action.plain
        try:
            if limit is None:
                return copied.run(plain, given, **extra)
            return _bounded(lambda: copied.run(plain, given, **extra), action.name, context, limit)
        except BaseException as error:
            if type(error).__name__ == "CancelledError" and not isinstance(error, Exception):  # asyncio's
                raise NodeCancelledError(cancelled(action.name)) from error
            raise

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        self._begin()
        context = copy_context()

        def post() -> None:
            self._end(context.run(drive, body()))

        POOL.run(post)

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
    future, context = pending(), copy_context()

    def job() -> None:
        try:
            future.set_result(context.run(drive, body(Threads())))
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


def _bounded(body: Callable[[], Any], name: str, context: TaskContext, limit: Limit) -> Any:
    """Runs `body` in a thread of its own, and leaves it to itself when its time is over."""
    done: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def job() -> None:
        try:
            done.put((body(), None))
        except BaseException as error:  # handed to whoever waits
            done.put((None, error))

    began = time.monotonic()
    POOL.run(job)
    while (left := limit.left(context, began)) > 0:
        try:
            value, error = done.get(timeout=min(left, LONGEST))
        except Empty:
            continue
        if error is not None:
            raise error
        return value
    context.over = True
    raise overdue(name, limit)


def cancelled(name: str) -> str:
    return f"Node {name!r} raised asyncio.CancelledError, and nobody had cancelled the run: let it raise an error of its own."


def overdue(name: str, limit: Limit) -> NodeTimeoutError:
    advice = "give it more in `timeout=`, or a RetryPolicy to try again."
    return NodeTimeoutError(f"Node {name!r} took longer than {limit}: {advice}", name)
