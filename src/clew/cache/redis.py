"""Values cached in Redis, or Valkey, which expires them itself. Core commands only: GET, SET … PX, SCAN and UNLINK.

The client is the caller's and its library is not imported here: whatever it raises means that the server cannot be used.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Protocol
from urllib.parse import quote

from clew.cache.base import BaseCache, Entry, FullKey, Namespace, ValueT

HOW: Final = "RedisCache(redis.Redis.from_url('redis://localhost'))"
SCANNED: Final = 1000  # keys that the server looks through in one go; others are served in between
OURS: Final = re.compile(rb"((?:[\w.~%-]*/)*):[\w.~%-]*")
GLOB: Final = re.compile(r"([*?\[\]\\^])")


class Pipeline(Protocol):
    """What is asked of a redis-py pipeline."""

    def get(self, name: str, /) -> Any: ...
    def set(self, name: str, value: bytes, *, px: int | None = None) -> Any: ...
    def unlink(self, *names: bytes) -> Any: ...
    def execute(self, raise_on_error: bool = True) -> list[Any]: ...


class RedisCache(BaseCache[ValueT]):
    """Caches in a Redis that processes on many machines may share.

    A server that is down, full or refuses is a miss and one `CacheWarning`; then it is left alone for `rest` seconds.

    Args:
        redis: a client of redis-py, the blocking one, for both faces; give it `socket_timeout`, or a server that hangs holds
            the run up. It is not closed here.
        prefix: what every key begins with; `clear` deletes nothing else.

    Raises:
        TypeError: `redis` is not such a client. ValueError: it decodes what it reads, or the prefix is empty.
    """

    failures = (Exception,)

    def __init__(self, redis: Any, *, prefix: str = "clew:cache:") -> None:
        if not all(callable(getattr(redis, verb, None)) for verb in ("pipeline", "scan_iter", "execute_command")):
            raise TypeError(f"RedisCache takes a client of redis-py, got {redis!r}: write {HOW}.")
        if inspect.iscoroutinefunction(redis.execute_command):
            raise TypeError(f"RedisCache takes the blocking client, for both faces, got the async {redis!r}: write {HOW}.")
        encoder = getattr(redis, "get_encoder", None)
        if encoder is not None and getattr(encoder(), "decode_responses", False):
            raise ValueError(
                f"The client decodes what it reads, and values are bytes: leave decode_responses out, as in {HOW}."
            )
        if not isinstance(prefix, str) or not prefix:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"prefix is {prefix!r}: expected text that no other key begins with, such as 'clew:cache:'.")
        self.redis = redis
        self.prefix = prefix

    def _get(self, keys: Sequence[FullKey]) -> dict[FullKey, bytes]:
        pipe = self._pipeline()
        for key in keys:  # not MGET, which a cluster takes only for keys of one slot
            pipe.get(self._name(key))
        found = zip(keys, pipe.execute(raise_on_error=False), strict=True)
        return {key: data for key, data in found if isinstance(data, bytes)}

    def _set(self, entries: Mapping[FullKey, Entry]) -> None:
        pipe = self._pipeline()
        for key, (data, lives) in entries.items():
            pipe.set(self._name(key), data, px=lives)
        pipe.execute()

    def _clear(self, namespaces: Sequence[Namespace] | None) -> None:
        for pattern in ["*"] if namespaces is None else [f"{_space(ns)}:*" for ns in namespaces]:
            found = self._scanned(pattern)
            while names := list(islice(found, SCANNED)):
                pipe = self._pipeline()
                for name in names:
                    pipe.unlink(name)
                pipe.execute()

    def _scanned(self, pattern: str) -> Iterator[bytes]:
        """Names of entries. What another cache has under a longer prefix is not among them."""
        start = len(self.prefix.encode())
        for name in self.redis.scan_iter(match=GLOB.sub(r"\\\1", self.prefix) + pattern, count=SCANNED):
            if OURS.fullmatch(name, start):
                yield name

    def _pipeline(self) -> Pipeline:
        return self.redis.pipeline(transaction=False)

    def _name(self, key: FullKey) -> str:
        return f"{self.prefix}{_space(key[0])}:{_quoted(key[1])}"


def _space(namespace: Namespace) -> str:
    """A namespace as text that no other one has, with no character that means something in a pattern."""
    return "".join(f"{_quoted(part)}/" for part in namespace)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")
