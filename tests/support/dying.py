"""A process that dies between two operations on MongoDB: at each of them in turn, before it or right after it."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from clew.clients.mongodb import Connected
from clew.testing.crash import Crash


class Dying:
    """Stands before the collections of a storage: the process dies at one of its operations, before it or right after it."""

    def __init__(self, crash_at: int | None, *, done: bool) -> None:
        self.calls, self.crash_at, self.done = 0, crash_at, done

    def before(self, collection: Any) -> Any:
        return _Watched(collection, self)

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        number = self.calls
        self.calls += 1
        if self.crash_at is not None and number >= self.crash_at + self.done:
            raise Crash
        found = operation(*args, **options)
        if number == self.crash_at:
            raise Crash
        return found


class Pausing(Dying):
    """Sleeps before one of the operations, by their number."""

    def __init__(self, at: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(None, done=False)
        self.at, self.meanwhile = at, meanwhile

    def call(self, operation: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            self.meanwhile()
        return operation(*args, **options)


class _Watched:
    def __init__(self, collection: Any, dying: Dying) -> None:
        self._collection, self._dying = collection, dying

    def __getattr__(self, name: str) -> Any:
        return partial(self._dying.call, getattr(self._collection, name))


@contextmanager
def dying(connected: Connected, crash_at: int | None, *, done: bool = False) -> Generator[Dying]:
    """Whoever uses this database dies at its operation of this number: before it, or right after it where it is `done`."""
    died = Dying(crash_at, done=done)
    collection = connected.collection
    connected.collection = lambda name: died.before(collection(name))
    try:
        yield died
    finally:
        connected.collection = collection
