"""Every cache there is, empty; one list, which the conformance table goes over."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clew.cache.base import BaseCache
from clew.cache.memory import InMemoryCache
from clew.cache.redis import RedisCache
from clew.cache.sqlite import SqliteCache

Cache = BaseCache[Any]
K = (("a",), "k")
SERVER = pytest.mark.server
KINDS = ["memory", "sqlite", pytest.param("redis", marks=SERVER)]


@contextmanager
def made(kind: str, request: pytest.FixtureRequest, folder: Path) -> Generator[Cache]:
    match kind:
        case "memory":
            cache: Cache = InMemoryCache()
        case "sqlite":
            cache = SqliteCache(path=folder / "cache.db")
        case _:
            cache = RedisCache(request.getfixturevalue("redis_client"))
    with cache:
        yield cache
