"""Jobs beside one another in threads of the pool, for what is called many times at once. No run, no task."""

from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import TypeVar

from clew.runtime.threads import POOL

T = TypeVar("T")


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
