"""The servers that stores keep items in, each by one face for the tests: a store over it, straight or through a proxy."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from pymongo import uri_parser
from redis import Redis

from clew.store.keeping import Store
from clew.store.mongodb import MongoDBStore
from clew.store.postgres import PostgresStore
from clew.store.redis import RedisStore
from support.mongo_server import MongoServer
from support.postgres_server import SUPERUSER, PostgresServer
from support.proxy import Proxy, proxy_to
from support.servers import RedisServer


@dataclass(frozen=True)
class Served:
    """One server.

    Attributes:
        make: opens a store over it at a URL, by default its own. url: of a proxy in front of it, by its port. port: its own.
        writes: bytes that whoever asks for a write sends. type, url: for another process, which opens a store by them.
        end: ends every connection that somebody has to it.
    """

    make: Callable[..., Store]
    port: int
    through: Callable[[int], str]
    writes: bytes
    opens: str
    end: Callable[[], object]


def postgres(request: pytest.FixtureRequest) -> Served:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url: str = request.getfixturevalue("postgres_tables")
    with PostgresStore(url) as store, psycopg.connect(url, autocommit=True) as db:
        store.setup()
        db.execute("delete from clew_store_item")

    def through(port: int) -> str:
        return f"postgresql://{SUPERUSER}@127.0.0.1:{port}/{url.rpartition('/')[2]}?sslmode=disable"

    def make(at: str = url, **options: Any) -> Store:
        return PostgresStore(at, **options)

    opens = f"from clew.store.postgres import PostgresStore; store = PostgresStore({url!r})"
    return Served(make, server.port, through, b"clew_store_write", opens, server.end_backends)


def redis(request: pytest.FixtureRequest) -> Served:
    server: RedisServer = request.getfixturevalue("redis_server")
    client: Redis = request.getfixturevalue("redis_client")

    def make(at: str = server.url, **options: Any) -> Store:
        return RedisStore(at, **options)

    def end() -> None:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # pyright: ignore

    opens = f"from clew.store.redis import RedisStore; store = RedisStore({server.url!r})"
    # a write names a key that nobody else does
    return Served(make, server.port, lambda port: f"redis://127.0.0.1:{port}", b":done:", opens, end)


def mongodb(request: pytest.FixtureRequest) -> Served:
    server: MongoServer = request.getfixturevalue("mongodb_server")
    name: str = request.getfixturevalue("mongodb_name")
    port: int = uri_parser.parse_uri(server.url)["nodelist"][0][1]
    between = Proxy(port)  # by which connections can be ended
    request.addfinalizer(between.close)

    def through(port: int) -> str:
        return f"mongodb://127.0.0.1:{port}/?directConnection=true"

    def make(at: str = through(between.port), **options: Any) -> Store:
        return MongoDBStore(at, name, **options)

    opens = f"from clew.store.mongodb import MongoDBStore; store = MongoDBStore({server.url!r}, {name!r})"
    # a write sets the token of the head
    return Served(make, port, through, b"\x05t\0", opens, between.cut_all)


SERVERS: dict[str, Callable[[pytest.FixtureRequest], Served]] = {"postgres": postgres, "redis": redis, "mongodb": mongodb}


@pytest.fixture(params=SERVERS)
def served(request: pytest.FixtureRequest) -> Served:
    """A server whose store is empty."""
    return SERVERS[request.param](request)


@pytest.fixture
def store_proxy(served: Served) -> Generator[Proxy]:
    with proxy_to(served.port) as made:
        yield made
