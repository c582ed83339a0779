"""Storages over storages: what is done about every call, whatever the backend. They know rows no better than a storage does."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from clew.checkpoint.storage import Batch, EventsFound, Found, Pruning, Space, Storage, ThreadRow, Weight
from clew.clients.patience import Patience
from clew.errors import ThreadConflict

T = TypeVar("T")
THEN: Final = "What was kept before is safe: `invoke(None, config)` goes on from there."


class Through:
    """A storage over another one: every verb goes through `call`, where something can be done about it."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        return verb(*args)

    def load(self, thread: str, ns: str, checkpoint_id: bytes | None) -> Found:
        return self.call(self.storage.load, thread, ns, checkpoint_id)

    def items(self, thread: str, ranges: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return self.call(self.storage.items, thread, ranges)

    def commit(self, batch: Batch) -> bool:
        return self.call(self.storage.commit, batch)

    def wait(self, thread: str, run: bytes, seconds: float, stop: bool) -> bool:
        return self.call(self.storage.wait, thread, run, seconds, stop)

    def leave(self, thread: str, run: bytes) -> None:
        self.call(self.storage.leave, thread, run)

    def scan(self, thread: str, ns: str, before: int | None, limit: int) -> list[Found]:
        return self.call(self.storage.scan, thread, ns, before, limit)

    def threads(self) -> list[ThreadRow]:
        return self.call(self.storage.threads)

    def drop(self, thread: str) -> None:
        self.call(self.storage.drop, thread)

    def events(self, thread: str, run: str | None, after: int, limit: int) -> EventsFound | None:
        return self.call(self.storage.events, thread, run, after, limit)

    def expire(self, limit: int) -> int:
        return self.call(self.storage.expire, limit)

    def spaces(self, thread: str) -> list[Space]:
        return self.call(self.storage.spaces, thread)

    def walk(self, thread: str, after: tuple[int, int], limit: int) -> list[tuple[int, int, bytes]]:
        return self.call(self.storage.walk, thread, after, limit)

    def prune(self, pruning: Pruning) -> None:
        self.call(self.storage.prune, pruning)

    def weigh(self, thread: str) -> Weight:
        return self.call(self.storage.weigh, thread)

    def occupies(self) -> int:
        return self.call(self.storage.occupies)

    def reclaim(self) -> None:
        self.call(self.storage.reclaim)

    def close(self) -> None:
        self.storage.close()


class Reconnecting(Through):
    """A storage over a network: a call whose connection is lost is made again, for so many seconds at most.

    A commit of which nobody heard whether it was done is made again as well, and where it is refused then, looked for: what
    it was to write is there, or it is a conflict.

    Args:
        lost: what the driver raises where a connection is lost. patience: seconds. sleep: how one waits between two calls.
    """

    def __init__(
        self, storage: Storage, lost: tuple[type[Exception], ...], patience: float, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(storage)
        self._patience = Patience(lost, patience, THEN, sleep)

    def call(self, verb: Callable[..., T], /, *args: Any) -> T:
        return self._patience.call(verb, *args)

    def commit(self, batch: Batch) -> bool:
        tries = itertools.count()

        def once() -> bool:
            again = next(tries) > 0
            try:
                return self.storage.commit(batch)
            except ThreadConflict:
                if again and self._is_done(batch):
                    return False
                raise

        return self.call(once)

    def _is_done(self, batch: Batch) -> bool:
        found = self.storage.load(batch.thread, batch.ns, batch.row.id if batch.row else None)
        if batch.row is not None:
            return found.row is not None
        return found.epoch == (batch.claim or batch.epoch)
