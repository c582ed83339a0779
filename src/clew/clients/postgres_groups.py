"""What many runs ask of PostgreSQL at once: in one round trip and one transaction, flushed to its disk once (group commit).

The jobs of a group run in one thread, each in a greenlet of its own: where one asks the tables for something, the next one goes
on, and what all have asked goes out together. It is done whole or not at all; where one is refused, the others are asked again
without it, so nobody hears of what another has done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, NamedTuple, TypeVar

from clew.clients.postgres_tables import Tables
from clew.errors import MissingDependency

try:
    from greenlet import getcurrent, greenlet
except ImportError as error:
    raise MissingDependency(f"PostgreSQL needs greenlet: `pip install 'clew[postgres]'` ({error}).") from error

S = TypeVar("S")
T = TypeVar("T")
Each = Callable[[Callable[[S], T], Sequence[S]], Iterator[list[T]]]
FEW: Final = 3  # refused calls, after each of which all others are asked again; then each is, by itself


class Asked(NamedTuple):
    """What a job waits for: an answer, or so many `seconds`. `key`: whose rows it may lock, which groups do in one order."""

    job: greenlet
    key: bytes
    sql: str
    values: Sequence[Any]
    seconds: float = 0.0


class Groups:
    """Statements to the tables of one schema."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._here = threading.local()

    # -- within a job, and without one ------------------------------------------------------------------------------

    def ask(self, key: bytes, sql: str, *values: Any) -> list[Any]:
        """One statement, its rows, as `Tables.ask`; with those of the other jobs, where this is one of several."""
        hub = getattr(self._here, "hub", None)
        if hub is None:
            return self._tables.ask(sql, *values)
        found = hub.switch(Asked(getcurrent(), key, sql, values))
        if isinstance(found, Exception):
            raise found
        return found

    def sleep(self, seconds: float) -> None:
        """The others go on meanwhile."""
        hub = getattr(self._here, "hub", None)
        if hub is None:
            time.sleep(seconds)
        else:
            hub.switch(Asked(getcurrent(), b"", "", (), seconds))

    # -- around them ------------------------------------------------------------------------------------------------

    def together(self) -> AbstractContextManager[Each[Any, Any]]:
        """How many jobs are done at once (`Lane`)."""
        return nullcontext(self._each)

    def _each(self, fn: Callable[[S], T], each: Sequence[S]) -> Iterator[list[T]]:
        """What `fn`, which raises nothing, makes of each, as it is done; what is refused comes last, one by one."""
        done: list[T] = []

        def does(one: S) -> None:
            done.append(fn(one))

        hub = getcurrent()
        waiting = self._until_they_ask([(greenlet(does, hub), one) for one in each])
        refused: list[Asked] = []
        while waiting or refused:
            if done:
                yield done.copy()
                done.clear()
            if waiting:
                answered, more = self._found(waiting)
                refused += more
            else:
                asked = refused.pop(0)
                answered = [(asked.job, _tried(self._tables.ask, asked.sql, *asked.values))]
            waiting = self._until_they_ask(answered)
        yield done

    def _until_they_ask(self, answered: Sequence[tuple[greenlet, Any]]) -> list[Asked]:
        """Jobs go on with what they have been waiting for. Returns what those ask that are not done."""
        self._here.hub = getcurrent()
        try:
            return [asked for job, answer in answered if (asked := job.switch(answer)) is not None]
        finally:
            self._here.hub = None

    def _found(self, waiting: Sequence[Asked]) -> tuple[list[tuple[greenlet, Any]], list[Asked]]:
        """What each was waiting for, or what it is to raise; and those that were refused."""
        asking = sorted([asked for asked in waiting if not asked.seconds], key=lambda asked: asked.key)
        answers: list[tuple[greenlet, Any]] = []
        refused: list[Asked] = []
        while asking:
            group = asking if len(refused) <= FEW else asking[:1]
            found = _tried(self._tables.ask_all, [(asked.sql, asked.values) for asked in group])
            if isinstance(found, int):
                refused.append(asking.pop(found))
                continue
            if isinstance(found, Exception):  # the connection was lost, or none is to be had
                found = [found] * len(group)
            answers += [(asked.job, rows) for asked, rows in zip(group, found, strict=True)]
            asking = asking[len(group) :]
        if seconds := max(asked.seconds for asked in waiting):
            time.sleep(seconds)
        return [*answers, *((asked.job, None) for asked in waiting if asked.seconds)], refused


def _tried(ask: Callable[..., Any], *args: Any) -> Any:
    """What is returned, or raised."""
    try:
        return ask(*args)
    except Exception as error:
        return error
