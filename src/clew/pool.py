"""Threads that are kept for the next job: one pool for the process. No run, no task."""

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Final, TypeVar

T = TypeVar("T")


class Pool:
    """It grows while jobs wait: a bounded pool dead-locks when runs nest.

    One thread at a time is on its way to what waits, and sends for the next before it begins. So jobs that take long all run at
    once, and of many that take no time a few threads do the most: waking one costs more than they do.
    """

    IDLE: Final = 32

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle: list[threading.Lock] = []
        self._coming = False

    def run(self, job: Callable[[], None]) -> None:
        """Runs `job`, which does not raise, in a thread beside whatever else runs.

        Raises:
            RuntimeError: the system gives no more threads. The job is not run.
        """
        self._jobs.append(job)
        if self._coming:  # who comes sees it
            return
        try:
            self._send()
        except RuntimeError as error:
            with suppress(ValueError):  # somebody has it by now
                self._jobs.remove(job)
                raise RuntimeError(
                    f"The system gives no more threads ({error}); {threading.active_count()} are at work. Have fewer tasks run "
                    'at once: `config={"max_concurrency": 100}`; or make the nodes that wait `async`, and call `ainvoke`.'
                ) from None

    def _send(self) -> None:
        with self._lock:
            if self._coming or not self._jobs:
                return
            self._coming = True
            bell = self._idle.pop() if self._idle else None
        if bell is not None:
            bell.release()
            return
        try:
            threading.Thread(target=self._work, name="clew", daemon=True).start()
        except RuntimeError:
            self._coming = False
            raise

    def _work(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        while True:
            self._coming = False
            while job := self._next():
                job()
            with self._lock:
                if len(self._idle) >= self.IDLE:
                    return
                self._idle.append(bell)
            bell.acquire()

    def _next(self) -> Callable[[], None] | None:
        try:
            job = self._jobs.popleft()
        except IndexError:
            return None
        if self._jobs and not self._coming:
            with suppress(RuntimeError):  # those there are do it
                self._send()
        return job

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
