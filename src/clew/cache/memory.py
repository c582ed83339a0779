"""Values cached in this process's memory, as the same bytes that a database would hold; the least used goes first."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from clew.cache.base import BaseCache, Entry, FullKey, Namespace, ValueT

OVERHEAD: Final = 400  # bytes that an entry takes beside its value: its key, its place in the dict, its clock
SWEPT_EVERY: Final = 64


class InMemoryCache(BaseCache[ValueT]):
    """Caches for as long as the process lives, in at most so much memory.

    Args:
        max_bytes: over that the values that were used least lately are let go. 256 MiB.

    Raises:
        ValueError: `max_bytes` is not a number of bytes.
    """

    blocking = False  # microseconds; a thread would cost more

    def __init__(self, *, max_bytes: int = 256 << 20) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes <= 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"max_bytes is {max_bytes!r}: expected a whole number of bytes, as in {256 << 20} for 256 MiB.")
        self.max_bytes = max_bytes
        self._entries: OrderedDict[FullKey, tuple[bytes, float | None]] = OrderedDict()
        self._bytes = 0
        self._until_sweep = SWEPT_EVERY
        self._lock = threading.Lock()

    def _get(self, keys: Sequence[FullKey]) -> dict[FullKey, bytes]:
        now = time.monotonic()  # the wall clock may be set back, and nobody else reads these
        found: dict[FullKey, bytes] = {}
        with self._lock:
            for key in keys:
                if (entry := self._entries.get(key)) is None:
                    continue
                if entry[1] is not None and entry[1] <= now:
                    self._drop(key)
                else:
                    self._entries.move_to_end(key)
                    found[key] = entry[0]
        return found

    def _set(self, entries: Mapping[FullKey, Entry]) -> None:
        now = time.monotonic()
        with self._lock:
            for key, (data, lives) in entries.items():
                self._drop(key)
                self._entries[key] = data, None if lives is None else now + lives / 1000
                self._bytes += len(data) + OVERHEAD
            self._until_sweep -= len(entries)
            if self._until_sweep <= 0:
                self._sweep(now)
            while self._bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def _sweep(self, now: float) -> None:
        """Lets go what expired and was not asked for again. The next sweep comes after as many writes as this one went over
        entries, so that a write costs the same however much is cached."""
        for key in [key for key, (_, until) in self._entries.items() if until is not None and until <= now]:
            self._drop(key)
        self._until_sweep = max(len(self._entries), SWEPT_EVERY)

    def _clear(self, namespaces: Sequence[Namespace] | None) -> None:
        with self._lock:
            gone = set(namespaces) if namespaces is not None else None
            for key in [key for key in self._entries if gone is None or key[0] in gone]:
                self._drop(key)

    def _drop(self, key: FullKey) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= len(entry[0]) + OVERHEAD

    def close(self) -> None:
        """Lets everything go."""
        self._clear(None)
