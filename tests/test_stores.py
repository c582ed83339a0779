"""Every clause that every store keeps to, on each of them."""

from functools import partial

import pytest
from support.mongo_server import MongoServer

from clew.store.items import IndexConfig, TTLConfig
from clew.store.keeping import Store
from clew.store.memory import MemoryStorage
from clew.store.mongodb import MongoDBStore
from clew.store.postgres import PostgresStore
from clew.store.redis import RedisStore
from clew.store.sqlite import SqliteStore
from clew.testing.stores import Clause, Make, cases


def memory() -> Make:
    storage = MemoryStorage()

    def make(*, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> Store:
        return Store(storage, index=index, ttl=ttl)

    return make


def maker(backend: str, request: pytest.FixtureRequest) -> Make:
    match backend:
        case "postgres":
            return partial(PostgresStore, request.getfixturevalue("postgres_tables"))
        case "mongodb":
            server: MongoServer = request.getfixturevalue("mongodb_server")
            return partial(MongoDBStore, server.url, request.getfixturevalue("mongodb_name"))
        case "redis":
            return partial(RedisStore, request.getfixturevalue("redis_server").url)
        case "sqlite":
            return partial(SqliteStore, request.getfixturevalue("tmp_path") / "store.db", synchronous="normal")
        case _:
            return memory()


SERVERS = ["postgres", "redis", "mongodb"]
SERVER = [pytest.mark.slow, pytest.mark.server]


@pytest.mark.parametrize("backend", ["memory", "sqlite", *(pytest.param(one, marks=SERVER) for one in SERVERS)])
@pytest.mark.parametrize(
    ("one", "face"),
    [pytest.param(one, face, id=f"{one.name}-{face}", marks=[pytest.mark.slow] * one.heavy) for one, face in cases()],
)
def test_clause(one: Clause, face: str, backend: str, request: pytest.FixtureRequest) -> None:
    if one.name == "ten_thousand_are_searched_exactly" and backend == "mongodb":
        server: MongoServer = request.getfixturevalue("mongodb_server")
        if not server.given:
            return  # SecantusDB takes five milliseconds to write an item: two minutes for each face
    one.check(maker(backend, request), face)
