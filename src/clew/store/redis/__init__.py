"""Items kept in Redis 6 or newer, or Valkey: core commands and Lua scripts, no modules.

Every verb but `vectors` is one script, so it is done whole or not at all. Which keys there are says `lua/common.lua`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final, Self

from clew.clients.patience import Patience
from clew.clients.redis import LOST, Server, User
from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.storage import Namespace, Place, Put, Row, Scan, Vector, conflict

USER: Final = User("RedisStore", "store", "items", "let items expire (`ttl=`) and sweep them, or delete some")
LUA: Final = files("clew.store.redis") / "lua"
COMMON: Final = (LUA / "common.lua").read_text()
SCRIPTS: Final = {
    verb: COMMON + (LUA / f"{verb}.lua").read_text()
    for verb in ("rows", "scan", "places", "namespaces", "write", "refresh", "sweep")
}
KEYS: Final = ("meta", "values", "vectors", "index", "expiry")
CHUNK: Final = 64  # rows that are read at once: others are served in between
VECTORS: Final = 512
SWEPT: Final = 1000  # rows that are deleted at once, as in common.lua
REMEMBERED: Final = 600.0  # seconds for which a write that was done is known, if it should be asked for again


class RedisStorage:
    """Rows in five keys, which share a slot."""

    blocking = True

    def __init__(self, redis: Any, prefix: str, patience: float) -> None:
        self.server = Server(redis, USER, prefix, SCRIPTS)
        self.patience = Patience(LOST, patience, "What was put before is safe.")
        self._prefix = f"{prefix}:{{items}}:"
        self._keys = [self._prefix + kind for kind in KEYS]

    def setup(self) -> None:
        pass

    def close(self) -> None:
        self.server.close()

    def _run(self, verb: str, *args: Any) -> Any:
        return self.patience.call(self.server.run, verb, self._keys, *args)

    # -- reading ----------------------------------------------------------------------------------------------------

    def get(self, places: Sequence[Place]) -> dict[Place, Row]:
        return {row.place: row for row in self._rows([_named(place) for place in places])}

    def scan(self, scan: Scan) -> Iterator[Row]:
        most, prefix = -1 if scan.most is None else scan.most, _ns(scan.prefix)
        if 0 <= most <= CHUNK:
            return _rows(self._run("scan", prefix, most, 1))
        names: list[bytes] = self._run("scan", prefix, most, 0)
        return (row for at in range(0, len(names), CHUNK) for row in self._rows(names[at : at + CHUNK]))

    def _rows(self, names: list[bytes]) -> Iterator[Row]:
        return _rows(self._run("rows", *names))

    def namespaces(self, prefix: Namespace) -> Iterator[Namespace]:
        return map(_labels, self._run("namespaces", _ns(prefix)))

    def vectors(self, prefix: Namespace) -> Iterator[Vector]:
        names: list[bytes] = self._run("places", _ns(prefix))
        for at in range(0, len(names), VECTORS):
            some = names[at : at + VECTORS]
            found = self.patience.call(self.server.done, self.server.redis.hmget, self._prefix + "vectors", some)
            yield from (Vector(_place(name), data) for name, data in zip(some, found, strict=True) if data is not None)

    def near(self, prefix: Namespace, vector: bytes, most: int) -> None:
        return None

    # -- writing ----------------------------------------------------------------------------------------------------

    def write(self, puts: Sequence[Put]) -> None:
        keys = [
            *self._keys,
            self._prefix + "done:" + os.urandom(12).hex(),
        ]  # the last is of this write, however often asked for
        remember = int(max(REMEMBERED, 2 * self.patience.seconds) * 1000)
        args = [part for put in puts for part in _packed(put)]
        if failed := self.patience.call(self.server.run, "write", keys, remember, *args):
            nth, version = map(int, failed)
            raise conflict(puts[nth - 1], version)

    def refresh(self, places: Sequence[Place]) -> None:
        self._run("refresh", *map(_named, places))

    def sweep(self) -> int:
        swept = count = self._run("sweep")
        while count == SWEPT:
            swept += (count := self._run("sweep"))
        return swept


def _ns(namespace: Namespace) -> bytes:
    return ".".join(namespace).encode()


def _labels(ns: bytes) -> Namespace:
    return tuple(ns.decode().split("."))


def _named(place: Place) -> bytes:
    return _ns(place.namespace) + b"\0" + place.key.encode()


def _place(name: bytes) -> Place:
    ns, _, key = name.partition(b"\0")
    return Place(_labels(ns), key.decode())


def _packed(put: Put) -> tuple[Any, ...]:
    """A put as `write.lua` has it."""
    return (
        *(
            _ns(put.place.namespace),
            put.place.key.encode(),
            int(put.value is not None),
            put.value or b"",
            b"".join(put.vectors),
        ),
        *("" if put.ttl is None else put.ttl, "" if put.if_version is None else put.if_version),
    )


def _rows(answer: list[bytes]) -> Iterator[Row]:
    for name, meta, value in zip(*[iter(answer)] * 3, strict=True):
        created, updated, ttl, expires = (None if part == b"-" else int(part) for part in meta.split())
        yield Row(_place(name), value, created or 0, updated or 0, ttl, expires)


class RedisStore(Store):
    """Keeps items in Redis 6 or newer, or Valkey. No modules are needed, and no `setup`.

    A call whose connection is lost is made again, a batch as well: it is never done twice. Search by meaning goes through every
    vector below its prefix. Without a query a search looks at each namespace below its prefix. Of a cluster a store is on one
    node. What a batch survives is the server's to say, as with `RedisSaver`; evicting keys (`maxmemory-policy`) would lose all.

    Args:
        redis: a URL (`redis://`, `rediss://`, `unix://`; `?max_connections=20` bounds the pool, 50 by default), or a client of
            redis-py, which tells how to connect, a `redis.asyncio.Redis` as well; one of a cluster or of Sentinel is used
            itself, and not closed.
        prefix: what every key begins with: letters, digits, `_ . : -`.
        patience: seconds for which a call is made again while the server cannot be reached. index, ttl: see `Store`.

    Raises:
        TypeError, ValueError: an argument that is none of these. DatabaseError: on use, where the server refuses, with what
            to do; or cannot be reached.
    """

    def __init__(
        self,
        redis: Any,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        prefix: str = "clew:store",
        patience: float = 30.0,
    ) -> None:
        super().__init__(RedisStorage(redis, prefix, patience), index=index, ttl=ttl)

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """A store of this URL, to be used as `with RedisStore.from_conn_string("redis://localhost:6379") as store:` (or
        `async with`). Options: see the class."""
        return cls(conn_string, **options)


AsyncRedisStore = RedisStore
