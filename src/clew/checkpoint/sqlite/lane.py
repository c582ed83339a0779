"""One thread for the calls of many runs on one event loop: what they write while it is busy is committed together.

A commit to a disk takes longer than all else of it. Where runs queue up for the file, the next in turn takes all that wait with
it: each is whole or not at all (a savepoint), and nobody hears of it before all are on the disk (group commit, as in Gawlick
and Kinkade, 1985). A run that is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final, NamedTuple

from clew.checkpoint.storage import Waits
from clew.sqlite_file import SqliteFile

MOST: Final = 256  # calls that are answered together: the first of them waits for the last


class Call(NamedTuple):
    """What is asked, and where the answer goes."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[tuple[Any, BaseException | None]]
    context: Context
    ask: Callable[[], Any]


class Lane:
    """The calls of runs on the async face to one file, one after the other."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque()
        self._busy = False
        self._pid = os.getpid()

    def waits(self, aside: Callable[[Callable[[], None]], None]) -> Waits:
        """How a run waits for its calls; `aside` runs a job in another thread."""

        def wait(fn: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
            return self._answered(aside, partial(fn, *args))

        return wait

    async def _answered(self, aside: Callable[[Callable[[], None]], None], ask: Callable[[], Any]) -> Any:
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._begin()
        loop = asyncio.get_running_loop()
        call = Call(loop, loop.create_future(), copy_context(), ask)
        with self._lock:
            self._calls.append(call)
            begins, self._busy = not self._busy, True
        if begins:
            aside(self._work)
        value, error = await call.future
        if error is not None:
            raise error
        return value

    def _work(self) -> None:
        while True:
            with self._lock:
                calls = [self._calls.popleft() for _ in range(min(MOST, len(self._calls)))]
                self._busy = bool(calls)
            if not calls:
                return
            self._answer(calls)

    def _answer(self, calls: list[Call]) -> None:
        answers: list[tuple[Call, Any, BaseException | None]] = []
        try:
            with self._file.together():
                for call in calls:
                    try:
                        answers.append((call, call.context.run(call.ask), None))
                    except BaseException as error:  # handed to whoever awaits it
                        answers.append((call, None, error))
        except BaseException as error:  # nothing of what was written is kept
            answers = [(call, None, error) for call in calls]
        for loop in {call.loop for call in calls}:
            with suppress(RuntimeError):  # it has ended meanwhile: nobody waits
                loop.call_soon_threadsafe(_settle, [answer for answer in answers if answer[0].loop is loop])


def _settle(answers: list[tuple[Call, Any, BaseException | None]]) -> None:
    for call, value, error in answers:
        if not call.future.done():
            call.future.set_result((value, error))
