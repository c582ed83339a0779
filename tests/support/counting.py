"""Counters of what code does: calls of functions, objects left behind, statements, transactions, round trips and bytes."""

import gc
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import psycopg

Counts = dict[str, float]

SCHEDULING: Final = ("/asyncio/", "/threading.py", "/selectors.py", "/concurrent/")
"""Code whose calls depend on who comes first. And what others have written is not counted: it changes with their versions."""


class Calls:
    """Calls of Python functions, and resumptions of generators and coroutines: in this thread, and in all that start later."""

    def __init__(self) -> None:
        self.count = 0
        self._counted: dict[str, bool] = {}

    def begin(self) -> None:
        threading.setprofile(self._called)  # a thread keeps what it was started with
        sys.setprofile(self._called)

    def end(self) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            file = frame.f_code.co_filename
            counted = self._counted.get(file)
            if counted is None:
                counted = self._counted[file] = "site-packages" not in file and not any(part in file for part in SCHEDULING)
            self.count += counted


CALLS: Final = Calls()


@contextmanager
def counting(counts: Counts) -> Generator[None]:
    """Adds to `counts`: the calls, and the objects that are left to the garbage collector because they hold one another."""
    gc.collect()
    gc.disable()
    try:
        before = CALLS.count
        CALLS.begin()
        yield
        CALLS.end()
        counts["calls"], counts["garbage"] = CALLS.count - before, gc.collect()
    finally:
        CALLS.end()
        gc.enable()


@contextmanager
def sqlite_counting(db: sqlite3.Connection, path: str, counts: Counts) -> Generator[None]:
    """Adds to `counts`: statements, transactions that wrote something, and bytes of the log, which is written anew for each."""
    statements: list[str] = []
    db.execute("pragma wal_autocheckpoint = 0")
    before = os.path.getsize(f"{path}-wal")
    db.set_trace_callback(statements.append)
    try:
        yield
    finally:
        db.set_trace_callback(None)
    words = [statement.split(None, 1)[0].lower() for statement in statements]
    counts["statements"] = len(words)
    counts["transactions"] = words.count("begin")
    counts["bytes"] = os.path.getsize(f"{path}-wal") - before


@contextmanager
def postgres_counting(db: "psycopg.Connection[Any]", counts: Counts) -> Generator[None]:
    """Adds to `counts`: statements that were sent, round trips, and bytes in both directions."""
    with tempfile.TemporaryFile("w+") as trace:
        db.pgconn.trace(trace.fileno())
        try:
            yield
        finally:
            db.pgconn.untrace()
        trace.seek(0)
        found = [fields for line in trace if len(fields := line.split("\t")) > 3]
    messages = [(int(size), name.strip()) for _time, _sender, size, name, *_ in found]
    names = [name for _, name in messages]
    counts["statements"] = names.count("Query") + names.count("Execute")
    counts["round trips"] = names.count("ReadyForQuery")
    counts["bytes"] = sum(size for size, _ in messages)


def between(short: Counts, long: Counts, steps: int) -> Counts:
    """What one of the steps cost that the long run has more: fixed costs fall out."""
    return {name: round((long[name] - short[name]) / steps, 2) for name in short}


def twice(work: Callable[[int], Counts], short: int, long: int) -> Counts:
    work(short)  # what is done once is done
    return between(work(short), work(long), long - short)
