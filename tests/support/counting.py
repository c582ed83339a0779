"""Counters of what code does: calls of functions, objects left behind, statements, transactions, round trips and bytes."""

import gc
import os
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from support.pages import ROOT

if TYPE_CHECKING:
    import psycopg

Counts = dict[str, float]

SCHEDULING: Final = ("/asyncio/", "/threading.py", "/selectors.py", "/concurrent/")
"""Code whose calls depend on who comes first."""
INLINED: Final = ("<listcomp>", "<dictcomp>", "<setcomp>")
"""Calls in Python 3.11, and none later."""
OURS: Final = (str(ROOT / "src"), str(ROOT / "tests"))


class Calls:
    """Calls of Python functions, and resumptions of generators and coroutines: in this thread, and in all that start later."""

    def __init__(self) -> None:
        self.count = 0
        self._whose: dict[CodeType, bool | None] = {}

    def begin(self) -> None:
        threading.setprofile(self._called)  # a thread keeps what it was started with
        sys.setprofile(self._called)

    def end(self) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            counts, asking = self._is_ours(frame.f_code), frame.f_back
            while counts is None and asking is not None:  # the standard library's work is whose who asked for it
                counts, asking = self._is_ours(asking.f_code), asking.f_back
            self.count += bool(counts)

    def _is_ours(self, code: CodeType) -> bool | None:
        """None of the standard library's. What others have written is not counted: it changes with their versions."""
        if code not in self._whose:
            self._whose[code] = _is_ours(code)
        return self._whose[code]


def _is_ours(code: CodeType) -> bool | None:
    file = code.co_filename
    if code.co_name in INLINED or "site-packages" in file or any(part in file for part in SCHEDULING):
        return False
    return True if file.startswith(OURS) else None


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
