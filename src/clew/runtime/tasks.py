"""The async host: tasks are asyncio tasks, plain functions and databases are called in worker threads."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from threading import Lock, get_ident
from typing import Any, TypeVar, cast

from clew.errors import NodeCancelledError
from clew.pool import POOL
from clew.runtime.context import TaskContext
from clew.runtime.host import QUICK, Action, Finished, Host, Limit, Pace
from clew.runtime.mail import FULL, Mailbox
from clew.runtime.threads import cancelled, done, heard, overdue, pending, spawned

T = TypeVar("T")


class Hop:
    """A call in a thread of the pool, which grows as asyncio's own does not, and so cannot dead-lock when runs nest."""

    __slots__ = ("_call", "_ended", "_error", "_lock", "_loop", "_value", "_waits")

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._loop, self._waits = asyncio.get_running_loop(), cast("asyncio.Future[None] | None", None)
        self._value, self._error, self._ended = None, cast("BaseException | None", None), False
        self._lock = Lock()
        self._lock.acquire()
        POOL.run(partial(copy_context().run, self._make))

    def _make(self) -> None:
        try:
            self._value = self._call()
        except BaseException as raised:  # handed to whoever awaits it
            self._error = raised
        self._ended = True
        self._lock.release()
        if (waits := self._waits) is not None:
            with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
                self._loop.call_soon_threadsafe(lambda: waits.done() or waits.set_result(None))

    def wait_a_moment(self) -> None:
        """On the loop itself: a thread that wakes the loop takes twice as long as most routers do."""
        self._lock.acquire(timeout=QUICK)

    async def end(self) -> Any:
        if not self._ended:
            self._waits = self._loop.create_future()
            if not self._ended:  # it looks whether somebody waits once it has ended
                await self._waits
        if self._error is not None:
            raise self._error
        return self._value


async def in_thread(fn: Callable[..., T], /, *args: Any, **named: Any) -> T:
    """Calls `fn` in a thread, with a copy of the context."""
    return await Hop(partial(fn, *args, **named)).end()


class Apart:
    """A coroutine that runs in a context of its own, as one in a task of its own would, and needs no task for it.

    Where a `host` is given it is held at its awaits for as long as the reader of its events is behind.
    """

    __slots__ = ("_context", "_coroutine", "_host")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context, host: "Tasks | None") -> None:
        self._coroutine = coroutine
        self._context = context
        self._host = host

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, run, sent, error = self._coroutine, self._context.run, None, None
        while True:
            try:
                waits = run(coroutine.send, sent) if error is None else run(coroutine.throw, error)
            except StopIteration as done:
                return done.value
            sent, error = None, None
            try:
                sent = yield waits
                if self._host is not None and self._host.full:
                    yield from self._host.room().__await__()
            except BaseException as raised:  # a cancellation: the coroutine's own to deal with
                error = raised


async def _handed(body: Coroutine[Any, Any, Any], future: Any) -> None:
    """Hands what comes of `body` to a future that another thread waits for."""
    try:
        future.set_result(await body)
    except BaseException as error:  # handed to whoever asks
        future.set_exception(error)


class Tasks(Mailbox):
    """The host of one run on the async face. `read` says that events are read while tasks run."""

    __slots__ = ("_loop", "_room", "_running", "_thread", "_threaded", "_woken", "full", "read")

    blocking = staticmethod(in_thread)
    aside = staticmethod(POOL.run)
    driven = False

    def __init__(self, read: bool = False) -> None:
        super().__init__()
        self.read = read
        self.full = False
        self._woken: asyncio.Future[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None  # that of the first task; a run has one loop
        self._thread = 0
        self._threaded: set[asyncio.Task[Any] | None] = set()
        self._room = asyncio.Event()

    def _on_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop, self._thread = asyncio.get_running_loop(), get_ident()
        return self._loop

    async def call(self, action: Action, given: Any, context: TaskContext, limit: Limit | None = None) -> Any:
        self._on_loop()
        function: Any = action.plain if action.awaited is None else action.awaited
        if action.wants:
            function = partial(function, **context.given(action.wants))
        copied = context.entered()
        try:
            if action.awaited is not None:
                found: Any = Apart(copied.run(function, given), copied, self if self.read else None)
            elif action.pace.instant and not action.pace.slow and limit is None:
                return action.pace.timed(copied.run, function, given)
            else:
                found = self._plain(action.pace, partial(copied.run, function, given))
            return await (found if limit is None else self._bounded(found, action.name, context, limit))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():
                raise NodeCancelledError(cancelled(action.name)) from error
            raise

    async def _plain(self, pace: Pace, call: Callable[[], Any]) -> Any:
        """A thread cannot be stopped, so `cancel` leaves its task alone: what it returns counts, as on the sync face."""
        task = asyncio.current_task()
        self._threaded.add(task)
        try:
            hop = Hop(partial(pace.timed, call))
            if not (self.read or pace.slow):  # what is told meanwhile is to come first
                hop.wait_a_moment()
            return await hop.end()
        finally:
            self._threaded.discard(task)

    async def _bounded(self, found: Any, name: str, context: TaskContext, limit: Limit) -> Any:
        async def body() -> Any:
            return await found

        began = time.monotonic()
        task = self._on_loop().create_task(body())
        try:
            while (left := limit.left(context, began)) > 0:
                if (await asyncio.wait({task}, timeout=left))[0]:
                    return task.result()
            context.over = True
            raise overdue(name, limit)
        finally:
            task.cancel()

    def start(self, body: Callable[[], Coroutine[Any, Any, Finished]]) -> None:
        async def post() -> None:
            self._end(await body())

        self._begin()
        task = self._on_loop().create_task(post())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def spawn(self, body: Callable[[Host], Coroutine[Any, Any, Any]], node: Any) -> Any:
        if self._here():
            return self._on_loop().create_task(body(self))
        if node.action.awaited is None or self._loop is None:
            return spawned(body)
        future, loop, context = pending(), self._loop, copy_context()

        def begin() -> None:
            future.stop = loop.create_task(_handed(body(self), future), context=context).cancel

        loop.call_soon_threadsafe(begin)
        return future

    def settled(self, value: Any) -> Any:
        if not self._here():
            return done(value)
        future = self._on_loop().create_future()
        future.set_result(value)
        return future

    def _here(self) -> bool:
        """Whether the caller is on the loop, where it can await and must not block."""
        try:
            return asyncio.get_running_loop() is self._on_loop()
        except RuntimeError:
            return False

    async def settle(self, futures: list[Any], *, cancel: bool) -> list[tuple[BaseException | None, bool]]:
        if cancel:
            for future in futures:
                if isinstance(future, asyncio.Future):
                    cast("asyncio.Future[Any]", future).cancel()
                elif future.stop is not None:
                    future.stop()
            futures = [future for future in futures if isinstance(future, asyncio.Future) or future.stop is not None]
        own: list[asyncio.Future[Any]] = [future for future in futures if isinstance(future, asyncio.Future)]
        if own:
            await asyncio.wait(own)
        found: list[tuple[BaseException | None, bool]] = []
        for future in futures:
            if future not in own:
                found.append(await in_thread(heard, future))
            elif future.cancelled():
                found.append((None, True))
            else:
                read = not future._log_traceback  # asyncio's own mark of an exception that nobody has asked for
                found.append((future.exception(), read))
        return found

    def _admitted(self) -> bool:
        if self._loop is not None and get_ident() != self._thread:
            return super()._admitted()
        if self._most:
            self._most += FULL  # nothing more can be done about the next ones
            self.full = True
            self._room.clear()
            self._rouse()
        return self._most > 0

    def _ring(self) -> bool:
        if self._loop is None or get_ident() == self._thread:
            self._rouse()
            return False
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody reads
            self._loop.call_soon_threadsafe(self._rouse)
        return True

    def _rouse(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def _rest(self, seconds: float | None) -> None:
        loop = self._on_loop()
        self._woken = loop.create_future()
        if seconds is not None:
            loop.call_later(seconds, self._rouse)
        await self._woken

    async def room(self) -> None:
        if self.full and (self._loop is None or get_ident() == self._thread):  # elsewhere `emit` has waited
            await self._room.wait()

    def _let_in(self) -> None:
        super()._let_in()
        if self.full and len(self._mail) <= FULL // 2:
            self._most, self.full = FULL, False
            self._room.set()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def cancel(self) -> None:
        for task in self._running - self._threaded:
            task.cancel()

    async def close(self) -> None:
        self.full = False
        self._room.set()
        self._close()
        if running := [task for task in self._running if not task.done()]:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
