"""The five backends as the long trials use them: each over a real server of its own, with room for nobody else's threads."""

import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from support.postgres_server import PostgresServer
from support.servers import RedisServer

from clew.checkpoint.base import Saver
from clew.checkpoint.memory import InMemorySaver
from clew.checkpoint.sqlite import SqliteSaver


class Backend(NamedTuple):
    """How a saver is opened, again and again over the same database, in this process and in others; and where that is."""

    name: str
    make: Callable[[], Saver]
    where: str


def _memory(stack: ExitStack, folder: Path) -> Backend:
    saver = InMemorySaver()
    return Backend("memory", lambda: saver, "")


def _sqlite(stack: ExitStack, folder: Path) -> Backend:
    return Backend("sqlite", partial(SqliteSaver, str(folder / "clew.db")), str(folder / "clew.db"))


def _postgres(stack: ExitStack, folder: Path) -> Backend:
    from clew.checkpoint.postgres import PostgresSaver

    server = PostgresServer(fsync=True)
    stack.callback(server.remove)
    server.start()
    url = server.database()
    return Backend("postgres", partial(PostgresSaver, url), url)


def _redis(stack: ExitStack, folder: Path) -> Backend:
    from clew.checkpoint.redis import RedisSaver

    server = RedisServer(folder)
    stack.callback(server.stop)
    server.start()
    url = f"redis://127.0.0.1:{server.port}/0"
    return Backend("redis", partial(RedisSaver, url), url)


def _mongodb(stack: ExitStack, folder: Path) -> Backend:
    from support.mongo_server import MongoServer

    from clew.checkpoint.mongodb import MongoDBSaver

    server = MongoServer(folder)
    stack.callback(server.kill)
    server.start()
    return Backend("mongodb", partial(MongoDBSaver, server.url), server.url)


BACKENDS: Final[dict[str, Callable[[ExitStack, Path], Backend]]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "redis": _redis,
    "mongodb": _mongodb,
}


@contextmanager
def backend(name: str) -> Generator[Backend]:
    """One of them, with its server running."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clew-soak-", ignore_cleanup_errors=True)))
        yield BACKENDS[name](stack, folder)
