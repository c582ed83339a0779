"""The threads in which runs on the async face call a storage: a few for all of them, whose calls queue up.

A thread for each call would have a thousand conversations wait in a thousand threads for a few connections.

A commit to a disk takes longer than all else of it. So a storage may take together what has queued up meanwhile: each call is
whole or not at all, and nobody hears of it before all are on the disk (group commit). A run that is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from clew.checkpoint.storage import Waits

MOST: Final = 256  # calls that are answered together: the first waits for the last
LATE: Final = 0.05  # seconds for which one thread may be at what it has taken together before another takes the next


class Call(NamedTuple):
    """What is asked, and where the answer goes."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[tuple[Any, BaseException | None]]
    context: Context
    ask: Callable[[], Any]


Answer: TypeAlias = tuple[Call, Any, BaseException | None]
Each: TypeAlias = Callable[[Callable[[Call], Answer], list[Call]], Iterator[list[Answer]]]
Together: TypeAlias = Callable[[], AbstractContextManager[Each | None]]


class Lane:
    """The calls of runs on the async face to one storage, as many at once as it has room for.

    Args:
        workers: how many, at most. together: what a thread holds while it answers all that has queued up, which may be a way
            of its own to answer them, some after others; one thread does so, and further ones where nothing was taken for
            `LATE`. None where each call is answered for itself.
    """

    def __init__(self, workers: int, together: Together | None = None) -> None:
        self._workers = workers
        self._together = together
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()
        self._busy, self._taken = 0, 0.0
        self._pid = os.getpid()

    def waits(self, aside: Callable[[Callable[[], None]], None]) -> Waits:
        """How a run waits for its calls; `aside` runs a job in another thread."""

        def wait(fn: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
            return self._asked(aside, partial(fn, *args))

        return wait

    async def _asked(self, aside: Callable[[Callable[[], None]], None], ask: Callable[[], Any]) -> Any:
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._begin()
        loop = asyncio.get_running_loop()
        call = Call(loop, loop.create_future(), copy_context(), ask)
        with self._lock:
            self._calls.append(call)
            begins, first = self._grows(), len(self._calls) == 1
        if begins:
            aside(self._work)
        elif first and self._together and self._workers > 1:
            loop.call_later(LATE, self._look, aside)
        value, error = await call.future
        if error is not None:
            raise error
        return value

    def _grows(self) -> bool:
        """Whether one more thread is to work."""
        most = self._workers if self._together is None or time.monotonic() - self._taken >= LATE else 1
        begins = self._busy < most and len(self._calls) > 0
        self._busy += begins
        return begins

    def _look(self, aside: Callable[[Callable[[], None]], None]) -> None:
        with self._lock:
            begins = self._grows()
        if begins:
            aside(self._work)

    def _work(self) -> None:
        most = MOST if self._together else 1
        while True:
            with self._lock:
                calls = [self._calls.popleft() for _ in range(min(most, len(self._calls)))]
                self._busy -= not calls
                self._taken = time.monotonic()
            if not calls:
                return
            together = self._together if len(calls) > 1 else None
            for answers in self._answered(calls, together) if together else [[_answer(calls[0])]]:
                for loop in {call.loop for call in calls}:
                    with suppress(RuntimeError):  # it has ended meanwhile: nobody waits
                        loop.call_soon_threadsafe(_settle, [answer for answer in answers if answer[0].loop is loop])

    def _answered(self, calls: list[Call], together: Together) -> Iterator[list[Answer]]:
        """Answers, as they may be told."""
        try:
            with together() as each:
                if each is not None:
                    yield from each(_answer, calls)
                    return
                answers = [_answer(call) for call in calls]
            yield answers
        except BaseException as error:  # nothing of what was written is kept
            yield [(call, None, error) for call in calls]


def _answer(call: Call) -> Answer:
    try:
        return call, call.context.run(call.ask), None
    except BaseException as error:  # handed to whoever awaits it
        return call, None, error


def _settle(answers: list[Answer]) -> None:
    for call, value, error in answers:
        if not call.future.done():
            call.future.set_result((value, error))
